"""Imported forwards with their guests and addresses: what the source leaves open, the
administrator or this host knows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..config.entry_spelling import format_entry, format_key
from ..values.errors import VfwError, show
from ..values.published import find_address
from .asked_first import Unbound, is_ahead, is_of_family
from .imported import Imported

EVERY = "*"  # in place of the addresses of an interface


@dataclass(frozen=True)
class Known:
    """What the administrator and this host know: the guests that may be meant by an
    address, and the addresses of an interface."""

    guests_at: Callable[[str], Sequence[str]] = lambda _: ()
    addresses_of: Callable[[str], Sequence[str]] = lambda _: ()


def settled(one: Imported, known: Known, before: Unbound) -> Imported:
    """The forward with its guest and its addresses. Raises VfwError for one that cannot
    stand in the file."""
    address = find_address(one.address)
    if one.address and not address:
        raise VfwError(f"{show(one.address)} is no address of a guest")
    one = replace(one, address=str(address or ""))
    one = replace(one, guest=one.guest or _guest(one.address, known))
    format_key(one.guest)
    if one.interfaces:
        one = _on_addresses(one, known)
    for other in before.near(one):
        if is_ahead(other, one):
            raise VfwError(f"{other.origin.where} takes these connections first")
    if one.published:
        spell(one)
    return one


def _guest(address: str, known: Known) -> str:
    names = known.guests_at(address)
    if not names:
        cure = f"--guest {address}=NAME says it"
        raise VfwError(f"no guest is known to have {show(address)}", cure)
    if len(names) > 1:
        which = " and ".join(map(show, names))
        raise VfwError(f"{which} have {address}", f"--guest {address}=NAME says whose")
    return names[0]


def _on_addresses(one: Imported, known: Known) -> Imported:
    """Bound to the addresses of the interfaces that the source names."""
    hosts: list[str] = []
    for name in one.interfaces:
        own = known.addresses_of(name)
        if EVERY in own:
            return replace(one, interfaces=())
        hosts += [host for host in own if is_of_family(host, one.address)]
        if not own:
            cure = f"--interface {name}=ADDRESS says it, --interface {name}=* every one"
            raise VfwError(f"{show(name)}: its addresses are not known", cure)
    if not hosts:
        raise VfwError(f"{', '.join(one.interfaces)} has no address of this family")
    named = ", ".join(map(show, one.interfaces))
    notes = (
        *one.notes,
        f"for what comes in by {named}, so on its addresses",
    )
    return replace(
        one, host_ips=tuple(dict.fromkeys(hosts)), interfaces=(), notes=notes
    )


def spell(one: Imported, protocol: str = "") -> str:
    """An entry for forwards.yaml. Raises VfwError for what none may hold."""
    protocol = protocol or one.protocols[0]
    ports = (
        one.published
        if one.published == one.target
        else f"{one.published}:{one.target}"
    )
    behind = "" if protocol == "tcp" else f"/{protocol}"
    return format_entry(f"{ports}{behind}", one.allow_from, one.host_ips)
