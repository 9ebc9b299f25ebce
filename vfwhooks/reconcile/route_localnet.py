"""net.ipv4.conf.BRIDGE.route_localnet: 1 while 127.0.0.1 leads to a guest behind it.

With it a bridge lets packets through that have a loopback address, so it is set only
once the rule that drops those of the guests is in the kernel, and restored before that
rule goes. What it was before is kept in the state directory from before the change.
"""

from ..store import files
from ..store.state import State

if False:  # the annotations alone need it
    from collections.abc import Callable

_PATH = "/proc/sys/net/ipv4/conf/{}/route_localnet"
_KEPT = "localnet"


def is_open(bridge: str, root: str = "") -> bool:
    """Whether the kernel lets loopback addresses through this bridge."""
    return (files.read(root + _PATH.format(bridge)) or b"").strip() == b"1"


def open_bridges(
    state: State,
    bridges: "set[str]",
    root: str = "",
    write: "Callable[[str, bytes], None]" = files.overwrite,
) -> list[str]:
    """Let loopback addresses through; a bridge that is not there is passed over.

    Returns what the kernel did not let us do.
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


def close_bridges(
    state: State,
    bridges: "set[str]",
    root: str = "",
    write: "Callable[[str, bytes], None]" = files.overwrite,
) -> list[str]:
    """Give the bridges back what was before; what the kernel did not let us do, which
    stays to be done."""
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


def close_others(state: State, bridges: "set[str]", root: str = "") -> list[str]:
    """Give every bridge but these back what was there before."""
    return close_bridges(state, set(state.names(_KEPT)) - bridges, root)


def _set(
    path: str, bridge: str, value: bytes, write: "Callable[[str, bytes], None]"
) -> list[str]:
    try:
        write(path, value)
    except OSError as error:
        name = f"net.ipv4.conf.{bridge}.route_localnet"
        return [f"{name} cannot be set: {error.strerror}"]
    return []
