"""News of the kernel: changed rulesets, new neighbours, and, while guests need them,
bridge ports and the host's routes and addresses.

The port of the sending socket tells our own changes, so the service does not react to
itself. The table's name is enough to drop changes that concern neither us nor libvirt.
"""

import select

from ..firewall.nft_names import IN_LIBVIRTS, LIBVIRT, OWN
from ..firewall.nft_netlink import ROUTED, jump_target, list_nat_chains
from ..host.neighbours import RTM_NEWNEIGH, Neighbour, list_neighbours, parse_neighbour
from ..host.netlink import (
    NETLINK_ROUTE,
    OUR_PORTS,
    Netlink,
    attributes,
    message,
    messages,
    text_of,
)
from ..host.routes import covers_far_away
from ..values.errors import VfwError

NFTABLES_GROUP = 1 << 6  # of NFNLGRP_NFTABLES
_RTMGRP_LINK, _RTMGRP_NEIGH = 1 << 0, 1 << 2
# Addresses, routes and policy rules, of IPv4 and of IPv6: RTMGRP_IPV4_IFADDR,
# RTMGRP_IPV4_ROUTE, RTMGRP_IPV4_RULE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, and the
# group of RTNLGRP_IPV6_RULE.
ROUTING_GROUPS = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 18
_NFT_MSG_DELTABLE, _NFT_MSG_NEWCHAIN = 2, 3
_NFT_MSG_NEWRULE, _NFT_MSG_DELRULE = 6, 8
_NFT_MSG_NEWSETELEM, _NFT_MSG_DELSETELEM, _NFT_MSG_NEWGEN = 12, 14, 15
# The table's name has this number in messages about chains, rules and elements, too.
_NFTA_TABLE_NAME, _NFTA_CHAIN_NAME = 1, 3
_NFTA_RULE_CHAIN, _NFTA_RULE_EXPRESSIONS, _NFTA_SET_ELEM_LIST_SET = 2, 4, 2
_IPTABLES = b"filter", b"nat", b"raw"
_MANGLE = b"mangle"
_OWN, _LIBVIRT = OWN.encode(), LIBVIRT.encode()
_OURS = ("VFW-", "LIBVIRT_")
_BASE = ("FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING")
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_RTM_NEWROUTE, _RTM_DELROUTE = 24, 25
_RTA_DST, _IFLA_MASTER = 1, 10
_AF_BRIDGE = 7
_OF_BRIDGES = bytes((_AF_BRIDGE,)) + bytes(15)  # struct ifinfomsg: the family alone
_IFLA_IFNAME, _IFLA_PROTINFO, _IFLA_BRPORT_MODE = 3, 12, 4


class Rulesets:
    """Changes by other programs to those netfilter rules that concern us."""

    def __init__(self) -> None:
        self._link = Netlink(groups=NFTABLES_GROUP)
        self._link.grow(1 << 22)
        self._changed: set[tuple[int, bytes]] = set()
        self._is_lost = False
        self._nat = nat_tables()
        self._tools: set[int] = set()

    def fileno(self) -> int:
        return self._link.fileno()

    def read(self, base: "dict[str, str]") -> "tuple[bool, bool]":
        """Whether rules around ours changed, and whether elements of ours did, which
        are rules in iptables, too.

        `base` says which backend is in use, and whether libvirt's rules stand in the
        base chains themselves: only then does every rule there count.
        """
        is_direct = base.get("libvirt") == "direct"
        rules = elements = False
        for kind, port, payload in messages(self._link):
            if kind < 0:
                self._is_lost = True
                self._tools.clear()
                return True, True
            change = kind & 0xFF
            is_ours = port >> 16 == OUR_PORTS or port in self._tools
            if is_ours or change == _NFT_MSG_NEWGEN:
                continue
            about = attributes(payload[4:])
            table = about.get(_NFTA_TABLE_NAME, b"").rstrip(b"\0")
            if _is_foreign(change, table, about):
                self._changed.add((payload[0], table))
            if change in (_NFT_MSG_NEWSETELEM, _NFT_MSG_DELSETELEM):
                name = _text(about.get(_NFTA_SET_ELEM_LIST_SET))
                elements = elements or table == _OWN or name == IN_LIBVIRTS
            elif table in (_OWN, _LIBVIRT):
                rules = True
            elif _is_watched(change, table, about, is_direct):
                rules = elements = True
        self._tools.clear()
        return rules, elements

    def pass_over(self, tools: "list[int]") -> None:
        """Ignore the changes by these tools of ours. They have ended, so all their news
        have arrived. The kernel gives a tool's first socket the number of its process;
        another program may have this number later."""
        arrived = select.poll()
        arrived.register(self._link, select.POLLIN)
        if arrived.poll(0):
            self._tools.update(tools)

    @property
    def may_have_foreign(self) -> bool:
        """Whether foreign rules have changed since the last call of `has_foreign`."""
        return bool(self._changed) or self._is_lost

    def has_foreign(self) -> bool:
        """Whether a changed table has a chain that may change where an incoming packet
        goes."""
        changed, before = self._changed, self._nat
        is_news = self._is_lost
        self._changed, self._is_lost, self._nat = set(), False, nat_tables()
        return is_news or bool(changed & (before | self._nat))


def nat_tables() -> set[tuple[int, bytes]]:
    """The tables with a chain that may change a packet's destination on its way in."""
    try:
        with Netlink() as link:
            chains = list_nat_chains(link)
    except (OSError, VfwError):  # refused, or changed all the time
        return set()
    return {(ROUTED[family], table.encode()) for family, table, _, _ in chains}


class Neighbours:
    """Neighbours on the bridges, as the kernel learns them."""

    def __init__(self) -> None:
        self._link = Netlink(NETLINK_ROUTE, _RTMGRP_NEIGH)

    def fileno(self) -> int:
        return self._link.fileno()

    def read(self) -> list[Neighbour]:
        """Each neighbour that was learnt or confirmed, or does not answer; all
        neighbours if news were lost."""
        found = []
        for kind, _, payload in messages(self._link):
            if kind < 0:
                found += self.known()
            elif kind == RTM_NEWNEIGH:
                one = parse_neighbour(payload)
                found += [one] if one else []
        return found

    def known(self) -> list[Neighbour]:
        with Netlink(NETLINK_ROUTE) as link:
            return list_neighbours(link)


class BridgePorts:
    """Bridge ports that are not in hairpin mode, as they come or change."""

    def __init__(self) -> None:
        self._link = Netlink(NETLINK_ROUTE, _RTMGRP_LINK)

    def fileno(self) -> int:
        return self._link.fileno()

    def read(self) -> set[str]:
        """The devices that came or changed; all devices if news were lost."""
        found: set[str] = set()
        for kind, _, payload in messages(self._link):
            if kind < 0:
                found |= self.known()
            elif kind == _RTM_NEWLINK:
                found |= _unset_port(payload)
        return found

    def known(self) -> set[str]:
        """The devices of all ports that are not in hairpin mode."""
        with Netlink(NETLINK_ROUTE) as link:
            answers = link.dump(message(_RTM_GETLINK, _OF_BRIDGES))
        return {name for _, answer in answers for name in _unset_port(answer)}

    def close(self) -> None:
        self._link.close()


class Routing:
    """Changes that decide the way of answers out of the host: policy rules, addresses,
    links, and routes to far away."""

    def __init__(self) -> None:
        self._link = Netlink(NETLINK_ROUTE, ROUTING_GROUPS | _RTMGRP_LINK)
        self._link.grow(1 << 20)

    def fileno(self) -> int:
        return self._link.fileno()

    def read(self) -> bool:
        """Whether there was news; lost news count as news, our own changes do not."""
        return any(
            kind < 0 or (port >> 16 != OUR_PORTS and is_about_routing(kind, payload))
            for kind, port, payload in messages(self._link)
        )

    def close(self) -> None:
        self._link.close()


def is_about_routing(kind: int, payload: bytes) -> bool:
    """Whether a change may decide the way of answers out of the host."""
    if kind in (_RTM_NEWROUTE, _RTM_DELROUTE):
        about = attributes(payload[12:])
        return covers_far_away(payload[0], payload[1], about.get(_RTA_DST, b""))
    if kind == _RTM_NEWLINK:
        # Guests' interfaces come and go, and no route leads through them.
        return not payload[0] and _IFLA_MASTER not in attributes(payload[16:])
    return True


def _unset_port(payload: bytes) -> set[str]:
    """The port of a message, if it is not in hairpin mode."""
    if payload[:1] != _OF_BRIDGES[:1]:
        return set()
    about = attributes(payload[len(_OF_BRIDGES) :])
    mode = attributes(about.get(_IFLA_PROTINFO, b"")).get(_IFLA_BRPORT_MODE)
    return {_text(about.get(_IFLA_IFNAME))} if mode == b"\0" else set()


def _is_watched(
    kind: int, table: bytes, about: "dict[int, bytes]", is_direct: bool
) -> bool:
    """Whether a change of iptables' tables may concern us: rules and chains of ours,
    jumps to them, removed tables, and, but for mangle, all that of libvirt."""
    if table != _MANGLE and table not in _IPTABLES:
        return False
    ours = "VFW-" if table == _MANGLE else _OURS
    if kind in (_NFT_MSG_NEWRULE, _NFT_MSG_DELRULE):
        name, target = _ends(about)
        is_beside = is_direct and table != _MANGLE and name in _BASE
        return is_beside or name.startswith(ours) or target.startswith(ours)
    name = _text(about.get(_NFTA_CHAIN_NAME))
    return kind == _NFT_MSG_DELTABLE or name.startswith(ours)


def _is_foreign(kind: int, table: bytes, about: "dict[int, bytes]") -> bool:
    """Whether a change is one of foreign tables, chains or rules."""
    if kind > _NFT_MSG_DELRULE or table in (_OWN, _LIBVIRT):
        return False
    if table != b"nat" or kind < _NFT_MSG_NEWCHAIN:
        return True
    if kind < _NFT_MSG_NEWRULE:
        return not _text(about.get(_NFTA_CHAIN_NAME)).startswith(_OURS)
    name, target = _ends(about)
    return not name.startswith(_OURS) and not target.startswith(_OURS)


def _ends(about: "dict[int, bytes]") -> "tuple[str, str]":
    """The chain of a rule, and the chain that the rule jumps to; '' for none."""
    target = jump_target(about.get(_NFTA_RULE_EXPRESSIONS, b""))
    return _text(about.get(_NFTA_RULE_CHAIN)), target


def _text(name: "bytes | None") -> str:
    return text_of(name or b"")
