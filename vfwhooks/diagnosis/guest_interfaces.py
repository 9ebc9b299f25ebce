"""What is wrong with interfaces of a running guest, for `status`: one that is out of
its bridge, or out of hairpin mode."""

from __future__ import annotations

from pathlib import Path

from ..reconcile.desired_state import DesiredState
from ..reconcile.hairpin_mode import is_set


def why_unset(desired: DesiredState, root: str) -> str:
    """The reason if somebody has switched off hairpin mode on a port. Other clients are
    not affected."""
    for device, _ in desired.ports:
        if is_set(device, root) is False:
            what = f"{device} is not in hairpin mode: the guest does not reach itself"
            return f"{what}; run vfwhooks apply"
    return ""


def is_detached(device: str, bridge: str, root: str) -> bool:
    """Whether the guest's interface exists and is in no bridge, or in another one."""
    link = Path(f"{root}/sys/class/net/{device}")
    # The master of every Open vSwitch port is ovs-system, and not the bridge.
    master = (link / "master").resolve().name
    return link.exists() and master not in (bridge, "ovs-system")
