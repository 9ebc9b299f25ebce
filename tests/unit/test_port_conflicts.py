"""port_conflicts: which listener keeps which port from being forwarded."""

from __future__ import annotations

import pytest

from unit.builders import Host, network, parsed, published, record, written
from vfwhooks.host.listeners import Listener
from vfwhooks.reconcile.port_conflicts import (
    Past,
    find_exempt,
    find_lasting,
    find_port_conflicts,
    find_port_owners,
    is_all,
)
from vfwhooks.store.records import Seen
from vfwhooks.values.published import parse_address

DEFAULT = "203.0.113.1"

LO, BRIDGE, ELSEWHERE = 1, 7, 3


def listener(
    address: str = "",
    families: str = "4",
    device: int = 0,
    port: int = 22,
    protocol: str = "tcp",
    inode: int = 0,
    is_kernels: bool = False,
) -> Listener:
    """sshd, as a rule on every IPv4 address."""
    bound = parse_address(address) if address else None
    return Listener(protocol, families, bound, port, device, inode, is_kernels)


def is_conflict(claim: str, *listeners: Listener, held: tuple[str, ...] = ()) -> bool:
    """Whether the claim yields, on a host that the world knows by 203.0.113.1, of which
    nothing is known from before."""
    host = Host(network(), listeners=list(listeners), default_sources=[DEFAULT])
    one = published(claim)
    met, _ = find_lasting(
        find_port_conflicts([one], parsed(*held), host), Past(), host, 0
    )
    return one in find_port_owners(met, host)


CASES = {
    # claim, listener, whether it yields
    "every address, wildcard": ("4 * tcp 22 22", listener(), True),
    "every address, one": ("4 * tcp 22 22", listener("203.0.113.5"), True),
    "the same address": ("4 203.0.113.5 tcp 22 22", listener("203.0.113.5"), True),
    "another address": ("4 203.0.113.5 tcp 22 22", listener("203.0.113.6"), False),
    "default source, wildcard": (f"4 {DEFAULT} tcp 22 22", listener(), True),
    "second address, wildcard": ("4 203.0.113.5 tcp 22 22", listener(), False),
    "loopback": ("4 * tcp 22 22", listener("127.0.0.53"), False),
    "loopback, IPv6": ("6 * tcp 22 22", listener("::1", "6"), False),
    "loopback's device": ("4 * tcp 22 22", listener(device=LO), False),
    "loopback, asked for": ("4 127.0.0.1 tcp 22 22", listener("127.0.0.1"), True),
    "libvirt's bridge": ("4 * tcp 22 22", listener("192.168.122.1"), False),
    "libvirt's bridge's device": ("4 * tcp 22 22", listener(device=BRIDGE), False),
    "another device": ("4 * tcp 22 22", listener(device=ELSEWHERE), True),
    "multicast": ("4 * tcp 22 22", listener("224.0.0.251"), False),
    "the highest multicast": ("4 * tcp 22 22", listener("239.255.255.250"), False),
    "beyond multicast": ("4 * tcp 22 22", listener("240.0.0.1"), True),
    "multicast, IPv6": ("6 * tcp 22 22", listener("ff02::fb", "6"), False),
    "an address of a link": ("6 * tcp 22 22", listener("fe80::1", "6"), False),
    "an address of a link, IPv4": ("4 * tcp 22 22", listener("169.254.0.1"), True),
    "an address that begins like loopback": (
        "4 * tcp 22 22",
        listener("12.7.0.1"),
        True,
    ),
    "dual stack for IPv4": ("4 * tcp 22 22", listener(families="46"), True),
    "dual stack for IPv6": ("6 * tcp 22 22", listener(families="46"), True),
    "IPv6 only": ("4 * tcp 22 22", listener(families="6"), False),
    "IPv4 for IPv6": ("6 * tcp 22 22", listener(), False),
    "another port": ("4 * tcp 22 22", listener(port=23), False),
    "another protocol": ("4 * udp 22 22", listener(), False),
    "first of a range": ("4 * tcp 22 30", listener(), True),
    "last of a range": ("4 * tcp 10 22", listener(), True),
    "beside a range": ("4 * tcp 23 30", listener(), False),
    "udp": ("4 * udp 5000 5000", listener(port=5000, protocol="udp"), True),
    "udp, high in a range": (
        "4 * udp 5000 5001",
        listener(port=5000, protocol="udp"),
        False,
    ),
    "udp, low in a range": (
        "4 * udp 100 5001",
        listener(port=161, protocol="udp"),
        True,
    ),
    "udp, the highest of the low in a range": (
        "4 * udp 100 5001",
        listener(port=1023, protocol="udp"),
        True,
    ),
    "udp, the lowest of the high in a range": (
        "4 * udp 100 5001",
        listener(port=1024, protocol="udp"),
        False,
    ),
    "udp, high in a range, the kernel's own": (
        "4 * udp 5000 5001",
        listener(port=5000, protocol="udp", is_kernels=True),
        True,
    ),
    "the kernel's own, another address": (
        "4 203.0.113.5 udp 5000 5001",
        listener(port=5000, protocol="udp", is_kernels=True),
        False,
    ),
    "sctp": ("4 * sctp 22 22", listener(protocol="sctp"), True),
}


@pytest.mark.parametrize("name", CASES)
def test_who_yields(name: str) -> None:
    """Every pair of a claim and a listener."""
    claim, other, yields = CASES[name]

    assert is_conflict(claim, other) is yields


LEFT = {
    # claims, what is in force, the listener, what is left to the host
    "a bridge's address": (
        "4 * tcp 22 22",
        "",
        listener("192.168.122.1"),
        "left 4 192.168.122.1 tcp 22 22",
    ),
    "a bridge": (
        "4 * tcp 10 30",
        "",
        listener(device=BRIDGE),
        "left 4 192.168.122.1 tcp 22 22",
    ),
    "bound elsewhere": ("4 203.0.113.5 tcp 22 22", "", listener("192.168.122.1"), ""),
    "not of a bridge": ("4 * tcp 22 22", "", listener("203.0.113.5"), ""),
    "every address": ("4 * tcp 22 22", "", listener(), ""),
    "libvirt's DNS": ("4 * tcp 53 53", "", listener("192.168.122.1", port=53), ""),
    "came later": (
        "4 * tcp 22 22",
        "dnat 4 * tcp 22 22 192.168.122.10 22",
        listener("192.168.122.1"),
        "",
    ),
    "in force": (
        "4 * tcp 22 22",
        "left 4 192.168.122.1 tcp 22 22",
        listener("203.0.113.5"),
        "left 4 192.168.122.1 tcp 22 22",
    ),
    "not published any more": (
        "4 * tcp 23 23",
        "left 4 192.168.122.1 tcp 22 22",
        listener("203.0.113.5"),
        "",
    ),
}


@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_to_services_on_bridges(name: str) -> None:
    """A service bound to libvirt's bridge keeps its port there, as long as the port is
    published on every address."""
    claim, held, other, left = LEFT[name]
    host = Host(network(), listeners=[other])

    in_force = parsed(*[held] * bool(held))
    met = find_port_conflicts([published(claim)], in_force, host)

    found = find_exempt([published(claim)], in_force, met, host)

    assert written(found) == [left] * bool(left)


HELD = {
    # what is in force, the claim, whether it yields to a listener on tcp 0.0.0.0:22
    "the same": ("dnat 4 * tcp 22 22 192.168.122.10 22", "4 * tcp 22 22", False),
    "within": ("dnat 4 * tcp 20 30 192.168.122.10 20", "4 * tcp 22 25", False),
    "grown around it": ("dnat 4 * tcp 20 30 192.168.122.10 20", "4 * tcp 10 40", False),
    "grown over it": ("dnat 4 * tcp 24 30 192.168.122.10 24", "4 * tcp 20 30", True),
    "bound, was every": (
        "dnat 4 * tcp 22 22 192.168.122.10 22",
        f"4 {DEFAULT} tcp 22 22",
        False,
    ),
    "every, was bound": (
        f"dnat 4 {DEFAULT} tcp 22 22 192.168.122.10 22",
        "4 * tcp 22 22",
        True,
    ),
    "another protocol": ("dnat 4 * udp 22 22 192.168.122.10 22", "4 * tcp 22 22", True),
    "the other family": ("dnat 6 * tcp 22 22 fd00:122::10 22", "4 * tcp 22 22", True),
    "rejected while stopped": ("reject 4 * tcp 22 22", "4 * tcp 22 22", False),
    "another entry": ("guard 4 * tcp 22 22 allow_1", "4 * tcp 22 22", True),
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_in_force_stays(name: str) -> None:
    """A listener that came later than the port was published takes nothing back."""
    held, claim, yields = HELD[name]

    assert is_conflict(claim, listener(), held=(held,)) is yields


RANGE, BOUND = "4 * udp 5000 5100", f"4 {DEFAULT} udp 5000 5100"
PORT, BOUND_PORT = "4 * udp 5050 5050", f"4 {DEFAULT} udp 5050 5050"
IN_FORCE = "dnat 4 * udp 5000 5100 192.168.122.10 5000"
LATE, EARLY, NOW = 300, 100, 200


def seen_as(what: str) -> Seen:
    """A socket that was seen: its port, and its inode."""
    port, _, inode = what.rpartition(" ")
    return Seen(published(port), int(inode))


VPN = listener(port=5050, protocol="udp", inode=7)
PAST = {
    # what is published, what is in force, yields, seen and when, what is kept, seen
    "nothing is known": (RANGE, "", "", {}, [], [f"{PORT} 7"]),
    "one address": (BOUND, "", "", {}, [], [f"{BOUND_PORT} 7"]),
    "seen of late": (RANGE, IN_FORCE, "", {f"{PORT} 7": LATE}, [], [f"{PORT} 7"]),
    "seen long ago": (RANGE, IN_FORCE, "", {f"{PORT} 7": EARLY}, [5050], []),
    "seen just then": (RANGE, IN_FORCE, "", {f"{PORT} 7": NOW}, [5050], []),
    "another was seen": (RANGE, IN_FORCE, "", {f"{PORT} 8": EARLY}, [], []),
    "seen elsewhere": (RANGE, IN_FORCE, "", {f"{BOUND_PORT} 7": EARLY}, [], []),
    "it came later": (RANGE, IN_FORCE, "", {}, [], []),
    "it had its port": (RANGE, "", PORT, {}, [5050], []),
    "it had its port, ended midway": (RANGE, IN_FORCE, PORT, {}, [5050], []),
    "the range has grown": (
        "4 * udp 4000 6000",
        IN_FORCE,
        "",
        {f"{PORT} 7": EARLY},
        [5050],
        [],
    ),
    "no range any more": (PORT, "", "", {}, [5050], []),
}


@pytest.mark.parametrize("name", PAST)
def test_a_socket_is_there_to_stay_when_it_was_seen_before(name: str) -> None:
    """A socket on a high port of a range is noted, and keeps its port when the same one
    is there later on."""
    claim, held, yields, before, kept, seen = PAST[name]
    known = record(entries=[held] * bool(held))
    known.yields = [published(one) for one in [yields] * bool(yields)]
    known.seen = {seen_as(what): stamp for what, stamp in before.items()}
    host = Host(network(), listeners=[VPN], default_sources=[DEFAULT])
    past = Past([known])

    met = find_port_conflicts([published(claim)], known.entries, host, past)
    lasting, noted = find_lasting(met, past, host, NOW)

    found = [list(ports) for ports in find_port_owners(lasting, host).values()]
    assert (found, list(noted)) == ([kept] * bool(kept), list(map(seen_as, seen)))


@pytest.mark.parametrize(
    ("is_there", "is_first", "had_it", "expected"),
    [
        (True, True, False, True),
        (True, False, False, False),
        (True, False, True, True),
        (False, False, False, True),
    ],
)
def test_one_address_without_a_default_route(
    is_there: bool, is_first: bool, had_it: bool, expected: bool
) -> None:
    """A wildcard listener has the port where it had it before, on the first address of
    an interface, and on one that is not there yet; on a further address it has not."""
    one = published(f"4 {DEFAULT} tcp 22 22")
    known = record()
    known.yields = [one] * had_it
    host = Host(
        network(),
        listeners=[listener()],
        first=[DEFAULT] * is_first,
        devices={DEFAULT: "eth0"} if is_there else {},
    )
    past = Past([known])

    met = find_port_conflicts([one], [], host, past)

    assert (one in find_port_owners(met, host, past)) is expected


def test_a_socket_is_noted_with_its_first_moment() -> None:
    """However often it is looked at; of several records, the earliest."""
    records = [record(), record()]
    seen = seen_as(f"{PORT} 7")
    records[0].seen, records[1].seen = {seen: LATE}, {seen: LATE + 1}
    host = Host(network(), listeners=[VPN])
    past = Past(records)

    met = find_port_conflicts([published(RANGE)], parsed(IN_FORCE), host, past)

    assert find_lasting(met, past, host, NOW)[1] == {seen: LATE}


@pytest.mark.parametrize("address", ["127.0.0.1", "224.0.0.251"])
def test_a_socket_that_keeps_nothing_is_not_noted(address: str) -> None:
    """Nobody need look again at what is on loopback or multicast."""
    other = listener(address, port=5050, protocol="udp", inode=7)
    host = Host(network(), listeners=[other])

    met = find_port_conflicts([published(RANGE)], [], host)

    assert find_lasting(met, Past(), host, NOW) == ([], {})


def test_a_socket_on_a_bridge_is_noted() -> None:
    """It may keep its port on the bridge's address, when it stays."""
    other = listener("192.168.122.1", port=5050, protocol="udp", inode=7)
    host = Host(network(), listeners=[other])

    met = find_port_conflicts([published(RANGE)], [], host)

    assert list(find_lasting(met, Past(), host, NOW)[1]) == [seen_as(f"{PORT} 7")]


def test_all_listeners_of_a_range() -> None:
    """Each with its port, however many of its sockets there are."""
    some = [listener(port=port, inode=n) for n, port in enumerate((22, 22, 25))]
    host = Host(network(), listeners=some)

    one = published("4 * tcp 20 30")

    found = find_port_owners(find_port_conflicts([one], [], host), host)

    assert found == {one: {22: some[0], 25: some[2]}}


@pytest.mark.parametrize(
    ("one", "ports", "is_so"),
    [
        ("4 * tcp 22 22", [22], True),
        ("4 * tcp 22 23", [22], False),
        ("4 * tcp 22 23", [22, 23], True),
        ("4 203.0.113.7 all 0 65535", [22], True),
    ],
)
def test_whether_anything_is_left(one: str, ports: list[int], is_so: bool) -> None:
    """A whole address is forwarded whole or not at all."""
    assert is_all(published(one), ports) is is_so
