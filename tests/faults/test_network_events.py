"""Events of one network beside another: what they concern is planned anew and nothing
else, and the outcome is a full sync's."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from standin import (
    BACKENDS,
    ENVIRONMENT,
    STATE,
    Guest,
    StandIn,
    alone,
    hook_argv,
    ipv4,
    kernel,
    run,
)

from benchmarks.counting import Counts, parse
from vfwhooks.service import hook

WEB, LAB = Guest("web", 10), Guest("lab", 11, network="lab")
WIDE, LATE = Guest("wide", 12), Guest("late", 13, network="lab")
RUNNING = WEB, LAB, WIDE, LATE
FORWARDS = """
guests:
  web: [8000:80, "127.0.0.1:8100:80"]
  lab: [8001:80, "5000-5003:5000-5003/udp", "127.0.0.1:8101:80"]
  wide: ["50-59:50-59/udp"]
  late: [8003:80]
  kept: {ports: ["60-70:60-70/udp"], when_stopped: reject}
"""


def lab(hosts: tuple[Guest, ...] = (LAB,), subnet: int = 150) -> str:
    """What a hook is told of the network lab."""
    known = "".join(
        f"<host mac='{one.mac}' ip='{ipv4(one).replace('.122.', f'.{subnet}.')}'/>"
        for one in hosts
    )
    return (
        "<hookData><network><name>lab</name><forward mode='nat'/>"
        f"<bridge name='virbr1'/><ip address='192.168.{subnet}.1' "
        f"netmask='255.255.255.0'><dhcp>{known}</dhcp></ip></network></hookData>"
    )


def made(backend: str) -> StandIn:
    """A host with both networks on which all guests run."""
    host = StandIn(backend, FORWARDS)
    host.network(WEB, WIDE)
    run("ip", "link", "add", "virbr1", "type", "bridge")
    run("ip", "addr", "add", "192.168.150.1/24", "dev", "virbr1")
    run("ip", "link", "set", "virbr1", "up")
    for guest in RUNNING:
        host.event("qemu", guest.name, "started", guest.xml())
    return host


def held(backend: str) -> tuple[list[str], dict[str, str]]:
    """What the kernel holds, and what is recorded."""
    places = "addresses", "claims", "guests", "members", "localnet"
    paths = [path for one in places for path in (STATE / one).rglob("*")]
    files = {f"{path}": path.read_text() for path in sorted(paths) if path.is_file()}
    passes = run("sysctl", "-n", "net.ipv4.conf.virbr1.route_localnet")
    return kernel(backend), {**files, "route_localnet": passes}


STEPS = {
    "started": lab(),
    "updated": lab((LAB, LATE)),
    "updated ": lab((LATE,), 151),
    "updated  ": lab((LAB, LATE)),
    "stopped": "",
    "started ": lab((LAB, LATE)),
}


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_each_event_is_as_good_as_a_full_sync(backend: str) -> None:
    """Guests with entries and without, those that leave their ports to every network's
    services, what stays rejected, and what leads in from loopback: after each event the
    kernel and the records are as `apply` has them, and no full sync is logged."""
    host = made(backend)
    wrong = []
    for step, xml in STEPS.items():
        said = host.event("network", "lab", step.strip(), xml)
        found = held(backend)
        assert host.apply(*RUNNING) == 0, host.said.getvalue()
        if found != held(backend) or any("everything" in line for line in said):
            wrong.append((step, said, host.said.getvalue()))

    assert wrong == []


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_network_that_is_restarted_in_one_round(backend: str) -> None:
    """Its bridge is another one, which passes no loopback yet: it does again."""
    host = made(backend)
    host.event("network", "lab", "started", lab())
    before = held(backend)
    run("sysctl", "net.ipv4.conf.virbr1.route_localnet=0")
    hook.put(str(STATE), ("network", "lab", "stopped", b"", time.monotonic_ns()))

    said = host.event("network", "lab", "started", lab())

    assert (held(backend), said) == (before, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_why_everything_is_checked(backend: str) -> None:
    """The first network to come and the last to go, a table or a chain of libvirt's
    that is another, a guest whose record is gone: the log says why."""
    host = made(backend)
    host.event("network", "lab", "started", lab())
    said = []
    if backend == "nftables":
        run("nft", "insert rule ip libvirt_network forward counter jump guest_cross")
    else:
        run("iptables", "-D", "FORWARD", "-j", "LIBVIRT_FWX")
        run("iptables", "-I", "FORWARD", "-j", "LIBVIRT_FWX")
    said.append(host.event("network", "lab", "updated", lab()))
    (STATE / "guests/qemu/lab").unlink()
    said.append(host.event("network", "lab", "updated", lab()))
    said.append(host.event("network", "lab", "stopped"))
    said.append(host.event("network", "default", "stopped"))
    said.append(host.event("network", "lab", "started", lab()))
    said.append(host.event("network", "lab", "updated", lab()))

    why = [[one for one in lines if "everything" in one] for lines in said]
    whole = "checking everything: "
    ends = f"{whole}the first network has come, or the last has gone"
    assert why == [
        [f"{whole}the rules around ours have changed"],
        [f"{whole}no guest is known by the name lab/qemu.lab"],
        [],
        [ends],
        [ends],
        [],
    ]


OTHERS = 1000
# A page of the compiled configuration, and what iptables-nft-restore lists by itself:
# the names of all chains, in some 70 messages.
SLACK = Counts(0, 150, 0, 45_000, 0)


@alone
def costs(backend: str, others: int) -> list[Counts]:
    """What the network's events cost with one guest on it, beside so many on another
    network."""
    guests = [Guest(f"other{n}", n, network="big") for n in range(20, 20 + others)]
    lines = [
        f"  {one.name}: {{address: 10.0.{one.number >> 8}.{one.number & 255}, "
        f"ports: [{10000 + one.number}:80]}}\n"
        for one in guests
    ]
    host = made(backend)
    big = "<bridge name='virbr2'/><ip address='10.0.255.1' netmask='255.255.0.0'/>"
    xml = f"<network><name>big</name><forward mode='nat'/>{big}</network>"
    host.event("network", "big", "started", f"<hookData>{xml}</hookData>")
    host.event("network", "lab", "started", lab())
    host.configure(FORWARDS + "".join(lines))
    assert host.apply(*RUNNING, *guests) == 0, host.said.getvalue()
    found = []
    environment = [f"{name}={word}" for name, word in ENVIRONMENT.items()]
    strace = "env", *environment, "strace", "-fo", "/run/trace"
    updated, started = lab((LATE,)), lab((LAB, LATE))
    for operation, told in ("updated", updated), ("stopped", ""), ("started", started):
        run(*strace, *hook_argv("network", "lab", operation), input=told)
        found.append(parse(Path("/run/trace").read_text(errors="replace")))
    assert not [line for line in host.syslog() if "everything" in line]
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_guests_on_other_networks_cost_nothing(backend: str) -> None:
    """An event of a network does the same beside 1,000 guests on another one."""
    few, many = costs(backend, 0), costs(backend, OTHERS)

    pairs = [pair for of in zip(few, many) for pair in zip(*of, SLACK)]
    assert [pair for pair in pairs if pair[1] > pair[0] + pair[2]] == []
