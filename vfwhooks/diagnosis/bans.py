"""Programs that ban addresses, and whether their bans reach forwarded packets.

A ban in the input hook does not: forwarded packets never pass there. Chain and set
names identify the programs; nothing else of their rules is read, and nothing is
changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from ..firewall.iptables_tools import COMMANDS
from ..host.run import Run, find
from ..values.findings import WRONG, Finding, by_hand

_PRODUCTS = {"fail2ban": re.compile(r"\bf2b-"), "CrowdSec": re.compile("(?i)crowdsec")}
_INPUT = {"INPUT", "input"}
# Forwarded packets meet a ban in these chains; FORWARD jumps to DOCKER-USER.
_FORWARD = {"FORWARD", "DOCKER-USER", "PREROUTING", "forward", "prerouting", "ingress"}
_CURES = {
    "fail2ban": "give its jails a second action in the forward hook",
    "CrowdSec": "have its bouncer use the forward hook as well",
}


def check_bans(run: Run) -> Iterator[Finding]:
    """The programs whose bans are in the input hook only."""
    places = [*_nft_hooks(run), *_iptables_chains(run)]
    for product, known in _PRODUCTS.items():
        hooks = {hook for name, hook in places if known.search(name)}
        if hooks & _INPUT and not hooks & _FORWARD:
            what = f"{product} bans in the input hook alone"
            what += ": who is banned still reaches guests"
            seen = (
                f"chains and sets called {known.pattern} in {', '.join(sorted(hooks))}"
            )
            cure = by_hand(f"{_CURES[product]}, see docs/recipes.md")
            yield Finding(WRONG, "bans-miss-guests", product, what, cure, seen)


def _nft_hooks(run: Run) -> Iterator[tuple[str, str]]:
    """Table and chain of every base chain, and its hook."""
    if find("nft"):
        yield from parse_chains(run(["nft", "-j", "list", "chains"]))


def parse_chains(text: str) -> Iterator[tuple[str, str]]:
    """Table and chain of every base chain, and its hook, from `nft -j list chains`."""
    for item in json.loads(text)["nftables"]:
        chain = item.get("chain", {})
        if "hook" in chain:
            yield f"{chain['table']} {chain['name']}", chain["hook"]


def _iptables_chains(run: Run) -> Iterator[tuple[str, str]]:
    """Every rule of iptables, and its chain."""
    for command in COMMANDS.values():
        if find(f"{command}-save"):
            yield from parse_rules(run([f"{command}-save"]).splitlines())


def parse_rules(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every rule and its chain, from iptables-save."""
    for line in lines:
        word, _, rest = line.partition(" ")
        chain, _, rule = rest.partition(" ")
        if word == "-A":
            yield rule, chain
