"""docs/traffic.md: the matrix, each row's forwards and rulesets, from the table.

Written by `VFWHOOKS_WRITE=1 tests/run tests/traffic`, which plays the table on
real hosts; compared by every other run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cells import LEFT_OUT, Cell, all_cells, is_left_out
from .expect import expected
from .places import GUESTS, LANS
from .rulesets import is_base_ruleset, is_networks
from .table import BACKENDS, FAMILIES, OLDER, ORIGINS, ROWS, Row
from .world import alone

PAGE = Path(__file__).resolve().parents[2] / "docs" / "traffic.md"
Lines = Sequence[str]
Blocks = Mapping[str, Lines]
# By libvirt 9.0 the rules of iptables are the same, line by line.
SHOWN = tuple(backend for backend in BACKENDS if backend != OLDER)
_SKELETON = "What is there whatever is forwarded"
_ORIGINS = {
    "outside": "a host on a network next to this one, 203.0.113.2",
    "elsewhere": "a host on a second such network, 198.51.100.2",
    "host": "the hypervisor itself",
    "guest": "the guest that the row is about, by the host's address (hairpin)",
    "neighbour": "another guest of the same network",
    "stranger": "a guest of another libvirt network, one that publishes nothing",
    "attacker": "a host on a third network that routes straight to the guest's address",
}
_WORDS = {
    "served": "the guest answers, and sees the client's own address; for a client in"
    " the guest's network it sees the bridge's address",
    "refused": "rejected at once",
    "silence": "no answer",
    "host": "a service of the host answers",
    "closed": "the connection that was open before is over",
    "public": "the host that the client asked answers, and sees the guest's public"
    " address",
    "untouched": "the host that the client asked answers, as if nothing were forwarded",
    "nowhere": "there is no route to that address",
    "taken": "a foreign DNAT rule has the port, and the rule's server answers",
}


def blocks_of(rulesets: Blocks) -> dict[str, list[str]]:
    """The page's blocks by title, from whole rulesets by row."""
    every = dict.fromkeys(line for lines in rulesets.values() for line in lines)
    blocks = {_SKELETON: [line for line in every if is_base_ruleset(line)]}
    for name, lan in LANS.items():
        bridge = lan.network.bridge
        blocks[_network(name)] = [line for line in every if is_networks(line, bridge)]
    shared = {line for lines in blocks.values() for line in lines}
    for row, lines in rulesets.items():
        blocks[_title(row)] = [line for line in lines if line not in shared]
    return blocks


def render(blocks: Mapping[str, Blocks]) -> str:
    """The page, from blocks by backend and title."""
    everything = all_cells()
    left = sum(map(is_left_out, everything))
    parts = [
        "# All traffic that people ask for, and none that they did not",
        "The tests write this page. They try each cell of its table with real packets:"
        f" {len(ROWS)} rows, {len(ORIGINS)} origins, three hosts (libvirt 11.3 with"
        " nftables, 11.3 with iptables, 9.0 with iptables), IPv4 and IPv6. Of these"
        f" {len(everything)} cells, {left} are left out, for the reasons below the"
        " table.",
        "Who connects:",
        _list(f"**{name}**: {what}" for name, what in _ORIGINS.items()),
        "What this client sees:",
        _list(f"**{name}**: {what}" for name, what in _WORDS.items()),
        "The section of a row lists its connections one by one. `before → now` means"
        " that the forwards or the guest changed in between.",
        _matrix(),
        _left_out(),
        _section(_SKELETON, [], blocks),
        *(_section(_network(name), [_guests(name)], blocks) for name in LANS),
        *(_section(_title(row.name), _about(row), blocks) for row in ROWS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _title(row: str) -> str:
    return f"{row[0].upper()}{row[1:]}"


def _network(name: str) -> str:
    return f"What the network {name} needs once"


def _list(items: object) -> str:
    assert hasattr(items, "__iter__")
    return "\n".join(f"- {item}" for item in items)


def _matrix() -> str:
    lines = ["| row | " + " | ".join(ORIGINS) + " |", "|---" * (len(ORIGINS) + 1) + "|"]
    for row in ROWS:
        cells = [_words(row, origin) for origin in ORIGINS]
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _words(row: Row, origin: str) -> str:
    asks = row.asked_by(origin)
    by_backend = {b: _now(row, origin, b) for b in SHOWN}
    now = by_backend[SHOWN[0]]
    if len(set(by_backend.values())) > 1:
        now = "; ".join(f"{words} ({b})" for b, words in by_backend.items())
    if row.before is None:
        return now
    before = ", ".join(dict.fromkeys(ask.was for ask in asks))
    return f"{before} → {now}" if before != now else now


def _now(row: Row, origin: str, backend: str) -> str:
    words = (ask.word(origin, backend) for ask in row.asked_by(origin))
    return ", ".join(dict.fromkeys(words))


def _left_out() -> str:
    return _list(
        f"{one.row}, left out for {', '.join(one.origins)} ({', '.join(one.backends)},"
        f" IPv{' and IPv'.join(one.families)}): {one.reason}"
        for one in LEFT_OUT
    )


def _guests(name: str) -> str:
    """What there is on a network of the tests."""
    lan = LANS[name].network
    guests = [f"{g.key} {g.addresses[0]}" for g in GUESTS.values() if g.lan == name]
    mode = lan.mode or "isolated"
    return f"{lan.bridge}, {mode}, with these guests: {', '.join(guests)}."


def _section(title: str, about: Lines, blocks: Mapping[str, Blocks]) -> str:
    parts = [f"## {title}", *about]
    for backend in SHOWN:
        lines = blocks.get(backend, {}).get(title) or ["# nothing"]
        parts.append(f"{backend}:\n\n```sh\n" + "\n".join(lines) + "\n```")
    return "\n\n".join(parts)


def _about(row: Row) -> list[str]:
    parts = [row.note] if row.note else []
    if row.before is not None:
        parts.append(f"Before:\n\n{_yaml(row.before)}\n\nNow:")
    return [*parts, _yaml(row.forwards), _answers(row)]


def _yaml(forwards: str) -> str:
    return f"```yaml\n{alone(forwards)}```"


def _answers(row: Row) -> str:
    """Each question by who asks it first, and what it comes to there, of IPv4."""
    lines: list[str] = []
    for origin in ("outside", "attacker", *ORIGINS):
        asks = row.asked_by(origin)
        if asks and not lines:
            cell = Cell(row.name, origin, BACKENDS[0], FAMILIES[0])
            answers = expected(row, cell)[-len(asks) :]
            for ask, answer in zip(asks, answers):
                to = f"{ask.protocol} {ask.port}"
                lines.append(f"{origin} asks {ask.at}, {to}: `{answer}`")
    return _list(lines)


def read_blocks(page: str) -> dict[str, dict[str, list[str]]]:
    """The blocks in a page, by backend and title."""
    found: dict[str, dict[str, list[str]]] = {backend: {} for backend in SHOWN}
    for section in page.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        for backend in SHOWN:
            block = re.search(rf"\n{backend}:\n\n```sh\n(.*?)\n```", section, re.S)
            if block:
                found[backend][title] = block[1].split("\n")
    return found
