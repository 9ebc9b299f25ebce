"""What a cell should see, spelled out from its word. Imports nothing of vfwhooks."""

from __future__ import annotations

from .asking import DNS_ANSWER
from .cells import Cell
from .places import (
    ABSENT,
    BEYOND,
    CABLES,
    FAR,
    GUESTS,
    HOST,
    LANS,
    LOOPBACK,
    RESOLVER,
    Pair,
    neighbour_of,
    stranger_to,
)
from .table import Ask, Row

_WORDS = {
    "refused": "refused",
    "silence": "timed out",
    "closed": "closed",
    "nowhere": "unreachable",
}


def find_guest(row: Row, origin: str) -> str:
    """The guest that is this origin in the row; '' where it is no guest."""
    return {
        "guest": row.guest,
        "neighbour": neighbour_of(row.guest),
        "stranger": stranger_to(row.guest),
    }.get(origin, "")


def own_address(row: Row, origin: str) -> Pair:
    """The address of who asks, left to itself; the host's on the first cable."""
    guest = find_guest(row, origin)
    if guest:
        return GUESTS[guest].addresses
    if row.is_far and origin == "elsewhere":
        return FAR
    return BEYOND.get(origin, CABLES["outside"])


def asked_address(row: Row, ask: Ask, origin: str) -> Pair:
    """The address that the question goes to."""
    guest = find_guest(row, origin)
    if ask.at == "guest":
        return GUESTS[ask.guest or row.guest].addresses
    if ask.at == "beyond":
        return BEYOND[third_party(origin)]
    if ask.at == "dns" and guest:
        return LANS[GUESTS[guest].lan].bridge_address
    if ask.at in ("dns", "bridge"):
        return LANS[GUESTS[row.guest].lan].bridge_address
    at = {
        "resolver": RESOLVER,
        "loopback": LOOPBACK,
        "first": CABLES["outside"],
        "other": CABLES["elsewhere"],
        "absent": ABSENT,
        **HOST,
    }
    return at.get(ask.at) or CABLES.get(origin) or CABLES["outside"]


def third_party(origin: str) -> str:
    """Who is asked beyond the host."""
    return "elsewhere" if origin == "outside" else "outside"


def expected(row: Row, cell: Cell) -> tuple[str, ...]:
    """What each question comes to, before the row's forwards (if it asks then) and
    with them."""
    origin = cell.origin
    index = 0 if cell.family == "4" else 1
    asks = row.asked_by(origin)
    before = [
        _answer(row, ask, origin, index, ask.was, ask.was_guest or row.guest)
        for ask in asks
        if row.before is not None
    ]
    now = [
        _answer(
            row,
            ask,
            origin,
            index,
            ask.word(origin, cell.backend),
            ask.guest or row.guest,
        )
        for ask in asks
    ]
    return (*before, *now)


def _answer(row: Row, ask: Ask, origin: str, index: int, word: str, guest: str) -> str:
    if word in _WORDS:
        return _WORDS[word]
    if ask.at == "dns":
        return DNS_ANSWER
    client = _client(row, ask, origin, word)[index]
    if word == "served":
        return f"{guest} {ask.target} {client}"
    if word == "taken":
        return f"host {ask.target} {client}"
    if word == "host":
        return f"host {ask.port} {client}"
    who = third_party(origin) if ask.at == "beyond" else ask.at
    return f"{who} {ask.port} {client}"


def _client(row: Row, ask: Ask, origin: str, word: str) -> Pair:
    """Whom the answering side sees: who asks, but for hairpin and libvirt's own NAT."""
    guest = find_guest(row, origin)
    if ask.at in ("loopback", "resolver") and word != "served":
        return LOOPBACK
    if word == "public":
        return HOST[row.guest]
    if ask.at == "beyond":
        hidden = origin == "host" or (guest and LANS[GUESTS[guest].lan].is_masqueraded)
        return CABLES[third_party(origin)] if hidden else own_address(row, origin)
    bridge = LANS[GUESTS[row.guest].lan].bridge_address
    if ask.at == "guest":
        return bridge if origin == "host" else own_address(row, origin)
    if ask.at == "loopback":
        return bridge
    if origin == "host":
        # Towards itself it has the address asked, of IPv4 that interface's first one.
        four, six = asked_address(row, ask, origin)
        return CABLES["outside"][0] if ask.at in HOST else four, six
    if origin in ("guest", "neighbour") and word == "served":
        return bridge
    return own_address(row, origin)
