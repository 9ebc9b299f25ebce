"""A saved ruleset of any kind: which one it is, its content says."""

from __future__ import annotations

import re
from pathlib import Path

from ..values.errors import VfwError
from .nft_json_reader import read_nft_json
from .nft_reader import is_of_iptables, read_nft, without_note
from .ruleset import Match, Problem, Rule, Ruleset, Table
from .save_reader import read_save

# The bound for memory: a rule takes some 120 bytes of text, so this is half a million.
MOST_BYTES = 64 << 20
_OF_IPTABLES = "nft does not show all that iptables-nft has put there"
# A part of a rule that iptables alone can show.
_XT = re.compile(r"\bxt(_| match | target )")
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
    settle(found)
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


def settle(found: Ruleset) -> None:
    """Each of iptables-nft's tables once. nft does not show all of a rule that
    iptables-nft has made: what iptables-save says of it counts, and where that is
    missing, it is told. iptables-save does not show all of a rule that nft has made."""
    saved = {(t.family, t.name): t for t in found.tables if t.tool == "iptables"}
    kept = []
    for table in found.tables:
        if is_of_iptables(table):
            same = saved.get((table.family, table.name))
            if same:
                _complete(same, table)
                continue
            found.problems.append(Problem(0, f"table {table}", _OF_IPTABLES))
        kept.append(table)
    found.tables = kept


def _complete(saved: Table, listed: Table) -> None:
    """Take from nft's list of a table what iptables-save does not show: conditions of
    rules, sets, and base chains of others."""
    saved.sets.update(listed.sets)
    for name, other in listed.chains.items():
        chain = saved.chains.setdefault(name, other)
        if len(chain.rules) == len(other.rules):
            pairs = zip(chain.rules, other.rules)
            chain.rules = [nft if _says_more(nft, one) else one for one, nft in pairs]


def _says_more(listed: Rule, saved: Rule) -> bool:
    """Whether nft knows a condition of the rule that iptables-save leaves out."""
    if _XT.search(listed.text):
        return False
    shown = {_about(one) for one in saved.matches}
    lost = any(one.field and _about(one) not in shown for one in listed.matches)
    are_more = _count(listed) > _count(saved)
    return lost or are_more or listed.verdict.kind == "vmap"


def _count(rule: Rule) -> int:
    """Its conditions; the tools differ in whether they write an implied protocol."""
    return sum(one.field != "proto" for one in rule.matches)


def _about(match: Match) -> tuple[str, bool]:
    """What a condition looks at, and whether it is a range of addresses:
    iptables-save shows the last one of such a range."""
    is_address = match.field in ("saddr", "daddr")
    return match.field, is_address and any("-" in value for value in match.values)
