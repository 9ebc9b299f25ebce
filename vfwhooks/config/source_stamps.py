"""Stamps of the files that a compiled configuration is made from, and what they tell.

A stamp is a line: the path (quoted), and the inode, the size and the times (ns) of what
is there. The compiled configuration keeps the stamps of the files
that it was made from.
"""

import posix
from binascii import crc32

from ..store import files

_TEMPLATES = files.find_templates(__file__.rsplit("/", 2)[0]), __file__


def stamp(path: str) -> str:
    """A line that changes whenever the file or directory at `path` changes."""
    try:
        about = posix.stat(path)
    except OSError:
        return f"{files.quote(path)} absent"
    numbers = about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns
    return " ".join((files.quote(path), *map(str, numbers)))


def stamps(main: str) -> str:
    """Stamps of forwards.yaml, of forwards.d beside it, of every file in forwards.d,
    and of the templates: another release compiles again.
    """
    directory = f"{main.rpartition('/')[0] or '.'}/forwards.d"
    names = sorted(files.names(directory))
    more = [f"{directory}/{n}" for n in names if n.endswith(".yaml") and n[0] != "."]
    return "\n".join(map(stamp, (main, directory, *more, *_TEMPLATES)))


def template_stamps() -> list[str]:
    """Stamps of every template, and of this module, which reads the rendered texts."""
    names = sorted(posix.listdir(_TEMPLATES[0]))
    return [stamp(f"{_TEMPLATES[0]}/{name}") for name in names] + [stamp(_TEMPLATES[1])]


def digest_of(taken: str) -> str:
    """A checksum of the stamps."""
    return f"{crc32(taken.encode('utf-8', 'surrogateescape')):08x}"


def stamped(taken: str) -> list[str]:
    """The paths that existed when the stamps were taken."""
    lines = [line.split(" ") for line in _of_files(taken)]
    return [files.unquote(words[0]) for words in lines if len(words) > 2]


def written_at(taken: str, main: str) -> int:
    """When the newest of forwards.yaml, forwards.d and the files there was written, by
    the stamps (ns); 0 if there was none."""
    place = files.quote(f"{main.rpartition('/')[0] or '.'}/")
    lines = [line.split(" ") for line in taken.split("\n") if line.startswith(place)]
    return max((int(words[3]) for words in lines if len(words) > 3), default=0)


def is_current(taken: str, main: str) -> bool:
    """Whether the files still have these stamps. The addresses of interfaces, which
    follow, are the service's to look at: an event would have to ask the kernel."""
    lines = _of_files(taken)
    return lines[0].startswith(files.quote(main) + " ") and all(
        stamp(files.unquote(line.partition(" ")[0])) == line for line in lines
    )


def _of_files(taken: str) -> list[str]:
    """The lines about files; those about interfaces begin with @ (see host_ips)."""
    return [line for line in taken.split("\n") if line[:1] != "@"]
