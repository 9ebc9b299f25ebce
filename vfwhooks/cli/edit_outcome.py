"""What `add` and `remove` say at their end: where the guest is, which new forwards are
not in force and why, and what brings back what was removed."""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..config.config_files import find_files
from ..config.port_spellings import parse_entry
from ..config.yaml_nodes import Node, Pairs, Text, listed, pairs
from ..diagnosis.overview import Overview, look
from ..libvirt.client import Answer
from ..store.state import State
from .dry_run import dry_run
from .output import diff_lines

_IN_OPTIONS = {"host_ip": "--host-ip", "allow_from": "--allow-from"}
_BY_HAND = "what begins with - above is written again by: vfwhooks edit"


@dataclass(frozen=True)
class Added:
    """New entries of a guest, as typed, and the host addresses typed beside them."""

    guest: str
    entries: Sequence[str]
    host_ips: Sequence[str] = ()

    def describe(self, overview: Overview, is_dry: bool) -> tuple[str, list[str]]:
        """Where the guest is, and a line for each new forward that is not in force.
        In a dry run the kernel has none of them, so that only those count that would
        not be planned."""
        for one in overview.guests:
            if self.guest in (one.name, one.uuid) and one.state == "running":
                break
        else:
            return f"{self.guest} does not run; its forwards come with its start", []
        rows = [row for row in overview.forwards if row.guest == one.name]
        where = " and ".join(one.addresses)
        if not where:
            reason = f": {rows[0].reason}" if rows and rows[0].reason else ""
            return f"{self.guest} has no address yet{reason}", []
        fine = ("active", "blocked") if is_dry else ("active",)
        wanted = self._wanted()
        said = [
            f"{row.published}/{row.protocol} is not in force: {row.reason or row.state}"
            for row in rows
            if (row.published, row.protocol) in wanted and row.state not in fine
        ]
        return f"{self.guest} is at {where}", list(dict.fromkeys(said))

    def _wanted(self) -> set[tuple[str, str]]:
        shorts = map(parse_entry, self.entries)
        return {(str(s.published), s.protocol.lower() or "tcp") for s in shorts}


@contextmanager
def edited_copy(main: Path, edited: Mapping[Path, bytes]) -> Iterator[str]:
    """A copy of the configuration with these edits, while it is looked at."""
    with tempfile.TemporaryDirectory(prefix="vfwhooks-dry-run-") as directory:
        for path in find_files(main, edited):
            copy = Path(directory) / path.relative_to(main.parent)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(edited[path] if path in edited else path.read_bytes())
        yield f"{directory}/{main.name}"


def how_to_restore(
    guest: str, nodes: Sequence[Node], keys: Sequence[str], options: Sequence[str]
) -> list[str]:
    """The commands, with these options, that write a guest's entries again; where they
    cannot say all of it, its lines are what to write."""
    entries = [node.value for node in nodes if isinstance(node, Text)]
    long = [words_of_long(node) for node in nodes if isinstance(node, Pairs)]
    if set(keys) - {"ports"} or not nodes or None in long:
        return [_BY_HAND]
    words = [entries] if entries else []
    words += [one for one in long if one]
    lines = [shlex.join(["vfwhooks", "add", guest, *one, *options]) for one in words]
    return ["to have it back:", *(f"  {line}" for line in lines)]


def words_of_long(node: Pairs) -> list[str] | None:
    """The words of `add` for an entry with keys; None if there are none."""
    parts = pairs(node)
    if set(parts) - {"published", "target", "protocol", *_IN_OPTIONS}:
        return None
    sides = [parts.get("published"), parts.get("target"), parts.get("protocol")]
    if any(one is not None and not isinstance(one, Text) for one in sides):
        return None
    published, target, protocol = (
        one.value if isinstance(one, Text) else "" for one in sides
    )
    entry = f"{published or target}:{target or published}"
    words = [entry + (f"/{protocol}" if protocol else "")]
    for key, option in _IN_OPTIONS.items():
        for value in listed(parts.get(key)):
            if not isinstance(value, Text):
                return None
            words += [option, value.value]
    return words


def preview(
    state: State,
    main: str,
    ask: Callable[[], Answer | None],
    find_taken: Callable[[State], bytes | None],
) -> tuple[list[str], Overview]:
    """What `apply` would change by this file, and the overview after that."""
    asked, found = time.monotonic_ns(), []
    answer, taken = ask(), find_taken(state)
    outcome = dry_run(
        state, main, answer, asked, taken, lambda one: found.append(look(one, main))
    )
    return diff_lines(outcome), found[0]
