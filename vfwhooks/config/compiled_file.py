"""The compiled configuration: a text file, from which a hook reads only its own guest.

The compiler makes it when forwards.yaml changes, and it stays as the last good
configuration. After a line with the format, and the offsets of the parts, it has

    /etc/vfwhooks/forwards.yaml 7 131 …      stamps of the files that it was made from
    own                                      the base rulesets by part,
        table inet vfwhooks {                indented by a tab
    0000000000                               where the guests of each slot begin
    0 45 web-*                               patterns, and where their lines stand
    forward * tcp 8080 8080 80 80 -          the patterns' lines
    web1                                     the guests' lines (see compiled_lines)
        forward * tcp 8080 8080 80 80 -

The checksum of a guest's name tells its slot.
"""

import posix
import re
from binascii import crc32
from itertools import accumulate

from ..store import files
from ..values.errors import VfwError

_HEAD = b"vfw4 %010d %010d %010d %010d %010d %010d\n"
_FORMAT = _HEAD.split()[0]
_SIZE = len(_HEAD % (0, 0, 0, 0, 0, 0))
_ROW = b"%010d\n"
_WIDTH = len(_ROW % 0)
_BETWEEN = re.compile("\n(?!\t)")
_DAMAGED = "the compiled configuration is damaged", "it is compiled anew"


class Damaged(VfwError):
    """A file with the size and the head of a compiled configuration, but bad guests."""


class Compiled:
    """An open compiled configuration; a lookup reads one slot of the file."""

    _fd = -1

    def __init__(self, fd: int) -> None:
        word, *numbers = posix.pread(fd, _SIZE, 0).split()
        rulesets, index, patterns, lines, guests, end = map(int, numbers)
        size = posix.fstat(fd).st_size
        self._rulesets, self._index, self._patterns = rulesets, index, patterns
        self._lines, self._guests, self._end = lines, guests, end
        self._slots = (patterns - index) // _WIDTH - 1
        is_ordered = _SIZE <= rulesets <= index < patterns <= lines <= guests <= end
        is_ordered = is_ordered and end == size
        if word != _FORMAT or not is_ordered or self._slots < 1:
            raise ValueError("not a whole compiled configuration of this release")
        self.stamps = _decoded(posix.pread(fd, self._rulesets - _SIZE, _SIZE))
        self._fd = fd

    def close(self) -> None:
        """Close the file; __del__ does so, too."""
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    __del__ = close

    @property
    def is_empty(self) -> bool:
        """Whether forwards.yaml names no guest, and has no pattern."""
        return self._patterns == self._lines and self._guests == self._end

    def lines_of(self, name: str, uuid: str) -> list[str]:
        """The compiled lines for a guest that libvirt has: its own, under its name and
        its UUID; if it has no entry at all, those of the first pattern that matches its
        name."""
        names = dict.fromkeys((name, uuid)) if uuid else (name,)
        own = [lines for one in names if (lines := self._find(one)) is not None]
        if own or self._patterns == self._lines:
            return [line for lines in own for line in lines]
        from .name_patterns import matches  # few files have patterns

        try:
            found = next((row for row in self._rows() if matches(row[0], name)), None)
        except VfwError:
            raise Damaged(*_DAMAGED) from None
        return self._of_pattern(*found[1:]) if found else []

    def lookup(self, name: str) -> list[str]:
        """The compiled lines for the guest of this name or UUID; empty if there are
        none."""
        return self._find(name) or []

    def patterns(self) -> dict[str, list[str]]:
        """The lines of each pattern, in the order in which they count."""
        return {one: self._of_pattern(*place) for one, *place in self._rows()}

    def _rows(self) -> list[tuple[str, int, int]]:
        """Each pattern, and where its lines begin and end. Raises Damaged."""
        if self._patterns == self._lines:
            return []
        from .compiled_patterns import list_patterns

        rows = posix.pread(self._fd, self._lines - self._patterns, self._patterns)
        try:
            return list_patterns(_decoded(rows))
        except ValueError:
            raise Damaged(*_DAMAGED) from None

    def _of_pattern(self, first: int, last: int) -> list[str]:
        """The lines of a pattern. Raises Damaged."""
        if not 0 <= first <= last <= self._guests - self._lines:
            raise Damaged(*_DAMAGED)
        text = posix.pread(self._fd, last - first, self._lines + first)
        return _decoded(text).split("\n")[:-1]

    def _find(self, name: str) -> "list[str] | None":
        """The compiled lines for a name or UUID; None if it has no entry."""
        at = self._index + _slot(name, self._slots) * _WIDTH
        try:
            first, last = map(int, posix.pread(self._fd, 2 * _WIDTH, at).split())
        except ValueError:
            raise Damaged(*_DAMAGED) from None
        return self._read(self._guests + first, self._guests + last).get(name)

    def claims(self) -> list[str]:
        """The guests, as named in the file, whose ports stay rejected while they do not
        run."""
        return self._of_all("claims")

    def bridges(self) -> list[str]:
        """The host's own bridges that forwards.yaml names."""
        return self._of_all("bridge")

    def permission(self) -> str:
        """What metadata of guests may publish (see metadata_bounds); '' for nothing."""
        return "".join(self._of_all("metadata")[:1])

    def _of_all(self, word: str) -> list[str]:
        lines = [line.partition(" ") for line in self.lookup("")]
        return [files.unquote(rest) for first, _, rest in lines if first == word]

    def guests(self) -> dict[str, list[str]]:
        """The lines of every guest, by its name or UUID in the file."""
        return dict(sorted(self._read(self._guests, self._end).items()))

    def base_rulesets(self) -> dict[str, str]:
        """The base rulesets' texts by part."""
        found = self._read(self._rulesets, self._index)
        return {part: "\n".join(lines) for part, lines in found.items()}

    def _read(self, first: int, last: int) -> dict[str, list[str]]:
        """The records between two offsets of the file, by name. Raises Damaged."""
        try:
            if 0 <= first <= last <= self._end:
                return _records(posix.pread(self._fd, last - first, first))
        except ValueError:
            pass
        raise Damaged(*_DAMAGED)


def load(state: str) -> "Compiled | None":
    """The compiled configuration in the directory `state`; None if there is no good
    one."""
    path = f"{state}/compiled"
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return Compiled(fd)
    except (ValueError, IsADirectoryError):
        posix.close(fd)
        return None


def stamps_in_force(state: str) -> str:
    """The stamps of the compiled configuration in the directory `state`; '' for
    none."""
    good = load(state)
    if good is None:
        return ""
    good.close()
    return good.stamps


def build(
    stamps: str,
    base_rulesets: dict[str, str],
    guests: dict[str, list[str]],
    patterns: "dict[str, list[str]] | None" = None,
) -> bytes:
    """The bytes of a compiled configuration."""
    from .compiled_patterns import encode

    rows, texts = encode(patterns or {})
    slots = [b""] * (len(guests) or 1)
    for name, lines in guests.items():
        slots[_slot(name, len(slots))] += _record(name, lines)
    begins = accumulate(map(len, slots), initial=0)
    parts = (
        _encoded(stamps),
        b"".join(_record(p, text.split("\n")) for p, text in base_rulesets.items()),
        b"".join(_ROW % begin for begin in begins),
        _encoded(rows),
        _encoded("".join(texts)),
        b"".join(slots),
    )
    _, *offsets = accumulate(map(len, parts), initial=_SIZE)
    return b"".join((_HEAD % tuple(offsets), *parts))


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _slot(name: str, slots: int) -> int:
    return crc32(_encoded(name)) % slots


def _record(name: str, lines: list[str]) -> bytes:
    return _encoded("\n\t".join([files.quote(name), *lines]) + "\n")


def _records(data: bytes) -> dict[str, list[str]]:
    """The lines by name. Raises ValueError for bytes that `build` never made."""
    if not data:
        return {}
    text = _decoded(data)
    if text[-1] != "\n":
        raise ValueError("the last line has no end")
    found = {}
    for record in _BETWEEN.split(text[:-1]):
        name, *lines = record.split("\n\t")
        found[files.unquote(name)] = lines
    return found
