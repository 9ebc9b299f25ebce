"""Small files, read whole and written by rename; words made safe for a line of one;
where the templates are, and everything else unless the environment says otherwise."""

import errno
import posix
import stat

STATE, CONFIG = "/run/vfwhooks", "/etc/vfwhooks/forwards.yaml"
_UNSAFE = {code: f"%{code:02X}" for code in (*range(33), 37, 127)}
_LONGEST = 240
_LARGEST = 64 << 20
_PIECE = 1 << 16
_NOFOLLOW = posix.O_NOFOLLOW | posix.O_CLOEXEC
FOLLOW = posix.O_CLOEXEC


def quote(word: str) -> str:
    """`word` without blanks and control characters; unquote gives it back."""
    return word.translate(_UNSAFE) or "%"


def unquote(word: str) -> str:
    """What quote was given. Raises ValueError for a word that it never wrote."""
    first, *rest = word.split("%")
    return first + "".join(
        chr(int(part[:2], 16)) + part[2:] for part in rest if len(part) > 1
    )


def file_name(word: str) -> str:
    """A name for a file about `word`: one path component, whatever the word is."""
    name = quote(word).replace("/", "%2F")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name.encode("utf-8", "surrogateescape")) <= _LONGEST:
        return name
    from hashlib import sha256  # 3 ms, and hardly any name is this long

    return "%" + sha256(word.encode("utf-8", "surrogateescape")).hexdigest()


def read(path: str, flags: int = _NOFOLLOW) -> "bytes | None":
    """The file's content; None where there is no such file.

    Raises OSError for one that is larger than anything we or libvirt would write, and
    for a link, unless the `flags` are FOLLOW.
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
    """What is in the directory; nothing where there is none."""
    try:
        return posix.listdir(directory)
    except OSError:
        return []


def exists(path: str) -> bool:
    """Whether there is something at the path."""
    return posix.access(path, posix.F_OK)


def is_directory(path: str) -> bool:
    """Whether a directory is there."""
    try:
        return stat.S_ISDIR(posix.lstat(path).st_mode)
    except OSError:
        return False


def changed_at(path: str) -> int:
    """When the file was changed last; 0 where there is none, also for a directory."""
    try:
        about = posix.stat(path)
    except OSError:
        return 0
    return about.st_mtime_ns if stat.S_ISREG(about.st_mode) else 0


def find_templates(package: str) -> str:
    """The directory of the templates: inside the package in a wheel, beside it in a
    checkout and where install.sh puts it. Inside comes first, because beside a wheel's
    package may be somebody else's."""
    inside = f"{package}/templates"
    return inside if exists(inside) else f"{package.rpartition('/')[0]}/templates"


def write(path: str, data: bytes, temporary: str, durable: bool = False) -> None:
    """Put `data` at `path` by way of the file `temporary` on the same file system.

    `durable` keeps it across a power cut: the content is on disk before the name is.
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
    """Give `data` to a file of the kernel's, which cannot be renamed over."""
    fd = posix.open(path, posix.O_WRONLY | _NOFOLLOW)
    try:
        posix.write(fd, data)
    finally:
        posix.close(fd)


def remove(path: str) -> bool:
    """Remove the file; False where there was none."""
    try:
        posix.unlink(path)
    except FileNotFoundError:
        return False
    return True
