"""The findings of doctor about guests: from records, libvirt and forwards.yaml."""

from __future__ import annotations

from collections.abc import Iterator

from ..config.forwards import GuestForwards
from ..config.guest_names import find_twins
from ..libvirt.client import Answer
from ..store.state import State
from ..values.errors import show
from ..values.findings import NOTE, WRONG, Finding
from ..values.guests import Guest

APPLY = "run: vfwhooks apply"


def check_records(
    state: State, written: set[str], answer: Answer | None
) -> Iterator[Finding]:
    """Guests on which libvirt and our records disagree, and guests with one MAC.
    `written` are the names and UUIDs with forwards."""
    if answer is None:
        what = "libvirtd does not answer: guests are those that the hooks have recorded"
        yield Finding(NOTE, what)
        return
    records = {r.key: r for r in state.records() if r.key[0] in answer.drivers}
    by_uuid = {record.guest.uuid: record for record in records.values()}
    for guest in answer.guests:
        name = show(guest.name)
        known = records.pop((guest.driver, guest.name), None)
        other = by_uuid.get(guest.uuid)
        if other and other.guest.name != guest.name:
            records.pop(other.key, None)
            what = f"{show(other.guest.name)} is called {name} now"
            yield Finding(WRONG, what, f"rename it in forwards.yaml, then {APPLY}")
        elif known is None and written & {guest.name, guest.uuid}:
            yield Finding(WRONG, f"{name} runs and is not forwarded to", APPLY)
        elif known and known.guest.uuid != guest.uuid:
            yield Finding(WRONG, f"{name} is another guest than recorded", APPLY)
    for record in records.values():
        what = f"{show(record.guest.name)} does not run and is still recorded"
        yield Finding(WRONG, what, APPLY)
    yield from _twins(list(answer.guests))


def check_sessions(written: set[str], sessions: dict[str, str]) -> Iterator[Finding]:
    """Guests in forwards.yaml that run in a user's session, where no hook reports
    them."""
    for name in sorted(written.intersection(sessions)):
        yield Finding(WRONG, f"{show(name)} is not forwarded to: {sessions[name]}")


def check_strangers(written: set[str], known: set[str]) -> Iterator[Finding]:
    """Names in forwards.yaml that libvirt does not know: misspelt, or on another host
    now."""
    for name in sorted(written - known):
        what = f"forwards.yaml names {show(name)}, and libvirt has no such guest"
        yield Finding(NOTE, what, "virsh list --all shows who there is")


def check_named_twice(
    guests: list[GuestForwards], known: set[tuple[str, str]]
) -> Iterator[Finding]:
    """Guests that stand in forwards.yaml under their name and their UUID."""
    for problem in find_twins(guests, known):
        yield Finding(NOTE, f"{problem.place}: {problem.message}")


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
            yield Finding(WRONG, f"{both} have one MAC, {mac}", "give each its own")
