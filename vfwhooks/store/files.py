"""Small files, read whole and written by rename; words without blanks; the default
paths, and the place of the templates."""

import errno
import posix
import stat

STATE, CONFIG = "/run/vfwhooks", "/etc/vfwhooks/forwards.yaml"
_UNSAFE = {code: f"%{code:02X}" for code in (*range(33), 37, 127)}
_LONGEST = 240
_SHORTAGES = (
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS),
)
_LARGEST = 64 << 20
_PIECE = 1 << 16
_NOFOLLOW = posix.O_NOFOLLOW | posix.O_CLOEXEC
FOLLOW = posix.O_CLOEXEC


def is_shortage(error: Exception) -> bool:
    """Whether something has run out, so that the same may work later: descriptors,
    memory, room on the disk."""
    return isinstance(error, OSError) and error.errno in _SHORTAGES


def quote(word: str) -> str:
    """`word` without blanks and control characters; unquote reverses this."""
    return word.translate(_UNSAFE) or "%"


def unquote(word: str) -> str:
    """The word that quote was given. Raises ValueError for a word that quote never
    wrote."""
    first, *rest = word.split("%")
    return first + "".join(
        chr(int(part[:2], 16)) + part[2:] for part in rest if len(part) > 1
    )


def file_name(word: str) -> str:
    """A name for a file about `word`: one path component for any word."""
    name = quote(word).replace("/", "%2F")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name.encode("utf-8", "surrogateescape")) <= _LONGEST:
        return name
    from hashlib import sha256  # 3 ms, and hardly any name is so long

    return "%" + sha256(word.encode("utf-8", "surrogateescape")).hexdigest()


def read(path: str, flags: int = _NOFOLLOW) -> "bytes | None":
    """The file's content; None if the file does not exist.

    Raises OSError for a file that is larger than any file of ours or of libvirt, and
    for a link, unless `flags` are FOLLOW.
    """
    try:
        fd = posix.open(path, posix.O_RDONLY | flags)
    except FileNotFoundError:
        return None
    try:
        parts, size = [], 0
        while part := posix.read(fd, _PIECE):
            parts.append(part)
            size += len(part)
            if size > _LARGEST:
                raise OSError(errno.EFBIG, posix.strerror(errno.EFBIG))
        return b"".join(parts)
    finally:
        posix.close(fd)


def names(directory: str) -> list[str]:
    """The names in the directory; none if it does not exist or this user may not read
    it. Raises OSError if the kernel cannot say: what is there would seem gone."""
    try:
        return posix.listdir(directory)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def exists(path: str) -> bool:
    return posix.access(path, posix.F_OK)


def is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(posix.lstat(path).st_mode)
    except OSError:
        return False


def changed_at(path: str) -> int:
    """The time of the file's last change (ns); 0 if there is no regular file."""
    try:
        about = posix.stat(path)
    except OSError:
        return 0
    return about.st_mtime_ns if stat.S_ISREG(about.st_mode) else 0


def find_templates(package: str) -> str:
    """The directory of the templates: inside the package in a wheel, beside it in a
    checkout and after install.sh. Inside comes first: a directory beside a wheel's
    package may belong to another program."""
    inside = f"{package}/templates"
    return inside if exists(inside) else f"{package.rpartition('/')[0]}/templates"


def write(path: str, data: bytes, temporary: str, durable: bool = False) -> None:
    """Write `data` to `path` by way of the file `temporary` on the same file system.

    `durable` keeps the file across a power cut: the content is on disk before the name
    is.
    """
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | _NOFOLLOW
    fd = posix.open(temporary, flags, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[posix.write(fd, rest) :]
        if durable:
            posix.fsync(fd)
    finally:
        posix.close(fd)
    posix.rename(temporary, path)


def overwrite(path: str, data: bytes) -> None:
    """Write `data` to a file of the kernel, which cannot be replaced by rename."""
    fd = posix.open(path, posix.O_WRONLY | _NOFOLLOW)
    try:
        posix.write(fd, data)
    finally:
        posix.close(fd)


def remove(path: str) -> bool:
    """Remove the file; False if there was none."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return False
    return True
