"""Edits of forwards.yaml under a running guest: in force by themselves, harmless."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from product import (
    CONFIG,
    call_hook,
    configure,
    start_watch,
    status,
    stop_watch,
    vfwhooks,
)

BEFORE = "guests:\n  web1: [8000, 8080:80]\n"
AFTER = "guests:\n  web1: [8000, 9090:80]\n"
BROKEN = "guests:\n  web1: [8000, 9090:80\n"


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Guest]:
    """A running guest, watched over."""
    configure(host, BEFORE)
    guest = host.define_guest("web1").start(wait=True)
    start_watch(host)
    yield guest
    stop_watch(host)
    guest.destroy()


def serves(outside: Net, port: int) -> bool:
    """Whether a published port is served."""
    return outside.http(f"http://203.0.113.1:{port}/").answered


def put_in_force(host: Host, outside: Net, forwards: str, port: int) -> float:
    """Edit, and wait until `port` is served; how long that took."""
    configure(host, forwards)
    start = time.monotonic()
    wait_until(lambda: serves(outside, port), f"{port} to be served")
    took = time.monotonic() - start
    working = host.path("/run/vfwhooks/working")
    wait_until(lambda: not working.exists(), "the watch to have noted what it did")
    return took


def test_edit_is_in_force_by_itself(
    host: Host,
    outside: Net,
    web1: Guest,
    measured: Callable[[str, float], None],
) -> None:
    """The new port answers and the removed one refuses, while a connection through an
    unchanged forward lives on, and its counter is not zeroed."""
    put_in_force(host, outside, BEFORE, 8080)
    session = outside.connect("203.0.113.1", 8000)
    count = connections(host, "8000")

    took = put_in_force(host, outside, AFTER, 9090)
    measured("seconds from the edit to the new port", took)
    refused = outside.http("http://203.0.113.1:8080/").refused
    alive = outside.ask(session).answered
    session.close()

    assert (refused, alive, connections(host, "8000") >= count) == (True, True, True)


def connections(host: Host, published: str) -> int:
    """How many connections a forward has had."""
    rows = status(host)["forwards"]
    return sum(row["connections"] for row in rows if row["published"] == published)


def test_established_connection_ends_with_its_forward(
    host: Host, outside: Net, web1: Guest
) -> None:
    """A connection through a forward that was removed is cut, for what comes through
    it would not be let in anew."""
    put_in_force(host, outside, BEFORE, 8080)
    session = outside.connect("203.0.113.1", 8080)
    outside.ask(session)

    put_in_force(host, outside, AFTER, 9090)

    wait_until(lambda: not outside.ask(session, timeout=1).answered, "the cut")
    session.close()


@pytest.mark.parametrize("port", [22, 443])
def test_sessions_to_that_port_elsewhere_live_on(
    host: Host, outside: Net, web1: Guest, port: int
) -> None:
    """While a port is published, changed and withdrawn, a session to the host on that
    port, and outgoing connections of host and guest to that port, are not cut."""
    put_in_force(host, outside, BEFORE, 8080)
    with host.net.serve_tcp(port), outside.serve_tcp(port):
        to_host = outside.connect("203.0.113.1", port)
        from_host = host.net.connect("203.0.113.2", port)
        web1.run(f"(sleep 600 | nc 203.0.113.2 {port}) >/dev/null 2>&1 &")
        wait_until(lambda: web1s(host, web1, port), "the guest's connection")

        put_in_force(host, outside, f"guests:\n  web1: [{port}, 9090:80]\n", 9090)
        put_in_force(host, outside, f"guests:\n  web1: ['{port}:80', 8081:80]\n", 8081)
        put_in_force(host, outside, BEFORE, 8080)
        alive = [outside.ask(to_host).answered, host.net.ask(from_host).answered]
        is_tracked = web1s(host, web1, port)
        to_host.close()
        from_host.close()

    assert (alive, is_tracked) == ([True, True], True)


def web1s(host: Host, web1: Guest, port: int) -> bool:
    """Whether the guest has a connection to that port outside."""
    which = ["-p", "tcp", "--orig-port-dst", str(port), "--state", "ESTABLISHED"]
    found = host.run(["conntrack", "-L", *which])
    return f"src={web1.address} dst=203.0.113.2" in found


def flows(host: Host) -> set[str]:
    """The tracked UDP flows to port 53: where from, where to, and the kernel's id."""
    listing = host.run(
        ["conntrack", "-L", "-p", "udp", "--orig-port-dst", "53", "-o", "id"]
    )
    found = re.findall(r"src=(\S+) dst=(\S+) sport=(\d+) .* (id=\d+)", listing)
    return {" ".join(words) for words in found}


def test_flows_to_port_53_elsewhere_live_on(
    host: Host, outside: Net, web1: Guest
) -> None:
    """While 53/udp is published, changed and withdrawn, what host and guest say to that
    port elsewhere, and the guest to its network's dnsmasq, is tracked on."""
    put_in_force(host, outside, BEFORE, 8080)
    of = "net.netfilter.nf_conntrack_udp_timeout"  # 30 s: edits may take longer
    host.run(["sysctl", "-qw", f"{of}=600", f"{of}_stream=600"])
    with outside.serve_udp(53):
        assert host.net.udp("203.0.113.2", 53, source_port=5300).answered
        for server in "203.0.113.2", "192.168.122.1":
            web1.run(f"timeout 5 nslookup web1 {server} >/dev/null 2>&1 || :")
        before = flows(host)
        edits = ("53/udp, 9090:80", 9090), ("53:5353/udp, 8081:80", 8081)
        for ports, new in edits:
            put_in_force(host, outside, f"guests:\n  web1: [{ports}]\n", new)
        put_in_force(host, outside, BEFORE, 8080)
        after = flows(host)

    assert (len(before) >= 3, before - after) == (True, set())


def test_broken_edit_changes_nothing(host: Host, outside: Net, web1: Guest) -> None:
    """A broken edit leaves what is in force; status names line and column; the mended
    file takes effect by itself."""
    put_in_force(host, outside, BEFORE, 8080)
    seen = len(host.syslog("here has no end"))

    configure(host, BROKEN)
    wait_until(lambda: len(host.syslog("here has no end")) > seen, "the log to say so")
    still = serves(outside, 8080)
    said = vfwhooks(host, "status").stdout
    put_in_force(host, outside, AFTER, 9090)

    place = f"{CONFIG}:2:9: the [ here has no end"
    assert (still, place in said) == (True, True)


@pytest.mark.parametrize("way", ["rm -f", "truncate -s0"])
def test_gone_or_empty_is_a_broken_edit(
    host: Host, outside: Net, web1: Guest, way: str
) -> None:
    """A file that is suddenly absent or empty changes nothing: none is `guests: {}`."""
    put_in_force(host, outside, BEFORE, 8080)
    seen = len(host.syslog(CONFIG))

    host.run(["sh", "-c", f"{way} {CONFIG}"])
    wait_until(lambda: len(host.syslog(CONFIG)) > seen, "the log to say so")
    still = serves(outside, 8080)
    configure(host, "guests: {}\n")
    wait_until(lambda: not serves(outside, 8080), "the forwards to go")

    assert still


def test_file_that_can_be_read_later(host: Host, outside: Net, web1: Guest) -> None:
    """A link to where nothing is yet changes nothing, and counts by itself when there
    is, of which nobody tells."""
    put_in_force(host, outside, BEFORE, 8080)
    seen = len(host.syslog(CONFIG))

    host.run(["ln", "-sf", "/srv/later.yaml", CONFIG])
    wait_until(lambda: len(host.syslog(CONFIG)) > seen, "the log to say so")
    still = serves(outside, 8080)
    host.write("/srv/later.yaml", AFTER)
    wait_until(lambda: serves(outside, 9090), "9090 to be served")

    host.run(["rm", CONFIG])
    assert still


def test_edit_without_the_watch(host: Host, outside: Net, web1: Guest) -> None:
    """Without the watch an edit is in force with `apply`, which prints what changed."""
    put_in_force(host, outside, BEFORE, 8080)
    stop_watch(host)

    configure(host, AFTER)
    done = vfwhooks(host, "apply")
    start_watch(host)

    lines = (
        f"- tcp 8080 → web1 {web1.address}:80\n+ tcp 9090 → web1 {web1.address}:80\n"
    )
    assert (done.status, done.stdout, serves(outside, 9090)) == (0, lines, True)


def test_apply_ended_when_it_had_compiled(
    host: Host, outside: Net, web1: Guest
) -> None:
    """What was compiled and not put in force, because `apply` was killed, comes with
    the next event, whosever that is."""
    put_in_force(host, outside, BEFORE, 8080)
    stop_watch(host)
    configure(host, AFTER)
    code = "import sys; from vfwhooks.config.compiler import main; main(*sys.argv[1:])"
    command = ["/usr/bin/python3", "-c", code, CONFIG, "/run/vfwhooks"]
    host.run(command, env={"PYTHONPATH": Host.CHECKOUT})

    call_hook(host, "qemu", "somebody-else", "stopped", "end", "-")
    seen = serves(outside, 8080), serves(outside, 9090)
    start_watch(host)

    assert seen == (False, True)


def test_dry_run_changes_nothing(host: Host, outside: Net, web1: Guest) -> None:
    """`apply --dry-run` says what apply would do, and does not do it."""
    put_in_force(host, outside, BEFORE, 8080)
    stop_watch(host)
    configure(host, AFTER)

    done = vfwhooks(host, "apply", "--dry-run")
    seen = serves(outside, 8080), serves(outside, 9090)
    start_watch(host)

    lines = (
        f"- tcp 8080 → web1 {web1.address}:80\n+ tcp 9090 → web1 {web1.address}:80\n"
    )
    assert (done.status, done.stdout, seen) == (0, lines, (True, False))
