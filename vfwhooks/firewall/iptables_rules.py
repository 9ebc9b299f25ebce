"""Entries as iptables rules, written the way iptables-save prints them. Pure.

Every guest with forwards has its own chains, named by its UUID (22 characters of base64
hold all of it): VFW-B-… for ports on one address, VFW-A-… for ports on every address,
VFW-R-… for rejects, VFW-C-… for rejects on one address, which VFW-A-… must not get.
Shared chains lead there. A shared chain has a head that changes, in any order, above a
tail that does not change (see templates/iptables.j2):

    PREROUTING, OUTPUT > VFW-PUBLISH > VFW-BOUND > VFW-B-…, then VFW-CLAIMED > VFW-C-…,
                                       then VFW-ANY > VFW-A-…
    POSTROUTING > VFW-POSTROUTING > VFW-INSIDE for connections with DNAT, or else
    POSTROUTING > VFW-OUT > VFW-SNAT
    INPUT > VFW-INPUT > VFW-REJECT > VFW-R-…;  FORWARD > VFW-FORWARD
    raw's PREROUTING > VFW-GUARD, only while the host's loopback leads to a guest
    mangle's PREROUTING > VFW-BACK, only while a forward has return_path
"""

from __future__ import annotations

from binascii import Error, b2a_base64, unhexlify

from ..values.connection_marks import MASQUERADE_BIT, RETURN_BITS, return_mark
from ..values.entries import (
    PUBLISHING,
    Accept,
    Dnat,
    Entry,
    Exempt,
    HairpinSubnet,
    InsideSubnet,
    LoopbackBridge,
    Masquerade,
    Publishing,
    Reject,
    ReturnMark,
    ReturnRoute,
    Snat,
    SourceRanges,
    entry_family,
)
from ..values.protocols import Protocol
from ..values.published import Address, Family, Published, saved
from .iptables_script import FILTER, NAT, RAW, Chain, Chains, Rules

_PORTS_A_RULE = 15
_REJECTS = {"4": "icmp-port-unreachable", "6": "icmp6-port-unreachable"}
_LEADING = (((NAT, "VFW-ANY"), "A"), ((NAT, "VFW-BOUND"), "B"))
_REJECTING = (((FILTER, "VFW-REJECT"), "R"), ((NAT, "VFW-CLAIMED"), "C"))
_AHEAD = {SourceRanges: 0, Masquerade: 1, ReturnMark: 1}  # the order ahead of DNAT


def render(owner: str, entries: list[Entry], family: str) -> Rules:
    """The rules for one owner's entries of one family."""
    rules = Rules()
    mine = [f"VFW-{letter}-{short(owner)}" for letter in "ABCR"]
    for entry in sorted(entries, key=lambda one: _AHEAD.get(type(one), 2)):
        for chain, rule in rules_of(owner, entry, family):
            where = rules.own if chain[1] in mine else rules.shared
            where.setdefault(chain, []).append(rule)
    for chain, jumps in _jumps(owner, entries, family).items():
        rules.shared.setdefault(chain, []).extend(jumps)
    return rules


def rules_of(owner: str, entry: Entry, family: str) -> list[tuple[Chain, str]]:
    """The rules of this one entry; none for another family's entry."""
    if entry_family(entry) != family or isinstance(entry, ReturnRoute):
        return []
    if isinstance(entry, Exempt) or not isinstance(entry, PUBLISHING):
        return _among_others(owner, entry)
    published = entry.published
    match = _match(published)
    chain = NAT, f"VFW-{'A' if published.host is None else 'B'}-{short(owner)}"
    if isinstance(entry, Dnat):
        return [(chain, f"{match} {_dnat(entry)}")]
    if isinstance(entry, SourceRanges):
        return [(chain, f"{match} -j {sources_chain(entry.chain)}")]
    if isinstance(entry, Masquerade):
        mark = f"{MASQUERADE_BIT:#x}/{MASQUERADE_BIT:#x}"
        return [(chain, f"{match} -j CONNMARK --set-xmark {mark}")]
    if isinstance(entry, ReturnMark):
        return _marking(owner, entry)
    return _rejecting(owner, published)


def _rejecting(owner: str, published: Published) -> list[tuple[Chain, str]]:
    chain = FILTER, f"VFW-R-{short(owner)}"
    match, by = _match(published), "-j REJECT --reject-with"
    found = [(chain, f"{match} {by} {_REJECTS[published.family]}")]
    if published.protocol is Protocol.TCP:
        found = [(chain, f"{match} {by} tcp-reset")]
    elif published.is_one_to_one:
        found.insert(0, (chain, f"{match} -p tcp {by} tcp-reset"))
    if published.host is not None:
        found.append(((NAT, f"VFW-C-{short(owner)}"), f"{match} -j ACCEPT"))
    return found


def _marking(owner: str, entry: ReturnMark) -> list[tuple[Chain, str]]:
    """The rules that mark a connection before its DNAT, and its first packet. VFW-BACK
    marks all later packets."""
    chain = NAT, f"VFW-{'A' if entry.is_any else 'B'}-{short(owner)}"
    match = f"{_to(entry.published)}-i {entry.uplink} {_by(entry.published)}".rstrip()
    mark = f"{return_mark(entry.value):#x}/{RETURN_BITS:#x}"
    targets = f"CONNMARK --set-xmark {mark}", f"MARK --set-xmark {mark}"
    return [(chain, f"{match} -j {target}") for target in targets]


def is_marking(entry: Entry, family: str) -> bool:
    """Whether the entry needs rules in the table mangle, which copy the mark of a
    connection to its packets."""
    return isinstance(entry, ReturnMark) and entry.published.family == family


def short(owner: str) -> str:
    """The owner's UUID in 22 characters: chain names have fewer than 29."""
    try:
        data = unhexlify(owner.replace("-", ""))
    except (Error, ValueError):
        data = owner.encode()
    name = b2a_base64(data, newline=False).decode().rstrip("=")
    return name.replace("+", "-").replace("/", "_")[:22]


def sources_chain(name: str) -> str:
    """The chain that checks source ranges, from its name in the entries (allow_…)."""
    return "VFW-S-" + name.partition("_")[2]


def _among_others(owner: str, entry: Entry) -> list[tuple[Chain, str]]:
    comment = f"-m comment --comment {owner}"
    chain = NAT, "VFW-POSTROUTING"
    if isinstance(entry, Accept):
        address, forward = _host(entry.address), (FILTER, "VFW-FORWARD")
        match = f"-m conntrack --ctstate DNAT --ctdir ORIGINAL {comment} -j ACCEPT"
        back = f"-m conntrack --ctstate DNAT --ctdir REPLY {comment} -j ACCEPT"
        return [(forward, f"-d {address} {match}"), (forward, f"-s {address} {back}")]
    if isinstance(entry, Exempt):
        rule = f"{_match(entry.published)} {comment} -j RETURN"
        return [((NAT, "VFW-PUBLISH"), rule), ((FILTER, "VFW-INPUT"), rule)]
    if isinstance(entry, Snat):
        rule = (
            f"-s {_host(entry.source)} {comment} -j SNAT --to-source {saved(entry.to)}"
        )
        return [((NAT, "VFW-SNAT"), rule)]
    if isinstance(entry, LoopbackBridge):
        out = f"-s 127.0.0.0/8 -o {entry.bridge} {comment} -j MASQUERADE"
        guard = f"-i {entry.bridge} {comment} -j DROP"
        return [((RAW, "VFW-GUARD"), guard), (chain, out)]
    if isinstance(entry, HairpinSubnet):
        match = f"-s {entry.subnet} -d {entry.subnet} {comment}"
        return [
            (chain, f"{match} -j MASQUERADE"),
            ((NAT, "VFW-OUT"), f"{match} -j RETURN"),
        ]
    if isinstance(entry, InsideSubnet):
        accept = f"! -s {entry.subnet} -d {entry.subnet} {comment} -j ACCEPT"
        return [((NAT, "VFW-INSIDE"), accept)]
    raise TypeError(f"{entry!r} makes no rules")


def _jumps(owner: str, entries: list[Entry], family: str) -> Chains:
    """Jumps to the owner's chains, each for at most 15 ports. So a connection does not
    walk through every guest's rules."""
    ports: dict[tuple[Chain, str, str], list[tuple[int, int]]] = {}
    found: Chains = {}
    for entry in entries:
        if not isinstance(entry, (Dnat, SourceRanges, Reject)):
            continue
        one = entry.published
        if one.family != family:
            continue
        for chain, to in _places(entry):
            if one.host is not None and one.is_one_to_one:
                match = f"-d {_host(one.host)} -m comment --comment {owner}"
                rule = f"{match} -j VFW-{to}-{short(owner)}"
                if rule not in found.setdefault(chain, []):
                    found[chain].append(rule)
                continue
            published = ports.setdefault((chain, to, one.protocol), [])
            published.append((one.first, one.last))
    for (chain, to, protocol), published in ports.items():
        for some in _chunks(sorted(set(published))):
            match = f"-p {protocol} -m multiport --dports {some}"
            rule = f"{match} -m comment --comment {owner} -j VFW-{to}-{short(owner)}"
            found.setdefault(chain, []).append(rule)
    return found


def _places(entry: Publishing) -> tuple[tuple[Chain, str], ...]:
    """The shared chains that jump to the owner's chains for the entry, each with the
    letter of the owner's chain."""
    is_any = entry.published.host is None
    if isinstance(entry, Reject):
        return _REJECTING[: 1 if is_any else 2]
    return _LEADING[:1] if is_any else _LEADING[1:]


def _chunks(published: list[tuple[int, int]]) -> list[str]:
    """The ports for multiport: at most fifteen in a rule; a range counts for two."""
    found: list[list[str]] = []
    room = 0
    for first, last in published:
        need = 1 if first == last else 2
        if room < need:
            found.append([])
            room = _PORTS_A_RULE
        found[-1].append(f"{first}" if first == last else f"{first}:{last}")
        room -= need
    return [",".join(some) for some in found]


def _match(published: Published) -> str:
    return f"{_to(published)}{_by(published)}".rstrip()


def _to(published: Published) -> str:
    return "" if published.host is None else f"-d {_host(published.host)} "


def _by(published: Published) -> str:
    if published.is_one_to_one:
        return ""
    protocol, first, last = published.protocol, published.first, published.last
    ports = f"{first}:{last}" if published.is_range else f"{first}"
    return f"-p {protocol} -m {protocol} --dport {ports}"


def _host(address: Address) -> str:
    return f"{saved(address)}/{address.max_prefixlen}"


def _dnat(entry: Dnat) -> str:
    if entry.published.is_range:
        return f"-j DNAT --to-destination {saved(entry.address)}"
    is_six = entry.published.family is Family.IPV6
    host = f"[{saved(entry.address)}]" if is_six else f"{entry.address}"
    return f"-j DNAT --to-destination {host}:{entry.port}"
