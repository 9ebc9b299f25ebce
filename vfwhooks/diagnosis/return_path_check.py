"""A check whether a guest's answers leave the host by the way of the host's own
answers.

The kernel routes a guest's answer by the guest's address, before NAT translates it
back. So on a host with several ways out (`ip rule from ADDRESS lookup TABLE`, a VPN)
the host's own services answer on an address where a guest's answers get lost, and
strict rp_filter drops packets whose answers would take another way. The kernel is asked
for the route, with our mark for a forward with `return_path`; no rule is read.
"""

from __future__ import annotations

from _socket import if_indextoname
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..host.routes import Routes
from ..reconcile.return_path import no_mark
from ..values.connection_marks import return_mark
from ..values.findings import WRONG, Cure, Finding
from ..values.published import Address, Family

_STRICT = "1"
_APPLY = Cure(("vfwhooks", "apply"), "run {run}")


@dataclass(frozen=True)
class ReturnPath:
    """The routes for guests' answers. `inside` are the host's own addresses on
    libvirt's bridges, `root` is the directory of /proc, `tables` are the routing tables
    by the values of our marks."""

    routes: Routes
    inside: frozenset[Address] = frozenset()
    root: str = ""
    tables: Mapping[int, int] = field(default_factory=dict)

    def outside(self, family: Family) -> list[Address]:
        """The host's addresses of a family that clients from far away may connect
        to."""
        own = self.routes.own_addresses(family)
        return [address for address in own if address not in self.inside]

    def blocker(
        self, host: Address, guest: Address, bridge: int, is_returned: bool = False
    ) -> str:
        """The blocker that `find` finds, and the cure, in one line; '' for none."""
        found = self.find(host, guest, bridge, is_returned)
        return found.said if found else ""

    def find(
        self, host: Address, guest: Address, bridge: int, is_returned: bool = False
    ) -> Finding | None:
        """Why a client from far away gets no answer at the host's address from the
        guest behind the bridge (the kernel's number). None if nothing is in the way, or
        if the host itself could not answer either. The connections of a forward that
        `is_returned` carry our mark."""
        own = self.routes.route_from(host)
        if own is None:
            return None
        answers = self.routes.route_from(guest, bridge)
        if answers is None or answers[0] != own[0]:
            here = f"by {_name(answers[0])}" if answers else "nowhere"
            what = f"answers of {guest} leave {here}, and those of {host}"
            what += f" by {_name(own[0])}"
            words = f"ip rule add iif {_name(bridge)} from {guest} lookup {own[1]}"
            argv = tuple(_tool(guest, words).split(" "))
            seen = f"the kernel's routes: {guest} {here},"
            seen += f" {host} by table {own[1]} and {_name(own[0])}"
            if not is_returned:
                said = "write return_path: true, or run: {run}"
                return _wrong(
                    "answers-leave-elsewhere", host, what, Cure(argv, said), seen
                )
            value = self._value(own[1])
            if not value:
                what = f"{no_mark(own[1])}: {what}"
                return _wrong("return-path-tables-full", host, what, Cure(argv), seen)
            marked = self.routes.route_from(guest, bridge, return_mark(value))
            if marked is None or marked[0] != own[0]:
                what = f"{what}, return_path or not"
                return _wrong("return-path-not-taken", host, what, _APPLY, seen)
            if self._is_strict(_name(own[0]), host) and not self._heeds_mark(own[0]):
                key = f"net.ipv4.conf.{_name(own[0])}.src_valid_mark"
                what = f"{key} is 0, and rp_filter 1"
                return _wrong("src-valid-mark-off", host, what, _APPLY, f"{key} is 0")
        return self._strict(host, own[0])

    def _strict(self, host: Address, own: int) -> Finding | None:
        """The interface that drops packets to the address on their way in."""
        for index in self.routes.holders(host):
            name = _name(index)
            if index != own and self._is_strict(name, host):
                key = f"net.ipv4.conf.{name}.rp_filter"
                what = f"{name} drops what is answered by {_name(own)} (rp_filter 1)"
                cure = Cure(tuple(f"sysctl -w {key}=2".split(" ")))
                return _wrong("rp-filter-strict", host, what, cure, f"{key} is 1")
        return None

    def _value(self, table: int) -> int:
        """The value of the mark for the table; 0 for none."""
        return next((v for v, one in self.tables.items() if one == table), 0)

    def _heeds_mark(self, index: int) -> bool:
        """Whether rp_filter considers marks of packets from the interface."""
        conf = Path(f"{self.root}/proc/sys/net/ipv4/conf")
        names = "all", _name(index)
        return any(_text(conf / one / "src_valid_mark") == "1" for one in names)

    def _is_strict(self, name: str, host: Address) -> bool:
        """Whether the kernel drops packets from an interface whose answers would take
        another interface. IPv6 has no such setting."""
        if host.version == 6:
            return False
        conf = Path(f"{self.root}/proc/sys/net/ipv4/conf")
        values = [_text(conf / one / "rp_filter") for one in ("all", name)]
        return max(values) == _STRICT


def _wrong(ident: str, host: Address, what: str, cure: Cure, seen: str) -> Finding:
    return Finding(WRONG, ident, str(host), what, cure, seen)


def _tool(address: Address, command: str) -> str:
    return command.replace("ip ", "ip -6 ", 1) if address.version == 6 else command


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "0"


def _name(index: int) -> str:
    try:
        return if_indextoname(index)
    except OSError:
        return f"interface {index}"  # the interface has just gone
