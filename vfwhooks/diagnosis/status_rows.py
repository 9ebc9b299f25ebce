"""Rows of `status`: the state of a forward and of a guest, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..config.port_mappings import FILE, METADATA, PortMapping
from ..values.protocols import ALL_PROTOCOLS

IN_METADATA = "in the guest's metadata"


@dataclass(frozen=True)
class ForwardStatus:
    """One forward to one address of one guest, as status --json shows it.

    The states: active; pending (no address of the guest is known, or the host does not
    have the published address); stopped (the guest does not run); conflict (another
    user has the port or the address); blocked (our entries are missing, or something
    else is in the packets' way, or forwards.yaml does not permit it).

    `source` says where the forward is from: `file` for the guest's own entry in
    forwards.yaml, `metadata`, or `pattern` for the `pattern` of forwards.yaml that
    matches the guest's name. Of a pattern that matches no running guest, `guest` is the
    pattern itself.
    """

    guest: str
    host_ip: str
    published: str
    target: str
    protocol: str
    address: str
    state: str
    reason: str
    connections: int
    source: str = FILE
    pattern: str = ""
    allow_from: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The reason, and where the forward is written if not in forwards.yaml."""
        return self.noted(IN_METADATA if self.source == METADATA else "").reason

    def noted(self, more: str) -> ForwardStatus:
        """The row with one more reason behind those that it has."""
        return replace(self, reason="; ".join(filter(None, (self.reason, more))))

    def cells(self) -> dict[str, str]:
        """The cells of its row in the table of `status`, by column title."""
        return {
            "GUEST": self.guest + self._by,
            "HOST": self.host_ip,
            "PUBLISHED": f"{self.published}/{self.protocol}",
            "TARGET": f"{self.address or '-'} {self.target}",
            "STATE": self.state,
            "CONNECTIONS": str(self.connections),
            "": self.said,
        }

    @property
    def _by(self) -> str:
        """The pattern behind the guest's name, if it is by a pattern."""
        return f" ({self.pattern})" if self.pattern not in ("", self.guest) else ""

    @property
    def is_loopback(self) -> bool:
        """Whether it is for the host itself, whose own packets pass no forward
        chain."""
        return self.host_ip.startswith("127.")


@dataclass(frozen=True)
class GuestStatus:
    """One guest that runs, or that forwards.yaml names. `metadata` says why nothing of
    its metadata counts, '' if something does or it has none."""

    name: str
    uuid: str
    state: str
    addresses: list[str]
    metadata: str = ""


def spell_ports(forward: PortMapping, first: int, last: int) -> str:
    """Ports of a forward, as a row has them."""
    ports = f"{first}-{last}" if last > first else f"{first}"
    return ALL_PROTOCOLS if forward.protocol == ALL_PROTOCOLS else ports
