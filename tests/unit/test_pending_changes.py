"""pending_changes: each guest's record before what happened, and after it."""

from __future__ import annotations

import time
from dataclasses import fields as all_fields
from dataclasses import replace
from pathlib import Path

import pytest

from unit.builders import (
    OTHER_MAC,
    OTHER_UUID,
    UUID,
    fields,
    fresh_state,
    guest,
    nic,
    parsed,
    published,
    record,
    written,
)
from vfwhooks.reconcile.pending_changes import PendingChanges
from vfwhooks.store import asking
from vfwhooks.store.records import GuestEvent, Key, Ousted, Record, Seen
from vfwhooks.store.state import State
from vfwhooks.values.guests import Guest
from vfwhooks.values.published import parse_address

WEB = ("qemu", "web1")
ENTRIES = ["accept 4 192.168.122.10"]
DNAT = "dnat 4 * tcp 8080 8080 192.168.122.10 80"
OTHER_NIC = nic(OTHER_MAC, device="")


def known(tmp_path: Path, *records: Record) -> State:
    """A state directory with these records."""
    state = fresh_state(tmp_path)
    for one in records:
        state.keep(one)
    return state


def running(**more: object) -> Record:
    """web1, which has run since 1000 and was last heard of at 2000."""
    stamp = more.get("stamp", 2000)
    assert isinstance(stamp, int)
    return record(guest(), 1000, stamp, ENTRIES, ["default"])


def followed(state: State, *guest_events: GuestEvent) -> PendingChanges:
    """These events, followed."""
    events = PendingChanges(state)
    for guest_event in guest_events:
        events.follow(guest_event)
    return events


def after(events: PendingChanges) -> dict[Key, object]:
    """The records after the events, as values."""
    return {key: fields(one) for key, one in events.after.items()}


def test_a_guest_that_starts(tmp_path: Path) -> None:
    """It was nowhere, and runs since it started."""
    events = followed(known(tmp_path), GuestEvent("started", guest(), 3000))

    assert events.before == {WEB: None}
    assert after(events) == {WEB: fields(record(guest(), 3000, 3000))}


def test_ports_in_hairpin_mode(tmp_path: Path) -> None:
    """Which of them are ours to set back is known on, whatever libvirt says; where the
    kernel could not be changed, with those that may have been set by then."""
    before = running()
    before.hairpins = [("vnet0", "virbr0", 17)]
    both = [*before.hairpins, ("vnet1", "virbr0", 18)]
    state = known(tmp_path, before)

    events = followed(state, GuestEvent("started", guest(), 3000))
    after = events.after[WEB]
    carried = after.hairpins if after else []
    events.hairpins[WEB] = both
    events.postpone()

    noted = state.record(WEB)
    assert (carried, noted and noted.hairpins) == (before.hairpins, both)


@pytest.mark.parametrize("operation", ["started", "reconnected"])
def test_the_same_event_twice(tmp_path: Path, operation: str) -> None:
    """A guest that runs has run since it started, and keeps what it holds."""
    before = running()
    events = followed(known(tmp_path, before), GuestEvent(operation, guest(), 3000))

    expected = record(guest(), 1000, 3000, ENTRIES, ["default"])
    assert (fields(events.before), after(events)) == (
        {WEB: fields(before)},
        {WEB: fields(expected)},
    )


@pytest.mark.parametrize(
    ("operation", "is_away", "arrived"),
    [("away", True, 0), ("started", True, 0), ("found", False, 1)],
)
def test_a_guest_that_is_migrated(
    tmp_path: Path, operation: str, is_away: bool, arrived: int
) -> None:
    """It keeps what it has left; it has arrived where it runs at last."""
    before = running()
    before.is_away, before.left = True, parsed(DNAT)
    events = PendingChanges(known(tmp_path, before))

    events.follow(GuestEvent(operation, guest(), 3000), is_away)

    now = events.after[WEB]
    assert now is not None
    found = now.is_away, written(now.left), len(events.arrived())
    assert found == (is_away, [DNAT], arrived)


def test_an_answer_about_a_guest_that_is_away(tmp_path: Path) -> None:
    """libvirtd names it as one that runs; its own file says no more that it is being
    migrated."""
    before = running()
    before.is_away = True
    events = PendingChanges(known(tmp_path, before))

    events.correct([guest()], ["qemu"], time.monotonic_ns())

    assert [one.key for one in events.arrived()] == [WEB]


def test_a_guest_that_goes_on_keeps_all_of_its_record(tmp_path: Path) -> None:
    """Also what a later release adds to a record, which is to stand here, too."""
    port, address = published("4 * tcp 22 22"), parse_address("192.168.122.10")
    before = replace(
        running(),
        is_waiting=True,
        is_returned=True,
        is_shared=True,
        yields=[port],
        seen={Seen(port, 4711): 1500},
        ousted=[Ousted(address, OTHER_MAC)],
        hairpins=[("vnet0", "virbr0", 17)],
        left=parsed(DNAT),
        claims=[port],
        shares=[port],
        public={address: True},
    )
    state = known(tmp_path, before)

    new = followed(state, GuestEvent("reconnected", guest(), 3000)).after[WEB]

    names = [one.name for one in all_fields(Record)]
    unset = {name for name in names if not getattr(before, name)}
    changed = {one for one in names if getattr(before, one) != getattr(new, one)}
    assert unset == {"is_off", "is_followed", "is_away"}
    assert changed == {"stamp", "is_waiting"}


def test_a_guest_of_the_same_name_that_is_another(tmp_path: Path) -> None:
    """Its UUID says so: it runs since now, and what the old one held is to go."""
    other = guest(uuid=OTHER_UUID)

    events = followed(known(tmp_path, running()), GuestEvent("started", other, 3000))

    assert after(events) == {
        WEB: fields(record(other, 3000, 3000, ENTRIES, ["default"]))
    }


def test_a_guest_that_stops(tmp_path: Path) -> None:
    """What it held is known from its record alone."""
    before = running()

    events = followed(
        known(tmp_path, before), GuestEvent("stopped", guest(nics=[]), 3000)
    )

    assert (fields(events.before), events.after) == (
        {WEB: fields(before)},
        {WEB: None},
    )


def test_a_guest_that_stops_and_was_not_known(tmp_path: Path) -> None:
    """Nothing to do, and no error."""
    events = followed(known(tmp_path), GuestEvent("stopped", guest(nics=[]), 3000))

    assert (events.before, events.after) == ({WEB: None}, {WEB: None})


def test_a_guest_that_restarts_within_one_round(tmp_path: Path) -> None:
    """Before is what was recorded, after is what the last event left."""
    before = running()

    events = followed(
        known(tmp_path, before),
        GuestEvent("stopped", guest(nics=[]), 3000),
        GuestEvent("started", guest(), 4000),
    )

    expected = record(guest(), 4000, 4000, ENTRIES, ["default"])
    assert (fields(events.before), after(events)) == (
        {WEB: fields(before)},
        {WEB: fields(expected)},
    )


def test_a_guest_that_starts_and_stops_within_one_round(tmp_path: Path) -> None:
    """Nothing is left of it."""
    events = followed(
        known(tmp_path),
        GuestEvent("started", guest(), 3000),
        GuestEvent("stopped", guest(nics=[]), 4000),
    )

    assert (events.before, events.after) == ({WEB: None}, {WEB: None})


@pytest.mark.parametrize("operation", ["plugged", "unplugged"])
def test_an_event_of_a_former_release(tmp_path: Path, operation: str) -> None:
    """It noted interfaces; what is left of that over an upgrade changes nothing, and
    the service, which looks at all guests when it starts, finds them."""
    port = Guest("port", "web1", UUID, [OTHER_NIC])

    events = followed(known(tmp_path, running()), GuestEvent(operation, port, 3000))

    assert (events.before, events.after) == ({}, {})


def test_an_event_about_a_network_changes_no_guest(tmp_path: Path) -> None:
    """It only has everything checked."""
    network = Guest("network", "default", "", [])

    events = followed(known(tmp_path, running()), GuestEvent("network", network, 3000))

    assert (events.before, events.after) == ({}, {})


def test_a_guest_that_moved(tmp_path: Path) -> None:
    """Its record is looked at anew; it is as it was."""
    before = running()

    events = followed(known(tmp_path, before), GuestEvent("moved", guest(), 3000))

    assert after(events) == fields(events.before) == {WEB: fields(before)}


ASKED = 3000


def unheard(one: Record) -> Record:
    """The record of a guest of which no hook has told."""
    one.is_followed = True
    return one


@pytest.mark.parametrize(
    ("operations", "is_followed"),
    [
        (("found",), True),
        (("found", "found"), True),
        (("found", "started"), False),
        (("found", "reconnected"), False),
        (("started", "found"), False),
        (("started", "stopped", "found"), True),
    ],
)
def test_a_guest_whose_hook_was_not_called(
    tmp_path: Path, operations: tuple[str, ...], is_followed: bool
) -> None:
    """It runs since it was found; a hook that was called once for it is enough."""
    guest_events = [
        GuestEvent(what, guest(), 3000 + n) for n, what in enumerate(operations)
    ]

    found = followed(known(tmp_path), *guest_events).after[WEB]

    assert found and found.is_followed == is_followed


def corrected(
    state: State, *answer: Guest, drivers: str = "qemu lxc"
) -> PendingChanges:
    """What libvirtd said at 3000, taken in."""
    events = PendingChanges(state)
    events.correct(list(answer), drivers.split(), ASKED)
    return events


def test_a_guest_that_libvirtd_knows_and_we_do_not(tmp_path: Path) -> None:
    """It has started without a hook: it runs since it was asked for."""
    events = corrected(known(tmp_path), guest())

    assert after(events) == {WEB: fields(unheard(record(guest(), ASKED, ASKED)))}


def test_a_guest_that_libvirtd_does_not_know(tmp_path: Path) -> None:
    """It has vanished without a hook."""
    events = corrected(known(tmp_path, running()))

    assert events.after == {WEB: None}


def test_a_guest_of_a_driver_that_did_not_answer(tmp_path: Path) -> None:
    """Of it nothing is known."""
    events = corrected(known(tmp_path, running()), drivers="lxc")

    assert events.after == {}


def test_a_network_is_no_guest_of_libvirtds(tmp_path: Path) -> None:
    """A network's record is not corrected by who runs."""
    state = known(tmp_path, record(Guest("network", "default", "virbr0", [])))

    events = corrected(state)

    assert events.after == {}


def test_a_guest_that_libvirtd_sees_otherwise(tmp_path: Path) -> None:
    """Its interfaces are what libvirtd says; it has run since it started."""
    now = guest(nics=[OTHER_NIC])

    events = corrected(known(tmp_path, running()), now)

    expected = record(now, 1000, 2000, ENTRIES, ["default"])
    assert after(events) == {WEB: fields(expected)}


def test_another_guest_of_that_name_runs(tmp_path: Path) -> None:
    """It has been replaced without a hook: it runs since it was asked for."""
    other = guest(uuid=OTHER_UUID)

    events = corrected(known(tmp_path, running()), other)

    expected = unheard(record(other, ASKED, 2000, ENTRIES, ["default"]))
    assert after(events) == {WEB: fields(expected)}


@pytest.mark.parametrize(("stamp", "stays"), [(ASKED, False), (ASKED + 1, True)])
def test_an_event_since_the_question_wins_over_absence(
    tmp_path: Path, stamp: int, stays: bool
) -> None:
    """A guest that has started since libvirtd was asked is not taken out."""
    events = corrected(known(tmp_path, running(stamp=stamp)))

    assert (events.after[WEB] is not None) is stays


@pytest.mark.parametrize(("stamp", "is_changed"), [(ASKED, True), (ASKED + 1, False)])
def test_an_event_since_the_question_wins_over_the_answer(
    tmp_path: Path, stamp: int, is_changed: bool
) -> None:
    """A guest that an event has spoken of since is as the event said."""
    events = corrected(known(tmp_path, running(stamp=stamp)), guest(nics=[OTHER_NIC]))

    found = events.after[WEB]
    assert found and (len(found.guest.nics[0].device) == 0) is is_changed


@pytest.mark.parametrize(
    ("stopped", "is_back"), [(0, True), (ASKED, True), (ASKED + 1, False)]
)
def test_a_guest_that_stopped_since_the_question(
    tmp_path: Path, stopped: int, is_back: bool
) -> None:
    """libvirtd's answer is older: the guest does not come back."""
    state = known(tmp_path, running())
    asking.begin(state)
    asking.note_stopped(state, WEB, stopped)
    state.forget(WEB)

    events = corrected(state, guest())

    assert (events.after[WEB] is not None) is is_back


def test_events_and_answer_in_one_round(tmp_path: Path) -> None:
    """An event of this very round that is newer than the answer wins too."""
    events = followed(
        known(tmp_path, running()),
        GuestEvent("started", guest(nics=[OTHER_NIC]), ASKED + 1),
    )

    events.correct([guest()], ["qemu"], ASKED)

    expected = record(guest(nics=[OTHER_NIC]), 1000, ASKED + 1, ENTRIES, ["default"])
    assert after(events) == {WEB: fields(expected)}


def test_what_cannot_be_done_now_is_written_down(tmp_path: Path) -> None:
    """Who runs and who does not, for whoever can change the kernel."""
    state = known(tmp_path, running())
    events = followed(
        state,
        GuestEvent("stopped", guest(nics=[]), 3000),
        GuestEvent("started", guest("web2", OTHER_UUID), 3000),
        GuestEvent("stopped", guest("web3", nics=[]), 3000),
    )

    events.postpone()

    found = {
        one.guest.name: (one.is_off, written(one.entries)) for one in state.records()
    }
    assert found == {"web1": (True, ENTRIES), "web2": (False, [])}


def test_a_guest_that_is_off_is_not_brought_back_by_its_address(tmp_path: Path) -> None:
    """Somebody else is where it was, or it has a lease still: it stays stopped."""
    off = running()
    off.is_off = True
    state = known(tmp_path, off)

    events = followed(state, GuestEvent("moved", guest(), 3000))

    assert (fields(events.before), events.after) == ({WEB: fields(off)}, {WEB: None})


def test_a_guest_that_is_off_is_not_brought_back_by_an_older_answer(
    tmp_path: Path,
) -> None:
    """libvirtd was asked before it stopped: the event wins, carried out or not."""
    state = known(tmp_path, running())
    followed(state, GuestEvent("stopped", guest(nics=[]), ASKED + 1)).postpone()

    events = corrected(state, guest())

    assert events.after == {WEB: None}


def test_a_guest_that_is_off_and_runs_by_a_newer_answer(tmp_path: Path) -> None:
    """It was started without a hook."""
    state = known(tmp_path, running())
    followed(state, GuestEvent("stopped", guest(nics=[]), ASKED - 1)).postpone()

    events = corrected(state, guest())

    expected = unheard(record(guest(), ASKED, ASKED, ENTRIES, ["default"]))
    assert after(events) == {WEB: fields(expected)}


@pytest.mark.parametrize(("stamp", "is_back"), [(ASKED, True), (ASKED + 1, False)])
def test_a_stop_and_an_answer_in_one_round(
    tmp_path: Path, stamp: int, is_back: bool
) -> None:
    """A guest that has stopped since libvirtd was asked stays so, also where the stop
    is carried out by whoever asked."""
    events = followed(
        known(tmp_path, running()), GuestEvent("stopped", guest(nics=[]), stamp)
    )

    events.correct([guest()], ["qemu"], ASKED)

    assert (events.after[WEB] is not None) is is_back


def test_a_guest_that_is_off_and_starts_again(tmp_path: Path) -> None:
    """It runs, and what it still holds is known."""
    off = running()
    off.is_off = True

    events = followed(known(tmp_path, off), GuestEvent("started", guest(), 3000))

    found = events.after[WEB]
    assert found and (found.is_off, written(found.entries)) == (False, ENTRIES)
