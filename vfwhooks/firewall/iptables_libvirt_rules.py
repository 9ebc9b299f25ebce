"""Recognises libvirt's rules in iptables' base chains: ours must stand above them.
Pure.

Since 5.1 libvirt jumps to chains of its own. Before, it wrote a few fixed forms into
the base chains, always with the bridge and the subnet of a network.
"""

from __future__ import annotations

from ..values.guests import Network
from ..values.published import Subnet
from .iptables_script import Chain

_BACK = (
    "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    "-m state --state RELATED,ESTABLISHED -j ACCEPT",
    "-j ACCEPT",
)


def is_libvirts(chain: Chain, rule: str, networks: list[Network]) -> bool:
    """Whether libvirt wrote the rule (as iptables-save prints it) for a network."""
    if _target(rule).startswith("LIBVIRT_"):
        return True
    if chain[1] == "POSTROUTING":
        return any(_masquerades(rule, s) for n in networks for _, s in n.subnets)
    return chain[1] == "FORWARD" and any(_forwards(rule, n) for n in networks)


def _target(rule: str) -> str:
    """The target of a rule. A comment may hold any text, but stands ahead of the
    target, and in quotes if it has a blank."""
    return rule.rpartition('"')[2].rpartition("-j ")[2].partition(" ")[0]


def _masquerades(rule: str, subnet: Subnet) -> bool:
    outside = f"-s {subnet} ! -d {subnet} "
    return rule.startswith(outside) and " -j MASQUERADE" in rule


def _forwards(rule: str, network: Network) -> bool:
    bridge = network.bridge
    if rule.startswith((f"-o {bridge} -j REJECT", f"-i {bridge} -j REJECT")):
        return True
    if rule == f"-i {bridge} -o {bridge} -j ACCEPT":
        return True
    for _, subnet in network.subnets:
        if rule == f"-s {subnet} -i {bridge} -j ACCEPT":
            return True
        if rule in [f"-d {subnet} -o {bridge} {back}" for back in _BACK]:
            return True
    return False
