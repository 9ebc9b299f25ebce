"""Contests: of two guests that want one address or port, the guest that runs longer has
it, but for an address from which it was ousted."""

from __future__ import annotations

from ..store.records import Record
from ..values.entries import Accept, Dnat, Entry, Exempt, Masquerade, ReturnMark, key_of
from ..values.entries import Key as EntryKey
from ..values.errors import show
from ..values.published import Address, Family, Published
from .desired_state import DesiredState

_CLONE = "same machine-id?"


def kept_from_ousted(guests: list[DesiredState]) -> dict[EntryKey, Record]:
    """The addresses that guests keep from the guests that they have ousted: with two
    clones and one lease, the forwards would go to and fro."""
    return {
        (Accept, address): desired.record
        for desired in guests
        for address in desired.endpoint.addresses.values()
        for one in desired.record.ousted
        if one.address == address
    }


def tell_ousted(desired: DesiredState, records: list[Record]) -> None:
    """Set the reason of a guest that was ousted and has no other address."""
    macs = [nic.mac for nic in desired.record.guest.nics]
    for record in records if desired.endpoint.reason else ():
        for one in record.ousted:
            if one.mac in macs:
                lease, who = f"lease {one.address}", show(record.guest.name)
                desired.endpoint.reason = f"{lease} is answered by {who}: {_CLONE}"


def withhold(desired: DesiredState, taken: dict[EntryKey, Record]) -> None:
    """Remove entries whose address or port an earlier guest has, and note in `taken`
    the keys that this guest has."""
    addresses = _free_addresses(desired, taken)
    if addresses != desired.endpoint.addresses:
        desired.endpoint.addresses = addresses
        desired.entries = desired.entries_at(addresses)
    ranges = _owners_of_ranges(desired, taken)
    entries, desired.entries = desired.entries, []
    for entry in entries:
        key = key_of(entry)
        other = ranges.get(key) if ranges else None
        other = other or taken.setdefault(key, desired.record)
        if other is not desired.record:
            reason = f"taken by {other.guest.driver} guest {show(other.guest.name)}"
            desired.is_contested = True
            desired.conflicts[key] = reason
        else:
            desired.entries.append(entry)
    if desired.is_contested:
        _take_out_what_goes_along(desired)


def _free_addresses(
    desired: DesiredState, taken: dict[EntryKey, Record]
) -> dict[Family, Address]:
    """The guest's addresses without those of earlier guests."""
    found = {}
    for family, address in desired.endpoint.addresses.items():
        other = taken.get((Accept, address))
        if other is None or other is desired.record:
            found[family] = address
            continue
        reason = f"{address} is the address of {show(other.guest.name)}"
        if any(one.address == address for one in other.ousted):
            reason += f": {_CLONE}"
        desired.is_contested = True
        desired.conflicts[Accept, address] = reason
    return found


def _owners_of_ranges(
    desired: DesiredState, taken: dict[EntryKey, Record]
) -> dict[EntryKey, Record]:
    """The owner of each range, by the key of each entry: a range belongs to one guest
    as a whole. So does a port, with the list of its clients."""
    found: dict[EntryKey, Record] = {}
    if desired.record.is_away:
        return found
    for forward in desired.settings.forwards:
        addresses = desired.endpoint.addresses
        for family in addresses if forward.allow else ():
            other = taken.get((Dnat, forward.published(family)), desired.record)
            if other is not desired.record:
                keys = map(key_of, desired.entries_of(forward, family))
                found.update(dict.fromkeys(keys, other))
        for family in addresses if forward.first < forward.last else ():
            one = forward.published(family)
            if one not in desired.without:
                other = taken.setdefault((Published, one), desired.record)
                keys = map(key_of, desired.entries_of(forward, family))
                found.update(dict.fromkeys(keys, other))
    return found


def _take_out_what_goes_along(desired: DesiredState) -> None:
    """Remove, of forwards that another guest has, the marking entries, and those that
    leave a port to a service: they would take it from the other guest."""
    for forward in desired.settings.forwards:
        is_marked = forward.return_marks or forward.options.masquerade
        has_more = is_marked or (forward.is_any and desired.exempt)
        for family in desired.endpoint.addresses if has_more else ():
            some = desired.entries_of(forward, family)
            if any(key_of(entry) in desired.conflicts for entry in some):
                one = forward.published(family)
                marks = {e for e in some if isinstance(e, (ReturnMark, Masquerade))}
                gone = marks.union(e for e in desired.exempt if _is_left_of(e, one))
                desired.entries = [e for e in desired.entries if e not in gone]


def _is_left_of(entry: Entry, one: Published) -> bool:
    """Whether the entry leaves one of these ports to a service or to a rule."""
    if not isinstance(entry, Exempt):
        return False
    left = entry.published
    is_same = (left.family, left.protocol) == (one.family, one.protocol)
    return is_same and one.has(left.first)
