"""`vfwhooks doctor`: findings about the host as a whole, each with the next step.

Nothing is changed. `status` and `explain` tell about single forwards.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path

from ..config import compiled_file, source_stamps
from ..config.compiler import find_gone
from ..config.config_files import find_files
from ..config.forwards import GuestForwards
from ..config.matched_names import find_matching, named
from ..config.schema import read_forwards
from ..host.listeners import list_listeners
from ..host.netlink import NETLINK_SOCK_DIAG, Netlink
from ..host.run import Run
from ..installation.hook_files import check_hooks, find_laid, find_uncalled
from ..installation.hook_permissions import (
    check_confinement,
    find_refused,
    refused_drivers,
)
from ..installation.service_process import find_service
from ..libvirt.client import Answer
from ..libvirt.inventory import Inventory
from ..libvirt.user_sessions import find_sessions
from ..reconcile.hairpin_mode import is_set
from ..store.records import Record
from ..store.state import State
from ..values.entries import Dnat
from ..values.errors import VfwError, show
from ..values.findings import (
    APPLY,
    NOTE,
    OK,
    WRONG,
    Finding,
    by_hand,
    in_shell,
    quote,
    run,
)
from ..values.published import Address
from .absent_host_ips import find_absent
from .bans import check_bans
from .blocked_ways import check_blockers
from .doctor_firewall import check_firewall
from .doctor_foreign import check_taken
from .doctor_guests import (
    check_metadata,
    check_named_twice,
    check_records,
    check_sessions,
    check_strangers,
)
from .overview import look
from .unanswered import check_unanswered

_ENDS = "ifindex", "iflink"
# The kernel loads them by itself, unless it was upgraded without a reboot.
_MODULES = "modprobe", "-a", "inet_diag", "tcp_diag", "udp_diag"
_BRIDGES = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def examine(
    state: State,
    main: str,
    answer: Answer | None,
    known: set[tuple[str, str]],
    root: str = "",
) -> list[Finding]:
    """All findings, good ones too. `answer` is libvirtd's list of running guests, if it
    gave one; `known` has name and UUID of all guests that libvirtd has."""
    inventory, base = Inventory(f"{state.path}/networks"), state.base()
    guests = read_forwards(Path(main))[0]
    forwarded = [one for one in guests if one.forwards]
    written = _written(guests, forwarded, answer)
    recorded = {w for r in state.records() for w in (r.guest.name, r.guest.uuid)}
    sessions = find_sessions(root)
    overview = cache(lambda: look(state, main))
    known_names = {name for both in known for name in both}.union(sessions)
    parts = {
        "forwards.yaml": lambda: chain(
            check_config(main, state.path), _in_force(state, main), _rights(main)
        ),
        "hooks": lambda: chain(_hooks(state, root), _uncalled(state, root)),
        "our rules": lambda: check_firewall(base, inventory, root),
        "other firewalls": lambda: check_blockers(
            state, inventory, overview().forwards, root
        ),
        "listeners": _listeners,
        "bans": lambda: check_bans(Run()),
        "published addresses": lambda: _absent(forwarded, inventory),
        "rules of others": lambda: check_taken(forwarded, state),
        "connections": lambda: check_unanswered(overview().forwards),
        "metadata": lambda: check_metadata(overview()),
        "bridges": lambda: _bridged(forwarded, state.records(), root),
        "the service": lambda: _watch(root),
        "guests": lambda: chain(
            check_records(state, written, answer),
            check_sessions(written - recorded, sessions),
            check_strangers(written, known_names) if answer else (),
            check_named_twice(named(guests), known),
        ),
    }
    return [one for about, part in parts.items() for one in _looked_at(about, part)]


def _written(
    guests: list[GuestForwards], forwarded: list[GuestForwards], answer: Answer | None
) -> set[str]:
    """The names with forwards, also of running guests that have them by a pattern."""
    names = {one.name for one in named(forwarded)}
    for one in answer.guests if answer else ():
        pattern = find_matching(guests, one.name, one.uuid)
        if pattern and pattern.forwards:
            names.add(one.name)
    return names


def _looked_at(about: str, part: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """The findings of a part; a tool or a kernel that fails ends this part alone."""
    try:
        yield from part()
    except PermissionError:
        raise  # only root may look
    except (OSError, VfwError) as error:
        what = f"{about}: this could not be looked at: {error}"
        yield Finding(WRONG, "not-examined", about, what, None, str(error))


def _hooks(state: State, root: str) -> Iterator[Finding]:
    refused = find_refused(root)
    is_followed = find_service(root) > 0
    yield from check_hooks(state.path, refused_drivers(refused), is_followed, root)
    yield from check_confinement(state.path, refused, root)


def check_config(main: str, state: str) -> Iterator[Finding]:
    """The problems of forwards.yaml, and files that are gone."""
    problems = find_gone(Path(main), state) + read_forwards(Path(main))[1]
    wrong = [problem for problem in problems if not problem.is_warning]
    if wrong:
        count = f"{len(wrong)} problems" if len(wrong) > 1 else "a problem"
        cure, seen = by_hand("run: {run}", "vfwhooks", "check"), str(wrong[0])
        yield Finding(WRONG, "config-mistakes", main, f"{main} has {count}", cure, seen)
    else:
        yield Finding(OK, "config-good", main, main)


def _in_force(state: State, main: str) -> Iterator[Finding]:
    """Whether the last good configuration is the current files' content. Those of
    broken files wait for somebody to mend them."""
    taken = compiled_file.stamps_in_force(state.path)
    is_broken = any(one.level == WRONG for one in check_config(main, state.path))
    if taken and not is_broken and not source_stamps.is_current(taken, main):
        what = f"{main} is not in force as it is"
        seen = "the files have changed since they were compiled"
        yield Finding(WRONG, "config-not-in-force", main, what, APPLY, seen)


def _rights(main: str) -> Iterator[Finding]:
    """The files and directories that others than root may write to."""
    directory = Path(main).parent
    for path in (directory, directory / "forwards.d", *find_files(Path(main))):
        if path.exists():
            about = path.stat()
            if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or about.st_uid:
                what = f"{path} can be written by others than root"
                at = quote(str(path))
                cure = in_shell(f"chown root {at} && chmod go-w {at}")
                seen = f"mode {stat.S_IMODE(about.st_mode):o}, user {about.st_uid}"
                yield Finding(WRONG, "config-writable", str(path), what, cure, seen)


def _listeners() -> Iterator[Finding]:
    """Whether the kernel lists listeners."""
    try:
        list_listeners(Netlink(NETLINK_SOCK_DIAG), "tcp", [(1, 1)])
    except OSError as error:
        what = f"the kernel does not say who listens ({error.strerror})"
        what += ": forwards yield to no service of the host"
        cure = by_hand("reboot, or: {run}", *_MODULES)
        seen = f"sock_diag: {error.strerror}"
        yield Finding(NOTE, "listeners-unknown", "kernel", what, cure, seen)


def _absent(forwarded: list[GuestForwards], inventory: Inventory) -> Iterator[Finding]:
    """Addresses that guests are published on and that the host does not have."""
    public = [one for guest in forwarded for one in guest.public_ips]
    whose: dict[Address | None, list[str]] = {}
    for guest in forwarded:
        for forward in guest.forwards:
            names = whose.setdefault(forward.host_ip, [])
            names.append(show(guest.name))
    for host, why in find_absent(whose, public, inventory).items():
        names = list(dict.fromkeys(whose[host]))
        what = f"{', '.join(names)}: {why}"
        yield Finding(NOTE, "host-address-absent", str(host), what, None, why)


def _bridged(
    forwarded: list[GuestForwards], records: list[Record], root: str
) -> Iterator[Finding]:
    """What does not work while br_netfilter is on."""
    path = Path(root + _BRIDGES)
    if not path.exists() or path.read_text().strip() != "1":
        return
    seen = "net.bridge.bridge-nf-call-iptables is 1"
    if _does_not_reach_itself(forwarded, records, root):
        what = "br_netfilter is on: a guest does not reach itself through the host"
        cure = by_hand("where it must, write hairpin: true for it in forwards.yaml")
        yield Finding(NOTE, "hairpin-off", "br_netfilter", what, cure, seen)
    for name in _cables_to_ourselves(Path(f"{root}/sys/class/net")):
        what = f"{name} leads into a bridge of this host: no DNAT works by that way"
        cure = run("sysctl", "-w", "net.bridge.bridge-nf-call-iptables=0")
        yield Finding(WRONG, "cable-to-ourselves", name, what, cure, seen)


def _does_not_reach_itself(
    forwarded: list[GuestForwards], records: list[Record], root: str
) -> bool:
    """Whether a guest with forwards gets no hairpin mode, and its port was not set by
    hand. Running guests count; if there is none, all guests in the file."""
    running = [r for r in records if any(isinstance(e, Dnat) for e in r.entries)]
    if not running:
        return not all(guest.hairpin for guest in forwarded)
    return any(
        not record.hairpins
        and not any(
            nic.device and is_set(nic.device, root) for nic in record.guest.nics
        )
        for record in running
    )


def _cables_to_ourselves(links: Path) -> list[str]:
    """Interfaces whose other end is a port of a bridge here, as on an old Xen Dom-0.
    With br_netfilter on, a packet passes netfilter twice there, and its answer has no
    connection."""
    ends = {}
    for link in sorted(links.iterdir()):
        try:
            own, other = ((link / name).read_text().strip() for name in _ENDS)
        except OSError:
            continue  # the interface is gone, or is none: bonding_masters
        if own != other:
            ends[own, other] = link
    return [
        link.name
        for (own, other), link in ends.items()
        if (other, own) in ends
        and not (link / "brport").exists()
        and (ends[other, own] / "brport").exists()
    ]


def _uncalled(state: State, root: str) -> Iterator[Finding]:
    """Guests that the service found by itself, although hooks are installed."""
    for record in find_uncalled(state.records(), state.path, root):
        name, driver = record.guest.name, record.guest.driver
        what = f"{show(name)} started and the {driver} hook was not called"
        what += ": the service found it"
        cure = by_hand("what is said of hooks above, and libvirt's log, tell why")
        seen = f"the hook was laid, and {driver}'s daemon had looked for it, before"
        yield Finding(WRONG, "hook-not-called", name, what, cure, seen)


def _watch(root: str) -> Iterator[Finding]:
    pid = find_service(root)
    if pid:
        yield Finding(OK, "service-runs", "vfwhooks", f"watch runs (pid {pid})")
        return
    cure = run("systemctl", "enable", "--now", "vfwhooks")
    if not Path(f"{root}/run/systemd/system").is_dir():
        cure = by_hand("start: {run}", "vfwhooks", "watch")
    seen = "no process is `vfwhooks watch`"
    if find_laid(root):
        what = "watch does not run: edits and late addresses wait for the next event"
        yield Finding(NOTE, "service-stopped", "vfwhooks", what, cure, seen)
    else:
        what = "watch does not run and no hook is laid: no guest is forwarded to"
        yield Finding(WRONG, "nothing-listens", "vfwhooks", what, cure, seen)
