"""The way of a packet through a ruleset, computed: which rule of each hook decides.

A condition that nobody can tell ends the way with "depends on". Nothing is guessed.
Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NoReturn

from .packet import Packet, look_up, meets
from .ruleset import Chain, Rule, Ruleset, Table

Skip = Callable[[Table, Chain, Rule], bool]
_DEEPEST = 16  # chains within chains: the kernel has the same bound
_GOING_ON = {"", "log", "mark"}
_SOURCE = {"snat", "masquerade"}
_HARMLESS = (
    *("CHECKSUM", "CT ", "TCPMSS", "TTL", "SET ", "CLASSIFY", "DSCP", "TOS"),
    *("add @", "update @", "delete @"),
)
_INLINE = re.compile(r"[{,]\s*([^:{},]+?) : ([^,{}]+?)\s*(?=[,}])")


@dataclass(frozen=True)
class Step:
    """A rule that a packet met; None for the policy of the chain. What it did."""

    hook: str
    table: Table
    chain: Chain
    rule: Rule | None
    did: str

    def __str__(self) -> str:
        where = f"{self.table}, chain {self.chain.name}"
        if self.rule is None:
            return f"the policy of {where}"
        return f"{self.rule.place} of {where}: {self.rule.text}"


@dataclass
class Traversal:
    """Where a packet got to: `end` is accept, drop, reject or depends. `steps` are what
    decided in each base chain, `path` has the jumps to there as well."""

    packet: Packet
    end: str = "accept"
    depends: str = ""
    steps: list[Step] = field(default_factory=list)
    path: list[Step] = field(default_factory=list)


class _Ended(Exception):
    """Nobody can tell how it goes on."""


@dataclass(frozen=True)
class Host:
    """What is known of the host: its own addresses, and the interface towards an
    address ('' where nobody can tell)."""

    is_local: Callable[[str], bool]
    device: Callable[[str], str]


def walk(ruleset: Ruleset, packet: Packet, host: Host) -> Traversal:
    """The whole way of a packet that comes in from outside."""
    packet = replace(packet, is_local=host.is_local(packet.destination))
    way = pass_hook(ruleset, "prerouting", packet)
    if way.end != "accept":
        return way
    packet, steps, path = way.packet, way.steps, way.path
    is_local = packet.is_local
    if packet.destination:
        is_local = host.is_local(packet.destination)
    if not is_local:
        packet = replace(packet, outgoing=host.device(packet.destination))
    packet = replace(packet, is_local=is_local)
    for hook in ["input"] if is_local else ["forward", "postrouting"]:
        way = pass_hook(ruleset, hook, packet)
        steps, path = steps + way.steps, path + way.path
        if way.end != "accept":
            break
    return Traversal(way.packet, way.end, way.depends, steps, path)


def pass_hook(
    ruleset: Ruleset, hook: str, packet: Packet, skip: Skip | None = None
) -> Traversal:
    """The way through one hook; `skip` says which rules are not there."""
    walker = _Walker(hook, packet, skip)
    is_translated = False
    for table, chain in ruleset.base_chains(hook, (packet.family, "inet")):
        if chain.kind == "nat" and is_translated:
            continue
        try:
            end = walker.base(table, chain)
        except _Ended:
            return walker.result("depends")
        is_translated = is_translated or end in ("dnat", "snat")
        if end in ("drop", "reject"):
            return walker.result(end)
    return walker.result("accept")


class _Walker:
    def __init__(self, hook: str, packet: Packet, skip: Skip | None) -> None:
        self._hook = hook
        self._packet = packet
        self._skip = skip
        self._steps: list[Step] = []
        self._path: list[Step] = []
        self._depends = ""

    def result(self, end: str) -> Traversal:
        """What was found."""
        return Traversal(self._packet, end, self._depends, self._steps, self._path)

    def base(self, table: Table, chain: Chain) -> str:
        """The verdict of a base chain."""
        end = self._chain(table, chain, 0)
        if end in ("", "return"):
            end = chain.policy or "accept"
            if end != "accept":
                self._note(table, chain, None, end)
        return end

    def _chain(self, table: Table, chain: Chain, depth: int) -> str:
        """'' where no rule has decided."""
        if depth > _DEEPEST:
            self._stop(table, chain, None, "chains that lead to each other")
        for rule in chain.rules:
            if self._skip and self._skip(table, chain, rule):
                continue
            if _goes_on(rule):
                continue
            is_met, condition = meets(self._packet, rule, table)
            if is_met is False:
                continue
            if is_met is None and rule.verdict.kind in _SOURCE:
                continue  # whoever it is from then, it gets there
            if is_met is None and _is_idle(table, chain, rule):
                continue
            if is_met is None:
                self._stop(table, chain, rule, condition)
            end = self._judge(table, chain, rule, depth)
            if end:
                return end
        return ""

    def _judge(self, table: Table, chain: Chain, rule: Rule, depth: int) -> str:
        kind, target, key = rule.verdict
        if kind == "vmap":
            return self._vmap(table, chain, rule, depth)
        if kind in ("dnat", "redirect"):
            return self._translate(table, chain, rule)
        if kind in _SOURCE:
            if key and not look_up(self._packet, key, target, table):
                return ""
            self._note(table, chain, rule, "snat")
            return "snat"
        if kind in ("jump", "goto"):
            return self._go(table, chain, rule, f"{kind} {target}", depth)
        if kind == "other":
            self._stop(table, chain, rule, target)
        if kind == "queue":
            self._stop(table, chain, rule, "a program (queue)")
        if kind != "return":
            self._note(table, chain, rule, kind)
        return kind

    def _go(
        self, table: Table, chain: Chain, rule: Rule, verdict: str, depth: int
    ) -> str:
        """Carry out a verdict that may lead to a chain."""
        kind, _, target = verdict.partition(" ")
        if kind not in ("jump", "goto"):
            if kind in ("continue", ""):
                return ""
            self._note(table, chain, rule, kind)
            return kind
        if target not in table.chains:
            self._stop(table, chain, rule, f"the chain {target}, which is not there")
        did = f"goes to the chain {target}"
        self._path.append(Step(self._hook, table, chain, rule, did))
        end = self._chain(table, table.chains[target], depth + 1)
        if kind == "goto":
            return end or "return"
        return "" if end == "return" else end

    def _vmap(self, table: Table, chain: Chain, rule: Rule, depth: int) -> str:
        _, name, key = rule.verdict
        elements = look_up(self._packet, key, name, table) if key else None
        if elements is None:
            self._stop(table, chain, rule, rule.text)
        for element in elements or ():
            return self._go(table, chain, rule, element.data, depth)
        return ""

    def _translate(self, table: Table, chain: Chain, rule: Rule) -> str:
        kind, target, key = rule.verdict
        if key:
            elements = look_up(self._packet, key, target, table)
            if elements is None:
                self._stop(table, chain, rule, rule.text)
            if not elements:
                return ""
            address, _, port = elements[0].data.partition(" . ")
        elif kind == "redirect":
            address, port = self._packet.destination, target.lstrip(":")
        else:
            address, port = _target(target)
        first, _, last = port.partition("-")
        keeps = not first or (last and int(first) <= self._packet.port <= int(last))
        if not re.fullmatch(r"[0-9a-f.:]*", address) or not (first or "0").isdigit():
            self._stop(table, chain, rule, rule.text)
        self._packet = replace(
            self._packet,
            destination=address or self._packet.destination,
            port=self._packet.port if keeps else int(first),
            states=(*self._packet.states, "dnat"),
        )
        self._note(table, chain, rule, "dnat")
        return "dnat"

    def _note(self, table: Table, chain: Chain, rule: Rule | None, did: str) -> None:
        self._steps.append(Step(self._hook, table, chain, rule, did))
        self._path.append(self._steps[-1])

    def _stop(
        self, table: Table, chain: Chain, rule: Rule | None, what: str
    ) -> NoReturn:
        self._note(table, chain, rule, "depends")
        self._depends = what
        raise _Ended


def _goes_on(rule: Rule) -> bool:
    """Whether it leaves the packet as it is, and the next rule is met."""
    kind, target, _ = rule.verdict
    return kind in _GOING_ON or (kind == "other" and target.startswith(_HARMLESS))


def _is_idle(table: Table, chain: Chain, rule: Rule) -> bool:
    """Whether a rule leads only to chains that decide nothing, and back here."""
    kind, target, _ = rule.verdict
    led = dict(_INLINE.findall(target)).values() if kind == "vmap" else ()
    verdicts = [one.partition(" ") for one in led] or [(kind, " ", target)]
    comes_back = {"jump", "goto"} if rule is chain.rules[-1] else {"jump"}
    return all(
        how in comes_back
        and name in table.chains
        and all(map(_goes_on, table.chains[name].rules))
        for how, _, name in verdicts
    )


def _target(text: str) -> tuple[str, str]:
    """The address and the port that a destination is written with."""
    if text[:1] == "[":
        address, _, port = text[1:].partition("]")
        return address, port.lstrip(":")
    if text.count(":") > 1:
        return text, ""
    address, _, port = text.partition(":")
    return address, port
