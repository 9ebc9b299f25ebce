"""status: what is forwarded where, and why not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from unit.builders import OTHER_MAC, UUID, at, network, nic, parsed, published, record
from vfwhooks.config.compiled_lines import parse_settings
from vfwhooks.config.value_syntax import Address
from vfwhooks.diagnosis.status import (
    HostState,
    forward_statuses,
    guest_status,
    stopped_statuses,
)
from vfwhooks.diagnosis.status_rows import ForwardStatus, GuestStatus
from vfwhooks.host.listeners import Listener
from vfwhooks.reconcile.desired_state import DesiredState
from vfwhooks.reconcile.guest_addresses import Endpoint
from vfwhooks.values.entries import key_of
from vfwhooks.values.guests import Network
from vfwhooks.values.needs import LoopbackNeed
from vfwhooks.values.published import Family, parse_address

WEB = "forward * tcp 8080 8080 80 80 -"
DNAT = "dnat 4 * tcp 8080 8080 192.168.122.10 80"
ACCEPT = "accept 4 192.168.122.10"
FOUR, SIX = at("192.168.122.10"), at("fd00:122::10")
DUAL = {**FOUR, **SIX}


def desired(
    *lines: str,
    addresses: dict[Family, Address] | None = None,
    reason: str = "",
    conflicts: dict[str, str] | None = None,
    networks: list[Network] | None = None,
) -> DesiredState:
    """web1 with these forwards, at 192.168.122.10 on the default network."""
    where = Endpoint(
        FOUR if addresses is None else addresses,
        [network()] if networks is None else networks,
        reason,
    )
    found = DesiredState(record(), parse_settings(lines), where)
    for line, why in (conflicts or {}).items():
        (entry,) = parsed(line)
        found.conflicts[key_of(entry)] = why
    return found


def statuses(
    of: DesiredState,
    held: dict[str, int],
    missing: dict[str, str],
    root: str = "/nowhere",
    notes: dict[str, str] | None = None,
    absent: dict[Address, str] | None = None,
) -> list[ForwardStatus]:
    """Its forwards, with these entries in the kernel."""
    entries = dict(zip(parsed(*held), held.values()))
    said = {published(one): note for one, note in (notes or {}).items()}
    host = HostState(entries, missing, said, absent or {}, root=root)
    return forward_statuses(of, host)


def rows(
    of: DesiredState, root: Path = Path("/nowhere")
) -> list[tuple[str, str, str, int]]:
    """Address, state, reason and connections, with everything in the kernel."""
    held = {ACCEPT: 0, DNAT: 7}
    return [
        (row.address, row.state, row.reason, row.connections)
        for row in statuses(of, held, {}, str(root))
    ]


def test_a_guest_that_is_migrated() -> None:
    """It does not run here, whatever the kernel holds."""
    away = desired(WEB)
    away.record.is_away = True

    assert rows(away) == [
        ("", "pending", "the guest is being migrated and does not run here", 0)
    ]


def test_an_active_forward() -> None:
    """Everything that status --json promises."""
    (found,) = statuses(desired(WEB), {ACCEPT: 0, DNAT: 7}, {}, "/nowhere")

    assert asdict(found) == {
        "guest": "web1",
        "host_ip": "*",
        "published": "8080",
        "target": "80",
        "protocol": "tcp",
        "address": "192.168.122.10",
        "state": "active",
        "reason": "",
        "connections": 7,
        "source": "file",
        "pattern": "",
        "allow_from": (),
    }


def test_a_range() -> None:
    """Both ranges as they are written; connections of all of its entries."""
    line = "forward 203.0.113.5 udp 5000 5001 6000 6001 -"
    dnat = "dnat 4 203.0.113.5 udp {0} {0} 192.168.122.10 {1}".format
    held = {ACCEPT: 0, dnat(5000, 6000): 2, dnat(5001, 6001): 3}

    (found,) = statuses(desired(line), held, {}, "/nowhere")

    assert found == ForwardStatus(
        "web1",
        "203.0.113.5",
        "5000-5001",
        "6000-6001",
        "udp",
        "192.168.122.10",
        "active",
        "",
        5,
    )


def test_a_range_without_a_port() -> None:
    """What a service of the host keeps is no part of it, and is said."""
    of = desired("forward * udp 5000 5002 5000 5002 -")
    of.holes = {
        published("4 * udp 5000 5002"): {5001: Listener("udp", "4", None, 5001)}
    }
    dnat = "dnat 4 * udp {0} {0} 192.168.122.10 {0}".format
    held = {ACCEPT: 0, dnat(5000): 2, dnat(5002): 3}

    (found,) = statuses(of, held, {}, "/nowhere", {"4 * udp 5000 5002": "all but 5001"})

    shown = found.published, found.state, found.reason, found.connections
    assert shown == ("5000-5002", "active", "all but 5001", 5)


FREED = (
    "not all of its ports yet: the host's service there has ended; the rest comes "
    "within seconds, or by vfwhooks apply"
)
NOT_THERE = "the rules are not in the kernel; run vfwhooks apply"


@pytest.mark.parametrize(
    ("yields", "state", "reason"),
    [
        (["4 * udp 5001 5001"], "active", FREED),
        (["6 * udp 5001 5001", "4 * tcp 5001 5001"], "blocked", NOT_THERE),
        (["4 * udp 5000 5000"], "blocked", NOT_THERE),
    ],
)
def test_a_range_whose_port_is_free_again(
    yields: list[str], state: str, reason: str
) -> None:
    """The rest of it is in force, and what comes is said; nothing else is excused."""
    of = desired("forward * udp 5000 5002 5000 5002 -")
    of.record.yields = list(map(published, yields))
    dnat = "dnat 4 * udp {0} {0} 192.168.122.10 {0}".format
    held = {ACCEPT: 0, dnat(5000): 2, dnat(5002): 3}

    (found,) = statuses(of, held, {}, "/nowhere")

    assert (found.state, found.reason) == (state, reason)


def test_a_range_all_of_whose_ports_are_free_again() -> None:
    """Nothing of it is in force."""
    of = desired("forward * udp 5000 5001 5000 5001 -")
    of.record.yields = [published("4 * udp 5000 5000"), published("4 * udp 5001 5001")]

    (found,) = statuses(of, {ACCEPT: 0}, {}, "/nowhere")

    assert found.state == "blocked"


def test_a_row_for_each_address() -> None:
    """A guest in both families has a forward on every address in two rows."""
    six = "dnat 6 * tcp 8080 8080 fd00:122::10 80"
    held = {ACCEPT: 0, DNAT: 1, "accept 6 fd00:122::10": 0, six: 2}

    found = statuses(desired(WEB, addresses=DUAL), held, {}, "/nowhere")

    shown = [(row.address, row.state, row.connections) for row in found]
    assert shown == [("192.168.122.10", "active", 1), ("fd00:122::10", "active", 2)]


def test_a_forward_that_waits() -> None:
    """No address: what was looked at."""
    found = rows(desired(WEB, addresses={}, reason="no lease"))

    assert found == [("", "pending", "no lease", 0)]


def test_a_forward_of_a_family_that_the_guest_does_not_have() -> None:
    """It waits, whatever the other family does."""
    found = rows(desired(WEB, "forward :: tcp 1 1 1 1 -"))

    assert found == [
        ("192.168.122.10", "active", "", 7),
        ("", "pending", "the guest has no IPv6 address", 0),
    ]


def test_a_forward_on_every_address_of_a_guest_without_one() -> None:
    """Either family would do."""
    found = rows(desired(WEB, addresses={}))

    assert found == [("", "pending", "the guest has no IPv4 or IPv6 address", 0)]


def test_a_port_that_somebody_else_has() -> None:
    """Any of its entries in conflict is a conflict, with the reason."""
    taken = {DNAT: "taken by lxc guest web1"}

    found = rows(desired(WEB, conflicts=taken))

    assert found == [("192.168.122.10", "conflict", "taken by lxc guest web1", 7)]


def test_an_address_that_somebody_else_has() -> None:
    """The guest is nowhere, because another one is there."""
    reason = "192.168.122.10 is the address of web2"

    found = rows(desired(WEB, addresses={}, conflicts={ACCEPT: reason}))

    assert found == [("", "conflict", reason, 0)]


def test_an_address_of_the_other_family_that_somebody_else_has() -> None:
    """That IPv4 is another guest's is no reason for IPv6 to be missing."""
    reason = "192.168.122.10 is the address of web2"
    six_only = "forward :: tcp 1 1 1 1 -"

    found = rows(desired(six_only, addresses={}, conflicts={ACCEPT: reason}))

    assert found == [("", "pending", "the guest has no IPv6 address", 0)]


def test_one_address_of_two_that_somebody_else_has() -> None:
    """The family in conflict is shown beside the one that works."""
    reason = "192.168.122.10 is the address of web2"
    six = "dnat 6 * tcp 8080 8080 fd00:122::10 80"
    of = desired(WEB, addresses=SIX, conflicts={ACCEPT: reason})

    found = statuses(of, {"accept 6 fd00:122::10": 0, six: 0}, {}, "/nowhere")

    reasons = sorted(row.reason for row in found)
    assert reasons == ["", reason]


def test_rules_that_are_not_in_the_kernel() -> None:
    """Somebody has taken them out."""
    found = statuses(desired(WEB), {ACCEPT: 0}, {}, "/nowhere")

    reason = "the rules are not in the kernel; run vfwhooks apply"
    assert [(row.state, row.reason) for row in found] == [("blocked", reason)]


ON_THE_HOST = parse_address("203.0.113.5")
ABSENT = {ON_THE_HOST: "this host has no address 203.0.113.5"}
ON_ONE = "forward 203.0.113.5 tcp 8080 8080 80 80 -"


def test_an_address_that_the_host_does_not_have() -> None:
    """It waits, with all of its rules in the kernel; a forward beside it does not."""
    held = {ACCEPT: 0, DNAT: 7, DNAT.replace("*", "203.0.113.5"): 0}

    found = statuses(desired(ON_ONE, WEB), held, {}, "/nowhere", absent=ABSENT)

    assert [(row.state, row.reason) for row in found] == [
        ("pending", ABSENT[ON_THE_HOST]),
        ("active", ""),
    ]


def test_what_is_wrong_with_the_rules_is_said_before_the_address() -> None:
    """A conflict does not end when the address comes, nor do rules come back."""
    taken = {DNAT.replace("*", "203.0.113.5"): "taken by lxc guest web1"}
    contested = desired(ON_ONE, conflicts=taken)

    found = [
        forward_statuses(one, HostState(absent=ABSENT, root="/nowhere"))[0].state
        for one in (desired(ON_ONE), contested)
    ]

    assert found == ["blocked", "conflict"]


def test_the_address_is_said_before_a_table_that_is_missing() -> None:
    """Where nothing arrives, what would be in the way then is not the reason."""
    held = {ACCEPT: 0, DNAT.replace("*", "203.0.113.5"): 0}
    missing = {"4": "table ip libvirt_network is missing"}

    found = statuses(desired(ON_ONE), held, missing, "/nowhere", absent=ABSENT)

    assert [row.state for row in found] == ["pending"]


MISSING = {"6": "table ip6 libvirt_network is missing"}


def test_libvirts_table_that_is_not_in_the_kernel() -> None:
    """What all of that family waits for is the reason; the other one is served."""
    six = "dnat 6 * tcp 8080 8080 fd00:122::10 80"
    of = desired(WEB, addresses=DUAL)

    found = statuses(of, {DNAT: 0, six: 0}, MISSING, "/nowhere")

    assert [(row.state, row.reason) for row in found] == [
        ("active", ""),
        ("blocked", MISSING["6"]),
    ]


def test_what_is_wrong_with_a_forward_itself_is_said_first() -> None:
    """A missing table does not hide a conflict, or rules that are gone."""
    of = desired(WEB, addresses=SIX)

    found = statuses(of, {}, MISSING, "/nowhere")

    reason = "the rules are not in the kernel; run vfwhooks apply"
    assert [(row.state, row.reason) for row in found] == [("blocked", reason)]


@pytest.mark.parametrize(
    ("modes", "state"), [(["open"], "active"), (["open", "nat"], "blocked")]
)
def test_open_networks_need_nothing_of_libvirts(modes: list[str], state: str) -> None:
    """Nothing of libvirt's stands before a guest that is on such networks alone."""
    networks = [network(mode=mode) for mode in modes]
    of = desired(WEB, networks=networks)

    found = statuses(of, {DNAT: 7}, {"4": "missing"}, "/nowhere")

    assert [row.state for row in found] == [state]


def interfaces(root: Path, **masters: str) -> Path:
    """/sys/class/net with these interfaces, each in a bridge ('' for none)."""
    for device, master in masters.items():
        path = root / "sys/class/net" / device
        path.mkdir(parents=True)
        if master:
            (root / "sys/class/net" / master).mkdir(exist_ok=True)
            (path / "master").symlink_to(f"../{master}")
    return root


DETACHED = (
    "vnet0 is not attached to virbr0; "
    "restart libvirtd, or: ip link set vnet0 master virbr0"
)


def test_an_interface_without_its_bridge(tmp_path: Path) -> None:
    """After net-destroy and net-start the guest answers nobody: why, and the cure."""
    found = rows(desired(WEB), interfaces(tmp_path, vnet0=""))

    assert found == [("192.168.122.10", "blocked", DETACHED, 7)]


def test_an_interface_in_another_bridge(tmp_path: Path) -> None:
    """Attached is attached to the right one."""
    found = rows(desired(WEB), interfaces(tmp_path, vnet0="br-lan"))

    assert found == [("192.168.122.10", "blocked", DETACHED, 7)]


@pytest.mark.parametrize("master", ["virbr0", "ovs-system"])
def test_an_interface_in_its_bridge(tmp_path: Path, master: str) -> None:
    """As it should be; of Open vSwitch's bridges the kernel knows no more."""
    found = rows(desired(WEB), interfaces(tmp_path, vnet0=master))

    assert found == [("192.168.122.10", "active", "", 7)]


def test_an_interface_that_is_not_there(tmp_path: Path) -> None:
    """A container's end of a veth pair is elsewhere: nothing can be said of it."""
    found = rows(desired(WEB), interfaces(tmp_path, other=""))

    assert found == [("192.168.122.10", "active", "", 7)]


@pytest.mark.parametrize("lost", ["vnet0", "vnet1"])
def test_one_of_two_interfaces_without_its_bridge(tmp_path: Path, lost: str) -> None:
    """The one on the network that leads to the guest's address counts, the other does
    not: its network may have been restarted, and the forward works."""
    second = nic(OTHER_MAC, network="lab", bridge="virbr1", device="vnet1")
    lab = network("lab", "virbr1", "nat", [("10.0.0.1", "10.0.0.0/24")])
    of = desired(WEB, networks=[network(), lab])
    of.record.guest.nics.append(second)
    masters = {"vnet0": "virbr0", "vnet1": "virbr1", lost: ""}

    ((_, state, reason, _),) = rows(of, interfaces(tmp_path, **masters))

    wanted = {"vnet0": ("blocked", DETACHED), "vnet1": ("active", "")}
    assert (state, reason) == wanted[lost]


def test_interfaces_without_a_device_or_a_bridge(tmp_path: Path) -> None:
    """A hot-plugged NIC's device is not known, a direct one has no bridge."""
    of = desired(WEB)
    of.record.guest.nics[:] = [nic(device=""), nic(bridge="")]

    found = rows(of, interfaces(tmp_path, vnet0="", other=""))

    assert found == [("192.168.122.10", "active", "", 7)]


def test_a_port_that_is_not_in_hairpin_mode(tmp_path: Path) -> None:
    """Somebody set it back: whoever else connects is served, and the cure is said."""
    interfaces(tmp_path, vnet0="virbr0", vnet1="virbr0")
    of = desired(WEB)
    of.ports = [("vnet0", "virbr0"), ("vnet1", "virbr0")]
    seen = []
    for modes in ("11", "10"):
        for number, mode in enumerate(modes):
            port = tmp_path / f"sys/class/net/vnet{number}/brport"
            port.mkdir(exist_ok=True)
            (port / "hairpin_mode").write_text(f"{mode}\n")
        seen += rows(of, tmp_path)

    (tmp_path / "sys/class/net/vnet1/brport/hairpin_mode").unlink()
    seen += rows(of, tmp_path)

    what = "vnet1 is not in hairpin mode: the guest does not reach itself"
    said = f"{what}; run vfwhooks apply"
    reasons = [(state, reason) for _, state, reason, _ in seen]
    assert reasons == [
        ("active", ""),
        ("active", said),
        ("active", ""),
    ]


def test_a_guest_that_runs() -> None:
    """Its name, UUID and addresses."""
    found = guest_status(desired(WEB, addresses=DUAL))

    assert found == GuestStatus(
        "web1", UUID, "running", ["192.168.122.10", "fd00:122::10"]
    )


def test_a_guest_that_does_not_run() -> None:
    """Its forwards are stopped."""
    settings = parse_settings(["forward 203.0.113.5 udp 53 54 53 54 -"])

    found = stopped_statuses("dns", settings.forwards, None, {})

    reason = "the guest is not running"
    assert found == [
        ForwardStatus(
            "dns", "203.0.113.5", "53-54", "53-54", "udp", "", "stopped", reason, 0
        )
    ]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"reject 4 * tcp 8080 8080": 0}, "its ports are rejected"),
        ({}, "its ports are not rejected yet: run vfwhooks apply"),
    ],
)
def test_a_guest_that_does_not_run_and_keeps_its_ports(
    held: dict[str, int], reason: str
) -> None:
    """Whether what connects to them is rejected, as forwards.yaml asks."""
    claim = desired()
    claim.entries = parsed("reject 4 * tcp 8080 8080")
    there = dict.fromkeys(parsed(*held), 0)

    (found,) = stopped_statuses("web1", parse_settings([WEB]).forwards, claim, there)

    assert (found.state, found.reason) == (
        "stopped",
        f"the guest is not running; {reason}",
    )


def test_loopback_of_a_guest_that_does_not_run() -> None:
    """It stays the host's whatever the guest's claim is."""
    forwards = parse_settings(["claimed 127.0.0.1 tcp 80 80 80 80 -"]).forwards

    (found,) = stopped_statuses("web1", forwards, desired(), {})

    assert found.reason == "the guest is not running"


@pytest.mark.parametrize(
    ("value", "state", "reason"),
    [
        ("1", "active", ""),
        (
            "0",
            "blocked",
            "net.ipv4.conf.virbr0.route_localnet is 0; run vfwhooks apply",
        ),
    ],
)
def test_loopback_of_a_bridge_that_was_closed(
    tmp_path: Path, value: str, state: str, reason: str
) -> None:
    """All of ours is in place, and a setting of the kernel's is in the way."""
    setting = tmp_path / "proc/sys/net/ipv4/conf/virbr0/route_localnet"
    setting.parent.mkdir(parents=True)
    setting.write_text(value)
    local = desired("forward 127.0.0.1 tcp 80 80 80 80 -")
    local.needs.append(LoopbackNeed("default"))
    held = {"dnat 4 127.0.0.1 tcp 80 80 192.168.122.10 80": 0}

    (found,) = statuses(local, held, {}, str(tmp_path))

    assert (found.state, found.reason) == (state, reason)


def test_no_forwards() -> None:
    """A guest that forwards.yaml does not name has no rows."""
    found = statuses(desired(), {}, {}, "/nowhere")

    assert found == []
