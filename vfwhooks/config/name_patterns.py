"""Shell-style patterns for names of guests: `*`, `?`, `[a-z]` and `[!a-z]`. Pure.

No regular expression is made of them, since some take for ever: a match takes at most
as many steps as the name has letters times those of the pattern. Most patterns take
none, since the name does not have their letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..values.errors import VfwError, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    # A letter; None for any one; or whether all others are meant, and the ranges.
    Token = Union[str, None, tuple[bool, tuple[tuple[str, str], ...]]]
    # What stands between two `*`: text, or tokens where it is not all letters.
    Segment = Union[str, list[Token]]

MOST = 500  # patterns of a host: each guest without an entry looks through them
LONGEST = 255
_LONGEST_LOOK, _MOST_LOOKS = 64, 20_000  # for what is covered, so that it ends
_SIGN = re.compile(r"[*?\[]")
_BAD = re.compile(r"[\x00-\x1f\x7f]")
_STAR = re.compile(r"[*?]*\*[*?]*")
_NO_LETTERS = re.compile(r"\[!?.[^]]*\]|[*?]")


def is_pattern(text: str) -> bool:
    """Whether the text has a sign of a pattern."""
    return _SIGN.search(text) is not None


def matches(pattern: str, name: str) -> bool:
    """Whether a good pattern matches the whole name."""
    first_letters, *letters = _NO_LETTERS.split(pattern)
    if not name.startswith(first_letters) or not all(one in name for one in letters):
        return False
    return _matches(parse_pattern(pattern), name)


def _matches(segments: list[Segment], name: str) -> bool:
    first, last = segments[0], segments[-1]
    if len(segments) == 1:
        return len(name) == len(first) and _fits(first, name, 0)
    at, end = len(first), len(name) - len(last)
    if at > end or not _fits(first, name, 0) or not _fits(last, name, end):
        return False
    for segment in segments[1:-1]:
        at = _find(segment, name, at, end)
        if at < 0:
            return False
        at += len(segment)
    return True


def _find(segment: Segment, name: str, at: int, end: int) -> int:
    """The first place where a segment fits; -1 for none."""
    if isinstance(segment, str):
        return name.find(segment, at, end)
    places = range(at, end - len(segment) + 1)
    return next((one for one in places if _fits(segment, name, one)), -1)


def _fits(segment: Segment, name: str, at: int) -> bool:
    if isinstance(segment, str):
        return name.startswith(segment, at)
    return all(_has(token, name[at + n]) for n, token in enumerate(segment))


def _has(token: Token, letter: str) -> bool:
    if token is None or token == letter:
        return True
    if isinstance(token, str):
        return False
    others, ranges = token
    return any(first <= letter <= last for first, last in ranges) != others


def parse_pattern(text: str) -> list[Segment]:
    """What stands before, between and behind the `*` of a pattern. Raises VfwError with
    the next step for what is none."""
    _refuse(text)
    segments: list[Segment] = []
    # `?` and `*` side by side mean the same in any order: the `*` goes behind.
    text = _STAR.sub(lambda run: "?" * run[0].count("?") + "*", text)
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        sign = text[at]
        at += 1
        if sign == "*":
            segments.append(_segment(tokens))
            tokens = []
        elif sign == "[":
            token, at = _bracket(text, at)
            tokens.append(token)
        else:
            tokens.append(None if sign == "?" else sign)
    return [*segments, _segment(tokens)]


def _refuse(text: str) -> None:
    """Raise VfwError for a text without meaning as a pattern."""
    if not text:
        raise VfwError('an empty pattern; "*" is every guest')
    if len(text) > LONGEST:
        raise VfwError(f"a pattern of {len(text)} signs; {LONGEST} is the most")
    if _BAD.search(text):
        what = f"a control character in {show(text)}, which no guest's name has"
        raise VfwError(f"{what}; take it away")
    if not is_pattern(text):
        cure = "a guest's name stands below guests:"
        raise VfwError(f"{show(text)} has no *, ? or [ ]; {cure}")
    bare = _NO_LETTERS.sub("", text)
    if "\\" in bare:
        raise VfwError(f"\\ in {show(text)} is no sign; write [*] for a * itself")
    if "{" in bare:
        what = f"{{ in {show(text)} is no sign"
        raise VfwError(f"{what}; write a pattern for each, or [{{] for the sign itself")


def _segment(tokens: list[Token]) -> Segment:
    letters = [token for token in tokens if isinstance(token, str)]
    return "".join(letters) if len(letters) == len(tokens) else tokens


def _bracket(text: str, at: int) -> tuple[Token, int]:
    """The signs behind a [, and the place behind its ]."""
    others = text[at : at + 1] == "!"
    first = at + others
    end = text.find("]", first + 1)  # a ] that stands first is meant itself
    if end < 0:
        cure = "write ] behind its letters, or [[] for the sign itself"
        raise VfwError(f"the [ in {show(text)} has no end; {cure}")
    inside = text[first:end]
    if text[at] == "^":
        raise VfwError(f"[^ in {show(text)}; write [!{inside[1:]}] for all others")
    if inside[:2] in ("[:", "[.", "[="):
        raise VfwError(f"{inside}] in {show(text)} is not known; write [0-9] or [a-z]")
    ranges = []
    while inside:
        if inside[1:2] == "-" and inside[2:]:
            low, high, inside = inside[0], inside[2], inside[3:]
        else:
            low, high, inside = inside[0], inside[0], inside[1:]
        if low > high:
            raise VfwError(f"{low}-{high} in {show(text)}; write {high}-{low}")
        ranges.append((low, high))
    if not others and len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return ranges[0][0], end + 1
    return (others, tuple(sorted(ranges))), end + 1


def find_covered(patterns: Sequence[str]) -> dict[str, str]:
    """The patterns that come too late, each with the first one before it that matches
    all that it does. Now and then one is not found, above all among very many or long
    ones, but none is found that is not."""
    found: dict[str, str] = {}
    before: list[tuple[str, str, list[Segment]]] = []
    looks = _MOST_LOOKS
    for pattern in patterns:
        if len(pattern) > _LONGEST_LOOK:
            continue
        tokens = _tokens(pattern)
        for one, first_letters, segments in before if looks else ():
            if not pattern.startswith(first_letters):
                continue
            looks = max(looks - 1, 0)
            if _covers(segments, tokens):
                found[pattern] = one
                break
        first_letters = _NO_LETTERS.split(pattern)[0]
        before.append((pattern, first_letters, parse_pattern(pattern)))
    return found


def _tokens(pattern: str) -> list[Token]:
    """The pattern's tokens, with "" for `*`."""
    found: list[Token] = []
    for segment in parse_pattern(pattern):
        found += [*segment, ""]
    return found[:-1]


def _covers(segments: list[Segment], tokens: list[Token]) -> bool:
    """Whether what the tokens match is matched by these segments: they take one token
    each, and what lies between them, any."""
    first, last = segments[0], segments[-1]
    at, end = len(first), len(tokens) - len(last)
    if not _includes(first, tokens, 0) or not _includes(last, tokens, end):
        return False
    if len(segments) == 1:
        return at == len(tokens)
    for segment in segments[1:-1]:
        places = range(at, end - len(segment) + 1)
        fit = next((one for one in places if _includes(segment, tokens, one)), -1)
        if fit < 0:
            return False
        at = fit + len(segment)
    return at <= end


def _includes(segment: Segment, tokens: list[Token], at: int) -> bool:
    if at < 0 or at + len(segment) > len(tokens):
        return False
    return all(_takes(token, tokens[at + n]) for n, token in enumerate(segment))


def _takes(token: Token, other: Token) -> bool:
    """Whether a token matches all that another one does, which is no `*`."""
    if other == "":
        return False
    if token is None or token == other:
        return True
    if isinstance(token, str) or other is None:
        return False
    if isinstance(other, str):
        return _has(token, other)
    return (
        not token[0]
        and not other[0]
        and all(
            any(low <= first and last <= high for low, high in token[1])
            for first, last in other[1]
        )
    )
