"""Safe writes of configuration files: one editor at a time, by rename."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..values.errors import VfwError

_LOCK = ".forwards.lock"


@contextmanager
def edited_alone(main: Path) -> Iterator[None]:
    """As the only one who edits the files; the kernel lets the lock go with a process
    that is killed.

    Raises VfwError at once while somebody else does.
    """
    path = main.parent / _LOCK
    fd = _locked(path)
    try:
        os.ftruncate(fd, 0)
        with suppress(OSError):  # on a full disk nobody is named, and all else holds
            os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(fd)


def _locked(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        fd = os.open(path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BlockingIOError:
            who = os.read(fd, 20).decode("ascii", "replace").strip()
            os.close(fd)
            whose = f", process {who}" if who.isdigit() else ""
            what = f"somebody else edits {path.parent} now{whose}"
            raise VfwError(what, "try again when that is done") from None
        except FileNotFoundError:
            pass  # whoever had it has just removed it
        os.close(fd)


def replace_file(path: Path, before: bytes | None, after: bytes) -> None:
    """Put `after` in place of `before` by rename, None where there was no file. Owner,
    mode and labels stay, and a link leads where it led.

    Raises VfwError if `before` is not what is there, OSError if it cannot be written;
    then everything is as it was.
    """
    target = Path(os.path.realpath(path))
    if _read(target) != before:
        raise VfwError(f"{path} was changed meanwhile", "nothing is written; try again")
    if before is None:
        target.parent.mkdir(0o755, exist_ok=True)
    fd, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(after)
            file.flush()
            _look_like(fd, target if before is not None else None)
            os.fsync(fd)
        os.rename(temporary, target)  # noqa: PTH104 - both as they are
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync(target.parent)


def put_file(path: Path, data: bytes, mode: int) -> None:
    """Put a file of this mode there by rename, whatever was in it. A link leads where
    it led. A power cut may lose it.

    Raises VfwError for what no file can take the place of, OSError if it cannot be
    written; then everything is as it was.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise VfwError(f"{path} is no regular file")
    fd, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        os.rename(temporary, target)  # noqa: PTH104 - both as they are
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _look_like(fd: int, other: Path | None) -> None:
    if other is None:
        os.fchmod(fd, 0o644)
        return
    about = other.stat()
    os.fchown(fd, about.st_uid, about.st_gid)
    names = os.listxattr(other)
    for name in {*os.listxattr(fd)} - {*names}:  # of the directory: its default ACL
        with suppress(OSError):
            os.removexattr(fd, name)
    for name in names:
        with suppress(OSError):
            os.setxattr(fd, name, os.getxattr(other, name))
    os.fchmod(fd, stat.S_IMODE(about.st_mode))


def _sync(directory: Path) -> None:
    """Have the name on disk, as far as the file system knows such a thing."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):
        os.fsync(fd)
    os.close(fd)
