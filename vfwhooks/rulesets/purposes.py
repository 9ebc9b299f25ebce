"""Why a rule is there, and what stops working if it is lost. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .context import Context
from .libvirt_purposes import libvirt_purpose
from .makers import DEFAULT, HAND, LIBVIRT, OURS, XEN, Maker
from .own_purposes import own_purpose
from .ruleset import REFUSING, Chain, Table
from .xen_purposes import xen_notes


class Purpose(NamedTuple):
    """Why; what is lost with it; and what else has to be known."""

    why: str
    lost: str
    notes: tuple[str, ...] = ()


_PROGRAMS = {
    "Docker": (
        "Docker publishes ports of containers and keeps its networks apart.",
        "Containers lose what the rule does until Docker is restarted.",
    ),
    "firewalld": (
        "firewalld turns its zones and policies into rules.",
        "The zone or policy has a gap until `firewall-cmd --reload`.",
    ),
    "ufw": (
        "ufw turns what `ufw status` shows into rules.",
        "ufw's policy has a gap until `ufw reload`.",
    ),
    "fail2ban": (
        "fail2ban bans addresses that failed to log in too often.",
        "Banned addresses get in until fail2ban is restarted.",
    ),
    "CNI (Podman, Kubernetes)": (
        "The CNI plugins publish ports of containers.",
        "Containers lose what the rule does until they are started again.",
    ),
    "Podman (netavark)": (
        "Podman publishes ports of containers and connects its networks.",
        "Containers lose what the rule does until `podman network reload --all`.",
    ),
    "Kubernetes": (
        "kube-proxy leads connections to the pods of a service.",
        "The service has a gap until kube-proxy writes the rule again.",
    ),
    "Tailscale": (
        "Tailscale lets its own network in and out.",
        "Tailscale's network has a gap until tailscaled is restarted.",
    ),
}


def find_purpose(
    known: Context, table: Table, chain: Chain, at: int, maker: Maker
) -> Purpose:
    """The purpose of the rule that stands at this place of the chain."""
    rule = chain.rules[at]
    if maker.program == LIBVIRT:
        why, lost = libvirt_purpose(known, table, chain, rule)
        lost = _of_a_refusal(known, table, chain, at, lost)
        return Purpose(why, _of_an_accept(known, table, chain, at, lost))
    if maker.program == OURS:
        why, lost = own_purpose(table, chain, rule)
        return Purpose(why, lost)
    if maker.program == XEN:
        lost = "The guest's packets are refused."
        lost = _of_an_accept(known, table, chain, at, lost)
        why = (
            "The script lets the guest's packets through where the ruleset of the "
            "host would refuse them."
        )
        return Purpose(why, lost, tuple(xen_notes(chain, at)))
    if maker.program in _PROGRAMS:
        return Purpose(*_PROGRAMS[maker.program])
    why = "The ruleset does not say why."
    if maker.program == DEFAULT:
        why = _DEFAULTS[rule.verdict.kind]
    elif rule.comment:
        why = f'The comment of the rule says: "{rule.comment}".'
    assert maker.program in (DEFAULT, HAND)
    return Purpose(why, _lost(known, table, chain, at))


_DEFAULTS = {
    "accept": "The distribution opens what every host needs, and ssh.",
    "reject": "The distribution refuses everything that no rule above accepts.",
}


def _of_a_refusal(
    known: Context, table: Table, chain: Chain, at: int, lost: str
) -> str:
    """`lost`, or that something else refuses all of the packets."""
    if chain.rules[at].verdict.kind not in REFUSING:
        return lost
    refusal, is_whole = known.refusal(table, chain, at)
    return f"Nothing today: {refusal} the packets as well." if is_whole else lost


def _of_an_accept(
    known: Context, table: Table, chain: Chain, at: int, lost: str
) -> str:
    """`lost`, with what refuses the packets then; else nothing is lost."""
    rule = chain.rules[at]
    is_let_in = rule.verdict.kind == "accept" and chain.kind != "nat"
    if not is_let_in or not lost.startswith("The "):
        return lost
    refusal, _ = known.refusal(table, chain, at)
    if refusal:
        return f"{lost[:-1]}: {refusal} the packets."
    nothing = "Nothing today: no other rule and no policy refuses the packets."
    return f"{nothing} Under a stricter firewall: {lost[:1].lower()}{lost[1:]}"


_LOST = {
    "dnat": "Connections no longer lead to {target}.",
    "redirect": "Connections no longer lead to the host itself.",
    **dict.fromkeys(
        ("snat", "masquerade"),
        "The packets keep their source address; answers may not come back.",
    ),
    **dict.fromkeys(("jump", "goto"), "The rules of the chain {target} are not asked."),
    "log": "The log has no line about the packets.",
    "": "Nothing but the counter.",
    "other": "The packets no longer get what the rule does (`{kind}`).",
}


def _lost(known: Context, table: Table, chain: Chain, at: int) -> str:
    """What changes without a rule, by what it does alone."""
    rule = chain.rules[at]
    kind, target, _ = rule.verdict
    if kind == "accept" and chain.kind != "nat":
        return _of_an_accept(known, table, chain, at, "The packets are refused.")
    if kind in REFUSING:
        return _of_a_refusal(known, table, chain, at, "The packets get through.")
    target = target.lstrip(":") if kind == "dnat" else target
    return _LOST.get(kind, _LOST["other"]).format(target=target, kind=kind)
