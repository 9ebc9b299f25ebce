"""Blockers: what else on the host keeps forwarded packets from their guest, and the
cure.

Every base chain on the forward hook must let a packet through, so our rules cannot
overrule a drop elsewhere. Foreign rules are not interpreted here: a chain's policy is
an attribute of the chain, chain names identify programs, and the only rules looked for
are the cures themselves, word by word. What other rules let through, blocked_ways
computes. Nothing is changed, and the hook path does not use this module.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..firewall.iptables_nft import list_chain_names
from ..firewall.iptables_script import FILTER
from ..firewall.iptables_tools import COMMANDS, legacy_tables, own_variant
from ..firewall.nft_names import FAMILIES, LIBVIRT, OWN
from ..firewall.nft_netlink import BaseChain, list_base_chains
from ..host.netlink import Netlink
from ..host.run import Run, find
from ..values.errors import Refused, VfwError
from ..values.findings import WRONG, Finding, in_shell
from ..values.findings import run as command

_TABLES = {"ipt": "ip", "ip6": "ip6"}  # by how the tool's name begins
_NOT_THERE = 1  # the exit status of iptables -C
_DNATED = "-m conntrack --ctstate DNAT -j ACCEPT"
_NATIVE = "ct status dnat accept"
_TO_BRIDGE = 'oifname "{}" accept', 'oif "{}" accept'
_FORWARDING = {"4": "net.ipv4.ip_forward", "6": "net.ipv6.conf.all.forwarding"}
_FIREWALLD = "etc/firewalld/firewalld.conf"


@dataclass(frozen=True)
class Blocker:
    """A blocker of a family's packets, on the way to one bridge or (``''``) to all
    bridges: the finding has the command that removes it. `chain` is the base chain that
    drops, if it is one: nft or legacy, the family, the table, the name."""

    family: str
    finding: Finding
    bridge: str = ""
    chain: str = ""

    def is_ahead_of(self, address: str, bridges: Collection[str]) -> bool:
        """Whether it is on the way to a guest's address behind one of these bridges."""
        is_its = self.family == ("6" if ":" in address else "4")
        return is_its and (not self.bridge or self.bridge in bridges)

    def __str__(self) -> str:
        return self.finding.said


def find_blockers(
    base: dict[str, str],
    bridges: Sequence[str],
    link: Netlink,
    run: Run,
    root: str = "/",
) -> list[Blocker]:
    """All blockers. `base` says where our own accepts are; `bridges` are those of
    guests."""
    found = list(_forwarding_off(root))
    chains = list_base_chains(link)
    if any(chain.table == "firewalld" for chain in chains):
        found += _strict_firewalld(root)
    for chain in chains:
        if chain.drops_forwarded and chain.table not in (OWN, LIBVIRT, "firewalld"):
            found += _dropping(chain, base, bridges, link, run)
    for family in COMMANDS:
        if base.get("variant") != "legacy" and FILTER in legacy_tables(family, root):
            found += _dropping_legacy(family, bridges, run)
    return found


def _forwarding_off(root: str) -> Iterator[Blocker]:
    for family, key in _FORWARDING.items():
        path = Path(root) / "proc/sys" / key.replace(".", "/")
        if path.exists() and path.read_text().strip() == "0":
            what, cure = (
                f"IPv{family} forwarding is off",
                command("sysctl", "-w", f"{key}=1"),
            )
            seen = f"{key} is 0"
            yield Blocker(
                family, Finding(WRONG, "forwarding-off", key, what, cure, seen)
            )


def _strict_firewalld(root: str) -> Iterator[Blocker]:
    """firewalld accepts connections with DNAT, unless StrictForwardPorts forbids it."""
    path = Path(root) / _FIREWALLD
    lines = path.read_text().splitlines() if path.exists() else []
    if any(line.replace(" ", "").lower() == "strictforwardports=yes" for line in lines):
        change = f"sed -i s/^StrictForwardPorts=.*/StrictForwardPorts=no/ /{_FIREWALLD}"
        what = "firewalld rejects forwarded packets (StrictForwardPorts=yes)"
        cure = in_shell(f"{change} && firewall-cmd --reload")
        seen = f"/{_FIREWALLD} has StrictForwardPorts=yes"
        found = Finding(WRONG, "firewalld-strict", "firewalld", what, cure, seen)
        chain = "nft inet firewalld filter_FORWARD"
        yield from (Blocker(family, found, chain=chain) for family in COMMANDS)


def _dropping(
    chain: BaseChain,
    base: dict[str, str],
    bridges: Sequence[str],
    link: Netlink,
    run: Run,
) -> Iterator[Blocker]:
    """The blockers from a base chain with policy drop."""
    family = FAMILIES[chain.family]
    if (chain.table, chain.name) == ("filter", "FORWARD") and find("iptables"):
        if base.get("variant") != "nft" or family not in base:
            names = list_chain_names(link, family, "filter")
            yield from _iptables(family, "nft", names, bridges, run)
        return
    where = f"{chain.family} {chain.table} {chain.name}"
    rules = _rules(run, where)
    if _NATIVE in rules:
        return
    open_ones = [b for b in bridges if any(w.format(b) in rules for w in _TO_BRIDGE)]
    what = f"chain {where} drops what it does not accept"
    words = f"nft insert rule {where} {_NATIVE}".split(" ")
    cure, seen = command(*words), "its policy is drop"
    found = Finding(WRONG, "chain-drops", where, what, cure, seen)
    for one in family:
        for bridge in _shut(bridges, open_ones):
            yield Blocker(one, found, bridge, f"nft {where}")


def _shut(bridges: Sequence[str], open_ones: Sequence[str]) -> Sequence[str]:
    """The bridges that packets cannot reach; '' for all bridges."""
    return [one for one in bridges if one not in open_ones] if open_ones else [""]


def _bare(rule: str) -> str:
    """A rule without its counter and its comment."""
    return rule.strip().partition(" comment ")[0].replace(" counter", "")


def _dropping_legacy(
    family: str, bridges: Sequence[str], run: Run
) -> Iterator[Blocker]:
    """The blockers from FORWARD of iptables-legacy, which netlink does not show."""
    save = f"{COMMANDS[family]}-legacy-save"
    if not find(save):
        return
    heads = [
        line for line in run([save, "-t", "filter"]).split("\n") if line[:1] == ":"
    ]
    chains = {head[1:].split(" ")[0]: head.split(" ")[1] for head in heads}
    if chains.get("FORWARD") == "DROP":
        yield from _iptables(family, "legacy", list(chains), bridges, run)


def _iptables(
    family: str, variant: str, chains: list[str], bridges: Sequence[str], run: Run
) -> Iterator[Blocker]:
    """The blockers from a FORWARD that drops; `chains` tell which program made it
    so."""
    is_own = variant == own_variant(run)
    tool = COMMANDS[family] if is_own else f"{COMMANDS[family]}-{variant}"
    ufw = "ufw-user-forward" if family == "4" else "ufw6-user-forward"
    chain = next((one for one in ("DOCKER-USER", ufw) if one in chains), "FORWARD")
    places = {chain, "FORWARD"}
    if _is_there(run, tool, places, _DNATED, _NATIVE):
        return
    accept = "-o {} -j ACCEPT"
    open_ones = [
        b
        for b in bridges
        for native in [_TO_BRIDGE[0].format(b)]
        if _is_there(run, tool, places, accept.format(b), native)
    ]
    place = f"{variant} {_TABLES[tool[:3]]} filter FORWARD"
    who = {ufw: "ufw", "FORWARD": "a policy"}.get(chain, "Docker")
    what = f"{who} drops forwarded packets (chain FORWARD of {tool})"
    seen = f"the policy of FORWARD is DROP ({tool}-save shows it)"
    if chain == ufw:
        for bridge in bridges:
            if bridge not in open_ones:
                cure = command(*f"ufw route allow out on {bridge}".split(" "))
                found = Finding(WRONG, "ufw-drops", bridge, what, cure, seen)
                yield Blocker(family, found, bridge, place)
    else:
        cure = command(*f"{tool} -I {chain} {_DNATED}".split(" "))
        found = Finding(WRONG, "forward-policy-drops", chain, what, cure, seen)
        for bridge in _shut(bridges, open_ones):
            yield Blocker(family, found, bridge, place)


def _is_there(run: Run, tool: str, chains: set[str], rule: str, native: str) -> bool:
    """Whether one of the chains has exactly this rule. Where iptables cannot read the
    chain, since nft has put a rule there, nft is asked for the rule in its words."""
    for chain in chains:
        try:
            run([tool, "-C", chain, *rule.split(" ")])
        except Refused as error:
            if error.status == _NOT_THERE:
                continue
            if native not in _rules(run, f"{_TABLES[tool[:3]]} filter {chain}"):
                continue
        except VfwError:
            continue
        return True
    return False


def _rules(run: Run, where: str) -> list[str]:
    """The rules of a chain as nft lists them."""
    listed = run(["nft", "-s", "list", "chain", *where.split(" ")])
    return [_bare(rule) for rule in listed.split("\n")]
