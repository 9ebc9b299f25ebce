"""Hairpin mode of guests' bridge ports, for guests that connect to themselves.

A bridge does not send a packet back by the port that it came in by, unless the port is
in hairpin mode; with br_netfilter, this also concerns a guest's packets to its own
published port. The mode is set by netlink: the service may only read sysfs. A port that
is in hairpin mode already is not ours. The guest's record names our ports before they
are set; when the guest stops, its ports go by themselves.
"""

import errno
import struct
from collections.abc import Callable

from ..host.netlink import (
    NETLINK_ROUTE,
    Netlink,
    attribute,
    attributes,
    message,
    nested,
)
from ..host.routes import find_link
from ..store import files
from ..store.records import Hairpin, Pair

_SETLINK = 19
_BRIDGE = 7  # the family of messages about bridge ports
_LINK = struct.Struct("=BxHiII")
_MASTER, _PORT, _LINK_INFO = 10, 12, 18
_SLAVE_DATA = 5
_MODE = 4


def is_set(device: str, root: str = "") -> "bool | None":
    """Whether the port is in hairpin mode; None if it is no bridge port."""
    try:
        found = files.read(f"{root}/sys/class/net/{device}/brport/hairpin_mode")
    except OSError:
        return None  # the port has just gone
    return None if found is None else found.strip() == b"1"


class Hairpins:
    """The bridge ports of guests before and after a change, for a holder of the lock:
    first `look`, then write the records, then `carry_out`."""

    def __init__(self, connect: Callable[[int], Netlink] = Netlink) -> None:
        # The inventory's socket would not do: in a dry run it leads to the real host.
        self._connect = connect
        self._link: Netlink | None = None
        self._bridges: dict[str, int] = {}
        self._to_set: list[Hairpin] = []
        self.problems: list[str] = []

    def look(self, pairs: list[Pair]) -> None:
        """Note in the new records which ports are ours to set back: the ports that are
        not in hairpin mode yet, and those that we have set."""
        known = {
            (device, bridge): number
            for old, _ in pairs
            for device, bridge, number in (old.hairpins if old else ())
        }
        for _, new in pairs:
            if new:
                new.hairpins = [self._noted(port, known) for port in new.hairpins]

    def carry_out(self, pairs: list[Pair]) -> list[str]:
        """Set the new ports, and set the old ones back; problems for the log. A port
        that could not be set back stays in the record."""
        kept = {port[2] for _, new in pairs for port in (new.hairpins if new else ())}
        for old, new in pairs:
            if old and new:
                gone = [port for port in old.hairpins if port[2] not in kept]
                new.hairpins += [port for port in gone if not self.give_back(port)]
        for port in self._to_set:
            self._set(port, True)
        self.close()
        return self.problems

    def give_back(self, port: Hairpin) -> bool:
        """Set a port of ours back, if it is still a port of that bridge; False if the
        kernel refuses."""
        if not port[2]:
            return True
        try:
            found = self._find(port)
        except OSError as error:
            self._complain(port, error)
            return False
        return not (found and found[1]) or self._set(port, False)

    def close(self) -> None:
        if self._link:
            self._link.close()
            self._link = None

    def _noted(self, port: Hairpin, known: dict[tuple[str, str], int]) -> Hairpin:
        device, bridge, _ = port
        ours = known.get((device, bridge), 0)
        try:
            found = self._find(port)
        except OSError as error:
            self._complain(port, error)
            return device, bridge, ours
        if found is None:
            return port  # the port will be one, and nobody has set it
        number, is_on = found
        noted = device, bridge, number
        if not is_on:
            self._to_set.append(noted)
        return noted if not is_on or number == ours else port

    def _find(self, port: Hairpin) -> "tuple[int, bool] | None":
        """The interface index of a port, and whether it is in hairpin mode; None if it
        is no port of that bridge. Raises OSError."""
        device, bridge, number = port
        if bridge not in self._bridges:
            self._bridges[bridge], _ = self._ask(0, bridge)
        index, about = self._ask(number, device)
        (master,) = struct.unpack("=I", about.get(_MASTER, bytes(4)))
        data = attributes(about.get(_LINK_INFO, b"")).get(_SLAVE_DATA, b"")
        mode = attributes(data).get(_MODE, b"")
        if not mode or not index or master != self._bridges[bridge]:
            return None
        return index, mode != b"\0"

    def _ask(self, number: int, name: str) -> tuple[int, dict[int, bytes]]:
        """The interface with this index, or else with this name (see `find_link`)."""
        if self._link is None:
            self._link = self._connect(NETLINK_ROUTE)
        return find_link(self._link, number, "" if number else name)

    def _set(self, port: Hairpin, is_on: bool) -> bool:
        """Set a port's mode; True if this is done, or the port has gone."""
        head = _LINK.pack(_BRIDGE, 0, port[2], 0, 0)
        mode = nested(_PORT, attribute(_MODE, bytes((is_on,))))
        try:
            if self._link is None:
                self._link = self._connect(NETLINK_ROUTE)
            self._link.request(message(_SETLINK, head + mode))
        except OSError as error:
            if error.errno != errno.ENODEV:
                self._complain(port, error)
                return False
        return True

    def _complain(self, port: Hairpin, error: OSError) -> None:
        self.problems.append(
            f"hairpin mode of {port[0]} cannot be set: {error.strerror}"
        )
