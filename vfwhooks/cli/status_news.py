"""News for `status --watch`: whatever may change its answer, from the kernel and from
files, and that the service has ended. Nothing is asked again and again.

Not heard are the counts of connections, foreign rules of iptables' legacy variant, and
sockets that are opened and closed; the service looks for the latter, and writes down
what follows.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

from ..firewall.nft_names import IN_LIBVIRTS, OWN
from ..host.neighbours import Neighbour
from ..host.netlink import NETLINK_ROUTE, Netlink, attributes, messages
from ..installation.service_process import find_service
from ..libvirt.inventory import DNSMASQS, LEASES
from ..libvirt.status_directories import DIRECTORIES
from ..service.kernel_news import (
    NFTABLES_GROUP,
    ROUTING_GROUPS,
    Neighbours,
    is_about_routing,
)
from ..service.watched_files import Watched
from ..values.published import Address

# Interfaces (RTMGRP_LINK), and switches of forwarding: the groups of
# RTNLGRP_IPV4_NETCONF and RTNLGRP_IPV6_NETCONF.
_GROUPS = ROUTING_GROUPS | 1 << 0 | 1 << 23 | 1 << 24
_RTM_NEWLINK, _RTM_DELLINK, _IFLA_WIRELESS = 16, 17, 11
_NFT_MSG_NEWSETELEM, _NFT_MSG_DELSETELEM, _NFT_MSG_NEWGEN = 12, 14, 15
_BUFFER = 1 << 22


class StatusNews:
    """Descriptors for poll, and whether there was news."""

    def __init__(self, state: str, config: str) -> None:
        leases = [LEASES, *DNSMASQS]
        self._files = Watched(state, config, leases, DIRECTORIES)
        self._files.listen()
        self._rules = Netlink(groups=NFTABLES_GROUP)
        self._host = Netlink(NETLINK_ROUTE, _GROUPS)
        for link in (self._rules, self._host):
            link.grow(_BUFFER)
        self._neighbours = Neighbours()
        self._service = _Service()
        self._known: dict[tuple[int, Address], str] = {}
        self._are_new(self._neighbours.known())

    def register(self, poll: select.poll) -> None:
        """Have the descriptors polled."""
        for source in (self._files, self._rules, self._host, self._neighbours):
            poll.register(source, select.POLLIN)
        self._service.register(poll)

    def read(self) -> bool:
        """Whether anything has changed since the last call."""
        found = self._files.has_news()
        # Directories that were made meanwhile, with what is in them.
        found = bool(self._files.listen()) or found
        for kind, _, payload in messages(self._rules):
            found = found or kind < 0 or _is_about_rules(kind & 0xFF, payload)
        for kind, _, payload in messages(self._host):
            found = found or kind < 0 or _is_about_host(kind, payload)
        found = self._are_new(self._neighbours.read()) or found
        return self._service.has_ended(found) or found

    def _are_new(self, neighbours: list[Neighbour]) -> bool:
        """Whether one has come, has gone or has moved: the kernel confirms each of them
        every few seconds."""
        found = False
        for one in neighbours:
            key, mac = (one.interface, one.address), one.mac if one.is_usable else ""
            found = found or self._known.get(key, "") != mac
            self._known[key] = mac
        return found


class _Service:
    """The process of the service. Its doorbell tells of its start, and its process of
    its end."""

    def __init__(self) -> None:
        self._poll: select.poll | None = None
        self._fd = -1

    def register(self, poll: select.poll) -> None:
        """Have the end of the process polled, once there is one."""
        self._poll = poll
        self._find()

    def has_ended(self, is_news: bool) -> bool:
        """Whether it has ended since the last call; looks for a new one after news."""
        ended = self._fd >= 0 and bool(select.select([self._fd], [], [], 0)[0])
        if ended and self._poll:
            self._poll.unregister(self._fd)
            os.close(self._fd)
            self._fd = -1
        if self._fd < 0 and (ended or is_news):
            self._find()
        return ended

    def _find(self) -> None:
        pid = find_service()
        if pid and self._poll:
            with suppress(OSError):  # it has just ended
                self._fd = os.pidfd_open(pid)
                self._poll.register(self._fd, select.POLLIN)


def _is_about_rules(kind: int, payload: bytes) -> bool:
    """Whether a change of nf_tables is one of tables, chains or rules, or of our own
    elements: others' sets may change all the time."""
    if kind not in (_NFT_MSG_NEWSETELEM, _NFT_MSG_DELSETELEM):
        return kind != _NFT_MSG_NEWGEN
    about = attributes(payload[4:])
    names = about.get(1, b"").rstrip(b"\0"), about.get(2, b"").rstrip(b"\0")
    return names[0] == OWN.encode() or names[1] == IN_LIBVIRTS.encode()


def _is_about_host(kind: int, payload: bytes) -> bool:
    """Whether a change is one of addresses, routes to far away or interfaces; an
    interface by radio tells of itself all the time."""
    if kind in (_RTM_NEWLINK, _RTM_DELLINK):
        return _IFLA_WIRELESS not in attributes(payload[16:])
    return is_about_routing(kind, payload)
