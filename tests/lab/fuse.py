"""A file system whose files are answered by this process: FUSE, without a library.

It serves a tree of texts, and files that are asked: what is written to one is a
question, and what is read from the same descriptor then is its answer, as with the
transaction files of the kernel's own file systems. Only what reading such trees takes
is there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

_LOOKUP, _FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE = 1, 2, 3, 4, 14, 15, 16
_RELEASE, _FLUSH, _INIT, _OPENDIR, _READDIR, _RELEASEDIR = 18, 25, 26, 27, 28, 29
_INTERRUPT, _DESTROY, _BATCH_FORGET = 36, 38, 42
_UNANSWERED = {_FORGET, _INTERRUPT, _BATCH_FORGET}
_DIRECT_IO = 1  # nothing is cached, and a short answer is a short read
_LARGEST = 1 << 17
_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
_TRANSFER = struct.Struct("=QQIIQII")
_TREE_ROOT = 1


class Tree(Protocol):
    """What is served; it may be another at every call."""

    def files(self) -> Mapping[str, str]:
        """The texts of plain files, by path."""

    def asked(self) -> Mapping[str, Callable[[str], str]]:
        """The files that are asked, by path; they may raise OSError."""


def mount(place: str, device: str) -> int:
    """Puts a FUSE file system there, in this mount namespace; the descriptor to serve
    it by. `device` is a name for its device node while it is opened."""
    os.mknod(device, 0o600 | stat.S_IFCHR, os.makedev(10, 229))
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    finally:
        Path(device).unlink()
    options = f"fd={fd},rootmode=40755,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    words = b"lab", place.encode(), b"fuse", 0, options.encode()
    if libc.mount(*words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"mount fuse: {os.strerror(number)}", place)
    return fd


class Server:
    """Answers the kernel's requests; see the module."""

    def __init__(self, fd: int, tree: Tree) -> None:
        self._fd = fd
        self._tree = tree
        self._names = {_TREE_ROOT: ""}
        self._open: dict[int, bytes | None] = {}
        self._handles = iter(range(1, 1 << 62))
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            _LOOKUP: self._lookup,
            _GETATTR: lambda node, _: _sized(self._attributes(node)),
            _SETATTR: lambda node, _: _sized(self._attributes(node)),
            _OPEN: self._opened,
            _OPENDIR: self._opened,
            _READ: self._read,
            _READDIR: self._entries,
            _WRITE: self._write,
            _RELEASE: self._released,
            _RELEASEDIR: self._released,
            _FLUSH: lambda node, _: b"",
            _INIT: _agreed,
        }

    def serve(self) -> None:
        """Until the file system is taken away."""
        while True:
            try:
                request = os.read(self._fd, _LARGEST + 4096)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue  # the request was taken back
                if error.errno == errno.ENODEV:
                    return
                raise
            _, code, unique, node, *_ = _IN.unpack_from(request)
            if code == _DESTROY:
                return
            if code not in _UNANSWERED:
                self._reply(unique, *self._call(code, node, request[_IN.size :]))

    def _call(self, code: int, node: int, body: bytes) -> tuple[int, bytes]:
        call = self._calls.get(code)
        if call is None:
            return -errno.ENOSYS, b""
        try:
            return 0, call(node, body)
        except OSError as error:
            return -(error.errno or errno.EIO), b""

    def _reply(self, unique: int, error: int, data: bytes) -> None:
        try:
            os.write(self._fd, _OUT.pack(_OUT.size + len(data), error, unique) + data)
        except OSError as gone:
            if gone.errno != errno.ENOENT:  # who asked has gone
                raise

    def _lookup(self, node: int, body: bytes) -> bytes:
        path = f"{self._names[node]}/{body.rstrip(bytes(1)).decode()}".lstrip("/")
        known = {name: number for number, name in self._names.items()}
        number = known.get(path, len(known) + 1)
        attributes = self._attributes(number, path)
        self._names[number] = path
        return struct.pack("=QQQQII", number, 0, 0, 0, 0, 0) + attributes

    def _attributes(self, node: int, path: str | None = None) -> bytes:
        """Of a file: 0644 whatever it is, as root's."""
        path = self._names[node] if path is None else path
        if path in self._tree.files() or path in self._tree.asked():
            mode, links = stat.S_IFREG | 0o644, 1
        elif not path or any(self._below(path)):
            mode, links = stat.S_IFDIR | 0o755, 2
        else:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        times = 0, 0, 0
        return _ATTRIBUTES.pack(
            node, 0, 0, *times, *times, mode, links, 0, 0, 0, 4096, 0
        )

    def _below(self, path: str) -> Iterator[str]:
        """The names in a directory."""
        start = f"{path}/" if path else ""
        for name in [*self._tree.files(), *self._tree.asked()]:
            if name.startswith(start):
                yield name[len(start) :].partition("/")[0]

    def _opened(self, node: int, body: bytes) -> bytes:
        handle = next(self._handles)
        text = self._tree.files().get(self._names[node])
        self._open[handle] = None if text is None else text.encode()
        return struct.pack("=QII", handle, _DIRECT_IO, 0)

    def _released(self, node: int, body: bytes) -> bytes:
        self._open.pop(struct.unpack_from("=Q", body)[0], None)
        return b""

    def _write(self, node: int, body: bytes) -> bytes:
        """A question, one for each opened file: EBUSY for a second, whatever became of
        the first."""
        handle, _, size, *_ = _TRANSFER.unpack_from(body)
        ask = self._tree.asked().get(self._names[node])
        if ask is None:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        if self._open[handle] is not None:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        self._open[handle] = b""
        question = body[_TRANSFER.size : _TRANSFER.size + size].decode()
        self._open[handle] = ask(question).encode()
        return struct.pack("=II", size, 0)

    def _read(self, node: int, body: bytes) -> bytes:
        """The rest of the text, or of the answer: half of it at a time, since nobody
        may rely on getting all of it at once."""
        handle, _, size, *_ = _TRANSFER.unpack_from(body)
        rest = self._open[handle] or b""
        part = rest[: min(size, (len(rest) + 1) // 2)]
        self._open[handle] = rest[len(part) :]
        return part

    def _entries(self, node: int, body: bytes) -> bytes:
        """The directory's names behind the offset, as many as there is room for."""
        _, offset, size, *_ = _TRANSFER.unpack_from(body)
        names = [".", "..", *dict.fromkeys(self._below(self._names[node]))]
        found = b""
        for number, name in enumerate(names[offset:], offset + 1):
            entry = struct.pack("=QQII", 1, number, len(name), 0) + name.encode()
            entry += bytes(-len(entry) % 8)
            if len(found) + len(entry) > size:
                break
            found += entry
        return found


def _agreed(node: int, body: bytes) -> bytes:
    """What the kernel is told at first: our version, and how much it may write."""
    major, minor, ahead, _ = struct.unpack_from("=IIII", body)
    mine = min(minor, 31)
    settings = struct.pack("=HHIIHHII24x", 12, 9, 4096, 1, 0, 0, 0, 0)
    return struct.pack("=IIII", major, mine, ahead, 0) + settings


def _sized(attributes: bytes) -> bytes:
    """Attributes that are good for no time at all."""
    return struct.pack("=QII", 0, 0, 0) + attributes
