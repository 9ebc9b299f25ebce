"""The findings of doctor about guests: from records, libvirt and forwards.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from ..config.forwards import GuestForwards
from ..config.guest_names import find_twins
from ..config.port_mappings import METADATA
from ..libvirt.client import Answer
from ..store.state import State
from ..values.errors import show
from ..values.findings import APPLY, NOTE, WRONG, Finding, by_hand
from ..values.guests import Guest
from .overview import Overview


def check_records(
    state: State, written: set[str], answer: Answer | None
) -> Iterator[Finding]:
    """Guests on which libvirt and our records disagree, and guests with one MAC.
    `written` are the names and UUIDs with forwards."""
    if answer is None:
        what = "libvirtd does not answer: guests are those that the hooks have recorded"
        seen = "no driver of libvirt's could be asked"
        yield Finding(NOTE, "libvirtd-silent", "libvirtd", what, None, seen)
        return
    records = {r.key: r for r in state.records() if r.key[0] in answer.drivers}
    by_uuid = {record.guest.uuid: record for record in records.values()}
    for guest in answer.guests:
        name = show(guest.name)
        known = records.pop((guest.driver, guest.name), None)
        other = by_uuid.get(guest.uuid)
        if other and other.guest.name != guest.name:
            records.pop(other.key, None)
            old = other.guest.name
            what, seen = f"{show(old)} is called {name} now", f"UUID {guest.uuid}"
            said = "rename it in forwards.yaml, then run: {run}"
            cure = by_hand(said, *APPLY.argv)
            yield Finding(WRONG, "guest-renamed", old, what, cure, seen)
        elif known is None and written & {guest.name, guest.uuid}:
            what = f"{name} runs and is not forwarded to"
            seen = f"libvirt's {guest.driver} driver has it; no record of ours does"
            yield Finding(WRONG, "guest-not-forwarded", guest.name, what, APPLY, seen)
        elif known and known.guest.uuid != guest.uuid:
            what = f"{name} is another guest than recorded"
            seen = f"UUID {guest.uuid}, recorded as {known.guest.uuid}"
            yield Finding(WRONG, "guest-replaced", guest.name, what, APPLY, seen)
    for record in records.values():
        name = record.guest.name
        what = f"{show(name)} does not run and is still recorded"
        seen = f"libvirt's {record.guest.driver} driver has no such guest running"
        yield Finding(WRONG, "guest-gone", name, what, APPLY, seen)
    yield from _twins(list(answer.guests))


def check_sessions(written: set[str], sessions: dict[str, str]) -> Iterator[Finding]:
    """Guests in forwards.yaml that run in a user's session, where no hook reports
    them."""
    for name in sorted(written.intersection(sessions)):
        what, seen = (
            f"{show(name)} is not forwarded to: {sessions[name]}",
            sessions[name],
        )
        yield Finding(WRONG, "guest-in-session", name, what, None, seen)


def check_strangers(written: set[str], known: set[str]) -> Iterator[Finding]:
    """Names in forwards.yaml that libvirt does not know: misspelt, or on another host
    now."""
    for name in sorted(written - known):
        what = f"forwards.yaml names {show(name)}, and libvirt has no such guest"
        cure = by_hand("{run} shows who there is", "virsh", "list", "--all")
        seen = "no driver of libvirt's has a guest of that name or UUID"
        yield Finding(NOTE, "guest-unknown", name, what, cure, seen)


def check_metadata(overview: Overview) -> Iterator[Finding]:
    """Guests with forwards in their metadata that are not in force."""
    reasons = {one.name: one.metadata for one in overview.guests if one.metadata}
    for row in overview.forwards:
        if row.source == METADATA and row.state in ("blocked", "conflict"):
            what = f"{row.published}/{row.protocol} is a {row.state}: {row.reason}"
            reasons.setdefault(row.guest, what.replace("a blocked", "blocked"))
    for guest, reason in reasons.items():
        what = f"the metadata of {show(guest)}: {reason}"
        cure = by_hand("run: {run}", "vfwhooks", "metadata", "edit", guest)
        yield Finding(NOTE, "metadata-not-in-force", guest, what, cure, reason)


def check_named_twice(
    guests: list[GuestForwards], known: set[tuple[str, str]]
) -> Iterator[Finding]:
    """Guests that stand in forwards.yaml under their name and their UUID."""
    for problem in find_twins(guests, known):
        place, what = str(problem.place), f"{problem.place}: {problem.message}"
        yield Finding(NOTE, "guest-named-twice", place, what, None, problem.message)


def _twins(guests: list[Guest]) -> Iterator[Finding]:
    """Two interfaces with one MAC: leases and neighbours cannot tell them apart."""
    owners: dict[tuple[str, str], list[str]] = {}
    for guest in guests:
        for nic in guest.nics:
            if nic.mac:
                place = nic.mac, nic.network or nic.bridge
                owners.setdefault(place, []).append(show(guest.name))
    for (mac, _), names in owners.items():
        if len(names) > 1:
            both = " and ".join(sorted(set(names)))
            what, cure = f"{both} have one MAC, {mac}", by_hand("give each its own")
            yield Finding(WRONG, "mac-shared", both, what, cure, f"MAC {mac}")
