"""`vfwhooks import --replace`: ours are put in force, and then the rules that they
replace are taken out. At every point the old rules or ours serve."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.config_files import find_files
from ..config.schema import read_forwards
from ..diagnosis.asked_forwards import label, ports_of
from ..diagnosis.forward_hops import has_guest
from ..diagnosis.live_ruleset import SECONDS, list_live
from ..diagnosis.overview import Overview, look
from ..diagnosis.status_rows import ForwardStatus
from ..firewall.iptables_tools import Tools
from ..foreign.named_rules import NamedRule
from ..foreign.reader import read_foreign
from ..foreign.removal import take_out
from ..host.netlink import Netlink
from ..host.run import Run
from ..importers.asked_first import is_of_family
from ..importers.forwards_file import Made, make_file
from ..importers.imported import Found, Imported
from ..importers.kept_copies import find_copies
from ..importers.old_rules import (
    OldRule,
    find_accepts,
    find_old_rules,
    has,
    is_served,
    kept,
)
from ..importers.settled_forwards import Known
from ..libvirt.client import guests_known_soon
from ..libvirt.inventory import Inventory
from ..rulesets.ruleset_reader import read_ruleset
from ..store.state import State
from ..values.errors import VfwError, show
from ..values.protocols import ALL_PROTOCOLS
from .applied import apply
from .edited_files import file_to_be, refuse_loss
from .outcome import DONE, FAILED
from .output import counted
from .printed_problems import print_plain
from .safe_write import edited_alone, replace_file

_QUESTION = "take them out? y(es), n(o): "
_DROP_IN = "forwards.d/imported.yaml"
# Whose forwards are no rules that could be taken out one by one, and what ends them.
NOT_BY_RULES = {
    "compose": "Docker makes its rules anew; take ports: out, and docker compose up -d",
    "domain": "passt and QEMU forward without rules; take it out with virsh edit",
    "incus": "Incus makes its rules anew; incus network forward port remove",
}


@dataclass(frozen=True)
class Source:
    """What is to be replaced: its kind ('' for the rules of this host), what it holds,
    its name, and its file."""

    kind: str
    found: Found
    name: str
    path: Path | None


@dataclass(frozen=True)
class Here:
    """The host's forwards.yaml and state, and what is known of guests."""

    main: Path
    state: str
    known: Known


def replace_rules(
    source: Source, here: Here, output: Path | None, is_sure: bool
) -> int:
    """Put the forwards in force, take the old rules out, and say what was done; the
    exit status."""
    if source.kind in NOT_BY_RULES:
        what = f"--replace takes no rules out for {source.name}"
        raise VfwError(what, NOT_BY_RULES[source.kind])
    with edited_alone(here.main):
        before = read_forwards(here.main)[0]
        made = make_file(
            source.found, here.known, source.name, lambda one: is_served(one, before)
        )
        path = _path(output, here.main) if made.carried else None
        edited = {path: made.text.encode()} if path else {}
        refuse_loss(here.main, here.state, edited)
        problems = read_forwards(here.main, edited)[1]
        print_plain(problems)
        if any(not one.is_warning for one in problems):
            raise VfwError("nothing is written, and no rule is taken out")
        old = _find(made, here, edited)
        doomed = [one for one in old if not one.why]
        _name(made, path, old)
        if not doomed:
            raise VfwError(
                f"no rule of this host does what {source.name} says",
                "without --replace import prints a forwards.yaml",
            )
        if not _is_wanted(is_sure):
            print("nothing is written, and no rule is taken out")
            return FAILED
        if path:
            replace_file(path, None, edited[path])
    left = _replace(doomed, here, path)
    gone = [one for one in doomed if one.rule not in left]
    print(f"{counted(len(gone), 'rule')} taken out")
    _tell_rest(gone, source.path)
    for rule, why in left.items():
        print(show(f"vfwhooks: {rule.command} is left to you: {why}"), file=sys.stderr)
    return FAILED if left or made.left or len(doomed) < len(old) else DONE


def _path(output: Path | None, main: Path) -> Path:
    """The file to be written; none that is there is touched."""
    default = main if not find_files(main) else main.parent / _DROP_IN
    path = file_to_be(output, main) if output else default
    if path.exists():
        what = f"{path} is there already, and is not overwritten"
        raise VfwError(what, "name another file of forwards.d with -o")
    return path


def _find(made: Made, here: Here, edited: dict[Path, bytes]) -> list[OldRule]:
    """The rules that do what was imported."""
    meant = {key for one in (*made.carried, *made.there) for key in _keys(one)}
    guests = read_forwards(here.main, edited)[0]
    old = find_old_rules(
        list_live(), here.known, lambda one: _keys(one) <= meant, guests
    )
    named = frozenset(one.rule for one in old if not one.why)
    base, inventory = State(here.state).base(), Inventory(f"{here.state}/networks")
    left = read_foreign(base, inventory, Netlink(), Run(seconds=SECONDS), named)
    return [kept(one, left.claims) for one in old]


def _keys(one: Imported) -> set[tuple[str, ...]]:
    ends = one.guest, one.published, one.target
    return {(*ends, protocol) for protocol in one.protocols}


def _name(made: Made, path: Path | None, old: Sequence[OldRule]) -> None:
    """Say what is about to be done."""
    if path:
        guests = counted(made.guests, "guest")
        print(show(f"{path}: {counted(made.forwards, 'forward')} for {guests}"))
    if made.left:
        print(f"{len(made.left)} not carried over: see the end of the file")
    doomed = [one for one in old if not one.why]
    if doomed:
        print("once this is in force, these rules are taken out:")
    for one in doomed:
        print(show(f"  {one.rule}"))
    if len(doomed) < len(old):
        print("these stay:")
    for one in old:
        if one.why:
            print(show(f"  {one.rule}: {one.why}"))
    sys.stdout.flush()


def _is_wanted(is_sure: bool) -> bool:
    """Whether the administrator agrees."""
    if is_sure:
        return True
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        what = "nobody is here to be asked: nothing is written, no rule is taken out"
        raise VfwError(what, "--yes agrees beforehand")
    try:
        return input(_QUESTION).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _replace(
    doomed: Sequence[OldRule], here: Here, path: Path | None
) -> dict[NamedRule, str]:
    """Ours in force, seen to be; then the rules out. Returns those left, and why."""
    state, named = State(here.state), frozenset(one.rule for one in doomed)
    said = f"{path} is written" if path else "nothing was to be written"
    cure = "the old rules serve as before; mend that, and run the same command again"
    try:
        is_done = apply(state, str(here.main), is_dry=False, without=named) == DONE
        overview = look(state, str(here.main), named)
    except (OSError, VfwError) as error:
        raise VfwError(f"{said}, no rule is taken out: {error}", cure) from error
    if not is_done:
        raise VfwError(f"{said}, no rule is taken out", cure)
    left = {one.rule: why for one in doomed if (why := _why_not(one, overview))}
    rules = [one.rule for one in doomed if one.rule not in left]
    run = Run(seconds=SECONDS)
    tools = Tools(Netlink(), run, state.base())
    try:
        left.update(take_out(rules, lambda: read_ruleset(list_live(), ""), tools))
    except (OSError, VfwError) as error:
        left.update({rule: str(error) for rule in rules})
    return left


def _why_not(old: OldRule, overview: Overview) -> str:
    """Why a rule is still needed, by what status says of ours; '' if it is not."""
    for one in old.forwards:
        rows = list(_rows(one, overview))
        if not rows:
            return f"{one.published or 'all'} of {one.guest} is not in force"
        for row in rows:
            # A guest that is mistyped does not run either.
            is_off = row.state == "stopped" and has_guest(
                guests_known_soon(), one.guest
            )
            if row.state != "active" and not is_off:
                return f"{label(row)} is {row.state}: {row.reason}"
            if row.address not in ("", one.address):
                return f"{one.guest} is at {row.address} now"
    return ""


def _rows(one: Imported, overview: Overview) -> Iterator[ForwardStatus]:
    """What status says of a forward."""
    for row in overview.forwards:
        is_of = row.guest == one.guest and not (
            row.address and not is_of_family(row.address, one.address)
        )
        is_on = not one.host_ips or row.host_ip in ("*", *one.host_ips)
        if is_of and is_on and _has(row, one):
            yield row


def _has(row: ForwardStatus, one: Imported) -> bool:
    if not one.published or row.protocol == ALL_PROTOCOLS:
        return not one.published and row.protocol == ALL_PROTOCOLS
    first, _, last = one.published.partition("-")
    ports = type(ports_of(row))(int(first), int(last or first))
    return row.protocol in one.protocols and has(ports_of(row), ports)


def _tell_rest(gone: Sequence[OldRule], source: Path | None) -> None:
    """What is left of the old, and is the administrator's to take out."""
    forwards = [forward for one in gone for forward in one.forwards]
    more = [source] if source and str(source) != "-" else []
    accepts = find_accepts(list_live(), {forward.address for forward in forwards})
    if accepts:
        print("these accepts stay; ours do not need them:")
    for accept in accepts:
        print(show(f"  {accept}"))
    copies = find_copies(forwards, more)
    if copies:
        print("these lines would bring them back; they are yours to take out:")
    for one in copies:
        print(show(f"  {one.where}: {one.text}"))
    kept = [line for one in gone for line in _permanent(one.rule)]
    if kept:
        print("firewalld brings these back when it is reloaded, unless you say:")
    for line in kept:
        print(show(f"  {line}"))


def _permanent(rule: NamedRule) -> list[str]:
    """The command that takes firewalld's rule out for good, if it is there for good."""
    tool, *words = rule.cure or ("",)
    if not tool:
        return []
    asked = [word.replace("--remove-", "--query-") for word in words]
    try:
        Run()([tool, "--permanent", *asked])
    except VfwError:
        return []
    return [" ".join((tool, "--permanent", *words))]
