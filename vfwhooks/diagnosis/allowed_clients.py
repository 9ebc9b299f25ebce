"""Who may connect to a forward with `allow_from`: for `doctor` and `explain`. Pure."""

from __future__ import annotations

from ..config.allow_from import collapse
from ..config.forwards import Forward
from ..values.findings import NOTE, Finding, by_hand
from ..values.protocols import PROTOCOLS
from .asked_forwards import ports_of
from .foreign_reasons import few
from .status_rows import ForwardStatus


def only_from(forward: Forward) -> str:
    """The source ranges in words; '' if everybody may connect."""
    ranges = [str(one) for one in collapse(forward.allow_from)]
    return f"only from {few(ranges)}" if ranges else ""


def is_for_nobody(row: ForwardStatus) -> bool:
    """Whether no source range is of the family of the guest's address."""
    families = {":" in one for one in row.allow_from}
    return bool(row.address and families) and (":" in row.address) not in families


def tell_clients(row: ForwardStatus, forward: Forward | None) -> Finding | None:
    """The hop of a forward that not everybody may use, and how to ask for one client;
    None for a forward for all."""
    said = only_from(forward) if forward else ""
    if not said:
        return None
    protocol = row.protocol if row.protocol in PROTOCOLS else PROTOCOLS[0]
    port = f"{protocol}/{max(ports_of(row).first, 1)}"
    argv = "vfwhooks", "explain", "--trace", port, "--from", "ADDRESS", "--wait", "0"
    cure = by_hand("for one of them, or another: {run}", *argv)
    what = f"clients: {said}"
    if is_for_nobody(row):
        what += f", so nobody by IPv{6 if ':' in row.address else 4}"
    return Finding(NOTE, "clients-limited", row.guest, what, cure, "allow_from")
