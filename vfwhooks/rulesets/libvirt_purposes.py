"""Why libvirt writes each of its rules, and what guests lose with it. Pure."""

from __future__ import annotations

from .context import Context
from .ruleset import REFUSING, Chain, Rule, Table

_DNSMASQ = {
    ("input", "53"): (
        "dnsmasq on the host answers the DNS queries of the guests.",
        "The guests resolve no names.",
    ),
    ("input", "67"): (
        "dnsmasq on the host gives the guests their addresses (DHCP).",
        "The guests get no address.",
    ),
    ("input", "69"): (
        "The host serves the boot files of the guests (TFTP).",
        "The guests do not boot by the network.",
    ),
    ("input", "547"): (
        "dnsmasq on the host gives the guests their addresses (DHCPv6).",
        "The guests get no IPv6 address.",
    ),
    ("output", "53"): (
        "The host may ask a guest that serves DNS.",
        "The host resolves no names by a guest.",
    ),
    ("output", "68"): (
        "The DHCP answers of dnsmasq get to the guests.",
        "The guests get no address.",
    ),
    ("output", "546"): (
        "The DHCPv6 answers of dnsmasq get to the guests.",
        "The guests get no IPv6 address.",
    ),
}
_TCP_ALONE = {"67", "68"}


def libvirt_purpose(
    known: Context, table: Table, chain: Chain, rule: Rule
) -> tuple[str, str]:
    """Why, and what is lost."""
    found = {m.field: m.values for m in rule.matches if not m.is_not}
    kind, target, _ = rule.verdict
    if kind in ("jump", "goto"):
        return (
            "libvirt keeps its rules in chains of its own.",
            f"All that the chain {target} does is lost with the rule.",
        )
    if target.startswith("CHECKSUM") or "CHECKSUM" in target:
        return (
            "Old DHCP clients refuse an answer whose checksum is not filled in.",
            "Guests with an old DHCP client get no address.",
        )
    hooks = known.hooks_of(table, chain)
    ports = found.get("dport", ())
    for hook in ("input", "output"):
        if hook in hooks and ports and (hook, ports[0]) in _DNSMASQ:
            if ports[0] in _TCP_ALONE and found.get("proto") == ("tcp",):
                return (
                    "libvirt writes the rule for TCP beside the one for UDP.",
                    "Nothing: DHCP uses UDP alone.",
                )
            return _DNSMASQ[hook, ports[0]]
    if "postrouting" in hooks:
        return _leaving(found, kind)
    return _forwarded(chain, found, kind)


def _leaving(found: dict[str, tuple[str, ...]], kind: str) -> tuple[str, str]:
    subnet = found.get("saddr", ("the subnet",))[0]
    if kind == "masquerade":
        return (
            f"Computers outside have no route to {subnet}. The host's address is one "
            "that they can answer.",
            "The guests get no answer from outside.",
        )
    if found.get("daddr", ("",))[0] in ("255.255.255.255",):
        return (
            "A broadcast stays on its network and needs no other source.",
            "Broadcasts of the guests get the host's address as their source.",
        )
    return (
        "Multicast of the guests keeps the address of the guest.",
        "Multicast of the guests gets the host's address as its source.",
    )


def _forwarded(
    chain: Chain, found: dict[str, tuple[str, ...]], kind: str
) -> tuple[str, str]:
    subnet = (found.get("saddr") or found.get("daddr") or ("its addresses",))[0]
    incoming, outgoing = found.get("in"), found.get("out")
    if kind in REFUSING and outgoing:
        return (
            "libvirt closes the network to new connections from outside. A port "
            "forward needs an accept rule ahead of this rule.",
            "Every computer that sends packets for the network to this host reaches "
            "the guests.",
        )
    if kind in REFUSING:
        return (
            "A guest may send only with an address of its network.",
            "A guest with an address of another network gets its packets out.",
        )
    if incoming and incoming == outgoing:
        return _between_guests(chain, incoming)
    if outgoing and "state" in found:
        return (
            "Answers to the connections of the guests come back to them.",
            "The guests get no answer from outside.",
        )
    if outgoing:
        return (
            f"The network is routed: {subnet} is open to connections from outside.",
            "The guests are not reached from outside.",
        )
    return (
        "The guests may send packets to the outside.",
        "The guests reach nothing outside, and do not answer anybody outside.",
    )


def _between_guests(chain: Chain, bridge: tuple[str, ...]) -> tuple[str, str]:
    why = "Guests of the network may talk to each other through the host."
    for one in chain.rules:
        fields = {m.field: m.values for m in one.matches}
        if set(fields) == {"in", "saddr"} and fields["in"] == bridge:
            source = fields["saddr"][0]
            return why, (
                f"Little: {one.place} accepts the packets from {source}. Packets "
                "from another address do not pass between guests."
            )
    return why, "The guests do not reach each other through the host."
