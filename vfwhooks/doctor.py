"""`vfwhooks doctor`: what is wrong with the host as a whole, and what to do about it.

It looks and changes nothing. What concerns one forward is for `status` and `explain`.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from . import compiled
from .absent import find_absent
from .backend import IPTABLES, open_backend
from .bans import check_bans
from .compiler import find_gone
from .entries import Dnat
from .errors import show
from .findings import NOTE, OK, WRONG, Finding
from .forwards import GuestForwards
from .guestnames import find_twins
from .hairpin import is_set
from .hookfiles import check_hooks, find_laid, find_service, find_uncalled
from .hookrights import check_confinement, find_refused, refused_drivers
from .inventory import Inventory
from .ipscript import FILTER, parse_save
from .libvirtd import Answer
from .libvirtrules import is_libvirts
from .listeners import list_listeners
from .model import Guest
from .netlink import SOCK_DIAG, Netlink
from .nfnetlink import PARTS, has_table
from .nftfib import CURE, NO_FIB, lacks_fib
from .obstacles import find_obstacles
from .overview import look
from .process import Run
from .records import Record
from .schema import read_forwards
from .sessions import find_sessions
from .state import State
from .takendoctor import check_taken
from .unanswered import check_unanswered

_APPLY = "run: vfwhooks apply"
_ENDS = "ifindex", "iflink"
_BRIDGES = "/proc/sys/net/bridge/bridge-nf-call-iptables"


def examine(
    state: State,
    main: str,
    answer: Answer | None,
    known: set[tuple[str, str]],
    root: str = "",
) -> list[Finding]:
    """Everything that there is to say, what is well included; `answer` is libvirtd's
    word on who runs, if it gave one, and `known` are name and UUID of all guests that
    it has."""
    inventory = Inventory(f"{state.path}/networks")
    found = [*check_config(main, state.path), *_in_force(state, main), *_rights(main)]
    refused = find_refused(root)
    is_followed = find_service(root) > 0
    found += check_hooks(state.path, refused_drivers(refused), is_followed, root)
    found += check_confinement(state.path, refused, root)
    found += _uncalled(state, root)
    found += _firewall(state.base(), inventory)
    found += _kernel(state.base(), inventory, root)
    found += check_bans(Run())
    guests = read_forwards(Path(main))[0]
    forwarded = [one for one in guests if one.forwards]
    found += _absent(forwarded, inventory)
    found += check_taken(forwarded, state)
    found += check_unanswered(look(state, main).forwards)
    found += _bridged(forwarded, state.records(), root)
    found += _watch(root)
    written = {one.name for one in forwarded}
    found += _guests(state, written, answer)
    recorded = {w for r in state.records() for w in (r.guest.name, r.guest.uuid)}
    sessions = find_sessions(root)
    found += _in_sessions(written - recorded, sessions)
    known_names = {name for both in known for name in both}.union(sessions)
    found += _strangers(written, known_names) if answer else []
    found += _named_twice(guests, known)
    return found


def check_config(main: str, state: str) -> Iterator[Finding]:
    """What is wrong with forwards.yaml; what was there and is gone included."""
    problems = find_gone(Path(main), state) + read_forwards(Path(main))[1]
    wrong = [problem for problem in problems if not problem.is_warning]
    if wrong:
        count = f"{len(wrong)} problems" if len(wrong) > 1 else "a problem"
        yield Finding(WRONG, f"{main} has {count}", "run: vfwhooks check")
    else:
        yield Finding(OK, main)


def _in_force(state: State, main: str) -> Iterator[Finding]:
    """Whether the last good configuration is what the files say."""
    config = compiled.load(f"{state.path}/compiled")
    if config and not compiled.is_current(config.stamps, main):
        yield Finding(WRONG, f"{main} is not in force as it is", _APPLY)


def _rights(main: str) -> Iterator[Finding]:
    """Who may write to where it lies."""
    for path in (Path(main).parent, Path(main).parent / "forwards.d"):
        if path.exists():
            about = path.stat()
            if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or about.st_uid:
                what = f"{path} can be written by others than root"
                yield Finding(
                    WRONG, what, f"run: chown root {path} && chmod go-w {path}"
                )


def _firewall(base: dict[str, str], inventory: Inventory) -> Iterator[Finding]:
    """The backend, and whether libvirt's own rules are there."""
    if "backend" not in base:
        yield Finding(NOTE, "no guest with forwards has started since the last boot")
        return
    name, link = base["backend"], Netlink()
    networks = [inventory.network(one) for one in inventory.names()]
    known = [n for n in networks if n and n.is_ours and n.mode != "open"]
    if name == IPTABLES:
        rules = parse_save(Run()(["iptables-save", "-t", "filter"]))
        forward = FILTER, "FORWARD"
        texts = [rule for _, rule in rules.get(forward, [])]
        missing = (
            [] if any(is_libvirts(forward, t, known) for t in texts) else ["FORWARD"]
        )
    else:
        missing = [" ".join(PARTS[f][1:]) for f in "46" if not has_table(link, f)]
        if not open_backend(base, link, Run(), inventory).is_intact():
            yield Finding(WRONG, "our rules have been changed by somebody", _APPLY)
        if not has_table(link, "own"):
            is_fibless = lacks_fib(Run())
            what = f": {NO_FIB}" if is_fibless else ""
            cure = CURE if is_fibless else _APPLY
            yield Finding(WRONG, f"our table inet vfwhooks is missing{what}", cure)
            return
    if missing and known:
        what = f"libvirt's rules are missing ({', '.join(missing)})"
        yield Finding(WRONG, what, "restart libvirtd (virtnetworkd, where it runs)")
    else:
        beside = "" if missing else ", beside libvirt's rules"
        yield Finding(OK, f"backend {name}{beside}")


def _kernel(base: dict[str, str], inventory: Inventory, root: str) -> Iterator[Finding]:
    """What else is in the packets' way, and what the kernel does not tell us."""
    networks = [n for n in map(inventory.network, inventory.names()) if n]
    families = {"6" if ":" in a else "4" for n in networks for a, _ in n.subnets}
    bridges = [network.bridge for network in networks]
    obstacles = [
        one
        for one in find_obstacles(base, bridges, Netlink(), Run(), root or "/")
        if one.family in families
    ]
    for line in dict.fromkeys(map(str, obstacles)):
        yield Finding(WRONG, line)
    if not obstacles:
        yield Finding(OK, "nobody else drops what is forwarded")
    try:
        list_listeners(Netlink(SOCK_DIAG), "tcp", [(1, 1)])
    except OSError as error:
        what = f"the kernel does not say who listens ({error.strerror})"
        yield Finding(NOTE, what, "forwards yield to no service of the host")


def _absent(forwarded: list[GuestForwards], inventory: Inventory) -> Iterator[Finding]:
    """Addresses that guests are published on and that the host does not have."""
    public = [str(one) for guest in forwarded for one in guest.public_ips]
    whose: dict[str, list[str]] = {}
    for guest in forwarded:
        for forward in guest.forwards:
            names = whose.setdefault(str(forward.host_ip or "*"), [])
            names.append(show(guest.name))
    for host, why in find_absent(whose, public, inventory).items():
        names = list(dict.fromkeys(whose[host]))
        yield Finding(NOTE, f"{', '.join(names)}: {why}")


def _bridged(
    forwarded: list[GuestForwards], records: list[Record], root: str
) -> Iterator[Finding]:
    """What does not work while br_netfilter is on."""
    path = Path(root + _BRIDGES)
    if not path.exists() or path.read_text().strip() != "1":
        return
    if _does_not_reach_itself(forwarded, records, root):
        what = "br_netfilter is on: a guest does not reach itself through the host"
        cure = "where it must, write hairpin: true for it in forwards.yaml"
        yield Finding(NOTE, what, cure)
    for name in _cables_to_ourselves(Path(f"{root}/sys/class/net")):
        what = f"{name} leads into a bridge of this host: no DNAT works by that way"
        cure = "run: sysctl net.bridge.bridge-nf-call-iptables=0"
        yield Finding(WRONG, what, cure)


def _does_not_reach_itself(
    forwarded: list[GuestForwards], records: list[Record], root: str
) -> bool:
    """Whether a guest that is forwarded to is not to be in hairpin mode, and nobody has
    set that by hand: any that runs, or if none does, any in the file."""
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
    """Interfaces whose other end is a port of a bridge here, as on an old Xen Dom-0:
    with br_netfilter on, a packet passes netfilter twice, its answer as a stranger."""
    ends = {}
    for link in sorted(links.iterdir()):
        try:
            own, other = ((link / name).read_text().strip() for name in _ENDS)
        except OSError:
            continue  # it has just gone, or is no interface: bonding_masters
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
    """Guests that the service had to find by itself, though hooks are laid."""
    for record in find_uncalled(state.records(), state.path, root):
        driver = record.guest.driver
        what = f"{show(record.guest.name)} started and the {driver} hook was not called"
        cure = "what is said of hooks above, and libvirt's log, tell why"
        yield Finding(WRONG, f"{what}: the service found it", cure)


def _watch(root: str) -> Iterator[Finding]:
    pid = find_service(root)
    if pid:
        yield Finding(OK, f"watch runs (pid {pid})")
        return
    what = "watch does not run: edits and late addresses wait for the next event"
    if not find_laid(root):
        what = "watch does not run and no hook is laid: no guest is forwarded to"
    level = NOTE if find_laid(root) else WRONG
    yield Finding(level, what, "run: systemctl enable --now vfwhooks")


def _guests(
    state: State, written: set[str], answer: Answer | None
) -> Iterator[Finding]:
    """Guests that libvirt and our records disagree on, and those that get in each
    other's way; `written` are the names and UUIDs with forwards."""
    if answer is None:
        what = "libvirtd does not answer: guests are those that the hooks have recorded"
        yield Finding(NOTE, what)
        return
    records = {r.key: r for r in state.records() if r.key[0] in answer.drivers}
    by_uuid = {record.guest.uuid: record for record in records.values()}
    for guest in answer.guests:
        name = show(guest.name)
        known = records.pop((guest.driver, guest.name), None)
        other = by_uuid.get(guest.uuid)
        if other and other.guest.name != guest.name:
            records.pop(other.key, None)
            what = f"{show(other.guest.name)} is called {name} now"
            yield Finding(WRONG, what, f"rename it in forwards.yaml, then {_APPLY}")
        elif known is None and written & {guest.name, guest.uuid}:
            yield Finding(WRONG, f"{name} runs and is not forwarded to", _APPLY)
        elif known and known.guest.uuid != guest.uuid:
            yield Finding(WRONG, f"{name} is another guest than recorded", _APPLY)
    for record in records.values():
        what = f"{show(record.guest.name)} does not run and is still recorded"
        yield Finding(WRONG, what, _APPLY)
    yield from _twins(list(answer.guests))


def _in_sessions(written: set[str], sessions: dict[str, str]) -> Iterator[Finding]:
    """Guests in forwards.yaml that run where nobody hears of them."""
    for name in sorted(written.intersection(sessions)):
        yield Finding(WRONG, f"{show(name)} is not forwarded to: {sessions[name]}")


def _strangers(written: set[str], known: set[str]) -> Iterator[Finding]:
    """Who is forwarded to and is nobody here: misspelt, or on another host just now."""
    for name in sorted(written - known):
        what = f"forwards.yaml names {show(name)}, and libvirt has no such guest"
        yield Finding(NOTE, what, "virsh list --all shows who there is")


def _named_twice(
    guests: list[GuestForwards], known: set[tuple[str, str]]
) -> Iterator[Finding]:
    """Guests that stand in forwards.yaml under their name and their UUID."""
    for problem in find_twins(guests, known):
        yield Finding(NOTE, f"{problem.place}: {problem.message}")


def _twins(guests: list[Guest]) -> Iterator[Finding]:
    """Two interfaces with one MAC: leases and neighbours cannot tell them apart."""
    owners: dict[tuple[str, str], list[str]] = {}
    for guest in guests:
        for nic in guest.nics:
            if nic.mac:
                place = nic.mac, nic.network or nic.bridge
                owners.setdefault(place, []).append(show(guest.name))
    for (mac, _), names in owners.items():
        if len(names) > 1:
            both = " and ".join(sorted(set(names)))
            yield Finding(WRONG, f"{both} have one MAC, {mac}", "give each its own")
