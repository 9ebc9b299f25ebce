"""The text that iptables-restore reads, and the text that iptables-save prints.
Pure."""

from __future__ import annotations

FILTER, NAT, RAW, MANGLE = "filter", "nat", "raw", "mangle"
Line = tuple[str, str]
Chain = tuple[str, str]
Chains = dict[Chain, list[str]]


class Rules:
    """An owner's rules of one family: its own chains, and its rules in shared
    chains."""

    def __init__(self) -> None:
        self.own: Chains = {}
        self.shared: Chains = {}


def parse_save(text: str) -> dict[Chain, list[tuple[str, str]]]:
    """Every chain in iptables-save's output, or in a base ruleset, with its rules:
    counters ("[0:0]", or ""), and the text behind the chain's name."""
    found: dict[Chain, list[tuple[str, str]]] = {}
    table = ""
    for line in text.split("\n"):
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[table, line[1:].split(" ")[0]] = []
        elif line.startswith(("-A ", "[")):
            counters, _, rule = line.partition("-A ")
            chain, _, rule = rule.partition(" ")
            found.setdefault((table, chain), []).append((counters.strip(), rule))
    return found


class Script:
    """The input for iptables-restore --noflush: additions to raw, mangle and filter,
    then nat, then deletions. Shared rules go to the head of their chain, above its
    tail."""

    def __init__(self) -> None:
        self._declare: list[Line] = []
        self._add: list[Line] = []
        self._remove: list[Line] = []

    def is_empty(self) -> bool:
        """Whether the script does nothing."""
        return not (self._declare or self._add or self._remove)

    def needs(self, table: str) -> bool:
        """Whether the script adds a rule to this table."""
        return any(line[0] == table for line in self._add)

    def change(self, old: Rules, new: Rules) -> None:
        """Bring one owner from its old rules to its new ones; counters stay."""
        for chain, rules in new.own.items():
            if chain not in old.own:
                self.fill(chain, [("", rule) for rule in rules])
            else:
                self._adjust(chain, old.own[chain], rules)
        for chain in {**old.shared, **new.shared}:
            self._adjust(chain, old.shared.get(chain, []), new.shared.get(chain, []))
        self.drop([chain for chain in old.own if chain not in new.own])

    def fill(self, chain: Chain, rules: list[tuple[str, str]]) -> None:
        """Make the chain hold exactly these rules, with these counters."""
        table, name = chain
        self._declare.append((table, f":{name} - [0:0]"))
        self._add += [(table, f"{c} -A {name} {rule}".lstrip()) for c, rule in rules]

    def insert(self, chain: Chain, rule: str, position: int = 1) -> None:
        """Insert a rule into a chain, at a position from 1; 0 means the end."""
        table, name = chain
        where = f"-I {name} {position}" if position else f"-A {name}"
        self._add.append((table, f"{where} {rule}"))

    def delete(self, chain: Chain, rule: str) -> None:
        """Delete one rule of a chain."""
        table, name = chain
        self._remove.append((table, f"-D {name} {rule}"))

    def delete_first(self, chain: Chain, rule: str) -> None:
        """Delete one rule of a chain before any rule is added."""
        table, name = chain
        self._add.append((table, f"-D {name} {rule}"))

    def drop(self, chains: list[Chain]) -> None:
        """Delete chains that no rule leads to any more."""
        self._remove += [(table, f"-F {name}") for table, name in chains]
        self._remove += [(table, f"-X {name}") for table, name in chains]

    def _adjust(self, chain: Chain, old: list[str], new: list[str]) -> None:
        before, after = set(old), set(new)
        for rule in old:
            if rule not in after:
                self.delete(chain, rule)
        for rule in reversed(new):
            if rule not in before:
                self.insert(chain, rule, 0 if " -j DNAT " in rule else 1)

    def text(self) -> str:
        """The whole script."""
        come, go = self._declare + self._add, self._remove
        parts = [(come, one) for one in (RAW, MANGLE, FILTER)] + [(come + go, NAT)]
        parts += [(go, one) for one in (FILTER, MANGLE, RAW)]
        found: list[str] = []
        for lines, table in parts:
            some = [line for where, line in lines if where == table]
            found += [f"*{table}", *some, "COMMIT"] if some else []
        return "".join(f"{line}\n" for line in found)
