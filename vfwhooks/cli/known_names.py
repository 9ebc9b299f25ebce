"""`vfwhooks complete`: guests and ports for completion in shells. The search is cheap,
changes nothing, and reports no error."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from ..config import compiled_file
from ..config.compiled_lines import parse_settings
from ..config.schema import read_forwards
from ..store.files import names, unquote
from ..store.state import DRIVERS
from ..values.errors import VfwError
from ..values.protocols import ALL_PROTOCOLS

_NETWORK = "network"  # its records stand among those of guests
_LONG = 200  # from this length on, the name of a file may be a hash of the guest's name


def find_known(state: str, main: str, what: Collection[str]) -> list[str]:
    """Guests, and ports in the form that `explain` takes: from the configuration in
    force and from running guests. If the user may not read these, forwards.yaml is
    read. `state` is the path of the state directory, which may be missing.

    Names with unprintable characters are left out, since they may change the terminal.
    """
    try:
        found = [*_in_force(state, what), *_running(state, what)]
    except (OSError, ValueError, VfwError):
        found = []
    try:
        found = found or [*_written(main, what)]
    except (OSError, VfwError):
        pass
    return [one for one in dict.fromkeys(found) if one.isprintable()]


def _in_force(state: str, what: Collection[str]) -> Iterator[str]:
    compiled = compiled_file.load(state)
    if compiled is None:
        return
    patterns = compiled.patterns()
    for name, lines in [*compiled.guests().items(), *patterns.items()]:
        if name and name not in patterns and "guests" in what:
            yield name
        if name and "ports" in what:
            for one in parse_settings(lines).forwards:
                yield from _ports(one.first, one.protocol)


def _running(state: str, what: Collection[str]) -> Iterator[str]:
    if "guests" in what:
        for driver in (one for one in DRIVERS if one != _NETWORK):
            for name in names(f"{state}/guests/{driver}"):
                # The name of the file counts: a broken record must stay in its place.
                if len(name) < _LONG:
                    yield unquote(name)


def _written(main: str, what: Collection[str]) -> Iterator[str]:
    for guest in read_forwards(Path(main))[0]:
        if "guests" in what and not guest.is_pattern:
            yield guest.name
        if "ports" in what:
            for one in guest.forwards:
                yield from _ports(one.published.first, one.protocol)


def _ports(first: int, protocol: str) -> Iterator[str]:
    if protocol != ALL_PROTOCOLS:
        yield f"{first}" if protocol == "tcp" else f"{first}/{protocol}"
