"""conntrack_cleanup: the connections that are cut are exactly those that have to go."""

from __future__ import annotations

import errno

import pytest

from unit.builders import Host, network, parsed
from unit.flowtable import TCP, UDP, Connection, Table
from vfwhooks.config.value_syntax import Address
from vfwhooks.host.conntrack import Flows
from vfwhooks.reconcile.conntrack_cleanup import cut

GUEST, OTHER, HOST = "192.168.122.10", "192.168.122.11", "203.0.113.1"
BRIDGE = "192.168.122.1"

FORWARDED = Connection(HOST, 8080, GUEST, 80)
CONNECTIONS = {
    "forwarded": FORWARDED,
    "forwarded on another address": Connection("203.0.113.9", 8080, GUEST, 80),
    "another port of the guest's": Connection(HOST, 8443, GUEST, 443),
    "the same port, by way of another forward": Connection(HOST, 8080, GUEST, 81),
    "another forward to the same target": Connection(HOST, 9090, GUEST, 80),
    "another guest's": Connection(HOST, 8080, OTHER, 80),
    "another protocol": Connection(HOST, 8080, GUEST, 80, UDP),
    "the administrator's own, to the host": Connection(HOST, 8080, HOST, 8080),
    "straight at the guest": Connection(GUEST, 8080, GUEST, 8080),
    "out of a guest, to that port elsewhere": Connection(
        "198.51.100.7", 8080, "198.51.100.7", 8080
    ),
    "a range's first port": Connection(HOST, 5000, GUEST, 5000),
    "a range's last port": Connection(HOST, 5010, GUEST, 5010),
    "beyond a range": Connection(HOST, 5011, GUEST, 5011),
    "a range's port, elsewhere": Connection(HOST, 5001, GUEST, 5000),
    "a UDP flow that ends at the host": Connection(HOST, 53, HOST, 53, UDP),
    "a UDP flow to another port of the host": Connection(HOST, 54, HOST, 54, UDP),
    "a UDP flow through the host": Connection("1.1.1.1", 53, "1.1.1.1", 53, UDP),
    "a UDP flow that is forwarded": Connection(HOST, 53, GUEST, 53, UDP),
    "a guest's flow to libvirt's DNS": Connection(BRIDGE, 53, BRIDGE, 53, UDP),
    "a guest's flow to the host": Connection(BRIDGE, 54, BRIDGE, 54, UDP),
    "a TCP connection to the host": Connection(HOST, 53, HOST, 53, TCP),
    "IPv6": Connection("2001:db8::1", 8080, "fd00:122::10", 80),
    "IPv6 at the host": Connection("2001:db8::1", 53, "2001:db8::1", 53, UDP),
    "the host's own, by loopback": Connection(
        "127.0.0.1", 53, "127.0.0.1", 53, UDP, "127.0.0.1"
    ),
    "IPv6 at the host, on a link": Connection("fe80::1", 53, "fe80::1", 53, UDP),
    "IPv6 by loopback": Connection("::1", 53, "::1", 53, UDP, "::1"),
}


class Local(Host):
    """The host that has these addresses."""

    def is_local(self, address: Address) -> bool:
        own = HOST, BRIDGE, "2001:db8::1", "fd00:122::1", "fe80::1"
        return str(address) in own


KERNELS = "filters", "ignores", "refuses"


def cut_by(removed: str = "", added: str = "", kernel: str = "filters") -> list[str]:
    """Which connections are cut."""
    table = Table(CONNECTIONS, kernel)
    host = Local(network())
    gone, come = parsed(*[removed] * bool(removed)), parsed(*[added] * bool(added))
    count = cut(Flows(table), host, gone, come)
    assert count == len(table.cut)
    return table.cut


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (
            f"dnat 4 * tcp 8080 8080 {GUEST} 80",
            ["forwarded", "forwarded on another address"],
        ),
        (f"dnat 4 {HOST} tcp 8080 8080 {GUEST} 80", ["forwarded"]),
        (f"dnat 4 * tcp 8080 8080 {OTHER} 80", ["another guest's"]),
        (f"dnat 4 * udp 8080 8080 {GUEST} 80", ["another protocol"]),
        (
            f"dnat 4 * tcp 5000 5010 {GUEST} 5000",
            ["a range's first port", "a range's last port"],
        ),
        (f"dnat 4 * tcp 1 1 {GUEST} 1", []),
        ("dnat 6 * tcp 8080 8080 fd00:122::10 80", ["IPv6"]),
        (f"accept 4 {GUEST}", []),
        ("reject 4 * tcp 8080 8080", []),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_what_a_removed_forward_still_leads_somewhere(
    entry: str, names: list[str], kernel: str
) -> None:
    """By original port, guest and target port together, never by a port alone; also
    where the kernel cannot filter."""
    found = cut_by(removed=entry, kernel=kernel)

    assert found == names


@pytest.mark.parametrize(
    ("stay", "names"),
    [
        ([], ["forwarded", "forwarded on another address"]),
        ([f"dnat 4 {HOST} tcp 8080 8080 {GUEST} 80"], ["forwarded on another address"]),
        ([f"dnat 4 * tcp 8079 8090 {GUEST} 79"], []),
        (
            [f"dnat 4 * tcp 8080 8080 {GUEST} 81"],
            ["forwarded", "forwarded on another address"],
        ),
        (
            [
                f"dnat 4 * tcp 8079 8090 {GUEST} 79",
                f"dnat 4 {HOST} tcp 8080 8080 {OTHER} 80",
            ],
            ["forwarded"],
        ),
        (
            [
                f"dnat 4 * tcp 8080 8080 {GUEST} 80",
                f"dnat 4 {HOST} tcp 8080 8080 {OTHER} 80",
            ],
            ["forwarded"],
        ),
        (
            [
                f"dnat 4 {HOST} all 0 65535 {OTHER} 0",
                f"dnat 4 * tcp 8080 8080 {GUEST} 80",
            ],
            ["forwarded"],
        ),
        (
            [
                f"dnat 4 {HOST} all 0 65535 {OTHER} 0",
                f"dnat 4 {HOST} tcp 8080 8080 {GUEST} 80",
            ],
            ["forwarded on another address"],
        ),
    ],
)
def test_what_an_entry_that_stays_leads_there_as_well(
    stay: list[str], names: list[str]
) -> None:
    """It is forwarded as before; what is on one address goes before what is on every
    one."""
    table = Table(CONNECTIONS)

    gone = parsed(f"dnat 4 * tcp 8080 8080 {GUEST} 80")

    cut(Flows(table), Local(network()), gone, [], parsed(*stay))

    assert table.cut == names


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (f"dnat 4 * udp 53 53 {GUEST} 53", ["a UDP flow that ends at the host"]),
        (f"dnat 4 {HOST} udp 53 53 {GUEST} 53", ["a UDP flow that ends at the host"]),
        (f"dnat 4 203.0.113.9 udp 53 53 {GUEST} 53", []),
        (f"dnat 4 * tcp 53 53 {GUEST} 53", []),
        (f"dnat 4 127.0.0.1 udp 53 53 {GUEST} 53", ["the host's own, by loopback"]),
        (f"dnat 4 127.0.0.2 udp 53 53 {GUEST} 53", []),
        (
            f"dnat 4 * udp 50 60 {GUEST} 50",
            [
                "a UDP flow that ends at the host",
                "a UDP flow to another port of the host",
                "a guest's flow to the host",
            ],
        ),
        ("dnat 6 * udp 53 53 fd00:122::10 53", ["IPv6 at the host"]),
        ("reject 4 * udp 53 53", ["a UDP flow that ends at the host"]),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_what_an_added_forward_takes_over(
    entry: str, names: list[str], kernel: str
) -> None:
    """UDP flows that end at the host itself, on its loopback those of a port just
    there; none that passes through, and none of a guest's to libvirt's DNS."""
    found = cut_by(added=entry, kernel=kernel)

    assert found == names


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        ([f"dnat 4 {HOST} udp 53 53 {OTHER} 53"], ["a UDP flow that is forwarded"]),
        ([f"dnat 4 {HOST} udp 50 60 {OTHER} 50"], ["a UDP flow that is forwarded"]),
        ([f"reject 4 {HOST} udp 53 53"], ["a UDP flow that is forwarded"]),
        ([f"dnat 4 {HOST} udp 53 53 {GUEST} 53"], []),
        ([f"dnat 4 {HOST} udp 50 60 {GUEST} 50", f"reject 4 {HOST} udp 50 60"], []),
        ([f"dnat 4 203.0.113.9 udp 53 53 {OTHER} 53"], []),
        ([f"dnat 4 * udp 53 53 {OTHER} 53"], []),
        ([f"dnat 4 {HOST} tcp 8080 8080 {OTHER} 80"], []),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_what_an_added_forward_on_one_address_takes_over(
    entries: list[str], names: list[str], kernel: str
) -> None:
    """UDP flows that a forward on every address leads elsewhere: the port on one
    address goes before it."""
    table = Table(CONNECTIONS, kernel)

    cut(Flows(table), Host(network()), [], parsed(*entries))

    assert table.cut == names


def test_what_stays_on_an_address_that_is_rejected() -> None:
    """What an older entry on just this address forwards."""
    table = Table(CONNECTIONS)
    stay = parsed(f"dnat 4 {HOST} udp 53 53 {GUEST} 53")

    cut(
        Flows(table),
        Host(network()),
        [],
        parsed(f"reject 4 {HOST} all 0 65535"),
        stay,
    )

    assert table.cut == ["another protocol"]


class Leaving(Local):
    """A host on which a network is being taken down."""

    def names(self) -> list[str]:
        return [*super().names(), "gone"]


def test_what_is_left_to_libvirts_dns() -> None:
    """Of every network that is there, in both families."""
    six = "fd00:122::1"
    at = Connection(six, 53, six, 53, UDP)
    table = Table({"DNS": at, "the host's": CONNECTIONS["IPv6 at the host"]})
    host = Leaving(network(subnets=[(six, "fd00:122::/64")]))

    cut(Flows(table), host, [], parsed("dnat 6 * udp 53 53 fd00:122::10 53"))

    assert table.cut == ["the host's"]


def test_nothing_changed() -> None:
    """Nothing is cut, and nothing is listed."""
    found = cut_by()

    assert found == []


def test_a_connection_that_has_ended_meanwhile() -> None:
    """It is not there any more: as good as cut, and not counted."""
    table = Table(CONNECTIONS, error=errno.ENOENT)

    found = cut(Flows(table), Local(), parsed(f"dnat 4 * tcp 8080 8080 {GUEST} 80"), [])

    assert found == 0


def test_a_kernel_that_does_not_let_us() -> None:
    """Any other error is one."""
    flows = Flows(Table(CONNECTIONS, error=errno.EPERM))

    with pytest.raises(PermissionError):
        cut(flows, Local(), parsed(f"dnat 4 * tcp 8080 8080 {GUEST} 80"), [])


PUBLIC, ELSE, FAR = "203.0.113.7", "203.0.113.1", "198.51.100.9"


def own(source: str, to: str, answers: str, back: str, protocol: int) -> Connection:
    """Who asked whom, who answered to whom, over what."""
    return Connection(to, 999, answers, 999, protocol, source, back)


OWN = {
    "by its own address": own(GUEST, FAR, FAR, PUBLIC, TCP),
    "by its own address, UDP": own(GUEST, FAR, FAR, PUBLIC, UDP),
    "by the host's address": own(GUEST, FAR, FAR, ELSE, TCP),
    "by the host's address, UDP": own(GUEST, FAR, FAR, ELSE, UDP),
    "to the host itself": own(GUEST, BRIDGE, BRIDGE, GUEST, UDP),
    "to a forward": own(GUEST, HOST, OTHER, BRIDGE, UDP),
    "another guest's": own(OTHER, FAR, FAR, ELSE, UDP),
    "somebody's to the address": own(FAR, PUBLIC, PUBLIC, FAR, UDP),
    "somebody's TCP to the address": own(FAR, PUBLIC, PUBLIC, FAR, TCP),
    "somebody's to the guest": own(FAR, PUBLIC, GUEST, FAR, UDP),
    "somebody's TCP to the guest": own(FAR, PUBLIC, GUEST, FAR, TCP),
    "through the host to the address": own(FAR, ELSE, ELSE, FAR, UDP),
}


class Public(Host):
    """The host that has these addresses."""

    def is_local(self, address: Address) -> bool:
        return str(address) in (HOST, PUBLIC, BRIDGE)


WAY_OUT = f"snat 4 {GUEST} {PUBLIC}"
IN = f"dnat 4 {PUBLIC} all 0 65535 {GUEST} 0"


@pytest.mark.parametrize(
    ("removed", "added", "names"),
    [
        ([WAY_OUT], [], ["by its own address", "by its own address, UDP"]),
        ([], [WAY_OUT], ["by the host's address, UDP"]),
        ([IN], [], ["somebody's to the guest", "somebody's TCP to the guest"]),
        ([], [IN], ["somebody's to the address"]),
        (
            [],
            [f"reject 4 {PUBLIC} all 0 65535"],
            ["somebody's to the guest", "somebody's to the address"],
        ),
        (
            [],
            [f"dnat 4 {PUBLIC} all 0 65535 {OTHER} 0"],
            ["somebody's to the guest", "somebody's to the address"],
        ),
    ],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_open_by_a_whole_address(
    removed: list[str], added: list[str], names: list[str], kernel: str
) -> None:
    """What is taken away is cut, in and out; what is given takes the flows over that
    are not TCP's; nobody else's."""
    table = Table(OWN, kernel)

    count = cut(Flows(table), Public(network()), parsed(*removed), parsed(*added))

    assert (table.cut, count) == (names, len(names))
