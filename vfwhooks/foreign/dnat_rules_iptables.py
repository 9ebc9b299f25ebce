"""The parser for the table nat from iptables-save, into rules of dnat_rules. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..firewall.iptables_script import NAT, parse_save
from ..values.protocols import BY_NUMBER, PROTOCOLS
from ..values.published import parse_subnet
from .dnat_rules import DNAT, JUMP, MAYBE, STOP, Chains, Match, Rule, Span, outside

PREROUTING = "PREROUTING"
_OURS = "VFW-"
_STOPS = {"ACCEPT", "RETURN", "DROP", "QUEUE", "NFQUEUE", "REJECT"}
_DNATS = {"DNAT", "REDIRECT", "NETMAP"}
_HARMLESS = {
    *("MARK", "CONNMARK", "LOG", "NFLOG", "TRACE", "CT", "SNAT", "MASQUERADE"),
    *("DSCP", "TOS", "CLASSIFY", "ULOG", "SET", "AUDIT", "SECMARK", "CONNSECMARK"),
}
_MODULES = {
    *(*PROTOCOLS, "comment", "addrtype", "multiport", "conntrack", "state"),
}


def parse_nat(text: str, family: str) -> dict[str, list[Rule]]:
    """The chains of the table nat with their rules; `family` is 4 or 6."""
    saved = {n: rules for (t, n), rules in parse_save(text).items() if t == NAT}
    return {
        name: []
        if name.startswith(_OURS)
        else [rule for _, line in rules for rule in _rules(line, family, set(saved))]
        for name, rules in saved.items()
    }


def place_of_ours(chains: Chains) -> int:
    """The number of our own jump; if there is none yet, the number of rules, since our
    jump comes last."""
    rules = chains.get(PREROUTING, ())
    places = [n for n, rule in enumerate(rules) if rule.target.startswith(_OURS)]
    return places[0] if places else len(rules)


def owner_of(path: Sequence[str], tool: str) -> str:
    """The owner of a rule, by the chains on the way to it."""
    chain = f"{tool} nat {path[-1]}"
    if "DOCKER" in path:
        return f"Docker ({chain})"
    if any(name.startswith("CNI-HOSTPORT-") for name in path):
        return f"CNI hostport ({chain})"
    return chain


def _rules(line: str, family: str, chains: set[str]) -> list[Rule]:
    """The rules for one line: one, or two (jump and stop) for a goto."""
    try:
        words = shlex.split(line)
    except ValueError:
        return [Rule(Match(families=family, is_unknown=True), MAYBE)]
    match, target, is_goto = _match(words, family)
    if match is None:
        return [Rule(Match(families=family, is_unknown=True), "")]
    if target in chains:
        jump = Rule(match, JUMP, target)
        return [jump, Rule(match, STOP)] if is_goto else [jump]
    if target in _DNATS:
        return [Rule(match, DNAT, target)]
    if target in _STOPS:
        return [Rule(match, STOP)]
    known = target == "" or target in _HARMLESS
    return [Rule(match, "" if known else MAYBE)]


def _match(words: list[str], family: str) -> tuple[Match | None, str, bool]:
    """A rule's match (None: no packet for this host), its target, and whether the
    target is a goto."""
    match: Match | None = Match(families=family)
    rest, is_not = iter(words), False
    for word in rest:
        if word == "!":
            is_not = True
            continue
        if word in ("-j", "-g", "--jump", "--goto"):
            return match, next(rest, ""), word in ("-g", "--goto")
        value = next(rest, "") if word.startswith("-") else ""
        if value == "!":  # the position of "!" before 1.4
            is_not, value = True, next(rest, "")
        if value and match:
            more = _one(word, value, is_not)
            match = match.also(more) if more else None
        elif match:
            match = replace(match, is_unknown=True)
        is_not = False
    return match, "", False


def _one(word: str, value: str, is_not: bool) -> Match | None:
    """The match of one option; None if it excludes every packet for this host."""
    if word in _OPTIONS:
        return _OPTIONS[word](value, is_not)
    is_known = word == "--comment" or (word == "-m" and value in _MODULES)
    return Match(is_unknown=not is_known)


def _to_host(value: str, is_not: bool) -> Match:
    try:
        return Match(hosts=((is_not, parse_subnet(value)),))
    except ValueError:  # a mask with holes
        return Match(is_unknown=True)


def _from_host(value: str, is_not: bool) -> Match:
    return Match(limits=(f"{'not from' if is_not else 'from'} {value}",))


def _by_interface(value: str, is_not: bool) -> Match:
    return Match() if is_not else Match(limits=(f"on {value}",))


def _by_protocol(value: str, is_not: bool) -> Match | None:
    name = BY_NUMBER.get(value, value)
    some = tuple(one for one in PROTOCOLS if (one == name) != is_not)
    return Match() if name == "all" else Match(protocols=some) if some else None


def _to_ports(value: str, is_not: bool) -> Match:
    spans = _spans(value)
    if spans is None:
        return Match(is_unknown=True)
    return Match(ports=outside(spans) if is_not else spans)


def _from_ports(value: str, is_not: bool) -> Match:
    return Match(limits=(f"from port {value}",))


def _to_type(value: str, is_not: bool) -> Match | None:
    return Match() if (value == "LOCAL") != is_not else None


def _by_state(value: str, is_not: bool) -> Match | None:
    return Match() if ("NEW" in value.split(",")) != is_not else None


def _spans(text: str) -> tuple[Span, ...] | None:
    found = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        if not (first or "0").isdigit() or not (last or "0").isdigit():
            return None
        low = int(first or 0)
        found.append((low, int(last or 65535) if colon else low))
    return tuple(sorted(found))


_OPTIONS: dict[str, Callable[[str, bool], Match | None]] = {
    "-d": _to_host,
    "-s": _from_host,
    "-i": _by_interface,
    "-p": _by_protocol,
    **dict.fromkeys(
        ("--dport", "--dports", "--destination-port", "--destination-ports"), _to_ports
    ),
    **dict.fromkeys(
        ("--sport", "--sports", "--source-port", "--source-ports"), _from_ports
    ),
    "--dst-type": _to_type,
    **dict.fromkeys(("--ctstate", "--state"), _by_state),
}
