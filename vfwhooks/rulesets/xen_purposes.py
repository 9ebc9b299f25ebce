"""What the rule of Xen's vif script does for a guest behind a network of libvirt's:
thought through packet by packet, from the rules ahead of it. Pure.

The rule matches packets that come in by the guest's bridge port. Such a packet has the
bridge as its incoming interface, so rules about the bridge match it, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from .ruleset import REFUSING, Chain, Rule


def xen_notes(chain: Chain, at: int) -> Iterator[str]:
    """What has to be known of the rule at this place, where a REJECT stands ahead."""
    rule = chain.rules[at]
    device = _value(rule, "physin")
    ahead = chain.rules[:at]
    for bridge in sorted({_value(one, "out") for one in ahead if _is_closing(one)}):
        closing = _first(ahead, None, bridge)
        keeping = _first(ahead, bridge, None)
        if not device or not closing:
            continue
        places = " and ".join(one.place for one in (closing, keeping) if one)
        yield f"The rule stands behind the REJECT of {places}."
        if keeping:
            yield f"If {device} is a port of {bridge}, no packet gets to the rule:"
            yield from _from_guest(ahead, bridge, keeping)
        else:
            yield f"If {device} is a port of {bridge}:"
        yield (
            f"- A new connection from outside to the guest leaves by {bridge}. "
            f"{_upper(closing.place)} rejects it: nobody outside reaches the guest. "
            f"The rule would not help ahead of {closing.place} either, because it "
            "matches packets from the guest and not packets to the guest."
        )
        yield from _answers(ahead, bridge)
        yield (
            f"If {device} is a port of another bridge, {places} "
            f"{'do' if keeping else 'does'} not stop its packets, except those for "
            f"guests on {bridge}. The other packets get to the rule, if the bridge "
            "shows them to netfilter (bridge-nf-call-iptables)."
        )
        if chain.policy == "accept":
            yield (
                f"The policy of {chain.name} is ACCEPT: without the rule the same "
                "packets get through."
            )


def _from_guest(ahead: list[Rule], bridge: str, keeping: Rule) -> Iterator[str]:
    """What becomes of what the guest sends, rule by rule."""
    for one in ahead:
        if one is keeping:
            break
        if one.verdict.kind != "accept" or _value(one, "in") != bridge:
            continue
        source, out = _value(one, "saddr"), _value(one, "out")
        if source and not out:
            yield f"- {_upper(one.place)} accepts the guest's packets from {source}."
        elif out == bridge:
            yield f"- {_upper(one.place)} accepts its packets to guests on {bridge}."
    yield f"- {_upper(keeping.place)} rejects all other packets that it sends through."


def _answers(ahead: list[Rule], bridge: str) -> Iterator[str]:
    for one in ahead:
        is_out = _value(one, "in") == bridge and not _value(one, "out")
        if one.verdict.kind == "accept" and is_out and _value(one, "saddr"):
            yield (
                f"- The answers of the guest pass by {one.place}: a connection that "
                "another rule lets in works without this rule."
            )
            return


def _is_closing(rule: Rule) -> bool:
    return rule.verdict.kind in REFUSING and bool(_value(rule, "out"))


def _first(
    rules: list[Rule], incoming: str | None, outgoing: str | None
) -> Rule | None:
    """The first rule that refuses all that comes in, or leaves, by a bridge."""
    for rule in rules:
        if rule.verdict.kind in REFUSING and len(rule.matches) == 1:
            if incoming and _value(rule, "in") == incoming:
                return rule
            if outgoing and _value(rule, "out") == outgoing:
                return rule
    return None


def _value(rule: Rule, field: str) -> str:
    return (*rule.values(field), "")[0]


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
