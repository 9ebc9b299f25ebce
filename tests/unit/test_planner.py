"""planner: what the kernel should hold for each guest, and who was there first."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.builders import (
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    UUID,
    Host,
    at,
    guest,
    keys,
    network,
    parsed,
    published,
    written,
)
from unit.builders import nic as interface
from unit.builders import record as running
from vfwhooks.config import compiled_file
from vfwhooks.config.compiled_file import Compiled
from vfwhooks.host.listeners import Listener
from vfwhooks.reconcile.desired_state import DesiredState
from vfwhooks.reconcile.planner import Planner
from vfwhooks.store.records import Ousted, Record, Seen
from vfwhooks.values.entries import Dnat
from vfwhooks.values.guests import Guest
from vfwhooks.values.needs import LoopbackNeed, Need
from vfwhooks.values.published import parse_address

WEB = ["forward * tcp 80 80 80 80 -"]
WEB_AT_10 = ["dnat 4 * tcp 80 80 192.168.122.10 80", "accept 4 192.168.122.10"]
DEFAULT = [
    "left 4 192.168.122.1 tcp 53 53",
    "left 4 192.168.122.1 udp 53 53",
    "left 4 192.168.122.1 udp 67 67",
    "left 4 192.168.122.1 udp 69 69",
    "hairpin 4 192.168.122.0/24",
    "inside 4 192.168.122.0/24",
]
RESERVED = {MAC: ["192.168.122.10"], OTHER_MAC: ["192.168.122.11"]}


def configuration(directory: Path, guests: dict[str, list[str]]) -> Compiled:
    """A compiled configuration of these guests."""
    (directory / "compiled").write_bytes(compiled_file.build("", {}, guests))
    found = compiled_file.load(str(directory))
    assert found
    return found


def planner(
    directory: Path, guests: dict[str, list[str]], host: Host | None = None
) -> Planner:
    """A planner for a host on which both guests have a reservation."""
    default = Host(network(reservations=RESERVED))
    return Planner(configuration(directory, guests), host or default)


def other(name: str = "web2", driver: str = "qemu", **more: str) -> Guest:
    """The guest with the other MAC."""
    nics = [interface(OTHER_MAC)]
    return guest(name, more.get("uuid", OTHER_UUID), nics, driver=driver)


def entries(desired: list[DesiredState]) -> dict[str, list[str]]:
    """What is planned for whom."""
    return {one.record.guest.name: written(one.entries) for one in desired}


def test_a_guest_by_its_name(tmp_path: Path) -> None:
    """What forwards.yaml says under the name, towards where the guest is."""
    desired = planner(tmp_path, {"web1": WEB}).guest(running())

    found = (
        written(desired.entries),
        desired.endpoint.addresses,
        keys(desired.conflicts),
    )
    assert found == (WEB_AT_10, at("192.168.122.10"), {})


def test_a_guest_by_name_and_by_uuid(tmp_path: Path) -> None:
    """What stands under the UUID is added to what stands under the name."""
    ssh = ["forward * tcp 22 22 22 22 -"]
    plan = planner(tmp_path, {"web1": WEB, UUID: ssh})

    desired = plan.guest(running())

    assert written(desired.entries) == [
        "dnat 4 * tcp 80 80 192.168.122.10 80",
        "dnat 4 * tcp 22 22 192.168.122.10 22",
        "accept 4 192.168.122.10",
    ]


def test_a_guest_that_is_called_by_its_own_uuid(tmp_path: Path) -> None:
    """The same lines are not counted twice."""
    plan = planner(tmp_path, {UUID: WEB})

    desired = plan.guest(running(guest(UUID)))

    assert written(desired.entries) == WEB_AT_10


def test_a_guest_without_a_uuid(tmp_path: Path) -> None:
    """A nameless entry is nobody's."""
    plan = planner(tmp_path, {"": WEB})

    desired = plan.guest(running(guest(uuid="")))

    assert written(desired.entries) == []


def test_a_guest_that_has_no_forwards(tmp_path: Path) -> None:
    """Nothing is looked up for a guest that forwards.yaml does not name."""
    host = Host(network())

    desired = planner(tmp_path, {"web2": WEB}, host).guest(running())

    found = written(desired.entries), desired.endpoint.networks, host.asked
    assert found == ([], [], [])


def test_a_guest_stays_where_it_is_forwarded_to(tmp_path: Path) -> None:
    """With no lease and no neighbour left, the address that the record has holds."""
    host = Host(network())

    desired = planner(tmp_path, {"web1": WEB}, host).guest(running(entries=WEB_AT_10))

    assert written(desired.entries) == WEB_AT_10


def test_everybody(tmp_path: Path) -> None:
    """Networks first, once each; then the guests in the order they are given."""
    plan = planner(tmp_path, {"web1": WEB, "web2": ["forward * udp 53 53 53 53 -"]})

    found = plan.all([running(), running(other())])

    assert entries(found) == {
        "default": DEFAULT,
        "web1": WEB_AT_10,
        "web2": ["dnat 4 * udp 53 53 192.168.122.11 53", "accept 4 192.168.122.11"],
    }


def test_networks_that_nobody_needs_have_no_entries(tmp_path: Path) -> None:
    """A network is there for guests with forwards."""
    found = planner(tmp_path, {}).all([running()])

    assert entries(found) == {"web1": []}


def test_records_of_networks_are_planned_anew(tmp_path: Path) -> None:
    """What a network has comes from its guests, not from its old record."""
    old = running(Guest("network", "default", "virbr0", []), entries=DEFAULT)

    found = planner(tmp_path, {"web1": WEB}).all([old, running()])

    assert entries(found) == {"default": DEFAULT, "web1": WEB_AT_10}


def test_who_runs_longer_has_the_port(tmp_path: Path) -> None:
    """A guest of one name under two drivers: the second is a conflict, port by port."""
    web = [*WEB, "forward * tcp 81 81 81 81 allow_0f5c"]
    plan = planner(tmp_path, {"web1": web})
    container = other("web1", "lxc")

    _, first, second = plan.all([running(), running(container)])

    taken = "taken by qemu guest web1"
    assert (len(first.entries), keys(first.conflicts)) == (5, {})
    assert (written(second.entries), keys(second.conflicts)) == (
        ["accept 4 192.168.122.11"],
        {
            "dnat 4 * tcp 80 80": taken,
            "guard 4 * tcp 81 81": taken,
            "reject 4 * tcp 81 81": taken,
            "dnat 4 * tcp 81 81": taken,
        },
    )


def test_the_rest_of_a_guest_in_conflict_is_forwarded(tmp_path: Path) -> None:
    """Only what is taken is withheld."""
    ssh = "forward * tcp 22 22 22 22 -"
    plan = planner(tmp_path, {"web1": WEB, OTHER_UUID: [ssh]})
    container = other("web1", "lxc")

    *_, second = plan.all([running(), running(container)])

    assert written(second.entries) == [
        "dnat 4 * tcp 22 22 192.168.122.11 22",
        "accept 4 192.168.122.11",
    ]


def test_two_guests_at_one_address(tmp_path: Path) -> None:
    """The second is a conflict, and nothing is forwarded to it."""
    host = Host(network(reservations={MAC: ["192.168.122.10"]}))
    ssh = ["forward * tcp 22 22 22 22 -"]
    plan = planner(tmp_path, {"web1": WEB, "we": ssh}, host)
    twin = guest("we", OTHER_UUID, [interface()])

    *_, second = plan.all([running(guest("web1")), running(twin)])

    reason = "192.168.122.10 is the address of web1"
    found = second.entries, second.endpoint.addresses, keys(second.conflicts)
    assert found == (
        [],
        {},
        {"accept 4 192.168.122.10": reason},
    )


def clones(
    directory: Path, is_first_there: bool
) -> tuple[list[DesiredState], list[list[Ousted]]]:
    """web1 and its clone web2, which has ousted it and has the lease: all that is
    planned, and whom each has ousted then."""
    address = "192.168.122.50"
    here = MAC if is_first_there else OTHER_MAC
    host = Host(
        network(),
        leases={("virbr0", OTHER_MAC): [(2_000_000_000, address)]},
        neighbours={("virbr0", here): [address]},
        holders={("virbr0", address): here},
    )
    ssh = ["forward * tcp 22 22 22 22 -"]
    first, second = running(), running(other())
    held = f"dnat 4 * tcp 22 22 {address} 22", f"accept 4 {address}"
    second.entries = parsed(*held)
    second.ousted = [Ousted(parse_address(address), MAC)]
    plan = planner(directory, {"web1": WEB, "web2": ssh}, host)

    guests = plan.all([first, second])[-2:]
    return guests, [one.settled().ousted for one in guests]


@pytest.mark.parametrize("is_first_there", [True, False])
def test_two_clones_with_one_lease(tmp_path: Path, is_first_there: bool) -> None:
    """Whoever has ousted the other keeps the address, whoever is seen there."""
    guests, ousted = clones(tmp_path, is_first_there)

    address, clone = "192.168.122.50", "same machine-id?"
    taken = {f"accept 4 {address}": f"{address} is the address of web2: {clone}"}
    lost = f"lease {address} is answered by web2: {clone}"
    assert [one.entries for one in guests] == [[], guests[1].record.entries]
    assert keys(guests[0].conflicts) == (taken if is_first_there else {})
    assert guests[0].endpoint.reason == ("" if is_first_there else lost)
    assert ousted == [[], [Ousted(parse_address(address), MAC)]]


def test_a_guest_that_leaves_where_it_has_ousted_another(tmp_path: Path) -> None:
    """It keeps nothing from the other one then."""
    host = Host(network(reservations=RESERVED))
    first, second = running(), running(other())
    second.entries = parsed("accept 4 192.168.122.10")
    second.ousted = [Ousted(parse_address("192.168.122.10"), MAC)]
    plan = planner(tmp_path, {"web1": WEB, "web2": WEB}, host)

    one, two = plan.all([first, second])[-2:]

    assert (one.endpoint.addresses, two.settled().ousted) == (
        at(RESERVED[MAC][0]),
        [],
    )


def test_one_address_of_two_is_anothers(tmp_path: Path) -> None:
    """The other family is forwarded all the same."""
    subnets = [("192.168.122.1", "192.168.122.0/24"), ("fd00:122::1", "fd00:122::/64")]
    reservations = {
        MAC: ["192.168.122.10"],
        OTHER_MAC: ["192.168.122.10", "fd00:122::11"],
    }
    host = Host(network(subnets=subnets, reservations=reservations))
    ssh = ["forward * tcp 22 22 22 22 -"]
    plan = planner(tmp_path, {"web1": WEB, "web2": ssh}, host)

    *_, second = plan.all([running(), running(other())])

    assert (written(second.entries), second.endpoint.addresses) == (
        ["dnat 6 * tcp 22 22 fd00:122::11 22", "accept 6 fd00:122::11"],
        at("fd00:122::11"),
    )


def test_a_network_is_recorded_under_its_bridge(tmp_path: Path) -> None:
    """The bridge's name marks a network's entries in the kernel."""
    desired = planner(tmp_path, {}).network(network())

    guest = desired.record.guest
    assert (guest.driver, guest.name, guest.uuid) == ("network", "default", "virbr0")


def test_a_bridge_that_cannot_be_a_mark(tmp_path: Path) -> None:
    """A mark reaches iptables unquoted: only letters and digits are one."""
    desired = planner(tmp_path, {}).network(network(bridge="br lan"))

    assert desired.record.owner == "network"


def settled(desired: DesiredState) -> Record:
    """The record of what is planned."""
    return desired.settled()


def test_settled(tmp_path: Path) -> None:
    """The same guest and times, with its new entries and the networks they need."""
    old = running(since=7, stamp=8, entries=["accept 4 10.0.0.1"], needs=["gone"])

    new = settled(planner(tmp_path, {"web1": WEB}).guest(old))

    found = new.guest, new.since, new.stamp, written(new.entries), new.needs
    assert found == (old.guest, 7, 8, WEB_AT_10, [Need("default")])


def test_a_guest_that_is_away(tmp_path: Path) -> None:
    """It keeps what its connections have, and nothing leads new ones to it; what did is
    written down."""
    old = running(entries=WEB_AT_10)
    old.is_away = True

    desired = planner(tmp_path, {"web1": WEB}).guest(old)

    new = settled(desired)
    found = written(new.entries), written(new.left), new.is_away, desired.summary()
    why = "web1: pending: the guest is being migrated and does not run here"
    assert found == (WEB_AT_10[1:], WEB_AT_10[:1], True, why)


def test_a_guest_that_comes_by_migration(tmp_path: Path) -> None:
    """Nothing leads to it before it runs."""
    comes = running()
    comes.is_away = True

    new = settled(planner(tmp_path, {"web1": WEB}).guest(comes))

    assert (written(new.entries), new.left, new.needs) == ([], [], [])


def test_settled_with_nothing(tmp_path: Path) -> None:
    """A guest that waits for its address needs no network's entries."""
    new = settled(planner(tmp_path, {"web1": WEB}, Host(network())).guest(running()))

    assert (written(new.entries), new.needs) == ([], [])


def test_settled_with_ports_in_hairpin_mode(tmp_path: Path) -> None:
    """The interfaces behind networks of libvirt's whose device is known, once anything
    is forwarded there; which of them are ours to set back is found out later."""
    nics = [
        interface(),
        interface(OTHER_MAC, network="lab", bridge="virbr1", device="vnet1"),
        interface("52:54:00:00:00:12", "bridge", "", "br-lan", "vnet2"),
        interface("52:54:00:00:00:13", device=""),
    ]
    lab = network("lab", "virbr1", "none", [("10.0.0.1", "10.0.0.0/24")])
    there, nowhere = Host(network(reservations=RESERVED), lab), Host(network(), lab)
    web1 = running(guest(nics=nics))
    cases = [
        (["hairpin", *WEB], there),
        (["network default", "hairpin", *WEB], there),
        (["hairpin", *WEB], nowhere),
        (WEB, there),
    ]

    found = [
        settled(planner(tmp_path, {"web1": lines}, host).guest(web1)).hairpins
        for lines, host in cases
    ]

    default, second = ("vnet0", "virbr0", 0), ("vnet1", "virbr1", 0)
    assert found == [[default, second], [default], [], []]


def test_summary_of_a_forwarded_guest(tmp_path: Path) -> None:
    """Where it is forwarded to."""
    found = planner(tmp_path, {"web1": WEB}).guest(running()).summary()

    assert found == "web1: forwarded to 192.168.122.10"


def test_summary_of_a_guest_that_waits(tmp_path: Path) -> None:
    """Why it waits; its name cannot forge a line of the log."""
    plan = planner(tmp_path, {"we\nb": WEB})

    found = plan.guest(running(guest("we\nb", nics=[]))).summary()

    assert found == "we\\nb: pending: the guest has no interface"


def test_summary_of_a_guest_in_conflict(tmp_path: Path) -> None:
    """What keeps it from being forwarded."""
    host = Host(network(reservations={MAC: ["192.168.122.10"]}))
    plan = planner(tmp_path, {"web1": WEB, "we": WEB}, host)
    twin = guest("we", OTHER_UUID, [interface()])

    *_, second = plan.all([running(), running(twin)])

    expected = "we: pending: 192.168.122.10 is the address of web1"
    assert second.summary() == expected


def test_summary_of_a_guest_in_part(tmp_path: Path) -> None:
    """What is forwarded, and what is not."""
    plan = planner(tmp_path, {"web1": [*WEB, "forward * udp 53 53 53 53 -"]})

    *_, second = plan.all([running(), running(other("web1", "lxc"))])

    assert second.summary() == (
        "web1: forwarded to 192.168.122.11, but: taken by qemu guest web1"
    )


CLAIM = ["claim 8a3c", "claimed 0.0.0.0 tcp 80 80 80 80 -"]


def test_claims_come_first_whoever_runs(tmp_path: Path) -> None:
    """What a guest's claim rejects is the same while it runs and while it does not."""
    plan = planner(tmp_path, {"": ["claims web1"], "web1": CLAIM})

    running_too, alone = plan.all([running()]), plan.all([])

    claim = running_too[1].record
    assert [entries([one]) for one in running_too] == [
        {"default": DEFAULT},
        {"web1": ["reject 4 * tcp 80 80"]},
        {"web1": WEB_AT_10},
    ]
    assert (claim.key, claim.owner) == (("claim", "web1"), "8a3c")
    assert entries(alone) == {"web1": ["reject 4 * tcp 80 80"]}


def test_records_of_claims_are_planned_anew(tmp_path: Path) -> None:
    """What a claim rejects comes from forwards.yaml, not from its old record."""
    old = running(Guest("claim", "web1", "8a3c", []), entries=["reject 4 * tcp 1 1"])

    found = planner(tmp_path, {}).all([old])

    assert entries(found) == {}


def test_whoever_takes_dns_leaves_it_to_every_bridge(tmp_path: Path) -> None:
    """A port on every address that libvirt needs has the entries of all networks, also
    of those where nothing is forwarded to."""
    lab = network("lab", "virbr1", "none", [("10.0.0.1", "10.0.0.0/24")])
    bridged = network("lan", "br0", "bridge", [])
    host = Host(network(reservations=RESERVED), lab, bridged)
    dns = ["wide", "forward 0.0.0.0 udp 53 53 53 53 -"]
    claim = ["claim 8a3c", "wide", "claimed 0.0.0.0 udp 53 53 53 53 -"]
    guests = {"": ["claims off"], "off": claim}

    of_guest = planner(tmp_path, {"web1": dns}, host).all([running()])
    of_claim = planner(tmp_path, guests, host).all([])

    assert [list(entries(found)) for found in (of_guest, of_claim)] == [
        ["default", "lab", "web1"],
        ["default", "lab", "off"],
    ]


def test_dns_on_the_address_of_a_bridge(tmp_path: Path) -> None:
    """Whoever publishes just that has nothing, since the port stays libvirt's there,
    with `over_listener` too; other ports there are as elsewhere."""
    port = "forward 192.168.122.1 udp {0} {0} {0} {0} -"
    lines = [f"{port.format(53)} over_listener=True", port.format(54), *WEB]

    found = planner(tmp_path, {"web1": lines}).guest(running())

    why = "udp/53 on 192.168.122.1, the address of a bridge, stays the host's"
    one = "dnat 4 192.168.122.1 udp 54 54 192.168.122.10 54"
    assert written(found.entries) == [one, *WEB_AT_10]
    assert keys(found.conflicts) == {
        "dnat 4 192.168.122.1 udp 53 53": f"{why} (DNS, DHCP, TFTP)"
    }


def test_a_guest_that_waits_needs_no_network(tmp_path: Path) -> None:
    """A network whose only guest has no address yet has no entries."""
    found = planner(tmp_path, {"web1": WEB}, Host(network())).all([running()])

    assert entries(found) == {"web1": []}


SSHD = Listener("tcp", "4", None, 22)


def test_a_listener_keeps_its_port(tmp_path: Path) -> None:
    """The guest yields it and has the rest; the record says what it yields."""
    ssh = ["forward * tcp 22 22 22 22 -", *WEB]
    host = Host(network(reservations=RESERVED), listeners=[SSHD])

    desired = planner(tmp_path, {"web1": ssh}, host).guest(running())

    key, claim = "dnat 4 * tcp 22 22", "4 * tcp 22 22"
    found = written(desired.entries), keys(desired.conflicts), desired.settled().yields
    reason = "the host listens on tcp 0.0.0.0:22"
    assert found == (WEB_AT_10, {key: reason}, [published(claim)])


def test_a_listener_keeps_its_port_of_a_range(tmp_path: Path) -> None:
    """The guest has the rest; the record says what it yields, the log who has it."""
    ports = ["forward * tcp 20 30 20 30 -"]
    host = Host(network(reservations=RESERVED), listeners=[SSHD])

    desired = planner(tmp_path, {"web1": ports}, host).guest(running())

    found = (
        written(desired.entries[:2]),
        keys(desired.conflicts),
        desired.settled().yields,
    )
    said = "web1: forwarded to 192.168.122.10, but: the host listens on tcp 0.0.0.0:22"
    assert (*found, desired.summary()) == (
        [
            "dnat 4 * tcp 20 21 192.168.122.10 20",
            "dnat 4 * tcp 23 30 192.168.122.10 23",
        ],
        {},
        [published("4 * tcp 22 22")],
        said,
    )


def test_listeners_have_all_of_a_range(tmp_path: Path) -> None:
    """Nothing of it is forwarded: it is a conflict, with the first of them."""
    some = [SSHD, Listener("tcp", "4", None, 23)]
    host = Host(network(reservations=RESERVED), listeners=some)
    ports = ["forward * tcp 22 23 22 23 -"]

    desired = planner(tmp_path, {"web1": ports}, host).guest(running())

    reason = "the host listens on tcp 0.0.0.0:22"
    assert (written(desired.entries), keys(desired.conflicts)) == (
        [],
        {"dnat 4 * tcp 22 23": reason},
    )


def test_a_socket_of_udp_is_seen_first(tmp_path: Path) -> None:
    """One that is still there when it was seen long ago keeps its port, whatever is in
    force; and it comes back to the guest when it is gone."""
    ports = ["forward * udp 5000 5002 5000 5002 -"]
    known = network(reservations=RESERVED)
    vpn = Listener("udp", "4", None, 5001, inode=7)
    there = planner(tmp_path, {"web1": ports}, Host(known, listeners=[vpn]))
    found = []

    at_first = there.guest(running()).settled()
    at_once = there.guest(at_first).settled()
    at_first.seen = dict.fromkeys(at_first.seen, 0)
    later = there.guest(at_first).settled()
    again = there.guest(later).settled()
    gone = planner(tmp_path, {"web1": ports}, Host(known)).guest(again).settled()
    for one in (at_first, at_once, later, again, gone):
        dnats = [e for e in one.entries if isinstance(e, Dnat)]
        found.append((dnats, one.yields, list(one.seen)))

    whole = parsed("dnat 4 * udp 5000 5002 192.168.122.10 5000")
    ports = [f"4 * udp {port} {port} 192.168.122.10 {port}" for port in (5000, 5002)]
    some = parsed(*(f"dnat {port}" for port in ports))
    yields = [published("4 * udp 5001 5001")]
    seen = [Seen(yields[0], 7)]
    assert found == [
        (whole, [], seen),
        (whole, [], seen),
        (some, yields, []),
        (some, yields, []),
        (whole, [], []),
    ]


def test_who_only_looks_decides_nothing(tmp_path: Path) -> None:
    """What was seen long ago stays as it is, for status."""
    vpn = Listener("udp", "4", None, 5001, inode=7)
    host = Host(network(reservations=RESERVED), listeners=[vpn])
    ports = ["forward * udp 5000 5002 5000 5002 -"]
    config = configuration(tmp_path, {"web1": ports})
    known = running(entries=["dnat 4 * udp 5000 5002 192.168.122.10 5000"])
    known.seen = {Seen(published("4 * udp 5001 5001"), 7): 0}

    found = Planner(config, host, lasting=1 << 62).guest(known)

    assert (found.holes, found.seen) == ({}, known.seen)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shift", [0, 100])
def test_two_guests_want_a_range_with_a_listener(
    tmp_path: Path, first: bool, shift: int
) -> None:
    """The first has it, whichever of them has left the listener its port; the other
    has nothing of it, and is told."""
    vpn = Listener("udp", "4", None, 5002, inode=7)
    host = Host(network(reservations=RESERVED), listeners=[vpn])
    lines = [f"forward * udp 5000 5004 {5000 + shift} {5004 + shift} -"]
    plan = planner(tmp_path, {"web1": lines, "web2": lines}, host)
    records = [running(), running(other())]
    records[0 if first else 1].yields = [published("4 * udp 5002 5002")]

    found = plan.all(records)

    one, two = (
        [
            port
            for entry in one.entries
            if isinstance(entry, Dnat)
            for port in range(entry.published.first, entry.published.last + 1)
        ]
        for one in found[1:]
    )
    assert (one, two, set(found[2].conflicts.values())) == (
        [port for port in range(5000, 5005) if port != 5002 or not first],
        [],
        {"taken by qemu guest web1"},
    )


def test_a_claim_tells_who_was_first(tmp_path: Path) -> None:
    """A guest that starts leaves the port to whom its claim has left it."""
    vpn = Listener("udp", "4", None, 5001, inode=7)
    host = Host(network(reservations=RESERVED), listeners=[vpn])
    lines = ["claim 8a3c", "claimed * udp 5000 5002 5000 5002 -"]
    claim = running(entries=["reject 4 * udp 5000 5000", "reject 4 * udp 5002 5002"])
    claim.yields = [published("4 * udp 5001 5001")]
    claims = {("claim", "web1"): claim}
    config = configuration(tmp_path, {"": ["claims web1"], "web1": lines})

    found = Planner(config, host, claims.get).guest(running())

    assert list(found.holes[published("4 * udp 5000 5002")]) == [5001]


def test_what_two_guests_want_and_a_listener_has(tmp_path: Path) -> None:
    """Neither gets it, and neither is told that the other has it."""
    ssh = ["forward * tcp 22 22 22 22 -"]
    host = Host(network(reservations=RESERVED), listeners=[SSHD])
    plan = planner(tmp_path, {"web1": ssh, "web2": [*ssh, *WEB]}, host)

    found = plan.all([running(), running(other())])

    reason = "the host listens on tcp 0.0.0.0:22"
    assert [keys(one.conflicts) for one in found[1:]] == [
        {"dnat 4 * tcp 22 22": reason}
    ] * 2


def test_a_listener_that_came_later(tmp_path: Path) -> None:
    """What the record says is in force stays in force, for one guest as for all."""
    host = Host(
        network(reservations=RESERVED), listeners=[Listener("tcp", "4", None, 80)]
    )
    plan = planner(tmp_path, {"web1": WEB}, host)
    known = running(entries=WEB_AT_10)

    found = plan.guest(known).entries, plan.all([known])[1].entries

    assert found == (parsed(*WEB_AT_10), parsed(*WEB_AT_10))


def test_a_claim_yields_to_a_listener(tmp_path: Path) -> None:
    """What stays rejected while a guest is off is not the host's ssh."""
    claim = ["claim 8a3c", "claimed 0.0.0.0 tcp 22 22 22 22 -", *CLAIM[1:]]
    host = Host(network(), listeners=[SSHD])
    plan = planner(tmp_path, {"": ["claims web1"], "web1": claim}, host)

    (found,) = plan.all([])

    reason = "the host listens on tcp 0.0.0.0:22"
    assert (written(found.entries), keys(found.conflicts), found.settled().yields) == (
        ["reject 4 * tcp 80 80"],
        {"reject 4 * tcp 22 22": reason},
        [published("4 * tcp 22 22")],
    )


def test_a_claim_has_no_port_of_loopback(tmp_path: Path) -> None:
    """So a listener there keeps nothing from it, whether the guest runs or not."""
    own = ["claim 8a3c", "claimed 127.0.0.1 tcp 81 81 80 80 -"]
    local = Listener("tcp", "4", parse_address("127.0.0.1"), 81)
    host = Host(network(reservations=RESERVED), listeners=[local])
    plan = planner(tmp_path, {"": ["claims web1"], "web1": [*own, *CLAIM[1:]]}, host)

    claim = plan.claim("web1")

    found = entries([claim]), claim.yields()
    assert found == ({"web1": ["reject 4 * tcp 80 80"]}, [])


def test_a_guest_takes_what_its_claim_holds(tmp_path: Path) -> None:
    """A listener that came later than the claim keeps nothing from the guest."""
    host = Host(
        network(reservations=RESERVED), listeners=[Listener("tcp", "4", None, 80)]
    )
    claims = {("claim", "web1"): running(entries=["reject 4 * tcp 80 80"])}
    config = configuration(tmp_path, {"": ["claims web1"], "web1": CLAIM})
    plan = Planner(config, host, claims.get)

    guest_and_claim = plan.guest(running()), plan.claim("web1")

    assert [entries([one]) for one in guest_and_claim] == [
        {"web1": WEB_AT_10},
        {"web1": ["reject 4 * tcp 80 80"]},
    ]


LEFT = "left 4 192.168.122.1 tcp 80 80"


def test_what_a_claim_leaves_to_a_service(tmp_path: Path) -> None:
    """A service on the address of libvirt's bridge keeps its port there whether the
    guest runs or not; the entry is the claim's, and is not the guest's, too."""
    proxy = Listener("tcp", "4", parse_address("192.168.122.1"), 80)
    host = Host(network(reservations=RESERVED), listeners=[proxy])
    known: dict[tuple[str, str], Record] = {}
    config = configuration(tmp_path, {"": ["claims web1"], "web1": CLAIM})
    plan = Planner(config, host, known.get)

    off, on = plan.all([]), plan.all([running()])
    known["claim", "web1"] = off[0].settled()
    later, again = plan.guest(running()), plan.claim("web1")

    claim = ["reject 4 * tcp 80 80", LEFT]
    assert [entries([one]) for one in (*off, *on[1:], later, again)] == [
        *({"web1": claim}, {"web1": claim}, {"web1": WEB_AT_10}),
        *({"web1": WEB_AT_10}, {"web1": claim}),
    ]


def test_a_service_that_comes_to_a_bridge_after_a_claim(tmp_path: Path) -> None:
    """It has nothing there, from the claim or from the guest: the port is in force."""
    proxy = Listener("tcp", "4", parse_address("192.168.122.1"), 80)
    host = Host(network(reservations=RESERVED), listeners=[proxy])
    claims = {("claim", "web1"): running(entries=["reject 4 * tcp 80 80"])}
    config = configuration(tmp_path, {"": ["claims web1"], "web1": CLAIM})
    plan = Planner(config, host, claims.get)

    found = [plan.guest(running()), plan.claim("web1")]

    assert [entries([one]) for one in found] == [
        {"web1": WEB_AT_10},
        {"web1": ["reject 4 * tcp 80 80"]},
    ]


@pytest.mark.parametrize("name", ["web1", UUID])
def test_a_claim_on_what_is_in_force(tmp_path: Path, name: str) -> None:
    """A guest is forwarded to, a service of the host comes to the port, and then the
    file says that the port stays rejected: for strangers it does, too."""
    host = Host(
        network(reservations=RESERVED), listeners=[Listener("tcp", "4", None, 80)]
    )
    known = running(entries=WEB_AT_10)
    plan = planner(tmp_path, {"": [f"claims {name}"], name: CLAIM}, host)

    _, claim, of_guest = plan.all([known])

    found = written(claim.entries), written(of_guest.entries)
    assert found == (["reject 4 * tcp 80 80"], WEB_AT_10)


LOCAL = ["loopback", "forward 127.0.0.1 tcp 80 80 80 80 -"]


def test_loopback_needs_the_bridge_that_it_leads_to(tmp_path: Path) -> None:
    """Of a guest with several networks, the one where the guest is forwarded to."""
    lab = network("lab", "virbr1", "nat", [("10.0.0.1", "10.0.0.0/24")])
    host = Host(network(reservations=RESERVED), lab)
    nics = [interface(), interface(OTHER_MAC, network="lab", bridge="virbr1")]
    plan = planner(tmp_path, {"web1": LOCAL}, host)

    found = plan.all([running(guest(nics=nics))])

    needs = [need.name for need in settled(found[-1]).needs]
    assert needs == ["default", "lab", "default/loopback"]
    assert entries(found)["default/loopback"] == ["localnet 4 virbr0"]


def test_loopback_on_a_network_without_an_address_of_its_own(tmp_path: Path) -> None:
    """An open network may have none: the guest says where it is."""
    host = Host(network(mode="open", subnets=[]))
    plan = planner(tmp_path, {"web1": ["address 10.9.9.9", *LOCAL]}, host)

    found = plan.guest(running())

    assert found.needs == [Need("default"), LoopbackNeed("default")]


def test_loopback_of_a_guest_that_waits(tmp_path: Path) -> None:
    """No bridge is opened for a guest that has no address yet."""
    plan = planner(tmp_path, {"web1": LOCAL}, Host(network()))

    found = entries(plan.all([running()]))

    assert found == {"web1": []}


def test_what_is_shared(tmp_path: Path) -> None:
    """By the name that stands in records; nothing of a network that is not active."""
    plan = planner(tmp_path, {})

    needs = Need("default"), LoopbackNeed("default"), Need("lab")

    found = list(map(plan.shared, needs))

    shown = [
        (one.record.key, one.record.owner, written(one.entries)) for one in found if one
    ]
    assert shown == [
        (("network", "default"), "virbr0", DEFAULT),
        (
            ("network", "default/loopback"),
            "loopback-behind-virbr0",
            ["localnet 4 virbr0"],
        ),
    ]


PUBLIC = ["public 203.0.113.7", "outgoing 203.0.113.7"]
ALL_PROTOCOLS = [*PUBLIC, "forward 203.0.113.7 all 0 65535 0 65535 -"]


def test_a_whole_address(tmp_path: Path) -> None:
    """In and out."""
    found = planner(tmp_path, {"web1": ALL_PROTOCOLS}).guest(running())

    assert (written(found.entries), keys(found.conflicts)) == (
        [
            "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
            "snat 4 192.168.122.10 203.0.113.7",
            "accept 4 192.168.122.10",
        ],
        {},
    )


@pytest.mark.parametrize(
    "lines",
    [
        ALL_PROTOCOLS,
        [*PUBLIC, "whole 203.0.113.7", "forward 203.0.113.7 tcp 25 25 25 25 -"],
    ],
)
def test_the_hosts_own_address_is_not_given_away(
    tmp_path: Path, lines: list[str]
) -> None:
    """Nothing on it is forwarded, and nothing of it is rejected."""
    host = Host(network(reservations=RESERVED), default_sources=["203.0.113.7"])
    plan = planner(tmp_path, {"web1": lines}, host)

    found = plan.guest(running())

    why = "203.0.113.7 is the host's own address; public_ip_of_host: true gives it away"
    assert (written(found.entries), set(found.conflicts.values())) == ([], {why})


@pytest.mark.parametrize(
    ("first", "known", "expected"),
    [
        (["203.0.113.7"], {}, True),
        ([], {}, False),
        (["203.0.113.7"], {"203.0.113.7": False}, False),
        ([], {"203.0.113.7": True}, True),
    ],
)
def test_the_hosts_own_address_without_a_default_route(
    tmp_path: Path, first: list[str], known: dict[str, bool], expected: bool
) -> None:
    """The first of an interface may be it; whatever was known of it before stays so,
    and is known from then on."""
    host = Host(network(reservations=RESERVED), first=first)
    before = running()
    before.public = {parse_address(host_ip): was for host_ip, was in known.items()}

    found = planner(tmp_path, {"web1": ALL_PROTOCOLS}, host).guest(before).settled()

    assert found.public == {parse_address("203.0.113.7"): expected}
    assert bool(found.entries) is not expected


def test_an_address_in_force_without_a_default_route(tmp_path: Path) -> None:
    """A record of a former release does not say whose the address is: what is in force
    stays."""
    host = Host(network(reservations=RESERVED), first=["203.0.113.7"])
    before = running()
    given = planner(tmp_path, {"web1": ALL_PROTOCOLS}).guest(before)
    before.entries = given.settled().entries

    found = planner(tmp_path, {"web1": ALL_PROTOCOLS}, host).guest(before).settled()

    assert found.entries == before.entries


def test_the_hosts_own_address_is_not_claimed(tmp_path: Path) -> None:
    """An absent guest does not shut the host's own address."""
    host = Host(network(), default_sources=["203.0.113.7"])
    claim = ["claim 8a3c", "public 203.0.113.7", "kept 203.0.113.7"]
    plan = planner(tmp_path, {"": ["claims web1"], "web1": claim}, host)

    found = entries(plan.all([]))

    assert found == {"web1": []}


def test_a_listener_on_a_whole_address(tmp_path: Path) -> None:
    """One that listens just there was first; one on every address is no blocker."""
    everywhere, there = (
        Listener("tcp", "4", None, 22),
        Listener("tcp", "4", parse_address("203.0.113.7"), 22),
    )
    hosts = [
        Host(network(reservations=RESERVED), listeners=[one])
        for one in (everywhere, there)
    ]

    found = [
        planner(tmp_path, {"web1": ALL_PROTOCOLS}, h).guest(running()) for h in hosts
    ]

    assert [len(one.conflicts) for one in found] == [0, 1]


def test_who_leaves_by_an_address_waits_for_its_own(tmp_path: Path) -> None:
    """A guest that has nothing but a way out is followed like others."""
    plan = planner(tmp_path, {"web1": PUBLIC}, Host(network()))

    found = settled(plan.guest(running()))

    assert (written(found.entries), found.is_waiting) == ([], True)


DUAL = [("192.168.122.1", "192.168.122.0/24"), ("fd00:122::1", "fd00:122::/64")]


@pytest.mark.parametrize(
    ("subnets", "forward", "known", "is_waiting"),
    [
        (DUAL, "*", ["192.168.122.10"], True),
        (DUAL, "*", ["fd00:122::10"], True),
        (DUAL, "*", ["192.168.122.10", "fd00:122::10"], False),
        (DUAL, "203.0.113.7", ["192.168.122.10"], False),
        (DUAL, "2001:db8::7", ["192.168.122.10"], True),
        (DUAL[:1], "*", ["192.168.122.10"], False),
        (DUAL[:1], "*", [], True),
        (DUAL[:1], "2001:db8::7", ["192.168.122.10"], True),
    ],
)
def test_who_waits_for_an_address(
    tmp_path: Path,
    subnets: list[tuple[str, str]],
    forward: str,
    known: list[str],
    is_waiting: bool,
) -> None:
    """A guest without an address of a family that its forwards publish and that its
    network has; or of the only family that a forward publishes."""
    host = Host(network(subnets=subnets, reservations={MAC: known}))
    lines = [f"forward {forward} tcp 80 80 80 80 -"]

    found = settled(planner(tmp_path, {"web1": lines}, host).guest(running()))

    assert found.is_waiting == is_waiting


BR_NAT = network("/bridge:br-nat", "br-nat", "open", [("10.9.0.1", "10.9.0.0/24")])


def test_a_guest_on_a_bridge_of_the_hosts_own(tmp_path: Path) -> None:
    """Planned as on a network: DNS and DHCP on the bridge stay the host's."""
    on = guest(nics=[interface(kind="bridge", network="", bridge="br-nat")])
    lines = ["bridge br-nat", "address 10.9.0.51", *WEB]
    guests = {"web1": lines, "": ["bridge br-nat"]}

    found = planner(tmp_path, guests, Host(BR_NAT)).all([running(on)])

    at_51 = [one.replace("192.168.122.10", "10.9.0.51") for one in WEB_AT_10]
    once = [one.replace("192.168.122", "10.9.0") for one in DEFAULT]
    assert entries(found) == {"/bridge:br-nat": once, "web1": at_51}


def test_loopback_behind_a_bridge_of_the_hosts_own(tmp_path: Path) -> None:
    """What the bridge needs for it is found by its name."""
    found = planner(tmp_path, {}, Host(BR_NAT)).shared(LoopbackNeed(BR_NAT.name))

    assert found
    assert written(found.entries) == ["localnet 4 br-nat"]


def test_a_service_on_a_bridge_that_stands_in_the_file(tmp_path: Path) -> None:
    """It serves the guests there, and keeps nobody from its port elsewhere."""
    host = Host(
        network(reservations=RESERVED),
        BR_NAT,
        listeners=[Listener("tcp", "4", parse_address("10.9.0.1"), 80)],
    )

    found = planner(tmp_path, {"web1": WEB}, host).guest(running())

    assert written(found.entries) == [*WEB_AT_10, "left 4 10.9.0.1 tcp 80 80"]


def test_a_bridge_that_is_the_lan(tmp_path: Path) -> None:
    """The host's address there is for everybody: services on it keep their ports from
    being published, and DNS and DHCP may be."""
    listener = Listener("tcp", "4", parse_address("10.9.0.1"), 80)
    host = Host(
        network(reservations=RESERVED),
        BR_NAT,
        listeners=[listener],
        default_sources=["10.9.0.1"],
    )
    one = planner(tmp_path, {"web1": WEB}, host)

    found, own = one.guest(running()), one.shared(Need(BR_NAT.name))

    assert own
    assert (written(found.entries), written(own.entries)) == (
        [],
        ["hairpin 4 10.9.0.0/24", "inside 4 10.9.0.0/24"],
    )
