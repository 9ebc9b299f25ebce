"""guest_addresses: where a guest is, and why it is nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from unit.builders import MAC, OTHER_MAC, Host, at, guest, network, nic
from vfwhooks.config.compiled_lines import parse_settings
from vfwhooks.config.port_mappings import Settings
from vfwhooks.config.value_syntax import Address
from vfwhooks.reconcile.guest_addresses import (
    Endpoint,
    find_endpoint,
    find_network,
    is_inside,
)
from vfwhooks.store.records import Ousted
from vfwhooks.values.errors import VfwError
from vfwhooks.values.guests import Guest, Network
from vfwhooks.values.published import parse_address, parse_subnet

LATER, SOONER = 2_000_000_000, 1_900_000_000
DUAL = [("192.168.122.1", "192.168.122.0/24"), ("fd00:122::1", "fd00:122::/64")]
ON_THE_LAN = "is reached without forwards, at its own address on the LAN"
NOW = "192.168.122.40"
NOT_FOUND = f"no reservation, lease or neighbour for {MAC} on virbr0"


def find(
    host: Host, of: Guest | None = None, *lines: str, now: Sequence[str] = ()
) -> tuple[object, str]:
    """The addresses of a guest with these settings, and the reason."""
    found = find_endpoint(of or guest(), parse_settings(lines), host, at(*now))
    return shown(found), found.reason


def shown(found: Endpoint) -> dict[str, str]:
    """The addresses as text."""
    return {str(family): str(one) for family, one in found.addresses.items()}


def reserved(*addresses: str, mac: str = MAC) -> Network:
    """The default network with a reservation, both families in it."""
    return network(subnets=DUAL, reservations={mac: list(addresses)})


def test_own_word_wins() -> None:
    """`address:` is used even when a reservation differs, and nothing is looked up."""
    host = Host(reserved("192.168.122.10", "fd00:122::10"))

    found = find(host, None, "address 192.168.122.50", "address fd00:122::50")

    addresses = {"4": "192.168.122.50", "6": "fd00:122::50"}
    assert (found, host.asked) == ((addresses, ""), [])


def test_reservation_wins_over_lease() -> None:
    """A reservation is used even when a lease differs, which is not looked at."""
    host = Host(
        reserved("192.168.122.10", "fd00:122::10"),
        leases={("virbr0", MAC): [(LATER, "192.168.122.99")]},
    )

    found = find(host)

    addresses = {"4": "192.168.122.10", "6": "fd00:122::10"}
    assert (found, host.asked) == ((addresses, ""), [])


class Unreadable(Host):
    """A host whose leases cannot be read."""

    def leases(self, bridge: str, mac: str) -> list[tuple[int, Address]]:
        raise VfwError(f"{bridge}.status: no JSON")


def test_leases_that_cannot_be_read() -> None:
    """Whoever has no need of them is found; whoever has hears why not."""
    reservation = find(Unreadable(reserved("192.168.122.10", "fd00:122::10")))
    neighbours = {("virbr0", MAC): ["192.168.122.30"]}
    neighbour = find(Unreadable(network(), neighbours=neighbours))
    stays = find(Unreadable(network()), now=["192.168.122.20"])

    nowhere = find(Unreadable(network()))

    assert [found for found, _ in (reservation, neighbour, stays)] == [
        {"4": "192.168.122.10", "6": "fd00:122::10"},
        {"4": "192.168.122.30"},
        {"4": "192.168.122.20"},
    ]
    assert nowhere == ({}, f"{NOT_FOUND} (IPv4); virbr0.status: no JSON")


def test_lease_wins_over_neighbour() -> None:
    """With a lease the neighbour table is not looked at."""
    host = Host(
        network(),
        leases={
            ("virbr0", MAC): [(LATER, "192.168.122.20"), (SOONER, "192.168.122.9")]
        },
        neighbours={("virbr0", MAC): ["192.168.122.30"]},
    )

    found = find(host)

    assert (found, host.asked) == (
        ({"4": "192.168.122.20"}, ""),
        [f"leases virbr0 {MAC}", "neighbour at virbr0 192.168.122.20"],
    )


def test_of_two_neighbours_the_one_that_it_is_at() -> None:
    """A guest with both addresses stays where it is."""
    both = ["192.168.122.30", "192.168.122.31"]
    host = Host(network(), neighbours={("virbr0", MAC): both})

    found = [find(host, now=[now])[0] for now in both]

    assert found == [{"4": now} for now in both]


def test_neighbour_is_the_last_resort() -> None:
    """Without reservation and lease, the bridge's neighbour table by MAC."""
    host = Host(network(), neighbours={("virbr0", MAC): ["192.168.122.30"]})

    found = find(host)

    assert found == ({"4": "192.168.122.30"}, "")


def test_a_lease_on_an_address_that_another_has_by_now() -> None:
    """A lease on file may be stale: the neighbour table says who is there."""
    host = Host(
        network(),
        leases={
            ("virbr0", MAC): [(LATER, "192.168.122.20"), (SOONER, "192.168.122.9")]
        },
        holders={("virbr0", "192.168.122.20"): OTHER_MAC},
    )

    found = find(host)

    assert found == ({"4": "192.168.122.9"}, "")


@pytest.mark.parametrize(
    ("neighbours", "now", "expected"),
    [
        (["192.168.122.100"], [], "192.168.122.100"),
        ([], [], "192.168.122.99"),
        (["192.168.122.99", "192.168.122.100"], ["192.168.122.100"], "192.168.122.100"),
        (["192.168.122.99"], ["192.168.122.100"], "192.168.122.99"),
        (["192.168.122.30"], [], "192.168.122.99"),
    ],
)
def test_two_leases_that_are_as_new(
    neighbours: list[str], now: list[str], expected: str
) -> None:
    """Where the guest is seen, if it is at one of them; it stays where it is, if it is
    at both. Leases without end have no other order."""
    both = [(1 << 62, "192.168.122.99"), (1 << 62, "192.168.122.100")]
    host = Host(
        network(),
        leases={("virbr0", MAC): both},
        neighbours={("virbr0", MAC): neighbours},
    )

    found = find(host, now=now)

    assert found == ({"4": expected}, "")


@pytest.mark.parametrize(
    ("silent", "neighbours", "now", "expected"),
    [
        (["192.168.122.20"], [], [], "192.168.122.9"),
        (["192.168.122.20"], ["192.168.122.30"], [], "192.168.122.9"),
        (["192.168.122.9"], [], [], "192.168.122.20"),
        (["192.168.122.20", "192.168.122.9"], [], [], "192.168.122.20"),
        (["192.168.122.20", "192.168.122.9"], [], [NOW], "192.168.122.20"),
        (
            ["192.168.122.20", "192.168.122.9"],
            ["192.168.122.30"],
            [],
            "192.168.122.30",
        ),
    ],
)
def test_a_lease_where_nobody_answers(
    silent: list[str], neighbours: list[str], now: list[str], expected: str
) -> None:
    """The guest had it before, and has another address by now, if it is known to have
    one: another lease, or where it is seen."""
    some = [(LATER, "192.168.122.20"), (SOONER, "192.168.122.9")]
    host = Host(
        network(),
        leases={("virbr0", MAC): some},
        neighbours={("virbr0", MAC): neighbours},
        silent=silent,
    )

    found = find(host, now=now)

    assert found == ({"4": expected}, "")


def test_leases_of_both_families_that_are_as_new() -> None:
    """One in each family is the only one there: the neighbour table is not listed."""
    both = [(LATER, "192.168.122.20"), (LATER, "fd00:122::20")]
    host = Host(network(subnets=DUAL), leases={("virbr0", MAC): both})

    found = find(host)

    assert found == ({"4": "192.168.122.20", "6": "fd00:122::20"}, "")
    assert f"neighbours virbr0 {MAC}" not in host.asked


def test_a_lease_that_another_answers() -> None:
    """With nothing else to go by, whoever is there is named: as a guest, if known."""
    host = Host(
        network(),
        leases={("virbr0", MAC): [(LATER, "192.168.122.20")]},
        holders={("virbr0", "192.168.122.20"): OTHER_MAC},
    )
    names = {OTHER_MAC: "web\x1b2"}

    found = [
        find(host)[1],
        find_endpoint(guest(), Settings(), host, {}, (), names).reason,
    ]

    lease = "lease 192.168.122.20 is answered by"
    assert found == [
        f"{lease} {OTHER_MAC}: same machine-id?",
        f"{lease} web\\x1b2: same machine-id?",
    ]


def test_a_lease_of_the_other_family_that_another_answers() -> None:
    """Each family has its own reason."""
    host = Host(
        network(subnets=DUAL),
        leases={("virbr0", MAC): [(LATER, "fd00:122::20")]},
        holders={("virbr0", "fd00:122::20"): OTHER_MAC},
    )

    found = find(host)

    six = f"lease fd00:122::20 is answered by {OTHER_MAC}: same machine-id?"
    assert found == ({}, f"{NOT_FOUND} (IPv4); {six}")


@pytest.mark.parametrize(
    ("ousted", "addresses"),
    [
        (f"192.168.122.40 {OTHER_MAC}", at("192.168.122.40")),
        (f"192.168.122.41 {OTHER_MAC}", {}),
        ("192.168.122.40 52:54:00:00:00:99", {}),
    ],
)
def test_where_a_guest_is_that_has_ousted_another(
    ousted: str, addresses: object
) -> None:
    """It stays, also when that one is seen there; nobody else is meant."""
    host = Host(network(), holders={("virbr0", NOW): OTHER_MAC})
    address, mac = ousted.split(" ")
    one = Ousted(parse_address(address), mac)

    found = find_endpoint(guest(), Settings(), host, at(NOW), [one])

    assert found.addresses == addresses


def test_a_lease_that_the_neighbour_table_confirms() -> None:
    """The guest itself is nobody else."""
    host = Host(
        network(),
        leases={("virbr0", MAC): [(LATER, "192.168.122.20")]},
        holders={("virbr0", "192.168.122.20"): MAC},
    )

    found = find(host)

    assert found == ({"4": "192.168.122.20"}, "")


def test_a_lease_that_answers_by_the_other_card() -> None:
    """A guest with two cards on one network answers for each address by either of
    them: that is nobody else, and the forwards stay where they are."""
    host = Host(
        network(),
        leases={
            ("virbr0", MAC): [(LATER, "192.168.122.20")],
            ("virbr0", OTHER_MAC): [(LATER, "192.168.122.21")],
        },
        holders={("virbr0", "192.168.122.20"): OTHER_MAC},
    )
    both = guest(nics=[nic(), nic(OTHER_MAC)])

    found = find(host, both, now=["192.168.122.20"])

    assert found == ({"4": "192.168.122.20"}, "")


def test_a_reservation_holds_whoever_is_there() -> None:
    """What the administrator wrote is not overruled by a neighbour."""
    host = Host(
        reserved("192.168.122.10"), holders={("virbr0", "192.168.122.10"): OTHER_MAC}
    )

    found = find(host)

    assert found == ({"4": "192.168.122.10"}, "")


THERE = {"4": NOW}
ELSEWHERE = {("virbr0", MAC): ["192.168.122.30"]}
AT_30 = {"4": "192.168.122.30"}


@pytest.mark.parametrize(
    ("host", "now", "addresses"),
    [
        (Host(network()), NOW, THERE),
        (Host(network()), "10.0.0.1", {}),
        (Host(network()), "fd00:122::40", {}),
        (Host(network(), holders={("virbr0", NOW): MAC}), NOW, THERE),
        (Host(network(), holders={("virbr0", NOW): OTHER_MAC}), NOW, {}),
        (Host(network(), neighbours=ELSEWHERE, silent=[NOW]), NOW, AT_30),
        (Host(network(), neighbours=ELSEWHERE), NOW, THERE),
        (
            Host(network(), neighbours=ELSEWHERE, holders={("virbr0", NOW): OTHER_MAC}),
            NOW,
            AT_30,
        ),
        (Host(network(), neighbours=ELSEWHERE), "10.0.0.1", AT_30),
        (Host(network(), silent=[NOW]), NOW, THERE),
    ],
)
def test_where_a_guest_is_already(host: Host, now: str, addresses: object) -> None:
    """That holds, until somebody else is there, or until the guest is seen elsewhere
    and does not answer here."""
    found, _ = find(host, now=[now])

    assert found == addresses


def test_nowhere() -> None:
    """The reason says what was looked at, once a family that the network has."""
    found = find(Host(network(subnets=DUAL)))

    assert found == ({}, f"{NOT_FOUND} (IPv4); {NOT_FOUND} (IPv6)")


def test_another_guests_reservation_is_not_ours() -> None:
    """Reservations count by MAC."""
    found = find(Host(network(reservations={OTHER_MAC: ["192.168.122.11"]})))

    assert found == ({}, f"{NOT_FOUND} (IPv4)")


@pytest.mark.parametrize("outside", ["192.168.121.10", "10.0.0.1", "fd00:122::10"])
def test_an_address_outside_the_network_is_passed_over(outside: str) -> None:
    """A reservation, lease or neighbour counts only inside the network."""
    host = Host(
        network(reservations={MAC: [outside]}),
        leases={("virbr0", MAC): [(LATER, outside)]},
        neighbours={("virbr0", MAC): [outside, "192.168.122.30"]},
    )

    found = find(host)

    assert found == ({"4": "192.168.122.30"}, "")


def test_own_word_outside_the_network() -> None:
    """An `address:` that the network does not have waits, and says so."""
    found = find(Host(network()), None, "address 192.168.121.50")

    assert found == ({}, "address 192.168.121.50 is outside network default")


def test_own_word_of_a_family_that_the_network_does_not_have() -> None:
    """Where libvirt knows no subnet of a family, `address:` is all there is."""
    found = find(Host(network()), None, "address fd00:122::50")

    assert found == ({"6": "fd00:122::50"}, "")


def test_one_family_of_two() -> None:
    """A guest that is found in one family has no reason to wait."""
    found = find(Host(reserved("fd00:122::10")))

    assert found == ({"6": "fd00:122::10"}, "")


def test_the_first_interface_with_an_address_counts() -> None:
    """For each family, in the order of the interfaces."""
    second = nic(OTHER_MAC, network="isolated", bridge="virbr1")
    host = Host(
        network(subnets=DUAL, reservations={MAC: ["fd00:122::10"]}),
        network(
            "isolated",
            "virbr1",
            "none",
            [("10.1.0.1", "10.1.0.0/16"), ("fd00:1::1", "fd00:1::/64")],
            {OTHER_MAC: ["10.1.0.10", "fd00:1::10"]},
        ),
    )

    found = find(host, guest(nics=[nic(), second]))

    assert found == ({"4": "10.1.0.10", "6": "fd00:122::10"}, "")


@pytest.mark.parametrize(
    ("chosen", "addresses"),
    [
        ("network default", {"4": "192.168.122.10"}),
        ("network virbr0", {"4": "192.168.122.10"}),
        ("network isolated", {"4": "10.1.0.10"}),
        ("network virbr1", {"4": "10.1.0.10"}),
    ],
)
def test_network_chooses_the_interface(chosen: str, addresses: object) -> None:
    """`network:` names a network, or a bridge."""
    second = nic(OTHER_MAC, network="isolated", bridge="virbr1")
    subnets = [("10.1.0.1", "10.1.0.0/16")]
    isolated = {OTHER_MAC: ["10.1.0.10"]}
    host = Host(
        network(reservations={MAC: ["192.168.122.10"]}),
        network("isolated", "virbr1", "none", subnets, isolated),
    )

    found = find(host, guest(nics=[nic(), second]), chosen)

    assert found == (addresses, "")


def test_no_interface_on_the_chosen_network() -> None:
    """A `network:` that the guest is not on is named."""
    found = find(Host(network()), None, "network lan")

    assert found == ({}, "the guest has no interface on network lan")


def test_no_interface() -> None:
    """A guest without interfaces waits for ever, and says why."""
    found = find(Host(network()), guest(nics=[]))

    assert found == ({}, "the guest has no interface")


def test_networks_of_the_interfaces() -> None:
    """The networks that the guest needs entries of, reached or not."""
    one, other = network(), network("other", "virbr1")
    nics = [nic(), nic(OTHER_MAC, network="other"), nic(network="gone")]

    found = find_endpoint(guest(nics=nics), Settings(), Host(one, other), {})

    assert found.networks == [one, other]


def test_reasons_of_all_interfaces_are_given() -> None:
    """Each interface has its own reason to be passed over."""
    nics = [nic(network="gone"), nic(OTHER_MAC, "direct", "", "eth0")]

    found = find(Host(network()), guest(nics=nics))

    assert found == (
        {},
        f"network gone is not active; interface {OTHER_MAC} (direct) {ON_THE_LAN}",
    )


def test_whereabouts_is_a_plain_value() -> None:
    """What is given is what is kept."""
    where = Endpoint(at("10.0.0.1"), [], "why")

    assert (where.addresses, where.networks, where.reason) == (
        at("10.0.0.1"),
        [],
        "why",
    )


@pytest.mark.parametrize("mode", ["none", "nat", "route", "open"])
@pytest.mark.parametrize("kind", ["network", "bridge"])
def test_networks_behind_libvirt(mode: str, kind: str) -> None:
    """Interfaces of type network or bridge whose network has one of four modes."""
    default = network(mode=mode)

    found = find_network(nic(kind=kind), Host(default))

    assert found == (default, "")


@pytest.mark.parametrize(
    "mode", ["bridge", "vepa", "private", "passthrough", "hostdev", "macvtap"]
)
@pytest.mark.parametrize("kind", ["network", "bridge"])
def test_networks_that_lead_outside(mode: str, kind: str) -> None:
    """The forward mode decides, not the interface's type."""
    found = find_network(nic(kind=kind), Host(network(mode=mode, bridge="")))

    assert found == (None, f"interface {MAC} (mode {mode}) {ON_THE_LAN}")


OWN_BRIDGE = (
    "is the host's own, not a network of libvirt's: on the LAN the guest is reached at "
    "its own address, without forwards; behind NAT, write bridge: br-nat"
)


@pytest.mark.parametrize("via", [None, network("br", "br-nat", "bridge", [])])
def test_a_bridge_of_the_hosts_own(via: Network | None) -> None:
    """It may be the LAN, or behind NAT of the administrator's: named directly, or by a
    network that leaves it as it is."""
    where = "br" if via else ""
    on = nic(kind="bridge", network=where, bridge="br-nat")

    found = find_network(on, Host(network(), *([via] if via else [])))

    assert found == (None, f"interface {MAC}: bridge br-nat {OWN_BRIDGE}")


TYPED = "an interface of type network can be"
PASST = "user network; passt's portForward does that"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("direct", f"(direct) {ON_THE_LAN}"),
        ("hostdev", f"(hostdev) {ON_THE_LAN}"),
        ("vdpa", f"(vdpa) {ON_THE_LAN}"),
        ("user", f"(user network) cannot be forwarded to: {PASST}"),
        ("passt", f"(user network, passt) cannot be forwarded to: {PASST}"),
        (
            "vhostuser",
            "(vhostuser) cannot be forwarded to: its packets go to another process, "
            "past the kernel; forward there",
        ),
        (
            "ethernet",
            "(ethernet) cannot be forwarded to: its device is whoever's who made it; "
            "forward there, or plug it into a network of libvirt's",
        ),
        (
            "udp",
            f"(udp) cannot be forwarded to: a tunnel to another process; {TYPED}",
        ),
        (
            "mcast",
            f"(mcast) cannot be forwarded to: a tunnel to other guests; {TYPED}",
        ),
        (
            "null",
            f"(null) cannot be forwarded to: it is connected to nothing; {TYPED}",
        ),
        (
            "later",
            "(later) cannot be forwarded to: it is on no network of libvirt's; "
            f"{TYPED}",
        ),
    ],
)
def test_interfaces_that_are_on_no_network(kind: str, said: str) -> None:
    """What is true of each: some are on the LAN, some nobody can forward to."""
    found = find_network(nic(kind=kind, network="", bridge=""), Host(network()))

    assert found == (None, f"interface {MAC} {said}")


def test_a_bridge_of_libvirts_without_its_networks_name() -> None:
    """Xen's guests name virbr0 and no network, and are behind libvirt's REJECT."""

    class Xen(Host):
        def network_of(self, bridge: str) -> Network | None:
            return default if bridge == "virbr0" else None

    default = network()

    found = find_network(nic(kind="bridge", network=""), Xen())
    macvtap = find_network(nic(kind="direct", network=""), Xen())

    reason = f"interface {MAC} (direct) {ON_THE_LAN}"
    assert (found, macvtap) == ((default, ""), (None, reason))


def test_a_network_that_is_not_active() -> None:
    """A stopped network is named."""
    found = find_network(nic(network="lan"), Host(network()))

    assert found == (None, "network lan is not active")


@pytest.mark.parametrize(
    ("address", "subnets", "expected"),
    [
        ("192.168.122.0", ["192.168.122.0/24"], True),
        ("192.168.122.255", ["192.168.122.0/24"], True),
        ("192.168.123.0", ["192.168.122.0/24"], False),
        ("192.168.121.255", ["192.168.122.0/24"], False),
        ("192.168.123.0", ["10.0.0.0/8", "192.168.122.0/23"], True),
        ("10.0.0.1", ["10.0.0.1/32"], True),
        ("10.0.0.2", ["10.0.0.1/32"], False),
        ("1.2.3.4", ["0.0.0.0/0"], True),
        ("fd00::1", ["fd00::/64"], True),
        ("fd00:0:0:1::1", ["fd00::/64"], False),
        ("::a", ["0.0.0.0/0"], False),
        ("0.0.0.10", ["::/0"], False),
        ("10.0.0.1", [], False),
    ],
)
def test_is_inside(address: str, subnets: list[str], expected: bool) -> None:
    """Any of the subnets of the address's own family."""
    found = is_inside(parse_address(address), map(parse_subnet, subnets))

    assert found == expected


BRIDGE = [("10.9.0.1", "10.9.0.0/24"), ("fd00:9::1", "fd00:9::/64")]
BR_NAT = network("/bridge:br-nat", "br-nat", "open", BRIDGE)
ON_BR_NAT = guest(nics=[nic(kind="bridge", network="", bridge="br-nat")])
KEY = "bridge br-nat"


def test_a_bridge_by_address() -> None:
    """What the file says, in both families, where it is in a subnet of the bridge's."""
    lines = "address 10.9.0.51", "address fd00:9::51"

    found = find(Host(network(), BR_NAT), ON_BR_NAT, KEY, *lines)

    assert found == ({"4": "10.9.0.51", "6": "fd00:9::51"}, "")


def test_a_bridge_by_its_neighbours() -> None:
    """Those in its subnets, by MAC."""
    known = {("br-nat", MAC): ["10.8.0.51", "10.9.0.51", "fe80::1", "fd00:9::51"]}

    found = find(Host(BR_NAT, neighbours=known), ON_BR_NAT, KEY)

    assert found == ({"4": "10.9.0.51", "6": "fd00:9::51"}, "")


@pytest.mark.parametrize(
    ("lines", "known", "said"),
    [
        (
            ["address 10.8.0.51"],
            [("10.9.0.1", "10.9.0.0/24")],
            "address 10.8.0.51 is outside 10.9.0.0/24 of br-nat",
        ),
        (
            [],
            [("10.9.0.1", "10.9.0.0/24")],
            f"no reservation, lease or neighbour for {MAC} on br-nat (IPv4); write "
            "address:, or have the guest send something",
        ),
        (
            ["address 10.9.0.51"],
            [],
            "the host has no address on bridge br-nat: on the LAN the guest is reached "
            "at its own address, without forwards; behind NAT, give br-nat the guests' "
            "gateway address",
        ),
        (
            ["address 10.9.0.51"],
            None,
            "bridge br-nat is not there; forwards come with it",
        ),
    ],
)
def test_nowhere_on_a_bridge(
    lines: list[str], known: list[tuple[str, str]] | None, said: str
) -> None:
    """The reason says what misses: an address in the subnet, or the bridge itself."""
    bridge = "/bridge:br-nat", "br-nat", "open"
    own = [] if known is None else [network(*bridge, known)]

    found = find(Host(network(), *own), ON_BR_NAT, KEY, *lines)

    assert found == ({}, said)


def test_a_family_that_the_bridge_lacks() -> None:
    """An address of it leads nowhere; the other family is served."""
    four = network("/bridge:br-nat", "br-nat", "open", BRIDGE[:1])
    lines = "address 10.9.0.51", "address fd00:9::51"

    found = find(Host(four), ON_BR_NAT, KEY, *lines)

    assert found == ({"4": "10.9.0.51"}, "")


def test_no_card_on_the_bridge() -> None:
    """Cards elsewhere are not taken instead."""
    found = find(Host(reserved("192.168.122.10"), BR_NAT), None, KEY)

    assert found == ({}, "the guest has no interface on bridge br-nat")


def test_two_cards() -> None:
    """The key says which; without it the one on the bridge is not looked at."""
    both = guest(nics=[nic(OTHER_MAC, "bridge", "", "br-nat"), nic()])
    known = {("br-nat", OTHER_MAC): ["10.9.0.51"]}
    host = Host(reserved("192.168.122.10"), BR_NAT, neighbours=known)

    found = [find(host, both)[0], find(host, both, KEY)[0]]

    assert found == [{"4": "192.168.122.10"}, {"4": "10.9.0.51"}]


@pytest.mark.parametrize("bridge", ["", "br-nat"])
def test_a_network_that_leaves_the_bridge_as_it_is(bridge: str) -> None:
    """A network of mode bridge leads to it, whether the card names it or not."""
    via = network("br", "br-nat", "bridge", [])
    one = guest(nics=[nic(network="br", bridge=bridge)])

    found = find(Host(via, BR_NAT), one, KEY, "address 10.9.0.51")

    assert found == ({"4": "10.9.0.51"}, "")


def test_the_bridge_of_a_network() -> None:
    """That is the network, with its reservations."""
    found = find(Host(reserved("192.168.122.10")), None, "bridge virbr0")

    assert found == ({"4": "192.168.122.10"}, "")
