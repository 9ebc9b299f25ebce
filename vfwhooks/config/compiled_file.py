"""The compiled configuration: one file, from which a hook reads only its own guest.

It is made when forwards.yaml changes (see compiler) and stays as the last good
configuration. Layout: a fixed header, the stamps of the files it was made from, the
base rulesets, an index of buckets, and the buckets with the guests' lines by name.
"""

import posix
import struct
from binascii import crc32

from ..store import files
from ..values.errors import VfwError

_MAGIC = b"vfw3"
_HEADER = struct.Struct(">4sIIII")
_SLOT = struct.Struct(">II")
_RECORD = struct.Struct(">II")
_FIRST = 1 << 14
_TEMPLATES = files.find_templates(__file__.rsplit("/", 2)[0]), __file__


class Damaged(VfwError):
    """It has the size and the head of a compiled configuration, and then no records."""


class Compiled:
    """An open compiled configuration; a lookup reads one bucket of it."""

    _fd = -1

    def __init__(self, fd: int) -> None:
        start = posix.pread(fd, _FIRST, 0)
        if len(start) < _HEADER.size:
            raise ValueError("too short")
        magic, stamps, base_rulesets, buckets, data = _HEADER.unpack_from(start)
        self._base_rulesets = _HEADER.size + stamps
        self._index = self._base_rulesets + base_rulesets
        self._buckets = buckets
        self._data = self._index + buckets * _SLOT.size
        self._end = self._data + data
        if magic != _MAGIC or not buckets or posix.fstat(fd).st_size != self._end:
            raise ValueError("not a whole compiled configuration of this release")
        if len(start) < self._base_rulesets:
            start = posix.pread(fd, self._base_rulesets, 0)
        self.stamps = _decoded(start[_HEADER.size : self._base_rulesets])
        self._fd = fd

    def close(self) -> None:
        """Close the file; the last that holds the configuration closes it, too."""
        if self._fd >= 0:
            posix.close(self._fd)
            self._fd = -1

    __del__ = close

    def lookup(self, name: str) -> list[str]:
        """The lines compiled for the guest of this name or UUID; none for others."""
        key = _encoded(name)
        slot = self._index + _bucket(key, self._buckets) * _SLOT.size
        at, size = _SLOT.unpack(posix.pread(self._fd, _SLOT.size, slot))
        found = self._records(self._data + at, size)
        return next((lines for other, lines in found if other == key), [])

    def claims(self) -> list[str]:
        """The guests, as they stand in the file, with ports that stay theirs while they
        do not run."""
        lines = self.lookup("")
        return [files.unquote(one[7:]) for one in lines if one.startswith("claims ")]

    def bridges(self) -> list[str]:
        """The bridges that stand in the file."""
        lines = self.lookup("")
        return [files.unquote(one[7:]) for one in lines if one.startswith("bridge ")]

    def guests(self) -> dict[str, list[str]]:
        """The lines of every guest, by the name or UUID that stands in the file."""
        records = self._records(self._data, self._end - self._data)
        return dict(sorted((_decoded(key), lines) for key, lines in records))

    def base_rulesets(self) -> dict[str, str]:
        """The base rulesets' texts by part."""
        records = self._records(self._base_rulesets, self._index - self._base_rulesets)
        return {_decoded(key): "\n".join(lines) for key, lines in records}

    def _records(self, start: int, size: int) -> list[tuple[bytes, list[str]]]:
        """The records in a part of the file."""
        if start + size <= self._end:
            try:
                return _records(posix.pread(self._fd, size, start))
            except struct.error:
                pass  # a record that does not end where the part does
        raise Damaged("the compiled configuration is damaged", "it is compiled anew")


def load(path: str) -> "Compiled | None":
    """The compiled configuration at `path`; None where there is none that is whole."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        return Compiled(fd)
    except (ValueError, struct.error, IsADirectoryError):
        posix.close(fd)
        return None


def build(
    stamps: str, base_rulesets: dict[str, str], guests: dict[str, list[str]]
) -> bytes:
    """The bytes of a compiled configuration."""
    buckets: list[list[bytes]] = [[] for _ in range(len(guests) * 2 + 1)]
    for name, lines in guests.items():
        key = _encoded(name)
        buckets[_bucket(key, len(buckets))].append(_record(key, "\n".join(lines)))
    index, data = [], []
    at = 0
    for bucket in buckets:
        packed = b"".join(bucket)
        index.append(_SLOT.pack(at, len(packed)))
        data.append(packed)
        at += len(packed)
    texts = b"".join(_record(_encoded(k), text) for k, text in base_rulesets.items())
    head = stamps.encode("utf-8", "surrogateescape")
    header = _HEADER.pack(_MAGIC, len(head), len(texts), len(buckets), at)
    return b"".join((header, head, texts, *index, *data))


def stamp(path: str) -> str:
    """A line that changes whenever the file or directory at `path` does."""
    try:
        about = posix.stat(path)
    except OSError:
        return f"{files.quote(path)} absent"
    numbers = about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    return " ".join((files.quote(path), *map(str, numbers)))


def stamps(main: str) -> str:
    """Stamps of forwards.yaml, of forwards.d beside it, of every file in there, and
    of the templates: another release compiles anew.
    """
    directory = f"{main.rpartition('/')[0] or '.'}/forwards.d"
    try:
        names = sorted(posix.listdir(directory))
    except OSError:
        names = []
    more = [f"{directory}/{n}" for n in names if n.endswith(".yaml") and n[0] != "."]
    return "\n".join(map(stamp, (main, directory, *more, *_TEMPLATES)))


def template_stamps() -> list[str]:
    """Stamps of every template, and of who reads what is made of them."""
    names = sorted(posix.listdir(_TEMPLATES[0]))
    return [stamp(f"{_TEMPLATES[0]}/{name}") for name in names] + [stamp(_TEMPLATES[1])]


def mark_of(taken: str) -> str:
    """A word that stands for the stamps."""
    return f"{crc32(_encoded(taken)):08x}"


def stamped(taken: str) -> list[str]:
    """The paths that were there when the stamps were taken."""
    lines = [line.split(" ") for line in taken.split("\n")]
    return [files.unquote(words[0]) for words in lines if words[1] != "absent"]


def is_current(taken: str, main: str) -> bool:
    """Whether the files are still those that the stamps were taken of."""
    lines = taken.split("\n")
    return lines[0].startswith(files.quote(main) + " ") and all(
        stamp(files.unquote(line.partition(" ")[0])) == line for line in lines
    )


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decoded(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _bucket(key: bytes, buckets: int) -> int:
    return int.from_bytes(key, "big") % buckets


def _record(key: bytes, text: str) -> bytes:
    value = _encoded(text)
    return _RECORD.pack(len(key), len(value)) + key + value


def _records(data: bytes) -> list[tuple[bytes, list[str]]]:
    found, at = [], 0
    while at < len(data):
        key, value = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        text = _decoded(data[at + key : at + key + value])
        found.append((data[at : at + key], text.split("\n")))
        at += key + value
    return found
