"""The compiler for forwards.yaml: it validates, renders base rulesets, and lays out
lookups by guest.

The compiler runs in a child of the hook or service that found a change, so that no YAML
file can end a hook, and in the process of the command line.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from ..store.files import quote
from ..store.state import State
from . import compiled_file, source_stamps
from .allow_from import by_family, chain_name
from .compiled_lines import format_options
from .forwards import Forward, GuestForwards
from .forwards_keys import ANSWERS
from .host_ips import Interfaces
from .kept_over_boot import keep_behind
from .last_good import note_broken
from .port_mappings import EXEMPT_PORTS
from .schema import read_files
from .yaml_nodes import Place, Problem


def main(path: str, state: str) -> None:
    """Compile the file at `path` into the state directory `state`."""
    gc.disable()  # half of the time for 60,000 forwards, of which none is garbage
    compile_file(Path(path), State(state))
    keep_behind(State(state))


def compile_file(path: Path, state: State) -> list[Problem]:
    """Replace the last good configuration by the files' content.

    If there are problems other than warnings, the configuration stays, and the problems
    are written beside it. Returns all problems.
    """
    taken = source_stamps.stamps(str(path))
    interfaces = Interfaces()
    guests, problems, permission = read_files(path, {}, interfaces)
    problems = [*find_gone(path, state.path), *problems]
    wrong = [problem for problem in problems if not problem.is_warning]
    if source_stamps.stamps(str(path)) != taken:
        what = "changed while it was read"
        wrong.append(Problem(Place(str(path)), what, is_passing=True))
    if wrong:
        # A failure that may pass is tried again by the next event: stamps stand for an
        # edit.
        known = "" if any(problem.is_passing for problem in wrong) else taken
        note_broken(state, known, "\n".join(map(str, wrong)))
        return problems
    lines = {one.name: guest_lines(one) for one in guests if not one.is_pattern}
    patterns = {one.name: guest_lines(one) for one in guests if one.is_pattern}
    of_all = _lines_of_all(guests, permission)
    if of_all:
        lines[""] = of_all
    stamps = "\n".join([taken, *interfaces.stamps()])
    rulesets = _base_rulesets(guests, state)
    state.put_compiled(compiled_file.build(stamps, rulesets, lines, patterns))
    state.remove("broken")
    return problems


def _base_rulesets(guests: Sequence[GuestForwards], state: State) -> dict[str, str]:
    """The base rulesets for the guests' lists of source ranges, by the names of their
    chains, and for marks of connections. A chain's name stands for its content. If
    nothing differs, the last texts are used again, since jinja2 costs 30 ms.
    """
    forwards = [forward for guest in guests for forward in guest.forwards]
    ranges = {forward.allow_from for forward in forwards if forward.allow_from}
    lists = {chain_name(one): one for one in ranges}
    marks = [
        word
        for word in ANSWERS
        if any(getattr(forward.options, word) for forward in forwards)
    ]
    source = " ".join([*source_stamps.template_stamps(), *marks, *sorted(lists)])
    last = compiled_file.load(state.path)
    if last:
        try:
            texts = last.base_rulesets()
        except compiled_file.Damaged:
            texts = {}
        last.close()
        if texts.get("source") == source:
            return texts
    from ..firewall.base_ruleset import Allow, Marks, render_base_rulesets

    allows = [Allow(name, by_family(lists[name])) for name in sorted(lists)]
    used = Marks("return_path" in marks, "masquerade" in marks)
    return {
        **render_base_rulesets(tuple(allows), used),
        "source": source,
        "lists": "\n".join(
            f"{n} {','.join(map(str, lists[n]))}" for n in sorted(lists)
        ),
        "marks": " ".join(marks),
    }


def _lines_of_all(guests: Sequence[GuestForwards], permission: str) -> list[str]:
    """The lines that concern every guest."""
    lines = [f"claims {quote(guest.name)}" for guest in guests if guest.is_claimed]
    bridges = dict.fromkeys(guest.bridge for guest in guests if guest.bridge)
    lines += [f"bridge {quote(bridge)}" for bridge in bridges]
    return lines + ([f"metadata {quote(permission)}"] if permission else [])


def guest_lines(guest: GuestForwards) -> list[str]:
    """The guest's lines as a hook reads them (see compiled_lines)."""
    lines = [f"pattern {quote(guest.name)}"] if guest.is_pattern else []
    lines += [f"address {address}" for address in guest.addresses]
    if guest.network:
        lines.append(f"network {quote(guest.network)}")
    if guest.bridge:
        lines.append(f"bridge {quote(guest.bridge)}")
    if guest.is_claimed:
        lines.append(f"claim {claim_name(guest.name)}")
    if guest.is_shared and guest.forwards:
        lines.append("shared")
    if any(map(_is_wide, guest.forwards)):
        lines.append("wide")
    if any(f.host_ip and f.host_ip.is_loopback for f in guest.forwards):
        lines.append("loopback")
    if guest.hairpin and guest.forwards:
        lines.append("hairpin")
    lines += _public_lines(guest)
    verb = "claimed" if guest.is_claimed else "forward"
    lines += [f"{verb} {forward_line(forward)}" for forward in guest.forwards]
    lines += [
        f"unplaced {quote(forward.interface)} {forward_line(forward)}"
        for forward in guest.unplaced
    ]
    return lines


def _public_lines(guest: GuestForwards) -> Iterator[str]:
    """The lines about the guest's public addresses."""
    for address in guest.public_ips:
        if guest.is_hosts_own:
            yield f"over {address}"
        else:
            yield f"public {address}"
            if not guest.is_one_to_one:
                yield f"{'kept' if guest.is_claimed else 'whole'} {address}"
        if guest.is_egress:
            yield f"outgoing {address}"


def claim_name(guest: str) -> str:
    """The owner of a claim's entries: a UUID made from the guest's name."""
    digits = sha256(guest.encode("utf-8", "surrogateescape")).hexdigest()
    cuts = (0, 8), (8, 12), (12, 16), (16, 20), (20, 32)
    return "-".join(digits[first:last] for first, last in cuts)


def _is_wide(forward: Forward) -> bool:
    """Whether the forward publishes, on every address, ports that libvirt's bridges
    need."""
    published = forward.published
    return (forward.host_ip is None or forward.host_ip.is_unspecified) and any(
        published.first <= port <= published.last for port in EXEMPT_PORTS
    )


def forward_line(forward: Forward) -> str:
    """A forward, as a hook reads it behind a word."""
    host = forward.host_ip or "*"
    published, target = forward.published, forward.target
    allow = chain_name(forward.allow_from) if forward.allow_from else "-"
    ports = f"{published.first} {published.last} {target.first} {target.last}"
    words = host, forward.protocol, ports, allow, *format_options(forward.options)
    return " ".join(map(str, words))


def find_gone(path: Path, state: str) -> list[Problem]:
    """A problem for each file that has vanished: that is a broken edit, not an empty
    file."""
    had = source_stamps.stamped(compiled_file.stamps_in_force(state))
    drop_ins = path.parent / "forwards.d"
    gone = [path] if str(path) in had and not _is_there(path) else []
    if any(Path(one).parent == drop_ins for one in had) and not _is_there(drop_ins):
        gone.append(drop_ins)
    cure = "put it back, or write it again: vfwhooks edit; guests: {} says none"
    cures = {path: cure, drop_ins: "put it back; an empty one says none"}
    stays = "is gone; the last good one stays in force"
    return [Problem(Place(str(one)), f"{stays}; {cures[one]}") for one in gone]


def _is_there(path: Path) -> bool:
    """Whether the path exists, also if the user may not look."""
    try:
        return path.exists()
    except PermissionError:
        return True
