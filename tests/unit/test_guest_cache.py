"""guest_cache: whom a lease or a neighbour is news to."""

from __future__ import annotations

import errno
import sys
import tracemalloc
from collections.abc import Sequence
from ipaddress import IPv6Address
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import (
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    fresh_state,
    guest,
    nic,
    published,
    record,
)
from vfwhooks.service.guest_cache import GuestCache
from vfwhooks.store.records import Ousted, Record, Seen
from vfwhooks.store.state import State
from vfwhooks.values.published import parse_address

HERE = parse_address("192.168.122.10")
AT_10 = ["accept 4 192.168.122.10"]


def waiting(name: str = "web1", entries: Sequence[str] = ()) -> Record:
    """A guest with forwards and no address for them, or for some of them."""
    found = record(guest(name), entries=entries)
    found.is_waiting = True
    return found


def guest_cache(tmp_path: Path, *records: Record) -> tuple[State, GuestCache]:
    """The recorded guests of a host."""
    state = fresh_state(tmp_path)
    for one in records:
        state.keep(one)
    return state, GuestCache(state)


def test_who_waits_for_a_listener(tmp_path: Path) -> None:
    """Guests and claims with ports that a listener has, or may keep."""
    has, may, none = (record(guest(name)) for name in ("web1", "web2", "web3"))
    claim = record(guest("web4", driver="claim"))
    has.yields = [published("4 * tcp 22 22")]
    may.seen = {Seen(published("4 * udp 5000 5000"), 7): 1}
    claim.yields = has.yields

    _, found = guest_cache(tmp_path, has, may, none, claim)

    names = sorted(one.guest.name for one in found.yielding())
    assert names == ["web1", "web2", "web4"]


def test_who_runs_longer_with_ports_in_its_metadata(tmp_path: Path) -> None:
    """Of a guest that has some, too; the ports of another guest are its own."""
    first, other, later, none = (
        record(guest(f"web{number}"), since=number) for number in range(4)
    )
    for one in (first, other, later):
        one.claims = [published("4 * tcp 22 22")]

    _, cache = guest_cache(tmp_path, first, other, later, none)

    found = [[one.guest.name for one in cache.earlier(r)] for r in (other, none)]
    assert found == [["web0"], []]


def test_who_has_addresses_of_the_host(tmp_path: Path) -> None:
    """Those guests and claims, whether they have such an address just now or not."""
    has, none = record(guest("web1")), record(guest("web2"))
    claim = record(guest("web4", driver="claim"))
    has.public = {parse_address("203.0.113.7"): False}
    claim.public = {parse_address("203.0.113.1"): True}

    _, found = guest_cache(tmp_path, has, none, claim)

    assert sorted(one.guest.name for one in found.public()) == ["web1", "web4"]


def test_whose_answers_take_a_way_of_their_own(tmp_path: Path) -> None:
    """Those guests, whichever way it is just now."""
    returned = record(guest("web1"))
    returned.is_returned = True

    _, found = guest_cache(tmp_path, returned, record(guest("web2")))

    assert [one.guest.name for one in found.returned()] == ["web1"]


@pytest.mark.parametrize(
    ("known", "mac", "address", "is_news"),
    [
        (waiting(), MAC, "192.168.122.10", True),
        (waiting(), OTHER_MAC, "192.168.122.10", False),
        (record(), MAC, "192.168.122.10", False),
        (record(entries=AT_10), MAC, "192.168.122.10", False),
        (record(entries=AT_10), MAC, "192.168.122.99", True),
        (record(entries=AT_10), OTHER_MAC, "192.168.122.10", True),
        (record(entries=AT_10), OTHER_MAC, "192.168.122.99", False),
        (record(entries=AT_10), MAC, "fd00:122::10", False),
        (record(entries=["accept 6 fd00:122::9"]), MAC, "fd00:122::10", True),
        (record(entries=["accept 6 fd00:122::9"]), MAC, "fe80::10", False),
        (waiting(), MAC, "fe80::10", False),
        (waiting(entries=AT_10), MAC, "fd00:122::10", True),
        (waiting(entries=["accept 6 fd00:122::9"]), MAC, "192.168.122.10", True),
    ],
)
def test_news(
    tmp_path: Path, known: Record, mac: str, address: str, is_news: bool
) -> None:
    """Whose interface it is, if it is not known to be there, and who was there."""
    _, found = guest_cache(tmp_path, known)

    names = [one.guest.name for one in found.concerned(mac, parse_address(address))]

    assert names == ["web1"] * is_news


@pytest.mark.parametrize(
    ("mac", "address", "names"),
    [
        (MAC, "192.168.122.10", ["web1", "web2"]),
        (OTHER_MAC, "192.168.122.10", []),
        (MAC, "192.168.122.99", []),
    ],
)
def test_who_has_left_a_lease(
    tmp_path: Path, mac: str, address: str, names: list[str]
) -> None:
    """Whoever has this interface and is forwarded to there."""
    some = [record(guest(name), entries=AT_10) for name in ("web1", "web2")]
    _, found = guest_cache(tmp_path, *some, waiting("web3"))

    holders = found.holders(mac, parse_address(address))

    assert [one.guest.name for one in holders] == names


def test_thousands_of_guests_and_as_many_leases(tmp_path: Path) -> None:
    """Each lease of all is looked up at the service's start: what one costs does not
    grow with the guests."""
    state, found = guest_cache(tmp_path)
    for n in range(1000):
        mac = f"52:54:00:01:{n >> 8:02x}:{n & 255:02x}"
        state.keep(record(guest(f"g{n}", nics=[nic(mac)]), entries=AT_10[: n < 10]))
    found.look()
    steps = []
    for known in (MAC, "52:54:00:01:03:00"):
        count = 0

        def step(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(step)
        found.concerned(known, HERE)
        sys.setprofile(None)
        steps.append(count)

    assert max(steps) < 1000


def test_records_that_change(tmp_path: Path) -> None:
    """By what a guest was looked up before, it is not found any more."""
    state, found = guest_cache(tmp_path, record(entries=AT_10))
    other = record(guest(nics=[nic(OTHER_MAC)]), entries=["accept 4 192.168.122.99"])
    other.ousted = [Ousted(HERE, MAC)]
    names = []
    for one in (other, record(entries=AT_10), None):
        if one:
            state.keep(one)
        else:
            state.forget(("qemu", "web1"))
        found.read(["guests/qemu/web1"])
        names.append(
            [
                len(found.concerned("", parse_address(address)))
                for address in ("192.168.122.10", "192.168.122.99")
            ]
        )

    assert names == [[0, 1], [1, 0], [0, 0]]
    assert found.concerned(OTHER_MAC, HERE) == []


def test_a_clone_that_was_ousted(tmp_path: Path) -> None:
    """Where two have one lease, that the other is there again is no news; that a third
    one is there is."""
    holder = record(guest(), entries=AT_10)
    holder.ousted = [Ousted(HERE, OTHER_MAC)]
    clone = record(guest("web2", OTHER_UUID, [nic(OTHER_MAC)]))
    clone.is_waiting = True
    _, found = guest_cache(tmp_path, holder, clone)
    macs = OTHER_MAC, "52:54:00:00:00:99"

    names = [[one.guest.name for one in found.concerned(mac, HERE)] for mac in macs]

    assert names == [[], ["web1"]]


def test_the_same_news_twice(tmp_path: Path) -> None:
    """A neighbour is confirmed every few seconds: once is enough."""
    _, found = guest_cache(tmp_path, waiting())

    new = [found.is_new(MAC, HERE) for _ in range(2)]

    assert new == [True, False]


def test_an_address_that_is_asked_for(tmp_path: Path) -> None:
    """Nobody has answered there before, and nobody does now: this is news."""
    _, found = guest_cache(tmp_path, waiting())
    found.is_new("", HERE)

    for _ in range(2):
        found.expect(HERE)

    assert [found.is_new("", HERE) for _ in range(2)] == [True, False]


def test_news_are_news_again_when_a_record_changes(tmp_path: Path) -> None:
    """What was done about it is in the record."""
    state, found = guest_cache(tmp_path, waiting())
    found.is_new(MAC, HERE)
    state.keep(record(entries=["accept 4 192.168.122.99"]))

    found.read(["guests/qemu/web1"])

    assert found.is_new(MAC, HERE)


def test_an_address_that_goes_to_and_fro(tmp_path: Path) -> None:
    """Whoever was there once may come back; '' is nobody."""
    _, found = guest_cache(tmp_path)

    new = [found.is_new(mac, HERE) for mac in (MAC, OTHER_MAC, MAC, "", MAC)]

    assert new == [True] * 5


def test_a_network_that_is_scanned(tmp_path: Path) -> None:
    """What was heard of others' addresses takes no more memory than has a bound."""
    _, found = guest_cache(tmp_path)
    first = IPv6Address("2001:db8::")
    tracemalloc.start()

    new = [found.is_new("", first + number) for number in range(1 << 17)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (all(new), held < 4 << 20) == (True, True)


def test_a_guest_that_has_stopped(tmp_path: Path) -> None:
    """Nothing is news to it."""
    state, found = guest_cache(tmp_path, waiting())
    state.forget(("qemu", "web1"))

    found.read(["guests/qemu/web1"])

    assert found.concerned(MAC, HERE) == []


def test_a_record_that_cannot_be_read(tmp_path: Path) -> None:
    """It is no guest, and stops nobody."""
    state, found = guest_cache(tmp_path, waiting("web2"))
    state.write("guests/qemu/web1", "1000")

    (Path(state.path) / "guests" / "lxc" / "none").mkdir()
    (Path(state.path) / "guests" / "lxc" / "linked").symlink_to("/etc/passwd")

    names = "qemu/web1", "lxc/none", "lxc/linked", "lxc/nowhere"
    is_whole = found.read([f"guests/{name}" for name in names])

    told = [one.guest.name for one in found.concerned(MAC, HERE)]
    assert (is_whole, told) == (False, ["web2"])


def test_guests_of_every_driver_and_no_network(tmp_path: Path) -> None:
    """A network's record has no address."""
    container = waiting()
    container.guest.driver = "lxc"
    net = record(guest("default", OTHER_UUID, [nic()], driver="network"))
    net.is_waiting = True

    _, found = guest_cache(tmp_path, container, net)

    drivers = [one.guest.driver for one in found.concerned(MAC, HERE)]
    assert drivers == ["lxc"]


@pytest.mark.parametrize(
    ("entries", "lacking"),
    [((), {4, 6}), (AT_10, {6}), (["accept 6 fd00:122::9"], {4})],
)
def test_macs_of_those_that_wait(
    tmp_path: Path, entries: Sequence[str], lacking: set[int]
) -> None:
    """Every interface of a guest that has forwards and lacks an address, and of which
    version: where it is known already, no other address is looked for."""
    second = waiting("web2", entries)
    second.guest.nics.append(nic(OTHER_MAC))
    _, found = guest_cache(tmp_path, record(guest("web3")), second)

    macs = found.waiting()

    assert macs == {MAC: lacking, OTHER_MAC: lacking}


def test_those_that_wait_and_have_waited(tmp_path: Path) -> None:
    """Only guests whose record has changed are looked up again: others may wait for
    ever for an address of one version."""
    _, found = guest_cache(tmp_path, waiting(), waiting("web2"))
    found.read(["guests/qemu/web3"])

    assert found.waiting() == {}


@pytest.mark.parametrize("is_look", [True, False])
def test_a_moment_without_descriptors(tmp_path: Path, is_look: bool) -> None:
    """Guests whose records cannot be read just now stay known."""
    _, found = guest_cache(tmp_path, waiting())
    none = OSError(errno.EMFILE, "Too many open files")

    with patch.object(State, "read", side_effect=none), pytest.raises(OSError):
        found.look() if is_look else found.read(["guests/qemu/web1"])

    assert [one.guest.name for one in found.concerned(MAC, HERE)] == ["web1"]


def test_ports_in_hairpin_mode(tmp_path: Path) -> None:
    """Whose they are."""
    web1, web2 = record(), record(guest("web2", OTHER_UUID))
    web1.hairpins = [("vnet0", "virbr0", 0), ("vnet1", "virbr1", 17)]
    _, found = guest_cache(tmp_path, web1, web2)

    names = {device: one.guest.name for device, one in found.hairpins().items()}

    assert names == {"vnet0": "web1", "vnet1": "web1"}


def test_bridges_of_the_hosts_own(tmp_path: Path) -> None:
    """By which guests are forwarded to, and those that may be once there is an
    address; not those of libvirt's networks."""
    served = record(guest("web1"), needs=["/bridge:br-a", "/bridge:br-b/loopback"])
    waits, done = waiting("web2"), record(guest("web3"))
    waits.guest.nics = [nic(kind="bridge", network="", bridge="br-c"), nic()]
    done.guest.nics = [nic(kind="bridge", network="", bridge="br-d")]
    lacks_one = waiting("web5", AT_10)
    lacks_one.guest.nics = [nic(), nic(kind="bridge", network="", bridge="br-e")]

    other = record(guest("web4"), needs=["default"])

    _, found = guest_cache(tmp_path, served, waits, done, other, lacks_one)

    assert found.bridges() == {"br-a", "br-b", "br-c"}
