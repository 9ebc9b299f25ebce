"""Who made a rule: by the names of chains and tables, by comments of ours, by the forms
that libvirt has always written. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from .context import Context
from .ruleset import Chain, Rule, Table

LIBVIRT, OURS, XEN = "libvirt", "vfwhooks", "Xen's vif script"
DEFAULT = "the distribution's default ruleset (Fedora, RHEL)"
HAND = "somebody by hand, or a script without a mark"
_BY_CHAIN = (
    ("DOCKER", "Docker"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
    ("f2b-", "fail2ban"),
    ("fail2ban-", "fail2ban"),
    ("CNI-", "CNI (Podman, Kubernetes)"),
    ("NETAVARK", "Podman (netavark)"),
    ("KUBE-", "Kubernetes"),
    ("ts-", "Tailscale"),
    ("FWDI_", "firewalld"),
    ("FWDO_", "firewalld"),
    ("IN_", "firewalld"),
    ("RH-Firewall-", DEFAULT),
)
_FIREWALLD = ("_direct", "_ZONES", "_ZONES_SOURCE", "_POLICIES_pre", "_POLICIES_post")
_BY_TABLE = {
    "libvirt_network": LIBVIRT,
    "vfwhooks": OURS,
    "firewalld": "firewalld",
    "f2b-table": "fail2ban",
    "docker-bridges": "Docker",
    "netavark": "Podman (netavark)",
    "cni_hostport": "CNI (Podman, Kubernetes)",
    "kube-proxy": "Kubernetes",
}
_DOCKER_BRIDGE = re.compile(r"docker\d+|br-[0-9a-f]{12}|docker_gwbridge")
_VIF = re.compile(r"vif(\d+)\.\d+(?:-emu)?|tap(\d+)\.\d+")
_OUR_CHAIN = re.compile(r"VFW-[ABCR]-(?=.{22}$)")
_PLAIN = {"in", "out", "saddr", "daddr", "state"}
_DNSMASQ = {"53", "67", "68", "69", "546", "547"}


class Maker(NamedTuple):
    """A program, and for whom it made the rule ('' where it is for nobody alone)."""

    program: str
    whom: str = ""

    def __str__(self) -> str:
        return f"{self.program}, for {self.whom}" if self.whom else self.program


_HAND = Maker(HAND)


def find_maker(known: Context, table: Table, chain: Chain, rule: Rule) -> Maker:
    """Who made the rule."""
    target = rule.verdict.target if rule.verdict.kind in ("jump", "goto") else ""
    if _is_ours(table, chain, target):
        return Maker(OURS, _owner(known, chain, rule, target))
    if table.name == "libvirt_network" or "LIBVIRT_" in (chain.name[:8], target[:8]):
        return Maker(LIBVIRT, _network(known, rule) or "all of its networks")
    program = _BY_TABLE.get(table.name, "") if table.tool == "nft" else ""
    program = program or _by_name(chain.name) or _by_name(target)
    if program:
        return Maker(program)
    devices = rule.values("physin") + rule.values("physout")
    for device in devices:
        found = _VIF.fullmatch(device)
        if found:
            number = found.group(1) or found.group(2)
            return Maker(XEN, f"the interface {device} of domain {number}")
    if _is_plain_libvirt(known, chain, rule):
        return Maker(LIBVIRT, _network(known, rule))
    bridges = rule.values("in") + rule.values("out")
    if any(_DOCKER_BRIDGE.fullmatch(one) for one in bridges):
        return Maker("Docker")
    if _is_default(known, table, chain, rule):
        return Maker(DEFAULT)
    return _HAND


def _is_ours(table: Table, chain: Chain, target: str) -> bool:
    if table.tool == "nft" and table.name == "vfwhooks":
        return True
    is_corner = table.name == "libvirt_network" and "vfwhooks" in (chain.name, target)
    return is_corner or "VFW-" in (chain.name[:4], target[:4])


def _owner(known: Context, chain: Chain, rule: Rule, target: str) -> str:
    """The guest, or the network, that a rule of ours is for."""
    owner = rule.comment
    for name in (target, chain.name):
        if not owner and _OUR_CHAIN.match(name):
            owner = known.owners.get(name, "")
    return known.owner(owner) or "all of its guests"


def _network(known: Context, rule: Rule) -> str:
    """The network of libvirt's that a rule names by its bridge or its subnet."""
    for field in ("in", "out"):
        for device in rule.values(field):
            return known.network(device)
    for field in ("saddr", "daddr"):
        for match in rule.matches:
            if match.field == field and match.values[0] in known.bridges:
                return known.network(known.bridges[match.values[0]])
    return ""


def _by_name(name: str) -> str:
    for head, program in _BY_CHAIN:
        if name.startswith(head):
            return program
    return "firewalld" if name.endswith(_FIREWALLD) else ""


def _is_plain_libvirt(known: Context, chain: Chain, rule: Rule) -> bool:
    """Whether it is of a form that libvirt wrote into base chains before 5.1."""
    fields = {match.field for match in rule.matches}
    devices = rule.values("in") + rule.values("out")
    is_bridge = bool(devices) and all(known.is_libvirts(one) for one in devices)
    kind = rule.verdict.kind
    if chain.hook == "postrouting":
        sources = rule.values("saddr")
        is_subnet = bool(sources) and sources[0] in known.bridges
        is_checksum = is_bridge and rule.verdict.target.startswith("CHECKSUM")
        return is_checksum or (is_subnet and kind in ("masquerade", "return"))
    if chain.hook in ("input", "output") and kind == "accept":
        return is_bridge and bool(set(rule.values("dport")) & _DNSMASQ)
    if chain.hook == "forward" and kind in ("accept", "reject"):
        return is_bridge and fields <= _PLAIN
    return False


def _is_default(known: Context, table: Table, chain: Chain, rule: Rule) -> bool:
    """Whether it is of the ruleset that Fedora and RHEL came with: it ends in a REJECT
    with icmp-host-prohibited."""
    if (id(table), chain.name) not in known.defaults:
        return False
    if rule.verdict.kind == "reject":
        return rule.verdict.target == "host-prohibited" and not rule.matches
    found = {match.field: match.values for match in rule.matches}
    known_forms: tuple[dict[str, tuple[str, ...]], ...] = (
        {"proto": ("icmp",)},
        {"proto": ("icmpv6",)},
        {"in": ("lo",)},
        {"state": ("new",), "proto": ("tcp",), "dport": ("22",)},
    )
    is_known = set(found.get("state", ())) == {"related", "established"}
    is_known = (is_known and len(found) == 1) or found in known_forms
    return rule.verdict.kind == "accept" and is_known
