"""`apply --dry-run`: the sync of `apply`, on a copy of the state, in a new network
namespace. The kernel there really accepts or refuses the rules.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ..config.compiler import compile_file
from ..config.last_good import is_in_force
from ..firewall.nft_names import PARTS
from ..firewall.nft_netlink import has_table
from ..host.netlink import Netlink
from ..host.run import Run
from ..libvirt.client import Answer
from ..libvirt.inventory import Inventory
from ..reconcile.reconciler import Reconciler
from ..store.state import State
from ..values.errors import VfwError
from .outcome import Outcome

_CLONE_NEWNET = 0x40000000


def dry_run(
    state: State,
    main: str,
    answer: Answer | None,
    asked: int,
    taken: bytes | None,
    after: Callable[[State], None] = lambda _: None,
) -> Outcome:
    """Do the sync of `apply` without a change to the host; `after` may look at the
    state that comes of it. Raises VfwError."""
    # Beside the state directory, so that files get a second link there instead of a
    # copy.
    beside = Path(state.path).parent
    with tempfile.TemporaryDirectory(prefix=".vfwhooks-", dir=beside) as directory:
        copy = Path(directory) / "state"
        _copy_state(state, copy)
        scratch = State(str(copy))
        if not is_in_force(scratch, main):
            compile_file(Path(main), scratch)
        if taken is not None:
            scratch.put_taken(taken)
        inventory = Inventory(f"{copy}/networks")
        # The sockets are opened here, to see neighbours and listeners of this host.
        _ = inventory.route, inventory.diag
        parts = [part for part in PARTS if has_table(Netlink(), part)]
        found = _in_child(
            lambda: _perform(scratch, main, inventory, parts, answer, asked)
        )
        after(scratch)
    return found


def _in_child(work: Callable[[], Outcome]) -> Outcome:
    """What comes of the work in a child. Raises VfwError if the child is ended."""
    mine, its = os.pipe()
    child = os.fork()
    if child == 0:
        with os.fdopen(its, "wb") as pipe:
            pickle.dump(work(), pipe)
        os._exit(0)
    os.close(its)
    with os.fdopen(mine, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    if not data:
        raise VfwError("the dry run did not come to its end")
    found: Outcome = pickle.loads(data)  # from our own child
    return found


def _copy_state(state: State, copy: Path) -> None:
    """Copy the state directory with the lock held. Events are noted without the lock. A
    waiter for the lock waits for thousands of files."""

    def ignored(directory: str, names: list[str]) -> list[str]:
        if directory == f"{state.path}/tmp":
            return names  # other processes write there
        return ["lock"] if directory == state.path else []

    with state.lock():
        shutil.copytree(state.path, copy, ignore=ignored, copy_function=_copy_file)


def _copy_file(source: str, target: str) -> None:
    """Link the file if possible: every change replaces the file, and never its
    content."""
    with suppress(FileNotFoundError):  # removed or renamed since the list was made
        try:
            os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise
            shutil.copyfile(source, target)  # the state may be on another file system


def _perform(
    state: State,
    main: str,
    inventory: Inventory,
    parts: list[str],
    answer: Answer | None,
    asked: int,
) -> Outcome:
    """In the child: leave the host's network, make libvirt's tables, and sync."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
        return Outcome([], [], [f"unshare: {os.strerror(ctypes.get_errno())}"])
    hook = "type filter hook forward priority 0;"
    for part in parts:
        _, family, table = PARTS[part]
        if part != "own":
            lines = f"add table {family} {table}\n"
            lines += f"add chain {family} {table} forward {{ {hook} }}\n"
            Run()(["nft", "-f", "-"], lines)
    reconcile = Reconciler(state, main, inventory)
    reconcile.apply(answer, asked)
    report = reconcile.report
    return Outcome(report.removed, report.added, report.problems, report.named)
