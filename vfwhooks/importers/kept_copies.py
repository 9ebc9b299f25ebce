"""Files from which old rules would come back: what the distributions load at boot, and
hook scripts. They are read, and never changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..values.errors import VfwError
from .imported import MOST_BYTES, Imported, Origin
from .source_kinds import read_source

_PLACES = (
    "etc/iptables/rules.v[46]",
    "etc/sysconfig/ip*tables",
    "etc/nftables.conf",
    "etc/nftables.d/*.nft",
    "etc/nftables/*.nft",
    "etc/sysconfig/nftables.conf",
    "etc/ufw/before*.rules",
    "etc/libvirt/hooks/*",
    "etc/libvirt/hooks/qemu.d/*",
)


def find_copies(
    gone: Iterable[Imported], more: Iterable[Path] = (), root: str = "/"
) -> list[Origin]:
    """The lines of these files, and of `more`, that do what the rules did."""
    doomed = list(gone)
    paths = [path for place in _PLACES for path in sorted(Path(root).glob(place))]
    found: list[Origin] = []
    for path in dict.fromkeys([*more, *paths]):
        found += _of_file(path, doomed)
    return list(dict.fromkeys(found))


def _of_file(path: Path, doomed: list[Imported]) -> Iterator[Origin]:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return
    try:
        read = read_source(text, str(path))[1].forwards
    except VfwError:
        read = []
    keys = {_key(one) for one in doomed}
    found = [one.origin for one in read if _key(one) in keys]
    yield from found or _by_words(path, text, {one.address for one in doomed})


def _key(one: Imported) -> tuple[object, ...]:
    return one.address, one.published, one.target, one.protocols


def _by_words(path: Path, text: str, addresses: set[str]) -> Iterator[Origin]:
    """Lines of a file that is no listing, a script of nft's say, that lead there."""
    for number, line in enumerate(text.split("\n"), 1):
        words = set(re.split(r"[^0-9A-Fa-f.]|(?<=\d):", line))
        if "dnat" in line.lower() and words & addresses and line.strip()[:1] != "#":
            yield Origin(f"{path}:{number}", line.strip())
