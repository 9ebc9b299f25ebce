"""The variables of a shell script, as far as plain assignments set them. Nothing is
run. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from ..values.errors import show
from .imported import NotCarried

_USE = re.compile(
    r"\$(?:\{(?P<count>#)?(?P<braced>[A-Za-z_]\w*)(?:\[(?P<index>[^]]*)\])?\}"
    r"|(?P<plain>[A-Za-z_]\w*)|(?P<other>.?))"
)
_ARRAY = re.compile(r"\((.*)\)", re.DOTALL)
_SUM = re.compile(r"\$\(\(\s*(.+?)\s*(?:([-+])\s*(\d+))?\s*\)\)")
_SEQ = re.compile(r"(?:`\s*seq\s+(.*?)\s*`|\$\(\s*seq\s+(.*?)\s*\))")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
_ALL = re.compile(r'"?\$\{(!)?([A-Za-z_]\w*)\[[@*]\]\}"?')
_BRACKETS = re.compile(r"\(\s*([^()]*)\)")
_ARGUMENT = re.compile(r"\$(?:([1-4])|\{([1-4])\})")
MOST = 1000  # rounds of loops
_LONGEST = 7  # digits of a number


class Variables:
    """What is set so far: a value, several of an array, or None for what cannot be
    known without running the script."""

    def __init__(self) -> None:
        self._set: dict[str, list[str] | None] = {}

    def set(self, name: str, text: str) -> None:
        """Take in an assignment."""
        try:
            self._set[name] = self._values(text)
        except (NotCarried, ValueError):
            self._set[name] = None

    def _values(self, text: str) -> list[str]:
        array, total = _ARRAY.fullmatch(text), _SUM.fullmatch(text)
        if total:
            return [str(self._sum(total[1], total[2] or "+", total[3] or "0"))]
        if "`" in text or "$(" in text:
            raise NotCarried("a command")
        if array:
            return shlex.split(self.expanded(array[1], {}), comments=True)
        found = shlex.split(self.expanded(text, {}), comments=True)
        if len(found) > 1:
            raise NotCarried("a command")
        return found or [""]

    def _sum(self, what: str, sign: str, other: str) -> int:
        number = int(self.expanded(what, {}))
        return number - int(other) if sign == "-" else number + int(other)

    def words(self, text: str) -> list[str]:
        """The values that a `for` goes through. Raises NotCarried."""
        seq, braces, every = (
            pattern.fullmatch(text) for pattern in (_SEQ, _BRACES, _ALL)
        )
        if seq:
            return _sequence(self.expanded(seq[1] or seq[2], {}).split())
        if braces:
            return _numbers(braces[1], braces[2])
        if every:
            values = self._get(every[2])
            return _numbers("0", f"{len(values) - 1}") if every[1] else values
        if "`" in text or "$(" in text:
            raise NotCarried(f"{show(text)} would have to be run")
        return self.expanded(text, {}).split()

    def forget(self, names: Iterable[str]) -> None:
        """What a block has set that some runs of the script do not go through."""
        self._set.update(dict.fromkeys(names))

    def _get(self, name: str) -> list[str]:
        values = self._set.get(name)
        if values is None:
            raise NotCarried(f"${name} is not set to plain text")
        return values

    def expanded(self, text: str, round_: Mapping[str, str]) -> str:
        """A text with the values in place; `round_` are the variables of loops. Raises
        NotCarried for what cannot be known."""

        def value(match: re.Match[str]) -> str:
            name = match["braced"] or match["plain"]
            if not name:
                raise NotCarried(
                    f"{show(match[0])} is not known before the guest starts"
                )
            if name in round_ and match["index"] is None:
                return round_[name]
            values = self._get(name)
            if match["count"]:
                return str(len(values) if match["index"] else len(values[0]))
            if match["index"] in ("@", "*"):
                return " ".join(values)
            return values[self._index(match["index"], round_, len(values))]

        if "`" in text or "$(" in text:
            raise NotCarried(f"{show(text)} would have to be run")
        return _USE.sub(value, text)

    def _index(self, text: str | None, round_: Mapping[str, str], count: int) -> int:
        if text is None:
            return 0
        shown = round_.get(text) or self.expanded(text, round_)
        if not _is_number(shown) or int(shown) >= count:
            raise NotCarried(f"there is no value number {show(shown)}")
        return int(shown)


def _sequence(words: Sequence[str]) -> list[str]:
    """What seq prints for LAST, FIRST LAST or FIRST INCREMENT LAST."""
    if len(words) not in (1, 2, 3):
        raise NotCarried(f"seq {show(' '.join(words))} would have to be run")
    first, last = words[0] if len(words) > 1 else "1", words[-1]
    return _numbers(first, last, words[1] if len(words) > 2 else "1")


def _numbers(first: str, last: str, step: str = "1") -> list[str]:
    if not all(map(_is_number, (first, last, step))) or not int(step):
        raise NotCarried(f"{show(first)} to {show(last)} are no numbers")
    found = range(int(first), int(last) + 1, int(step))
    if len(found) > MOST:
        raise NotCarried(f"{first} to {last} are more than {MOST}")
    return list(map(str, found))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < _LONGEST


def find_guest(condition: str) -> str:
    """The guest for which the script's $1 has to stand, '' for any.

    Raises NotCarried for a condition that is more than tests of $1 and of the event ($2
    to $4), joined so that the guest has to be this one.
    """
    joined = _BRACKETS.sub(lambda match: _group(match[1]) or match[0], condition)
    tests, joints = _tests(joined)
    names = {word for argument, sign, word in tests if argument == "1"}
    signs = {sign for argument, sign, _ in tests if argument == "1"}
    if not names:
        return ""
    if len(names) > 1 or "!=" in signs or joints - {"&&", "-a"}:
        raise NotCarried(condition)
    return names.pop()


def _group(condition: str) -> str:
    """A test of the event, for a group of them; '' for a group of others."""
    return "" if any(one == "1" for one, _, _ in _tests(condition)[0]) else "$2 = any"


def _tests(condition: str) -> tuple[list[tuple[str, str, str]], set[str]]:
    """The tests of a condition (argument, sign, word), and what joins them."""
    lexer = shlex.shlex(condition, posix=True, punctuation_chars="()&|;")
    lexer.whitespace_split = True
    try:
        words = [word for word in lexer if word not in ("[", "]", "[[", "]]", "test")]
    except ValueError as error:
        raise NotCarried(str(error)) from None
    tests = []
    for argument, sign, word in zip(words[::4], words[1::4], words[2::4]):
        match = _ARGUMENT.fullmatch(argument)
        if not match or sign not in ("=", "==", "!=") or re.search(r"[*?[]", word):
            raise NotCarried(condition)
        tests.append((match[1] or match[2], sign, word))
    joints = set(words[3::4])
    if len(words) % 4 != 3 or joints - {"&&", "||", "-a", "-o"}:
        raise NotCarried(condition)
    return tests, joints
