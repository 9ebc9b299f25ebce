"""The tree that forwards.yaml must have after an edit. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .yaml_nodes import Node, Plain, plain
from .yaml_tree import parse_tree


def with_entries(tree: Node, guest: str, entries: Sequence[str]) -> Plain:
    """With these entries more for the guest; they are YAML."""
    new = [plain(parse_tree(entry.encode(), "", [])) for entry in entries]
    top, guests = _parts(tree)
    said = guests.get(guest, [])
    if isinstance(said, dict):
        ports = _listed(said.get("ports", []))
        guests[guest] = {**said, "ports": [*ports, *new]}
    else:
        guests[guest] = [*_listed(said), *new]
    return {**top, "guests": guests}


def with_entry(tree: Node, guest: str, number: int, entry: str) -> Plain:
    """With this entry, in YAML, in place of that one of the guest's."""
    new = plain(parse_tree(entry.encode(), "", []))
    top, guests = _parts(tree)
    said = guests[guest]
    has_keys = isinstance(said, dict) and "ports" in said
    ports = said["ports"] if isinstance(said, dict) and has_keys else said
    if isinstance(ports, list):
        new = [*ports[:number], new, *ports[number + 1 :]]
    guests[guest] = {**said, "ports": new} if isinstance(said, dict) else new
    return {**top, "guests": guests}


def without_entry(tree: Node, guest: str, number: int | None) -> Plain:
    """Without that one of the guest's entries; for None, without the guest."""
    top, guests = _parts(tree)
    said = guests[guest]
    if number is None:
        del guests[guest]
    elif isinstance(said, dict):
        ports = _listed(said["ports"])
        guests[guest] = {**said, "ports": ports[:number] + ports[number + 1 :]}
    else:
        ports = _listed(said)
        guests[guest] = ports[:number] + ports[number + 1 :]
    return {**top, "guests": guests}


def _parts(tree: Node) -> tuple[dict[str, Plain], dict[str, Plain]]:
    """The keys of the file, and its guests."""
    said = plain(tree)
    top = dict(said) if isinstance(said, dict) else {}
    guests = top.get("guests")
    return top, dict(guests) if isinstance(guests, dict) else {}


def _listed(said: Plain) -> list[Plain]:
    return list(said) if isinstance(said, list) else [said] if said else []
