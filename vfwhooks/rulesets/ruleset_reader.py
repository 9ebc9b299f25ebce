"""A saved ruleset of any kind: which one it is, its content says."""

from __future__ import annotations

from pathlib import Path

from ..values.errors import VfwError
from .nft_json_reader import read_nft_json
from .nft_reader import is_of_iptables, read_nft, without_note
from .ruleset import Problem, Ruleset
from .save_reader import read_save

# The bound for memory: a rule takes some 120 bytes of text, so this is half a million.
MOST_BYTES = 64 << 20
_OF_IPTABLES = "nft does not show all that iptables-nft has put there"
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
    """What a text holds; `name` is for messages. Listings of several tools may follow
    one another."""
    if "\0" in text:
        raise VfwError(f"{name} is no text", f"it takes {_KNOWN}")
    lines = list(enumerate(text.split("\n"), 1))
    kinds = {_kind(line) for _, line in lines} - {""}
    if "json" in kinds and text.lstrip()[:1] == "{":
        found = read_nft_json(text)
    elif kinds == {"nft", "save"}:
        found = read_nft([one for one in lines if _is_nfts(one[1])])
        found.join(read_save([one for one in lines if not _is_nfts(one[1])]))
    elif kinds & {"nft", "save"}:
        found = read_nft(lines) if "nft" in kinds else read_save(lines)
    elif all(line.strip()[:1] in ("", "#") for _, line in lines):
        return Ruleset()
    else:
        raise VfwError(f"{name} holds no ruleset", f"it takes {_KNOWN}")
    _settle(found)
    return found


def _kind(line: str) -> str:
    """Which of the tools begins with such a line; '' where it says nothing."""
    if line[:1] == "*" and line[1:].strip():
        return "save"
    if line[:6] == "table " and without_note(line.rstrip()).endswith("{"):
        return "nft"
    return "json" if line.lstrip()[:1] == "{" else ""


def _is_nfts(line: str) -> bool:
    """Whether nft has written a line of a file that has both in it."""
    return line[:1] in ("\t", " ") or line[:6] == "table " or line.strip() == "}"


def _settle(found: Ruleset) -> None:
    """nft does not show all of what iptables-nft has made: what iptables-save says of
    it counts, and where that is missing, it is told."""
    saved = {(t.family, t.name) for t in found.tables if t.tool == "iptables"}
    kept = []
    for table in found.tables:
        if is_of_iptables(table):
            if (table.family, table.name) in saved:
                continue
            found.problems.append(Problem(0, f"table {table}", _OF_IPTABLES))
        kept.append(table)
    found.tables = kept
