"""One rule as iptables-save writes it: its conditions and its verdict. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .ruleset import Match, Verdict
from .spellings import canonical, plain_error

_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)')
_ESCAPED = re.compile(r"\\(.)")
_FIELDS = {
    option: field
    for field, options in {
        "saddr": "-s --source --src",
        "daddr": "-d --destination --dst",
        "in": "-i --in-interface",
        "out": "-o --out-interface",
        "proto": "-p --protocol --proto",
        "dport": "--dport --dports --destination-port --destination-ports",
        "sport": "--sport --sports --source-port --source-ports",
        "state": "--state --ctstate",
        "direction": "--ctdir",
        "dsttype": "--dst-type",
        "srctype": "--src-type",
        "physin": "--physdev-in",
        "physout": "--physdev-out",
        "icmp": "--icmp-type --icmpv6-type",
    }.items()
    for option in options.split()
}
_LISTS = {"sport", "dport", "state", "dsttype", "srctype"}
_SILENT = {
    *("tcp", "udp", "sctp", "dccp", "udplite", "icmp", "icmp6", "comment"),
    *("multiport", "state", "conntrack", "addrtype", "physdev"),
}
_TARGETS = {
    **{
        name.upper(): name
        for name in (
            *("accept", "drop", "return", "reject", "queue", "log", "mark"),
            *("dnat", "snat", "masquerade", "redirect"),
        )
    },
    "NFQUEUE": "queue",
    "NFLOG": "log",
    "ULOG": "log",
    "CONNMARK": "mark",
}
_DETAILS = {
    "--reject-with": "reject",
    "--to-destination": "dnat",
    "--to-source": "snat",
    "--to-ports": "redirect",
}
_JUMPS = {"-j": "jump", "--jump": "jump", "-g": "goto", "--goto": "goto"}
_OPENING = ("-", "!")  # how an option begins
_CACHED = 4096


def split_words(line: str) -> list[str]:
    """The words of a line, quotes taken off. Raises ValueError for one without end."""
    if '"' not in line:
        return line.split()
    found, end = [], 0
    for match in _WORD.finditer(line):
        if line[end : match.start()].strip():
            raise ValueError("a quote has no end")
        end = match.end()
        quoted, plain = match.groups()
        found.append(plain or _ESCAPED.sub(r"\1", quoted))
    if line[end:].strip():
        raise ValueError("a quote has no end")
    return found


class SaveRule:
    """Reads one rule's words from left to right."""

    def __init__(self, words: list[str], chains: Iterable[str]) -> None:
        self.comment = ""
        self.matches: list[Match] = []
        self.verdict = Verdict("")
        self._words = words
        self._chains = chains
        self._at = 0
        self._module = self._unused = ""

    def read(self) -> SaveRule:
        """All of it. Raises ValueError for what is no rule."""
        while self._at < len(self._words):
            self._option()
        self._end_module()
        return self

    def _option(self) -> None:
        start, is_not = self._at, self._not()
        word = "".join(self._words[self._at : self._at + 1])
        if not word and is_not:
            raise ValueError("nothing follows !")
        if word in _JUMPS:
            self.verdict = _verdict(word, self._words[self._at + 1 :], self._chains)
            self._at = len(self._words)
            return
        if word[:1] != "-" or len(word) < 2:
            raise ValueError(f"{word or 'an empty word'} is out of place")
        self._at += 1
        is_not = self._not() or is_not  # as it was written before 1.4
        if word == "--comment":
            self.comment = "".join(self._words[self._at : self._at + 1])
            self._at += 1
            return
        values = self._values()
        if word in ("-m", "--match"):
            self._end_module()
            self._module = "".join(values)
            self._unused = "" if self._module in _SILENT else self._module
        else:
            text = " ".join(self._words[start : self._at])
            self._add(_match(word, tuple(values), is_not, text, self._module))

    def _not(self) -> bool:
        is_not = self._words[self._at : self._at + 1] == ["!"]
        self._at += is_not
        return is_not

    def _values(self) -> list[str]:
        start = self._at
        while self._at < len(self._words) and self._words[self._at][:1] not in _OPENING:
            self._at += 1
        return self._words[start : self._at]

    def _add(self, match: Match | None) -> None:
        """Take a condition in; what is not known says its module."""
        if match and not match.field and self._module not in _SILENT:
            module, text = f"-m {self._module} ", match.text
            last = self.matches[-1] if self.matches and not self._unused else None
            if last and not last.field and module in last.text:
                self.matches[-1] = last._replace(text=f"{last.text} {text}")
                return
            match = match._replace(text=f"{module}{text}" if self._module else text)
        if match:
            self._unused = ""
            self.matches.append(match)

    def _end_module(self) -> None:
        """A module that no option has followed is a condition, too."""
        if self._unused:
            self.matches.append(Match("", (), False, f"-m {self._unused}"))


@lru_cache(_CACHED)
def _match(
    word: str, values: tuple[str, ...], is_not: bool, text: str, module: str
) -> Match | None:
    """A condition; None for one that everything meets."""
    field = _FIELDS.get(word, "")
    if word == "--mark":
        field = "" if module == "connmark" else "mark"
    if not field or len(values) != 1:
        return Match("", (), is_not, text)
    some = values[0].split(",") if field in _LISTS else [values[0]]
    try:
        plain = tuple(canonical(field, one) for one in some)
    except ValueError:
        return Match("", (), is_not, text)
    if plain == ("",) or (field == "proto" and plain in (("all",), ("0",))):
        return None if not is_not else Match("", (), is_not, text)
    if field in ("saddr", "daddr") and plain[0] in ("0.0.0.0/0", "::/0"):
        return None if not is_not else Match("", (), is_not, text)
    return Match(field, plain, is_not, text)


def _verdict(jump: str, words: list[str], chains: Iterable[str]) -> Verdict:
    if not words:
        raise ValueError(f"{jump} needs a target")
    target, options = words[0], words[1:]
    if target in chains:
        return Verdict(_JUMPS[jump], target)
    kind = _TARGETS.get(target, "other")
    detail = ""
    for name, value in zip(options, options[1:]):
        if _DETAILS.get(name) == kind or (name == "--to" and kind in ("dnat", "snat")):
            detail = value
    if kind == "reject":
        detail = plain_error(detail)
    if kind == "other":
        detail = " ".join(words)
    return Verdict(kind, detail)
