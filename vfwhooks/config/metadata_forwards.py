"""The forwards in a guest's metadata as values, with the defaults and names of
forwards.yaml, or what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..libvirt.forwards_element import find_faults, parse_forwards
from ..values.errors import show
from ..values.guests import UNREADABLE
from .forwards import GuestForwards
from .metadata_syntax import find_others_keys, guest_tree
from .schema import read_guest
from .value_syntax import Address
from .yaml_nodes import Items, Node, Pairs, Place, Problem, Text

_PLACE = re.compile(r"\([a-zA-Z]+:(\d+):1\)")  # of an element, in a message
Asked = Callable[[str], "tuple[Address, ...] | None"]


def read_metadata(
    text: str, name: str, tree: Node, interfaces: Asked
) -> tuple[GuestForwards | None, list[str]]:
    """The guest's forwards in the text of its metadata, or all that is wrong with it.
    `tree` has what holds of forwards.yaml (see metadata_bounds). `interfaces` gives the
    addresses of an interface, None for one that forwards.yaml does not name."""
    if text.startswith(UNREADABLE):
        return None, [text[len(UNREADABLE) :]]
    problems: list[Problem] = []
    part = parse_forwards(text)
    node = guest_tree(part, problems)
    _look_for_interfaces(node, interfaces, problems)
    if not problems:
        guest, problems = check_guest(node, name, tree, interfaces)
    if problems:
        return None, list(dict.fromkeys(map(_said, problems)))
    faults = find_faults(text)
    if faults or guest is None:
        return None, [f"line {one.line}: {show(one.message)}" for one in faults]
    return guest, []


def check_guest(
    node: Node, name: str, tree: Node, interfaces: Asked, is_any_known: bool = False
) -> tuple[GuestForwards | None, list[Problem]]:
    """The guest whose value in forwards.yaml would be `node`; no port stays rejected
    while it does not run, since nobody knows its metadata then. With `is_any_known`
    every name of an address may be one of another host's."""
    others = find_others_keys(node)
    if others:
        return None, others
    key = Text(node.place, name)
    word = Text(node.place, "when_stopped"), Text(node.place, "pass")
    if not isinstance(node, Pairs):
        node = Pairs(node.place, ((Text(node.place, "ports"), node),))
    node = Pairs(node.place, (*node.nodes, word))
    return read_guest(key, node, tree, lambda one: interfaces(one) or (), is_any_known)


def _look_for_interfaces(
    node: Node, interfaces: Asked, problems: list[Problem]
) -> None:
    """Note a problem for each interface that forwards.yaml does not name: its addresses
    are not known."""
    for one, place in _interfaces(node):
        if interfaces(one) is None:
            what = f"forwards.yaml names no interface {show(one)}"
            cure = "host_ip: {interface: NAME} of metadata: there does"
            problems.append(Problem(place, f"{what}; {cure}"))


def _interfaces(node: Node) -> list[tuple[str, Place]]:
    """The interfaces that a tree names, with their places."""
    if isinstance(node, Items):
        return [found for one in node.nodes for found in _interfaces(one)]
    found = []
    for key, one in node.nodes if isinstance(node, Pairs) else ():
        if key.value == "interface" and isinstance(one, Text):
            found.append((one.value, one.place))
        found += _interfaces(one)
    return found


def _said(problem: Problem) -> str:
    place, message = problem.place, _PLACE.sub(r"(line \1)", problem.message)
    return f"line {place.line}, {place.file}: {message}"
