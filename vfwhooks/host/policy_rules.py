"""Our policy routing rules (ip rule) in the kernel, by netlink.

Each of our rules has a mark with our mask, an interface and our protocol number. Our
rules stand directly ahead of the first foreign rule. Of foreign rules only the
priorities are read.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass

from ..values.connection_marks import MARKS, RETURN_BITS, return_mark
from .netlink import (
    FAMILIES,
    NETLINK_ROUTE,
    Netlink,
    attribute,
    attributes,
    message,
    named,
    text_of,
)

_RTM_NEWRULE, _RTM_DELRULE, _RTM_GETRULE = 32, 33, 34
_NLM_F_EXCL, _NLM_F_CREATE = 0x200, 0x400  # fails if the rule exists
_RULE = struct.Struct("=BBBBBxxBI")  # family, lengths, tos, table, action, flags
_FR_ACT_TO_TBL = 1
_FRA_IIFNAME, _FRA_PRIORITY, _FRA_FWMARK = 3, 6, 10
_FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 15, 16, 21
_OURS = 86  # our own protocol number, which `ip rule` shows
_LAST = 32766  # the rule that leads to the table main
_TABLES_OF_A_BYTE = 256


@dataclass(frozen=True)
class PolicyRule:
    """A rule: packets of a family ("4", "6") that come in by the bridge with the mark
    of this value are routed by this table."""

    family: str
    bridge: str
    table: int
    value: int
    priority: int = 0

    @property
    def what(self) -> tuple[str, str, int, int]:
        """All fields but the priority."""
        return self.family, self.bridge, self.table, self.value


class PolicyRules:
    """The rules of both families, in the network namespace of this process."""

    def __init__(self, connect: Callable[[int], Netlink] = Netlink) -> None:
        # The inventory's socket would not do: in a dry run it leads to the real host.
        self._link = connect(NETLINK_ROUTE)

    def close(self) -> None:
        self._link.close()

    def sync(self, wanted: list[PolicyRule], is_all: bool) -> None:
        """Put these rules in their place. With `is_all`, our other rules are removed;
        without it, they stay. Raises OSError."""
        for family in "46":
            mine = [rule for rule in wanted if rule.family == family]
            if mine or is_all:
                self._sync(family, mine, is_all)

    def remove(self, gone: list[PolicyRule]) -> None:
        """Remove these rules, whatever their priority. Raises OSError."""
        which = {rule.what for rule in gone}
        for family in {rule.family for rule in gone}:
            for rule in self._list(family)[0]:
                if rule.what in which:
                    self._change(_RTM_DELRULE, rule)

    def _sync(self, family: str, wanted: list[PolicyRule], is_all: bool) -> None:
        ours, first = self._list(family)
        place = max(first - 1, 0)
        there = {rule.what for rule in ours if rule.priority == place}
        which = {rule.what for rule in wanted}
        for what in sorted(which - there):
            self._change(_RTM_NEWRULE, PolicyRule(*what, place))
        for rule in ours:  # the new rule exists by now: no packet misses it
            is_wanted = rule.what in which
            if (is_wanted and rule.priority != place) or (is_all and not is_wanted):
                self._change(_RTM_DELRULE, rule)

    def _list(self, family: str) -> tuple[list[PolicyRule], int]:
        """Our rules, and the priority of the first foreign rule behind the kernel's own
        rule for local addresses (priority 0)."""
        ours, first = [], _LAST
        asked = _RULE.pack(FAMILIES[int(family)], 0, 0, 0, 0, 0, 0)
        try:
            answers = self._link.dump(message(_RTM_GETRULE, asked))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                raise
            answers = []  # a kernel without IPv6, or without rules
        for _, answer in answers:
            about = attributes(answer[_RULE.size :])
            rule = _ours(family, about)
            if rule:
                ours.append(rule)
            elif _number(about, _FRA_PRIORITY):
                first = min(first, _number(about, _FRA_PRIORITY))
        return ours, first

    def _change(self, kind: int, rule: PolicyRule) -> None:
        table = rule.table if rule.table < _TABLES_OF_A_BYTE else 0
        head = _RULE.pack(FAMILIES[int(rule.family)], 0, 0, 0, table, _FR_ACT_TO_TBL, 0)
        numbers = (
            (_FRA_PRIORITY, rule.priority),
            (_FRA_FWMARK, return_mark(rule.value)),
            (_FRA_FWMASK, RETURN_BITS),
            (_FRA_TABLE, rule.table),
        )
        about = named(_FRA_IIFNAME, rule.bridge)
        about += attribute(_FRA_PROTOCOL, bytes((_OURS,)))
        about += b"".join(attribute(k, struct.pack("=I", n)) for k, n in numbers)
        try:
            flags = _NLM_F_CREATE | _NLM_F_EXCL if kind == _RTM_NEWRULE else 0
            self._link.request(message(kind, head + about, flags))
        except OSError as error:
            # Another program was faster: the rule is as it should be.
            if error.errno not in (errno.EEXIST, errno.ENOENT):
                raise


def _ours(family: str, about: dict[int, bytes]) -> PolicyRule | None:
    is_ours = about.get(_FRA_PROTOCOL) == bytes((_OURS,)) and _FRA_IIFNAME in about
    if not is_ours or _number(about, _FRA_FWMASK) != RETURN_BITS:
        return None
    bridge = text_of(about[_FRA_IIFNAME])
    for value in MARKS:
        if return_mark(value) == _number(about, _FRA_FWMARK):
            table, priority = _number(about, _FRA_TABLE), _number(about, _FRA_PRIORITY)
            return PolicyRule(family, bridge, table, value, priority)
    return None


def _number(about: dict[int, bytes], kind: int) -> int:
    number: int = struct.unpack("=I", about.get(kind, bytes(4)))[0]
    return number
