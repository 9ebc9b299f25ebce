"""Settings of interfaces that are 1 while a forward needs them, and get their former
values back.

route_localnet lets packets with a loopback address through a bridge. So it is set only
after the rule that drops such packets of the guests is in the kernel, and restored
before that rule goes. With src_valid_mark of an uplink, strict rp_filter uses the marks
of return_path.
"""

from __future__ import annotations

from collections.abc import Callable

from ..store import files
from ..store.state import State

_PATH = "/proc/sys/net/ipv4/conf/{}/{}"
LOCALNET, VALID_MARK = "route_localnet", "src_valid_mark"
# The directories of the state directory that keep the values from before the change.
_KEPT = {LOCALNET: "localnet", VALID_MARK: "vmark"}


def is_localnet_enabled(bridge: str, root: str = "") -> bool:
    """Whether packets with loopback addresses pass the bridge."""
    value = files.read(root + _PATH.format(bridge, LOCALNET)) or b""
    return value.strip() == b"1"


class KeptSetting:
    """One setting of all interfaces, for a holder of the lock. Each method returns the
    problems, for the log."""

    def __init__(
        self,
        name: str,
        state: State,
        root: str = "",
        write: Callable[[str, bytes], None] = files.overwrite,
    ) -> None:
        self._name = name
        self._kept = _KEPT[name]
        self._state = state
        self._root = root
        self._write = write

    def enable(self, interfaces: set[str]) -> list[str]:
        """Set these; an interface that does not exist is passed over."""
        problems = []
        for interface in interfaces:
            before = files.read(self._path(interface))
            if before is None:
                continue
            if not self._state.read(f"{self._kept}/{interface}"):
                self._state.write(f"{self._kept}/{interface}", before.decode())
            if before.strip() != b"1":
                problems += self._set(interface, b"1")
        return problems

    def restore(self, interfaces: set[str]) -> list[str]:
        """Restore the former values of these. A value that could not be restored stays
        kept."""
        problems = []
        for interface in interfaces.intersection(self._state.names(self._kept)):
            before = self._state.read(f"{self._kept}/{interface}").strip().encode()
            refused = []
            if before and files.read(self._path(interface)) is not None:
                refused = self._set(interface, before)
            if not refused:
                self._state.remove(f"{self._kept}/{interface}")
            problems += refused
        return problems

    def restore_others(self, interfaces: set[str]) -> list[str]:
        """Restore the former values of all but these."""
        return self.restore(set(self._state.names(self._kept)) - interfaces)

    def _path(self, interface: str) -> str:
        return self._root + _PATH.format(interface, self._name)

    def _set(self, interface: str, value: bytes) -> list[str]:
        try:
            self._write(self._path(interface), value)
        except OSError as error:
            name = f"net.ipv4.conf.{interface}.{self._name}"
            return [f"{name} cannot be set: {error.strerror}"]
        return []
