"""Forwards in the metadata of a real guest's domain: what forwards.yaml permits of them
is in force while the guest runs, and follows every change."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.network import default_network
from product import (
    configure,
    published,
    put_in,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

from .conftest import KINDS, NEW
from .cures import cures, in_checkout
from .standins import Standin

URN = "urn:vfwhooks:forwards:1"
PERMITTED = """\
metadata: {guests: "web*", ports: [8000-8999, 9000], over_listener: true}
guests:
  web1: [9000:80]
"""
IPTABLES = "libvirt-11.3-iptables"
HOST = "203.0.113.1"


ON_NEW = pytest.mark.parametrize("host", [NEW], indirect=True)
ON_IPTABLES = pytest.mark.parametrize("host", [IPTABLES], indirect=True)


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """libvirtd with our hooks, the default network and our service."""
    with KINDS[request.param]() as host:
        put_in(host, PERMITTED)
        host.start_libvirtd()
        host.start_network(default_network())
        start_watch(host)
        yield host
        stop_watch(host)


@pytest.fixture(scope="module")
def web1(host: Host) -> Guest:
    """A guest that runs; port 80 answers."""
    return host.define_guest("web1").start(wait=True)


def port(published: str, more: str = "", inner: str = "") -> str:
    """A portForward to the guest's port 80."""
    ports = f"<range start='{published}' to='80'/>"
    return f"<portForward proto='tcp' {more}>{ports}{inner}</portForward>"


def put(host: Host, *forwards: str, part: str = "--live") -> None:
    """Write forwards as any program of libvirt's may."""
    text = f"<forwards>{''.join(forwards)}</forwards>"
    words = ["metadata", "web1", URN, part, "--key", "vfwhooks", "--set", text]
    host.virsh(*words)


def rows(host: Host) -> list[tuple[str, str, str]]:
    """Port, state and source of all forwards, once they are settled."""
    return sorted(
        (row["published"], row["state"], row["source"])
        for row in status(host)["forwards"]
    )


def settle(host: Host, *wanted: tuple[str, str, str]) -> None:
    """Wait until status shows these rows, beside that of forwards.yaml."""
    expected = sorted([*wanted, ("9000", "active", "file")])
    wait_until(lambda: rows(host) == expected, lambda: f"{rows(host)}")


def answers(outside: Net, *ports: int) -> str:
    """Whether each port is served or what becomes of the attempt."""
    found = [outside.http(f"http://{HOST}:{one}/") for one in ports]
    return " ".join("yes" if r.answered else r.outcome.value for r in found)


@ON_IPTABLES
def test_a_change_under_a_running_guest(host: Host, outside: Net, web1: Guest) -> None:
    """What virsh writes is in force by itself, what it takes out is gone by itself; the
    guest's forward of forwards.yaml stays all the while."""
    seen = [answers(outside, 8080, 9000)]

    put(host, port("8080"))
    settle(host, ("8080", "active", "metadata"))
    seen.append(answers(outside, 8080, 9000))
    put(host, port("8081"), port("8082", inner="<allowFrom address='198.51.100.7'/>"))
    settle(host, ("8081", "active", "metadata"), ("8082", "active", "metadata"))
    seen.append(answers(outside, 8080, 8081, 8082, 9000))
    put(host, port("8082", inner="<allowFrom address='203.0.113.0' prefix='24'/>"))
    wait_until(lambda: answers(outside, 8082) == "yes", "other sources")
    host.virsh("metadata", "web1", URN, "--live", "--remove")
    settle(host)
    seen.append(answers(outside, 8080, 8081, 8082, 9000))

    assert seen == [
        "refused yes",
        "yes yes",
        "refused yes refused yes",
        "refused refused refused yes",
    ]


@ON_NEW
@cures("metadata-not-in-force")
def test_outside_of_its_bounds(host: Host, outside: Net, web1: Guest) -> None:
    """A port beyond the bounds is blocked, one of forwards.yaml's is a conflict, and
    the guest's others are forwarded; nothing of a mistake is."""
    put(host, port("8080"), port("7000"), port("9000"))
    blocked, conflict = (
        ("7000", "blocked", "metadata"),
        ("9000", "conflict", "metadata"),
    )
    settle(host, ("8080", "active", "metadata"), blocked, conflict)
    seen = [answers(outside, 8080, 7000, 9000)]
    reasons = {row["published"]: row["reason"] for row in status(host)["forwards"][1:]}
    with in_checkout(host).until_gone("metadata-not-in-force"):
        put(host, port("8080"))
    explained = vfwhooks(host, "explain", "8080").stdout
    put(host, port("8080"), port("80a"))
    settle(host)
    (guest,) = status(host)["guests"]

    assert seen == ["yes refused yes"]
    assert "written  in the guest's metadata\n" in explained
    assert "kernel   inet vfwhooks dnat4_any: dnat 4 * tcp 8080" in explained
    assert reasons == {
        "8080": "",
        "7000": "metadata: of forwards.yaml permits 8000-8999, 9000, not 7000",
        "9000": "forwards.yaml publishes tcp/9000 for web1",
    }
    assert guest["metadata"] == "line 6, range: '80a' is not a port or a range of ports"


@ON_NEW
def test_forbidden_unless_said(host: Host, outside: Net, web1: Guest) -> None:
    """Without metadata: in forwards.yaml nothing of it is in force, and with it all."""
    put(host, port("8080"))
    configure(host, "guests:\n  web1: [9000:80]\n")
    settle(host, ("8080", "blocked", "metadata"))
    seen = [answers(outside, 8080, 9000)]
    configure(host, PERMITTED)
    settle(host, ("8080", "active", "metadata"))
    seen.append(answers(outside, 8080, 9000))

    assert seen == ["refused yes", "yes yes"]


@ON_IPTABLES
def test_two_that_want_one_port(host: Host, outside: Net) -> None:
    """The one that runs longer has it, and the other when that one has stopped; its
    other ports are its own all the while."""
    one = f"<x:forwards xmlns:x='{URN}'><x:portForward proto='tcp'>{{}}</x:portForward>"
    one += "</x:forwards>"
    ranges = [
        "<x:range start='8100' end='8110'/>",
        "<x:range start='8105'/><x:range start='8111'/>",
    ]
    first, later = (
        Standin(host, f"web{n}", 40 + n, ipv6="", metadata=one.format(some))
        for n, some in zip((2, 3), ranges)
    )
    said = []
    with (
        first.net.serve_tcp(8105),
        later.net.serve_tcp(8105),
        later.net.serve_tcp(8111),
    ):
        for do in (first.start, later.start, first.stop, first.start, later.stop):
            do()
            said.append(whose(outside, 8105, 8111))
    first.stop()
    left = vfwhooks(host, "status", "--json").stdout

    web2, web3 = "vm42", "vm43"
    assert said == [
        [web2, "refused"],
        [web2, web3],
        [web3, web3],
        [web3, web3],
        [web2, "refused"],
    ]
    assert "web2" not in left and "web3" not in left


def whose(outside: Net, *ports: int) -> list[str]:
    """Which guest answers on each port, or what comes of the attempt."""
    found = [outside.http(f"http://{HOST}:{one}/") for one in ports]
    return [r.body.partition("-")[0] if r.answered else r.outcome.value for r in found]


@ON_NEW
def test_all_ways_lead_to_one_state(host: Host, web1: Guest) -> None:
    """A partial sync, an apply, a restart of the service, and a lost record."""
    put(host, port("8080"), port("8081", inner="<allowFrom address='198.51.100.7'/>"))
    settle(host, ("8080", "active", "metadata"), ("8081", "active", "metadata"))
    before = published(host)

    said = vfwhooks(host, "apply").stdout
    stop_watch(host)
    host.run(["sh", "-c", "rm /run/vfwhooks/guests/qemu/web1"])
    start_watch(host)
    settle(host, ("8080", "active", "metadata"), ("8081", "active", "metadata"))

    assert (published(host), said) == (before, "")


@ON_NEW
def test_save_and_restore(host: Host, outside: Net, web1: Guest) -> None:
    """A guest that is saved takes its forwards along, and brings them back."""
    put(host, port("8080"))
    settle(host, ("8080", "active", "metadata"))
    host.virsh("save", "web1", "/var/tmp/web1.save")
    wait_until(lambda: not published(host), "nothing is left")
    host.virsh("restore", "/var/tmp/web1.save")
    settle(host, ("8080", "active", "metadata"))

    assert answers(outside, 8080, 9000) == "yes yes"


@ON_NEW
def test_the_command(host: Host, outside: Net, web1: Guest) -> None:
    """In the syntax of forwards.yaml, for the running guest and its definition."""
    host.write("/tmp/ports", "- 8083:80\n- {published: 7001, target: 80}\n")
    host.write("/tmp/bad", "- 8083:http\n")
    host.write("/tmp/editor", "#!/bin/sh\necho '- 8084:80' >\"$1\"\n", 0o755)

    done = vfwhooks(host, "metadata", "set", "web1", "/tmp/ports")
    bad = vfwhooks(host, "metadata", "set", "web1", "/tmp/bad")
    settle(host, ("8083", "active", "metadata"), ("7001", "blocked", "metadata"))
    shown = vfwhooks(host, "metadata", "get", web1.uuid).stdout
    command = ["/usr/bin/python3", "-m", "vfwhooks", "metadata", "edit", "web1"]
    env = {"PYTHONPATH": Host.CHECKOUT, "EDITOR": "/tmp/editor"}
    edited = host.call([*command, "--live"], env=env)
    settle(host, ("8084", "active", "metadata"))
    torn = host.call(command, env=env)
    both = vfwhooks(host, "metadata", "get", "web1", "--config").stdout
    cleared = vfwhooks(host, "metadata", "clear", "web1")
    settle(host)
    left = "forwards" in host.virsh("dumpxml", "web1", "--inactive")

    fault = "metadata: of forwards.yaml permits 8000-8999, 9000, not 7001"
    assert (done.status, done.stdout, done.stderr) == (
        0,
        "web1: 2 forwards in the running guest and its definition\n",
        f"vfwhooks: tcp/7001: {fault}\n",
    )
    assert (bad.status, bad.stderr) == (
        2,
        "/tmp/bad:1:3: 'http' is not a port or a range of ports\n",
    )
    assert shown == both == "- 8083:80\n- 7001:80\n"
    assert edited.stdout == "web1: 1 forward in the running guest\n"
    what = "vfwhooks: web1 has other forwards than its definition\n"
    cure = "  --live or --config edits one of them\n"
    assert (torn.status, torn.stdout, torn.stderr) == (1, "", what + cure)
    assert (cleared.status, left) == (0, False)


@ON_NEW
def test_a_guest_starts_with_the_worst(host: Host, outside: Net, web1: Guest) -> None:
    """Metadata that no reader takes keeps no guest from starting, and takes away none
    of its forwards in forwards.yaml."""
    web1.destroy()
    deep = "<a>" * 150 + "</a>" * 150
    for inner in (deep, f"<a b='{'x' * 300_000}'/>", port("99999"), "<a/>" * 3000):
        text = f"<forwards>{inner}</forwards>"
        host.write("/tmp/worst.py", WORST.format(json.dumps(text)))
        host.run(["/usr/bin/python3", "/tmp/worst.py"])
    web1.start(wait=True)
    settle(host)

    assert answers(outside, 9000) == "yes"


WORST = """
import libvirt
domain = libvirt.open("qemu:///system").lookupByName("web1")
text = {}
domain.setMetadata(2, text, "vfwhooks", "urn:vfwhooks:forwards:1", 2)
"""
