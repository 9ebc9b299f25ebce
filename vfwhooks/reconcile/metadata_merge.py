"""Forwards in guests' metadata beside those of forwards.yaml.

forwards.yaml's forwards of the guest stay, and the metadata's are added. A port that
forwards.yaml publishes for anybody stays forwards.yaml's; of two guests whose metadata
publish one port, the guest that runs longer has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from ..config.allow_from import chain_name
from ..config.compiled_file import Compiled, Damaged
from ..config.compiled_lines import parse_forward, parse_settings
from ..config.compiler import forward_line, guest_lines
from ..config.forwards import Forward, GuestForwards
from ..config.forwards_keys import ANSWERS
from ..config.host_ips import parse_stamps
from ..config.metadata_bounds import Permission, parse_permission
from ..config.metadata_forwards import read_metadata
from ..config.port_mappings import METADATA, FromMetadata, PortMapping, Settings
from ..config.value_syntax import parse_address
from ..store.records import Record
from ..values.errors import show, where
from ..values.guests import Guest
from ..values.protocols import ALL_PROTOCOLS
from ..values.published import EVERY, Published

_FORBIDDEN = "forwards.yaml does not permit this guest's metadata (metadata:)"
_CACHED = 1000


def add_metadata(settings: Settings, guest: Guest, compiled: Compiled) -> None:
    """Add what the guest's metadata publishes, as far as forwards.yaml permits it."""
    try:
        _add(settings, guest, compiled)
    except Damaged:
        raise  # forwards.yaml is compiled anew
    except Exception as error:  # noqa: BLE001 - a defect of ours: forwards.yaml stays
        settings.from_metadata = FromMetadata([f"{where(error)}: {error!r}"])


def _add(settings: Settings, guest: Guest, compiled: Compiled) -> None:
    text = compiled.permission()
    permission = _permission(text)
    known = tuple(parse_stamps(compiled.stamps).items())
    found = settings.from_metadata = FromMetadata()
    said, faults = _read(guest.metadata, guest.name, text, known)
    found.faults = [*faults]
    bounds = permission.find(guest.name, guest.uuid)
    if bounds is None and (found.faults or said is None):
        found.faults = [_FORBIDDEN]
    if said is None:
        return
    permitted = bounds.public_ips if bounds else ()
    if not set(said.public_ips) <= set(permitted):
        said = replace(said, public_ips=(), is_one_to_one=False, is_egress=False)
    of_file = _of_file(compiled) if bounds else []
    kept: list[Forward] = []
    for forward in said.forwards:
        reason = bounds.find_fault(forward) if bounds else _FORBIDDEN
        state = "blocked"
        if not reason:
            state, reason = "conflict", _taken(forward, of_file)
        if reason:
            found.refused.append((_mapping(forward), state, reason))
        else:
            kept.append(forward)
    unplaced = []
    for forward in said.unplaced:
        reason = bounds.find_fault(forward) if bounds else _FORBIDDEN
        if reason:
            found.refused.append((_mapping(forward), "blocked", reason))
        else:
            unplaced.append(forward)
    _merge(settings, replace(said, forwards=tuple(kept), unplaced=tuple(unplaced)))


@lru_cache(1)
def _permission(text: str) -> Permission:
    return parse_permission(text) if text else Permission()


@lru_cache(_CACHED)
def _read(
    metadata: str, name: str, permission: str, stamps: tuple[tuple[str, str], ...]
) -> tuple[GuestForwards | None, list[str]]:
    """What the metadata says; it takes 2 ms, and a full sync has all guests."""
    known = {
        interface: tuple(map(parse_address, line.split(" ")[1:]))
        for interface, line in stamps
    }
    return read_metadata(metadata, name, _permission(permission).tree, known.get)


def _merge(settings: Settings, guest: GuestForwards) -> None:
    """Add the guest's forwards, all of which are permitted."""
    found = settings.from_metadata or FromMetadata()
    if not guest.forwards:
        guest = replace(guest, public_ips=(), is_egress=False)
    more = parse_settings(guest_lines(guest))
    for forward in [*more.forwards, *(one for _, one in more.unplaced)]:
        forward.source = METADATA
    for name in ("forwards", "public", "one_to_one", "kept", "egress", "unplaced"):
        getattr(settings, name).extend(getattr(more, name))
    settings.over |= more.over
    for name in ("is_wide", "is_loopback", "is_hairpin", "is_returned"):
        setattr(settings, name, getattr(settings, name) or getattr(more, name))
    found.claims = [
        forward.published(family)
        for forward in more.forwards
        for family in forward.families
    ]
    lists = [one.allow_from for one in guest.forwards if one.allow_from]
    found.lists = {chain_name(one): one for one in lists}
    found.marks = [
        word
        for word in ANSWERS
        if any(getattr(one.options, word) for one in guest.forwards)
    ]


def _mapping(forward: Forward) -> PortMapping:
    found = parse_forward(forward_line(forward))
    found.source = METADATA
    return found


@lru_cache(1)  # of this opened file; a full sync asks for every guest with metadata
def _of_file(compiled: Compiled) -> list[tuple[str, list[str]]]:
    """What forwards.yaml publishes, for running guests or others: for each forward and
    each public address the guest, and host, protocol, first and last port."""
    found = []
    for guest, lines in [*compiled.guests().items(), *compiled.patterns().items()]:
        for line in lines if guest else ():
            word, _, rest = line.partition(" ")
            if word in ("forward", "claimed"):
                found.append((guest, rest.split(" ", 4)[:4]))
            elif word in ("public", "over"):
                found.append((guest, [rest, ALL_PROTOCOLS, "0", "65535"]))
    return found


def _taken(forward: Forward, of_file: Iterable[tuple[str, list[str]]]) -> str:
    """Why forwards.yaml has a port of the forward; '' if it has none of them.

    A port on one address takes connections from the same port on every address: so the
    metadata may have no such port beside forwards.yaml's. The other way round it may.
    """
    ports, host = forward.published, forward.host_ip
    mine = "*" if host is None else str(host)
    for guest, (its, protocol, first, last) in of_file:
        is_same = int(first) <= ports.last and ports.first <= int(last)
        is_same = is_same and (
            forward.protocol in (protocol, ALL_PROTOCOLS) or protocol == ALL_PROTOCOLS
        )
        if is_same and (its == mine or _is_inside(mine, its)):
            what = f"{forward.protocol}/{ports}"
            if forward.protocol == ALL_PROTOCOLS:
                what = mine
            return f"forwards.yaml publishes {what} for {show(guest)}"
    return ""


def _is_inside(mine: str, its: str) -> bool:
    """Whether all or some of my addresses are among its, which are all of a family."""
    if its not in EVERY:
        return False
    return "*" in (mine, its) or (":" in mine) == (":" in its)


def yield_to_earlier(
    settings: Settings, record: Record, published: list[tuple[Published, str]]
) -> None:
    """Take out what the metadata of an earlier guest publishes, and note in `published`
    what this guest's publishes."""
    found = settings.from_metadata
    if found is None:
        return
    for forward in [one for one in settings.forwards if one.source == METADATA]:
        ports = [forward.published(family) for family in forward.families]
        whose = (
            name for one, name in published if any(p.takes_from(one) for p in ports)
        )
        other = next(whose, "")
        if other:
            settings.forwards.remove(forward)
            reason = f"taken by the metadata of {other}, which runs longer"
            found.refused.append((forward, "conflict", reason))
            found.contested.update(dict.fromkeys(ports, reason))
            for hosts in (settings.public, settings.one_to_one, settings.egress):
                if forward.host in hosts:
                    hosts.remove(forward.host)
    who = f"{record.guest.driver} guest {show(record.guest.name)}"
    published += [(one, who) for one in found.claims]
