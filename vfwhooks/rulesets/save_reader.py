"""iptables-save's and ip6tables-save's text, of any age, as a Ruleset. Pure.

Old spellings: `-d ! NET`, netmasks, `-m state`. Several saves may follow one another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .ruleset import PRIORITIES, Problem, Rule, Ruleset, Table
from .save_rule import SaveRule, split_words

# Before the rules of a tool in what `explain --save` writes.
TOOL_MARK = "# vfwhooks explain: "
_HOOKS = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
_SAVES = re.compile(r"\b(ip6?)tables-(?:nft-|legacy-)?save\b")
_COUNTERS = re.compile(r"\[\d+:\d+\]\s+")


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
        self._seen: dict[str, set[str]] = {"ip": set(), "ip6": set()}

    def line(self, number: int, line: str) -> None:
        """Read one; what cannot be read is noted."""
        line = line.strip()
        if not line:
            return
        if line[0] == "#":
            tool = _SAVES.search(line)
            if tool:
                self._family = tool[1]
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
        words = split_words(line)
        if len(words) < 2:
            raise ValueError("a rule needs a chain")
        name, text = words[1], line[3:].strip()
        text = text[text.find(name) + len(name) :].lstrip('" ')
        rule = SaveRule(words[2:], self._table.chains).read()
        rules = self._table.chain(name).rules
        place = f"rule {len(rules) + 1}" if self._is_listed else f"line {number}"
        matches = tuple(rule.matches)
        rules.append(Rule(place, text, matches, rule.verdict, rule.comment))

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
