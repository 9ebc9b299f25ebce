"""net.ipv4.conf.BRIDGE.route_localnet: 1 while 127.0.0.1 leads to a guest behind it.

With it a bridge lets packets with a loopback address through. So it is set only after
the rule that drops such packets of the guests is in the kernel, and restored before
that rule goes. The state directory keeps the former value from before the change.
"""

from collections.abc import Callable

from ..store import files
from ..store.state import State

_PATH = "/proc/sys/net/ipv4/conf/{}/route_localnet"
_KEPT = "localnet"


def is_localnet_enabled(bridge: str, root: str = "") -> bool:
    """Whether packets with loopback addresses pass the bridge."""
    return (files.read(root + _PATH.format(bridge)) or b"").strip() == b"1"


def enable_localnet(
    state: State,
    bridges: set[str],
    root: str = "",
    write: Callable[[str, bytes], None] = files.overwrite,
) -> list[str]:
    """Set route_localnet of these bridges; a bridge that does not exist is passed over.

    Returns the problems, for the log.
    """
    problems = []
    for bridge in bridges:
        path = root + _PATH.format(bridge)
        before = files.read(path)
        if before is None:
            continue
        if not state.read(f"{_KEPT}/{bridge}"):
            state.write(f"{_KEPT}/{bridge}", before.decode())
        if before.strip() != b"1":
            problems += _set(path, bridge, b"1", write)
    return problems


def restore_localnet(
    state: State,
    bridges: set[str],
    root: str = "",
    write: Callable[[str, bytes], None] = files.overwrite,
) -> list[str]:
    """Restore the former values of these bridges; problems for the log. A value that
    could not be restored stays kept."""
    problems = []
    for bridge in bridges.intersection(state.names(_KEPT)):
        before = state.read(f"{_KEPT}/{bridge}").strip().encode()
        path = root + _PATH.format(bridge)
        refused = []
        if before and files.read(path) is not None:
            refused = _set(path, bridge, before, write)
        if not refused:
            state.remove(f"{_KEPT}/{bridge}")
        problems += refused
    return problems


def restore_other_localnet(
    state: State, bridges: set[str], root: str = ""
) -> list[str]:
    """Restore the former values of all bridges but these."""
    return restore_localnet(state, set(state.names(_KEPT)) - bridges, root)


def _set(
    path: str, bridge: str, value: bytes, write: Callable[[str, bytes], None]
) -> list[str]:
    try:
        write(path, value)
    except OSError as error:
        name = f"net.ipv4.conf.{bridge}.route_localnet"
        return [f"{name} cannot be set: {error.strerror}"]
    return []
