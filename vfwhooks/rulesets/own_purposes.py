"""Why vfwhooks writes each of its rules, and what is lost with it. Pure."""

from __future__ import annotations

from .ruleset import Chain, Rule, Table

_REACHED = "The published ports no longer lead to the guests."
_LET_IN = "libvirt refuses what was forwarded to the guests."
_ITS_SOURCE = "The guest sees another source address, or its answers get lost."
_CLOSED = "A connection to a port that is not open gets to the host itself."
# By the chain: of nftables, and of iptables.
_CHAINS = {
    "raw": (
        "Nobody but the host itself may send to its loopback addresses.",
        "A neighbour of a guest could reach what the host serves on loopback.",
    ),
    "prerouting": ("Connections to published ports lead to the guests.", _REACHED),
    "output": (
        "Connections of the host itself to published ports lead to the guests.",
        "The host itself does not reach its published ports.",
    ),
    "publish": ("Each published port leads to its guest.", _REACHED),
    "postrouting": (
        "The guest sees the client's own address where its answers come back by the "
        "host, and the host's address where they would not.",
        _ITS_SOURCE,
    ),
    "input": ("What is published but not open is refused, as asked for.", _CLOSED),
    "refuse": ("What is published but not open is refused, as asked for.", _CLOSED),
    "allow": (
        "allow_from says who may connect.",
        "The port is open to other sources than allow_from says.",
    ),
    "back": (
        "return_path: answers leave by the uplink that the connection came in by.",
        "Answers leave by the default route, and the client does not know them.",
    ),
    "vfwhooks": (
        "What was forwarded to a guest passes ahead of libvirt's REJECT.",
        _LET_IN,
    ),
}
_OF_IPTABLES = {
    f"VFW-{name}": part
    for part, names in {
        "prerouting": "PREROUTING",
        "postrouting": "POSTROUTING INSIDE OUT SNAT",
        "input": "INPUT",
        "refuse": "REJECT R",
        "allow": "S",
        "back": "BACK",
        "raw": "GUARD",
        "vfwhooks": "FORWARD",
    }.items()
    for name in names.split()
}  # all others publish
_HEADS = ("publish", "refuse", "allow", "back")


def own_purpose(table: Table, chain: Chain, rule: Rule) -> tuple[str, str]:
    """Why, and what is lost."""
    kind, target, key = rule.verdict
    if kind == "return" and _is_for_bridge(rule):
        return (
            "Services of the host for the guests (DNS, DHCP) stay the host's, whatever "
            "is published.",
            "Where such a port is published, the guests lose the host's service.",
        )
    if kind == "dnat" and not key:
        to = target.lstrip(":")
        return (
            "A published port leads to its guest.",
            f"The port does not lead to {to}.",
        )
    target = target if kind in ("jump", "goto") else ""
    for name in (chain.name, target):
        part = _part(name)
        if part in _CHAINS and (table.name != "libvirt_network" or part == "vfwhooks"):
            return _CHAINS[part]
    return _CHAINS["publish"]


def _is_for_bridge(rule: Rule) -> bool:
    """Whether it spares an address of the host on a bridge."""
    is_spared = any(value[:5] == "@left" for m in rule.matches for value in m.values)
    return is_spared or bool(rule.comment)


def _part(name: str) -> str:
    if name.startswith("VFW-"):
        head = "-".join(name.split("-")[:2])
        return _OF_IPTABLES.get(head, "publish")
    return next((head for head in _HEADS if name.startswith(head)), name)
