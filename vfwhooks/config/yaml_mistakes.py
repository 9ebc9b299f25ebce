"""Usual mistakes in hand-written YAML: the place of the mistake, and the next step.

PyYAML reports the place where it had to stop, often a line after the mistake. Only then
this module looks at the lines before, as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..values.errors import show
from ..values.protocols import PROTOCOLS
from .forwards_keys import DEFAULTS, DOCUMENT, GUEST, PORT

_NAME = r"[^\W\d][\w.-]*"
_NO_NAMES = (*PROTOCOLS, "localhost")
_LONGEST = 500
_FARTHEST = 1000
_MOST = 30_000
_COMMENT = re.compile(r"(?:^|(?<=[\s\[{,]))#.*$")
_COLON = re.compile(
    rf"^(\s*)({_NAME}|\"[^\"]*\"):(?=[\[{{\"'\w])(?!.*:\s)(.*[^:\s])\s*$"
)
_ITEM = re.compile(rf"^(\s*-\s+)({_NAME}):(?=[\[{{]|\w+\s*$)(?!.*:\s)(.*[^:\s])\s*$")
_INNER = re.compile(rf"([{{,]\s*)({_NAME}):(?=[\[{{])(\[[^\]]*\]|\{{[^}}]*\}}|.*)")
_NO_COLON = re.compile(rf"^(\s*)({_NAME})\s+(?=[\[{{])(.*\S)\s*$")
_BARE_KEY = re.compile(
    rf"^(\s*(?:-\s+)?)({'|'.join({*DOCUMENT, *DEFAULTS, *GUEST, *PORT})})"
    r"(?:\s+(?![:=-])(?!.*:(?:\s|$))(.*\S))?\s*$"
)
_NO_COLON_OF_PORTS = re.compile(rf"^(\s*)({_NAME})\s+(?=\d)([\d:./-]+:\d\S*)\s*$")
_EMPTY = re.compile(r"^\s*(?:-\s+)?(\S.*?):\s+(\{\s*\}|\[\s*\])\s*$")
_EQUALS = re.compile(rf"^(\s*)({_NAME})\s*=\s*(.*\S)\s*$")
_DASH = re.compile(r"^(\s*)-(?=[^\s-])(.*\S)\s*$")
_HASH = re.compile(rf"^(\s*)((?:-\s+)?{_NAME}:)#")
_KEY = re.compile(r"""^("[^"]*"|'[^']*'|[^\s\[{"'#&*!|>%@`][^#]*?):(?:\s|$)""")
_QUOTED = re.compile(r"""\"[^\"]*\"|'[^']*'""")
_OF_ANOTHER = re.compile(r'^\s*\{.*"(port_map|private_ip)"', re.DOTALL)


@dataclass(frozen=True)
class Slip:
    """Line and column, both from 0, and what to do."""

    line: int
    column: int
    what: str


def split(text: str) -> list[str]:
    """The lines of a text as YAML counts them."""
    return re.split("\r\n|[\n\r\x85\u2028\u2029]", text)


def slip_in(line: str) -> tuple[int, str] | None:
    """The column and cure of a missing blank or colon in this line; None if there is
    none."""
    text = _COMMENT.sub("", line) if len(line) <= _LONGEST else ""
    for pattern in (_COLON, _ITEM, _INNER):
        found = pattern.search(text)
        if found and found[2] not in _NO_NAMES:
            right = show(f"{found[2].strip()}: {found[3]}")
            return found.end(1), f"no blank after the colon; write {right}"
    found = _DASH.match(text)
    if found:
        return found.end(1), f"no blank behind the dash; write - {show(found[2])}"
    found = _HASH.match(line[:_LONGEST])
    if found:
        return found.end(2), f"no blank before the #; write {show(found[2])} #"
    for pattern, said in _COLONS:
        found = pattern.match(text)
        if found and found[2] not in _NO_NAMES:
            right = show(f"{found[2]}: {found[3] or ''}".rstrip())
            return found.end(1), f"{said}; write {right}"
    return None


def find_bare_key(text: str) -> str:
    """The cure for a known key and its value without a colon between; '' if it is
    another mistake."""
    found = _BARE_KEY.match(text[:_LONGEST])
    if not found or not found[3]:
        return ""
    return f"no colon; write {show(f'{found[2]}: {found[3]}')}"


def find_bare_name(lines: list[str]) -> str:
    """The cure for a name without a colon above the items of a list; '' if it is
    another mistake."""
    is_bare = len(lines) > 1 and lines[1][:2] == "- " and re.fullmatch(_NAME, lines[0])
    return f"no colon; write {show(lines[0])}:" if is_bare else ""


_COLONS = (
    (_NO_COLON, "no colon"),
    (_EQUALS, "= is no colon"),
    (_BARE_KEY, "no colon"),
    (_NO_COLON_OF_PORTS, "no colon"),
)


def find_slip(
    text: str, at: tuple[int, int], began: tuple[int, int] | None, said: str
) -> Slip | None:
    """The slip behind PyYAML's error. `at` is the line and column where PyYAML stopped,
    `began` where its current construct began, `said` its message."""
    lines = split(text.lstrip("\ufeff"))
    if _OF_ANOTHER.match(text):
        cure = "write guests: and below it, indented, lines like web1: [8080:80]"
        return Slip(0, 0, f"the hooks.json of another hook, and no YAML; {cure}")
    last = min(at[0], len(lines) - 1)
    return (
        _slip_of(lines, [last])
        or _not_closed(lines, at, began, said)
        or _slip_of(lines, range(last - 1, max(last - _FARTHEST, 0) - 1, -1))
        or _too_much(lines[last], at, said)
        or _misplaced(lines[: last + 1] if last < _MOST else [])
        or (
            Slip(*began, "no colon behind the key; write a colon and a blank")
            if began and "':'" in said
            else None
        )
    )


def _slip_of(lines: list[str], numbers: Iterable[int]) -> Slip | None:
    for number in numbers:
        found = slip_in(lines[number])
        if found:
            return Slip(number, *found)
    return None


def _not_closed(
    lines: list[str], at: tuple[int, int], began: tuple[int, int] | None, said: str
) -> Slip | None:
    """Brackets and quotes without an end, or one too many."""
    here = _character(lines, at)
    opener = _character(lines, began) if began else ""
    if "quoted scalar" in said and "unexpected" not in said:
        return Slip(
            *(began or at), "no such sign behind a backslash; write single quotes"
        )
    if began and "quoted scalar" in said:
        cure = f"write another {opener} behind it"
        return Slip(*began, f"the {opener} here has no end; {cure}")
    if opener not in ("[", "{") and "flow" in said and at[0] < _MOST:
        began = _left_open(lines, at)
        opener = _character(lines, began) if began else ""
    if began and opener in ("[", "{") and "flow" in said:
        closer = "]" if opener == "[" else "}"
        if here in "]}" and here:
            return Slip(
                *at, f"this {here} does not end the {opener} before it; write {closer}"
            )
        if at[0] > began[0]:
            cure = f"write {closer} behind what belongs to it"
            return Slip(*began, f"the {opener} here has no end; {cure}")
        cure = "values in brackets have a comma and a blank between them"
        return Slip(*at, f"what stands here does not go on from before; {cure}")
    if here and here in "]}":
        return Slip(*at, f"this {here} ends nothing that was begun; take it away")
    return None


def _left_open(lines: list[str], at: tuple[int, int]) -> tuple[int, int] | None:
    """The last bracket before a place that is not closed."""
    brackets: list[tuple[int, int]] = []
    for number, line in enumerate(lines[: at[0] + 1]):
        text = line[: at[1]] if number == at[0] else line
        text = _COMMENT.sub("", _QUOTED.sub(lambda q: " " * len(q[0]), text))
        for column, character in enumerate(text[:_LONGEST]):
            if character in "[{":
                brackets.append((number, column))
            elif character in "]}" and brackets:
                brackets.pop()
    return brackets[-1] if brackets else None


def _character(lines: list[str], at: tuple[int, int]) -> str:
    line = lines[at[0]] if at[0] < len(lines) else ""
    return line[at[1] : at[1] + 1]


def _too_much(line: str, at: tuple[int, int], said: str) -> Slip | None:
    """A second value on a line that can have no more."""
    before = _COMMENT.sub("", line)[: at[1]]
    if "sequence entries" in said and before.rstrip().endswith(":"):
        cure = "write it in [brackets], or begin it on the next line"
        return Slip(*at, f"a list with dashes behind its key; {cure}")
    if "mapping values" in said and re.search(r":\s", before):
        what = "a second colon with a blank in one line"
        return Slip(*at, f"{what}; a port has no blank in it: 8080:80")
    if before.rstrip()[-1:] in ("'", '"', "]", "}"):
        ended = before.rstrip()[-1]
        return Slip(*at, f"nothing goes on behind {ended} but a comma or a comment")
    return None


@dataclass(frozen=True)
class _Level:
    """The indentation of a list or a mapping, and the line of its first entry."""

    indent: int
    is_list: bool
    line: int


def _misplaced(lines: list[str]) -> Slip | None:
    """The first line whose indentation fits no line above, or a key among the items of
    a list."""
    levels: list[_Level] = []
    is_open, depth, bare_word, above = True, 0, Slip(0, -1, ""), 0
    for number, line in enumerate(lines):
        text = _COMMENT.sub("", line[:_LONGEST])
        bare = _QUOTED.sub("", text)
        inside = depth
        depth += sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")
        if not text.strip() or inside > 0 or text.startswith(("---", "%")):
            continue
        starts = list(_starts(text))
        if starts:
            if 0 <= bare_word.column <= starts[0][0] and not starts[0][1]:
                return bare_word
            found = _below_none(lines, above, starts[0], number) or _compare(
                levels, starts[0], number, is_open
            )
            if found:
                return bare_word if bare_word.column == starts[0][0] else found
            levels += [_Level(indent, kind, number) for indent, kind in starts[1:]]
        column = len(text) - len(text.lstrip(" ")) if not starts else -1
        cure = f"no colon behind a key; write {show(text.strip())}:"
        bare_word = Slip(number, column, cure)
        is_open, above = text.rstrip().endswith((":", "-")), number
    return None


def _below_none(
    lines: list[str], above: int, start: tuple[int, bool], number: int
) -> Slip | None:
    """The slip of a line that goes on below a key with {} or []."""
    text = _COMMENT.sub("", lines[above][:_LONGEST])
    found = _EMPTY.match(text)
    if not found or start < (len(text) - len(text.lstrip(" ")), True):
        return None
    key = show(found[1])
    said = f"{key}: {found[2]} in line {above + 1} is complete"
    return Slip(number, start[0], f"{said}; write {key}: there, without {found[2]}")


def _starts(text: str) -> Iterable[tuple[int, bool]]:
    """Columns where lists (True) and mappings begin or go on in a line."""
    at = len(text) - len(text.lstrip(" "))
    while text[at : at + 2] in ("- ", "-"):
        yield at, True
        at += 1
        at += len(text[at:]) - len(text[at:].lstrip(" "))
    if _KEY.match(text[at:]):
        yield at, False


def _compare(
    levels: list[_Level], start: tuple[int, bool], number: int, is_open: bool
) -> Slip | None:
    """The slip in a line's indentation; without one, `levels` are updated for the
    line."""
    indent, is_list = start
    popped = None
    while levels and levels[-1].indent > indent:
        popped = levels.pop()
    if not levels and popped:
        what = f"further left than line {popped.line + 1}, which it stands beside"
        return Slip(number, indent, f"{what}; indent it by {popped.indent}")
    top = levels[-1] if levels else None
    if top and top.indent == indent and top.is_list and not is_list:
        under = levels[-2] if len(levels) > 1 else None
        if not under or under.indent != indent:
            return Slip(number, indent, _key_in_list(popped, top))
        levels.pop()
    elif top and top.indent == indent and is_list and not top.is_list:
        if not is_open:
            what = "an item of a list beside keys"
            cure = "indent it below the key that it belongs to, ports: say"
            return Slip(number, indent, f"{what}; {cure}")
        levels.append(_Level(indent, True, number))
    elif not top or top.indent < indent:
        if top and popped:
            wide = f"indented by {indent}, as no line above it is"
            cure = f"write {popped.indent} blanks as line {popped.line + 1} has"
            return Slip(number, indent, f"{wide}; {cure}, or {top.indent}")
        if top and not is_open:
            wide = f"indented by {indent}, below a line that is complete"
            cure = f"beside line {top.line + 1} it takes {top.indent}"
            return Slip(number, indent, f"{wide}; {cure}")
        levels.append(_Level(indent, is_list, number))
    return None


def _key_in_list(item: _Level | None, items: _Level) -> str:
    if item and not item.is_list:
        cure = f"to be a key of the item in line {item.line + 1}, indent it by"
        return f"a key among the items of a list; {cure} {item.indent}"
    cure = f"write ports: above line {items.line + 1}, and indent the list below it"
    return f"a key among the items of a list; {cure}"
