"""Rules of this host that a forwards.yaml makes superfluous: each of their forwards is
one of ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network

from ..config.forwards import Forward, GuestForwards
from ..config.value_syntax import PortRange
from ..foreign.named_rules import NamedRule, named
from ..rulesets.context import Context, Names
from ..rulesets.makers import DEFAULT, HAND, LIBVIRT, find_maker
from ..rulesets.ruleset import Rule
from ..rulesets.ruleset_reader import read_ruleset
from ..values.errors import VfwError
from ..values.foreign_claims import ForeignClaim
from ..values.protocols import ALL_PROTOCOLS
from ..values.published import find_address
from .asked_first import Unbound, is_of_family
from .carried_rule import carried
from .imported import Imported, Left, Origin, parse_span
from .ruleset_forwards import find_leading
from .settled_forwards import Known, settled

FIREWALLD = "firewalld"
# The chain of a zone's own forward-ports, with either of firewalld's backends.
_ZONE = re.compile(r"(?:nat_)?PRE_(?!policy_)(.+)_allow")
_WITH_PORT = re.compile(r"(?:\]|\d|^):\d+(?:-\d+)?$")
_LESS = "forwards.yaml would not serve all that it serves"


@dataclass(frozen=True)
class OldRule:
    """A live rule with its forwards, each with its guest; `why` it stays, '' where it
    may go."""

    rule: NamedRule
    forwards: tuple[Imported, ...]
    why: str = ""


def find_old_rules(
    text: str,
    known: Known,
    is_meant: Callable[[Imported], bool],
    guests: Sequence[GuestForwards],
) -> list[OldRule]:
    """The rules of a live ruleset of which a forward is meant; what they do is compared
    with these guests of forwards.yaml."""
    ruleset = read_ruleset(text, "")
    context = Context(ruleset, Names())
    ways: dict[NamedRule, list[Imported | Left]] = {}
    makers: dict[NamedRule, str] = {}
    for table, chain, rule, found in find_leading(ruleset, text):
        one = named(table, chain, rule)
        ways.setdefault(one, []).extend(found)
        makers[one] = find_maker(context, table, chain, rule).program
        if _ZONE.fullmatch(chain.name):
            makers[one] = FIREWALLD
            alone = carried((), rule, table, Origin("", rule.text))
            some = [way for way in ways.pop(one) if not isinstance(way, Left)]
            # A zone without interfaces is for all that no other zone is for.
            ways[replace(one, cure=_cure(one, rule, alone))] = [*(some or alone)]
    old: list[OldRule] = []
    for one, met in ways.items():
        forwards, why = _settled(met, known)
        if not any(map(is_meant, forwards)):
            continue
        if makers[one] not in (HAND, DEFAULT) and not one.cure:
            why = f"{makers[one]} has made it, and would make it anew"
        elif not why and not all(is_served(f, guests) for f in forwards):
            why = _LESS
        elif not why and not all(map(is_meant, forwards)):
            why = "it serves more than what was asked about"
        old.append(OldRule(one, tuple(forwards), why))
    return old


def find_accepts(text: str, addresses: Collection[str]) -> list[NamedRule]:
    """The rules of a live ruleset, made by hand, that let packets through to one of
    these addresses of guests. Ours do not need them; others may."""
    ruleset = read_ruleset(text, "")
    context = Context(ruleset, Names())
    found = []
    for table, chain, rule in ruleset.rules():
        to = rule.values("daddr")
        is_to = len(to) == 1 and to[0] in addresses and rule.verdict.kind == "accept"
        if not is_to or "forward" not in context.hooks_of(table, chain):
            continue
        # A rule for one address and libvirt's bridge is of the form of libvirt's own,
        # which are for whole networks.
        if find_maker(context, table, chain, rule).program in (HAND, LIBVIRT):
            found.append(named(table, chain, rule))
    return found


def _cure(
    one: NamedRule, rule: Rule, found: Sequence[Imported | Left]
) -> tuple[str, ...]:
    """What takes a zone's forward-port out, of the running firewalld; nothing where the
    rule is of another form."""
    zone = _ZONE.fullmatch(one.chain)
    forward = found[0]
    if not zone or isinstance(forward, Left) or forward.allow_from:
        return ()
    parts = {"port": forward.published, "proto": forward.protocols[0]}
    if _WITH_PORT.search(rule.verdict.target):
        parts["toport"] = forward.target
    parts["toaddr"] = forward.address
    port = ":".join(f"{key}={value}" for key, value in parts.items())
    return "firewall-cmd", f"--zone={zone[1]}", f"--remove-forward-port={port}"


def kept(old: OldRule, claims: Iterable[ForeignClaim]) -> OldRule:
    """The rule; it stays where a rule that is left takes a part of its connections on
    one address: ours would leave all that come there to that rule."""
    for claim in claims if not old.why else ():
        if claim.is_limited and any(_takes(claim, one) for one in old.forwards):
            whose = claim.whose.rpartition(" by ")[0]
            return replace(old, why=f"{whose} has some of its connections, and stays")
    return old


def _takes(claim: ForeignClaim, one: Imported) -> bool:
    if one.host_ips or claim.host is None or claim.protocol not in one.protocols:
        return False
    first, last = parse_span(one.published)
    is_met = claim.first <= last and first <= claim.last
    return is_met and is_of_family(str(claim.host), one.address)


def _settled(
    some: Iterable[Imported | Left], known: Known
) -> tuple[list[Imported], str]:
    """The forwards with their guests, and why there are more than these."""
    found, why = [], ""
    for one in some:
        if isinstance(one, Left):
            why = one.why
            continue
        try:
            found.append(settled(one, known, Unbound()))
        except VfwError as error:
            why = str(error)
    return found, why


def is_served(one: Imported, guests: Sequence[GuestForwards]) -> bool:
    """Whether forwards.yaml does for everybody what this forward does."""
    return _is_done(one, guests) and not any(
        _refuses(forward, one) for guest in guests for forward in guest.forwards
    )


def _refuses(forward: Forward, one: Imported) -> bool:
    """Whether a forward on one address, which goes first there, keeps clients out."""
    host = forward.host_ip
    if not forward.allow_from or host is None or host.is_unspecified:
        return False
    hosts = [find_address(on) for on in one.host_ips]
    if host not in hosts if hosts else not is_of_family(str(host), one.address):
        return False
    if forward.protocol not in (*one.protocols, ALL_PROTOCOLS) and one.published:
        return False
    ports, mine = PortRange(*parse_span(one.published or "1-65535")), forward.published
    is_met = mine.first <= ports.last and ports.first <= mine.last
    return is_met and not _lets_in(forward, one)


def _is_done(one: Imported, guests: Iterable[GuestForwards]) -> bool:
    for guest in guests:
        own = {str(address) for address in guest.addresses}
        if guest.name != one.guest or (own and one.address and one.address not in own):
            continue
        if not one.published:
            public = {str(address) for address in guest.public_ips}
            return guest.is_one_to_one and set(one.host_ips) <= public
        return not guest.is_one_to_one and all(
            any(_does(forward, one, protocol, host) for forward in guest.forwards)
            for protocol in one.protocols
            for host in one.host_ips or ("",)
        )
    return False


def _does(forward: Forward, one: Imported, protocol: str, host: str) -> bool:
    published = PortRange(*parse_span(one.published))
    if forward.protocol != protocol or not has(forward.published, published):
        return False
    target, shift = parse_span(one.target)[0], published.first - forward.published.first
    is_one = forward.target.first == forward.target.last
    if target != forward.target.first + (0 if is_one else shift):
        return False
    return _is_on(forward, one, host) and _lets_in(forward, one)


def has(some: PortRange, ports: PortRange) -> bool:
    """Whether all of these ports are among some."""
    return some.first <= ports.first and ports.last <= some.last


def _is_on(forward: Forward, one: Imported, host: str) -> bool:
    """Whether it is published on the address, '' for every one of the family."""
    on = forward.host_ip
    if on is None or (host and on == find_address(host)):
        return True
    return on.is_unspecified and is_of_family(str(on), host or one.address)


def _lets_in(forward: Forward, one: Imported) -> bool:
    nets = [ip_network(source) for source in one.allow_from]
    own = [ip_network(str(source)) for source in forward.allow_from]
    return not own or (bool(nets) and set(nets) <= set(own))
