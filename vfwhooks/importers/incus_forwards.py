"""What `incus network forward show` and `lxc network forward show` print. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..config.yaml_nodes import Node, Text, pairs
from ..values.protocols import PROTOCOLS
from .imported import Found, Imported, Left, NotCarried, parse_span, span, unreadable
from .source_tree import items, origin, parse_source, value


def read_incus(text: str, name: str) -> Found:
    """All ports of one forward, and what its default target is."""
    found = Found()
    for document in _documents(text):
        tree = parse_source(document, name, "one forward at a time", found)
        parts = pairs(tree)
        listen = value(parts, "listen_address")
        if not listen:
            raise unreadable(str(tree.place), "it has no listen_address:")
        base = Imported(origin(tree, f"listen_address: {listen}"), host_ips=(listen,))
        for node in items(parts.get("ports")):
            for one in _port(base, node):
                found.take(one)
        default = pairs(parts.get("config")).get("target_address")
        _default(base, default, found, bool(items(parts.get("ports"))))
    return found


def _documents(text: str) -> Iterator[str]:
    """Several forwards, one behind another; lines stay where they are."""
    lines = text.split("\n")
    starts = [n for n, line in enumerate(lines) if line.rstrip() == "---"]
    for start, end in zip([-1, *starts], [*starts, len(lines)]):
        part = lines[start + 1 : end]
        if any(line.strip() and line.strip()[0] != "#" for line in part):
            yield "\n" * (start + 1) + "\n".join(part)


def _port(base: Imported, node: Node) -> list[Imported | Left]:
    parts = pairs(node)
    one = replace(base, origin=origin(node), address=value(parts, "target_address"))
    try:
        return list(_carried(one, parts))
    except NotCarried as error:
        return [Left(one.origin, str(error))]


def _carried(one: Imported, parts: dict[str, Node]) -> Iterator[Imported]:
    """One for each of the ports and ranges in listen_port."""
    protocol = value(parts, "protocol").lower()
    if protocol not in PROTOCOLS:
        raise NotCarried(f"{protocol or 'no protocol'} cannot be forwarded")
    if not one.address:
        raise NotCarried("it has no target_address:")
    notes = list(one.notes)
    if value(parts, "description"):
        notes.append(value(parts, "description"))
    if value(parts, "snat") == "true":
        notes.append("snat: true is not carried over; public_ip does the like")
    published = _spans(value(parts, "listen_port"))
    if not published:
        raise NotCarried("it has no listen_port:")
    targets = _spans(value(parts, "target_port")) or published
    ports, its = list(_singly(published)), list(_singly(targets))
    if len(its) == 1:
        pairs_of = [(some, targets[0]) for some in published]
    elif len(ports) == len(its):
        pairs_of = list(_runs(zip(ports, its)))
    else:
        raise NotCarried(f"{len(ports)} ports cannot lead to {len(its)}")
    for some, target in pairs_of:
        yield replace(
            one,
            protocols=(protocol,),
            published=span(*some),
            target=span(*target),
            notes=tuple(notes),
        )


def _spans(text: str) -> list[tuple[int, int]]:
    return [parse_span(one) for one in text.split(",")] if text.strip() else []


def _singly(some: list[tuple[int, int]]) -> Iterator[int]:
    for first, last in some:
        yield from range(first, last + 1)


def _runs(
    both: Iterable[tuple[int, int]],
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of ports as pairs of ranges, as long as both go on by one."""
    runs: list[list[tuple[int, int]]] = []
    for port, target in both:
        if runs and runs[-1][-1] == (port - 1, target - 1):
            runs[-1].append((port, target))
        else:
            runs.append([(port, target)])
    for run in runs:
        (first, target), (last, its_last) = run[0], run[-1]
        yield (first, last), (target, its_last)


def _default(base: Imported, node: Node | None, found: Found, has_ports: bool) -> None:
    """All else of the address leads to a guest of its own."""
    if not isinstance(node, Text) or not node.value:
        return
    where = origin(node, f"target_address: {node.value}")
    if has_ports:
        why = "all other ports of an address cannot be said beside single ones"
        found.take(Left(where, f"{why}; public_ip gives one guest the whole address"))
        return
    found.take(replace(base, origin=where, address=node.value))
