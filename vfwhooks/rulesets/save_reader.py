"""iptables-save's and ip6tables-save's text, of any age, as a Ruleset. Pure.

Old spellings: `-d ! NET`, netmasks, `-m state`. Several saves may follow one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from .ruleset import PRIORITIES, Match, Problem, Rule, Ruleset, Table, Verdict
from .spellings import canonical, plain_error

# Before the rules of a tool in what `explain --save` writes.
TOOL_MARK = "# vfwhooks explain: "
_HOOKS = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)')
_ESCAPED = re.compile(r"\\(.)")
_COUNTERS = re.compile(r"\[\d+:\d+\]\s+")
_FIELDS = {
    "-s": "saddr",
    "--source": "saddr",
    "--src": "saddr",
    "-d": "daddr",
    "--destination": "daddr",
    "--dst": "daddr",
    "-i": "in",
    "--in-interface": "in",
    "-o": "out",
    "--out-interface": "out",
    "-p": "proto",
    "--protocol": "proto",
    "--proto": "proto",
    "--dport": "dport",
    "--dports": "dport",
    "--destination-port": "dport",
    "--destination-ports": "dport",
    "--sport": "sport",
    "--sports": "sport",
    "--source-port": "sport",
    "--source-ports": "sport",
    "--state": "state",
    "--ctstate": "state",
    "--ctdir": "direction",
    "--dst-type": "dsttype",
    "--src-type": "srctype",
    "--physdev-in": "physin",
    "--physdev-out": "physout",
    "--icmp-type": "icmp",
    "--icmpv6-type": "icmp",
}
_LISTS = {"sport", "dport", "state", "dsttype", "srctype"}
_SILENT = {
    *("tcp", "udp", "sctp", "dccp", "udplite", "icmp", "icmp6", "comment"),
    *("multiport", "state", "conntrack", "addrtype", "physdev"),
}
_TARGETS = {
    "ACCEPT": "accept",
    "DROP": "drop",
    "RETURN": "return",
    "REJECT": "reject",
    "QUEUE": "queue",
    "NFQUEUE": "queue",
    "DNAT": "dnat",
    "SNAT": "snat",
    "MASQUERADE": "masquerade",
    "REDIRECT": "redirect",
    "LOG": "log",
    "NFLOG": "log",
    "ULOG": "log",
    "MARK": "mark",
    "CONNMARK": "mark",
}
_DETAILS = {
    "--reject-with": "reject",
    "--to-destination": "dnat",
    "--to-source": "snat",
    "--to-ports": "redirect",
}
_CACHED = 4096


def read_save(lines: Iterable[tuple[int, str]]) -> Ruleset:
    """Every table of these lines, each with its number."""
    reader = _Reader()
    for number, line in lines:
        reader.line(number, line)
    reader.end_table()
    return reader.found


class _Reader:
    def __init__(self) -> None:
        self.found = Ruleset()
        self._tool = "iptables"
        self._is_listed = False  # by us: nobody has the lines before him
        self._family = ""  # as the head of a save says
        self._table: Table | None = None
        self._has_family = False
        self._seen: dict[str, set[str]] = {"ip": set(), "ip6": set()}

    def line(self, number: int, line: str) -> None:
        """Read one; what cannot be read is noted."""
        line = line.strip()
        if not line:
            return
        if line[0] == "#":
            if "ip6tables-save" in line:
                self._family = "ip6"
            elif "iptables-save" in line:
                self._family = "ip"
            elif line.startswith(TOOL_MARK):
                self._tool, self._is_listed = line[len(TOOL_MARK) :], True
            return
        try:
            self._read(number, line)
        except ValueError as error:
            self.found.problems.append(Problem(number, line, str(error)))

    def _read(self, number: int, line: str) -> None:
        if line[0] == "*":
            self.end_table()
            self._table = Table(self._family, line[1:].strip(), self._tool)
            return
        if line == "COMMIT":
            self.end_table()
            return
        counted = _COUNTERS.match(line)
        line = line[counted.end() :] if counted else line
        if self._table is None:
            raise ValueError("it stands in no table")
        if line[0] == ":":
            self._chain(line)
        elif line.startswith("-A "):
            self._rule(number, line)
        else:
            raise ValueError("it is neither a chain nor a rule")

    def _chain(self, line: str) -> None:
        assert self._table
        name, _, rest = line[1:].partition(" ")
        if not name:
            raise ValueError("a chain needs a name")
        chain = self._table.chain(name)
        policy = rest.split(" ")[0]
        if policy not in ("", "-") and name in _HOOKS:
            chain.policy, chain.hook = policy.lower(), name.lower()
            chain.kind = "nat" if self._table.name == "nat" else "filter"
            key = self._table.name
            if key == "nat":
                is_first = name in ("PREROUTING", "OUTPUT")
                key = "dstnat" if is_first else "srcnat"
            chain.priority = PRIORITIES.get(key, 0)

    def _rule(self, number: int, line: str) -> None:
        assert self._table
        words = _split(line)
        if len(words) < 2:
            raise ValueError("a rule needs a chain")
        name, text = words[1], line[3:].strip()
        text = text[text.find(name) + len(name) :].lstrip('" ')
        comment, matches, verdict = _conditions(words[2:], self._table.chains)
        rules = self._table.chain(name).rules
        place = f"rule {len(rules) + 1}" if self._is_listed else f"line {number}"
        rules.append(Rule(place, text, matches, verdict, comment))

    def end_table(self) -> None:
        """The table is whole; now it is known which family it is of."""
        table, self._table = self._table, None
        if table is None:
            return
        family = table.family or _family_of(table)
        if not family:
            family = "ip6" if table.name in self._seen["ip"] else "ip"
        table.family = family
        self._seen[family].add(table.name)
        known = self.found.table(family, table.name, table.tool)
        for chain in table.chains.values():
            old = known.chains.setdefault(chain.name, chain)
            if old is not chain:
                old.rules += chain.rules


def _family_of(table: Table) -> str:
    """By an address or a protocol of one family alone; '' where there is none."""
    for chain in table.chains.values():
        for rule in chain.rules:
            for match in rule.matches:
                if match.field in ("saddr", "daddr"):
                    return "ip6" if ":" in match.values[0] else "ip"
                if match.field == "proto" and match.values[0][:4] == "icmp":
                    return "ip6" if match.values[0] == "icmpv6" else "ip"
            if rule.verdict.kind == "reject" and rule.verdict.target[:4] == "icmp":
                return "ip6" if rule.verdict.target[:5] == "icmp6" else "ip"
    return ""


def _split(line: str) -> list[str]:
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


def _conditions(
    words: list[str], chains: Iterable[str]
) -> tuple[str, tuple[Match, ...], Verdict]:
    """A rule's comment, its matches, its verdict."""
    comment, module, matches = "", "", []
    at, unused = 0, ""
    while at < len(words):
        start, is_not = at, words[at] == "!"
        at += is_not
        if at == len(words):
            raise ValueError("nothing follows !")
        word = words[at]
        if word in ("-j", "-g", "--jump", "--goto"):
            rest = words[at + 1 :]
            if not rest:
                raise ValueError(f"{word} needs a target")
            is_goto = word in ("-g", "--goto")
            if unused:
                matches.append(Match("", (), False, f"-m {unused}"))
            return comment, tuple(matches), _verdict(rest, is_goto, chains)
        if word[0] != "-" or len(word) < 2:
            raise ValueError(f"{word} is out of place")
        at += 1
        if at < len(words) and words[at] == "!":  # as it was written before 1.4
            is_not, at = True, at + 1
        if word == "--comment":
            comment, at = " ".join(words[at : at + 1]), at + 1
            continue
        values = []
        while at < len(words) and words[at][:1] not in ("-", "!"):
            values.append(words[at])
            at += 1
        if word in ("-m", "--match"):
            if unused:
                matches.append(Match("", (), False, f"-m {unused}"))
            module = "".join(values)
            unused = "" if module in _SILENT else module
            continue
        text = " ".join(words[start:at])
        match = _match(word, tuple(values), is_not, text, module)
        if match is None:
            continue
        if not match.field and module not in _SILENT:
            match = match._replace(text=f"-m {module} {text}" if module else text)
            last = matches[-1] if matches else None
            if last and not unused and not last.field and f"-m {module} " in last.text:
                matches[-1] = last._replace(text=f"{last.text} {text}")
                continue
        unused = ""
        matches.append(match)
    if unused:
        matches.append(Match("", (), False, f"-m {unused}"))
    return comment, tuple(matches), Verdict("")


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


def _verdict(words: list[str], is_goto: bool, chains: Iterable[str]) -> Verdict:
    target, options = words[0], words[1:]
    if target in chains:
        return Verdict("goto" if is_goto else "jump", target)
    kind = _TARGETS.get(target, "other")
    detail = ""
    for name, value in zip(options, options[1:]):
        if _DETAILS.get(name) == kind:
            detail = value
    if kind == "reject":
        detail = plain_error(detail)
    if kind == "other":
        detail = " ".join(words)
    return Verdict(kind, detail)
