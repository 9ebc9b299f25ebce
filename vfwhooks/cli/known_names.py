"""`vfwhooks complete`: the guests and ports that a shell may complete. It looks where
that costs least, changes nothing, and says nothing when it finds nothing."""

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

_LONG = 200  # from here on a file's name may be a hash of the guest's


def find_known(state: str, main: str, what: Collection[str]) -> list[str]:
    """Guests, and ports as `explain` takes them: of the configuration in force, or,
    for whoever may not read that, of the file; and guests that run. `state` is the
    state directory's path, which may not be there.

    A name that would do something to a terminal is left out.
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
    for name, lines in compiled.guests().items() if compiled else ():
        if name and "guests" in what:
            yield name
        if name and "ports" in what:
            for one in parse_settings(lines).forwards:
                yield from _ports(one.first, one.protocol)


def _running(state: str, what: Collection[str]) -> Iterator[str]:
    if "guests" in what:
        for driver in DRIVERS:
            for name in names(f"{state}/guests/{driver}"):
                # The file's name: a record that cannot be read stays where it is.
                if len(name) < _LONG:
                    yield unquote(name)


def _written(main: str, what: Collection[str]) -> Iterator[str]:
    for guest in read_forwards(Path(main))[0]:
        if "guests" in what:
            yield guest.name
        if "ports" in what:
            for one in guest.forwards:
                yield from _ports(one.published.first, one.protocol)


def _ports(first: int, protocol: str) -> Iterator[str]:
    if protocol != ALL_PROTOCOLS:
        yield f"{first}" if protocol == "tcp" else f"{first}/{protocol}"
