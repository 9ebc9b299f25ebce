"""`vfwhooks add` and `vfwhooks remove`: forwards.yaml is edited and put in force."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ..config.edited_text import remove
from ..config.entry_spelling import (
    count_entries,
    entries_of,
    find_entries,
    find_published,
    format_entry,
    keys_of,
)
from ..config.guest_names import find_stranger, names_near
from ..config.port_spellings import is_entry
from ..config.schema import read_forwards
from ..config.yaml_nodes import Problem
from ..diagnosis.foreign_warnings import find_foreign_warnings
from ..diagnosis.host_warnings import find_host_warnings
from ..diagnosis.overview import Overview, look
from ..libvirt.client import guests_known_soon
from ..libvirt.inventory import Inventory
from ..store.state import State
from ..values.errors import VfwError, show
from .edit_outcome import Added, edited_copy, how_to_restore
from .edited_files import (
    all_names,
    file_to_be,
    find_guest,
    is_one,
    read_bytes,
    refuse_loss,
)
from .outcome import BAD, FAILED
from .pattern_edits import find_opened, refuse_pattern, refuse_removal, tell_replaced
from .printed_problems import print_plain
from .replaced_entry import tell_opened, with_entries
from .safe_write import edited_alone, replace_file

_PLACE = re.compile(r":\d+:\d+")


@dataclass(frozen=True)
class EditTarget:
    """The configuration and state in use. `apply` puts an edit in force; `preview`
    gives the lines that it would print for another main file, and the overview after
    it."""

    main: Path
    state: str
    apply: Callable[[], int]
    preview: Callable[[str], tuple[list[str], Overview]]


def add_entries(arguments: argparse.Namespace, target: EditTarget) -> int:
    """Publish more ports of a guest."""
    entries = _format(arguments)
    known = guests_known_soon()
    refuse_pattern(target.main, arguments.guest, known)
    with nullcontext() if arguments.dry_run else edited_alone(target.main):
        path, guest, tree = find_guest(arguments.guest, known, target.main)
        if arguments.file and tree and not is_one(arguments.file, path):
            raise VfwError(f"{show(guest)} stands in {path} already")
        if arguments.file and not tree:
            path = file_to_be(arguments.file, target.main)
        published = find_published(tree, guest, entries) if tree else ""
        if published and arguments.replace is None:
            said = f"vfwhooks: {published}; change it with: vfwhooks edit"
            print(said, file=sys.stderr)
            return BAD
        keys = keys_of(tree, guest) if tree else []
        if "public_ip" in keys and "ports" not in keys:
            what = f"{show(guest)} has all ports of its public_ip"
            raise VfwError(what, "with ports: it would have those alone")
        before = read_bytes(path)
        old, port = _decoded(before), arguments.replace
        after = with_entries(old, tree, guest, port, entries).encode()
        refuse_loss(target.main, target.state, {path: after})
        replaced = tell_replaced(target.main, {path: after}, guest, known)
        opened = tell_opened(tree, guest, port, entries)
        done = _carry_out(path, before, after, target, arguments.dry_run)
    if done:
        return done
    _warn(replaced)
    _warn(opened)
    _warn(find_stranger(guest, known))
    added = Added(guest, arguments.entry)
    if arguments.dry_run:
        return _preview(added, target, {path: after})
    status = put_in_force(path, target)
    _say(added, target)
    return status


def _format(arguments: argparse.Namespace) -> list[str]:
    """The entries as they are written. Raises VfwError."""
    options = arguments.allow_from, arguments.host_ip
    try:
        return [format_entry(entry, *options) for entry in arguments.entry]
    except VfwError:
        if ":" not in arguments.guest or not is_entry(arguments.guest):
            raise
    what = f"{show(arguments.guest)} stands where the guest's name belongs"
    words = ["vfwhooks", "add", *arguments.entry[-1:], arguments.guest]
    raise VfwError(what, f"write {' '.join(map(show, words))}")


def remove_entries(arguments: argparse.Namespace, target: EditTarget) -> int:
    """Publish some ports of a guest no more, or none."""
    known = guests_known_soon()
    with nullcontext() if arguments.dry_run else edited_alone(target.main):
        path, guest, tree = find_guest(arguments.guest, known, target.main)
        if not tree:
            refuse_removal(target.main, guest, known, arguments.port)
            near = names_near(guest, all_names(target.main))
            raise VfwError(f"{show(guest)} is not in forwards.yaml", near)
        doomed = find_entries(tree, guest, arguments.port)
        is_last = len(doomed) == count_entries(tree, guest)
        if arguments.port and is_last and "public_ip" in keys_of(tree, guest):
            what = f"{show(guest)} has a public_ip, which would go with its last port"
            raise VfwError(what, "vfwhooks edit: ports: [] says none")
        before = read_bytes(path)
        after = remove(_decoded(before), guest, doomed).encode()
        done = _carry_out(path, before, after, target, arguments.dry_run)
    status = done or (0 if arguments.dry_run else put_in_force(path, target))
    if not done and not arguments.port:
        nodes, keys = entries_of(tree, guest), keys_of(tree, guest)
        file = () if is_one(path, target.main) else ("--file", str(path))
        for line in how_to_restore(guest, nodes, keys, file):
            print(show(line))
    return status


def find_new_problems(
    main: Path, edited: Mapping[Path, bytes], whole: Path | None = None
) -> list[Problem]:
    """What check has against the files with these edits, and not without them; of the
    file that is `whole` everything. And what guests get by patterns then."""
    guests, problems = read_forwards(main)
    old = Counter(_PLACE.sub("", str(one)) for one in problems)
    guests_then, problems_then = read_forwards(main, edited)
    new = []
    for problem in problems_then:
        key = _PLACE.sub("", str(problem))
        if old[key] > 0 and problem.place.file != str(whole):
            old[key] -= 1
        else:
            new.append(problem)
    if any(not one.is_warning for one in problems_then):
        return new
    return [*new, *find_opened(guests, guests_then, guests_known_soon)]


def put_in_force(path: Path, target: EditTarget) -> int:
    """What `apply` does; the file stays edited whatever comes of it."""
    try:
        return target.apply()
    except (OSError, VfwError) as error:
        said = f"{path} is written, and not in force yet: {error}"
        print(f"vfwhooks: {show(said)}", file=sys.stderr)
        return FAILED


def _carry_out(
    path: Path, before: bytes | None, after: bytes, target: EditTarget, is_dry: bool
) -> int:
    """Write the edit, unless it is refused or only to be shown; not 0 if refused."""
    changes = _changes(before or b"", after)
    problems = find_new_problems(target.main, {path: after})
    if any(not one.is_warning for one in problems):
        print_plain(problems)
        said = f"vfwhooks: {path} is left as it is; what was to be written:"
        print(show(said), file=sys.stderr)
        for number, line in changes:
            print(f"  {number}: {show(line)}", file=sys.stderr)
        return BAD
    lines = {number for number, line in changes if line.startswith("+")}
    print_plain([*problems, *_of_host(target, path, after, lines)])
    if not is_dry:
        replace_file(path, before, after)
    for number, line in changes:
        print(f"{show(str(path))}:{number}: {show(line)}")
    return 0


def _of_host(
    target: EditTarget, path: Path, after: bytes, lines: set[int]
) -> Iterable[Problem]:
    """What check says of this host, as far as it is about new lines and is said of no
    entry that was there before."""
    try:
        old = [_PLACE.sub("", str(one)) for one in _host_warnings(target, {})]
        found = _host_warnings(target, {path: after})
    except (OSError, VfwError):
        return []
    return [
        one
        for one in found
        if one.place.file == str(path) and one.place.line in lines
        if _PLACE.sub("", str(one)) not in old
    ]


def _host_warnings(target: EditTarget, edited: Mapping[Path, bytes]) -> list[Problem]:
    guests, _ = read_forwards(target.main, edited)
    found = find_host_warnings(guests, Inventory(f"{target.state}/networks"))
    return found + find_foreign_warnings(guests, target.state)


def _changes(before: bytes, after: bytes) -> list[tuple[int, str]]:
    """Lines that go and come, with a - or a + and their numbers."""
    old, new = _decoded(before).splitlines(), _decoded(after).splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found = []
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            found += [(n + 1, f"- {old[n].strip()}") for n in range(a, b)]
            found += [(n + 1, f"+ {new[n].strip()}") for n in range(c, d)]
    return found


def _decoded(text: bytes | None) -> str:
    try:
        return (text or b"").decode()
    except UnicodeDecodeError:
        raise VfwError("the file is not UTF-8", "vfwhooks check says where") from None


def _say(added: Added, target: EditTarget) -> None:
    """Where the guest is, and what of the new is not in force."""
    try:
        overview = look(State(target.state), str(target.main))
    except (OSError, VfwError) as error:
        print(show(f"{added.guest}: nobody knows its address here: {error}"))
        return
    _print_outcome(*added.describe(overview, is_dry=False))


def _preview(added: Added, target: EditTarget, edited: Mapping[Path, bytes]) -> int:
    """The rules that would come and go, and the rest as `add` would say it."""
    try:
        with edited_copy(target.main, edited) as copy:
            lines, overview = target.preview(copy)
    except (OSError, VfwError) as error:
        print(show(f"nobody knows here what it would change: {error}"), file=sys.stderr)
        return 0
    for line in lines:
        print(show(line))
    _print_outcome(*added.describe(overview, is_dry=True))
    return 0


def _print_outcome(where: str, not_in_force: Iterable[str]) -> None:
    print(show(where), flush=True)
    for line in not_in_force:
        print(show(f"vfwhooks: {line}"), file=sys.stderr)


def _warn(said: str) -> None:
    if said:
        print(f"warning: {show(said)}", file=sys.stderr)
