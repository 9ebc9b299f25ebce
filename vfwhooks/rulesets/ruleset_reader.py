"""A saved ruleset of any kind: which one it is, its content says."""

from __future__ import annotations

from pathlib import Path

from ..values.errors import VfwError
from .nft_json_reader import read_nft_json
from .nft_reader import NOTE, read_nft
from .ruleset import Ruleset
from .save_reader import read_save

# The bound for memory: a rule takes some 120 bytes of text, so this is half a million.
MOST_BYTES = 64 << 20
_KNOWN = "iptables-save, ip6tables-save, nft list ruleset, nft -j list ruleset"


def load_ruleset(path: Path) -> Ruleset:
    """What a file holds. Raises VfwError for one that holds no ruleset at all."""
    if not path.is_file():
        raise VfwError(f"{path}: no such file")
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        most = f"{MOST_BYTES >> 20} MiB"
        raise VfwError(f"{path} has more than {most}", "split it by table")
    return read_ruleset(data.decode("utf-8", "surrogateescape"), str(path))


def read_ruleset(text: str, name: str) -> Ruleset:
    """What a text holds; `name` is for messages."""
    if "\0" in text:
        raise VfwError(f"{name} is no text", f"it takes {_KNOWN}")
    for line in text.split("\n"):
        line = line.strip()
        if line[:1] == "{":
            return read_nft_json(text)
        if line[:6] == "table " and NOTE.sub("", line).endswith("{"):
            return read_nft(text.split("\n"))
        if line[:1] == "*" and line[1:].strip():
            return read_save(text.split("\n"))
    if all(line.strip()[:1] in ("", "#") for line in text.split("\n")):
        return Ruleset()
    raise VfwError(f"{name} holds no ruleset", f"it takes {_KNOWN}")
