"""`vfwhooks import`: a forwards.yaml made from what another tool has."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from socket import if_indextoname

from ..diagnosis.live_ruleset import list_live
from ..host.netlink import NETLINK_ROUTE, Netlink
from ..host.routes import list_addresses
from ..importers.forwards_file import Made, make_file
from ..importers.guest_owners import find_owners
from ..importers.imported import MOST_BYTES
from ..importers.settled_forwards import EVERY, Known
from ..importers.source_kinds import read_source
from ..libvirt.client import defined_guests
from ..libvirt.inventory import Inventory
from ..rulesets.ruleset_reader import MOST_BYTES as MOST_OF_RULES
from ..values.errors import VfwError, show
from ..values.published import find_address
from . import progress
from .outcome import DONE, FAILED
from .output import counted
from .replace_rules import Here, Source, replace_rules

_HERE = "the rules of this host"


def import_forwards(arguments: argparse.Namespace, state: str, main: str) -> int:
    """Write a forwards.yaml, or put it in force; whether all was carried over."""
    if arguments.replace:
        here = Here(Path(main), state, _known(arguments, state))
        with progress.cleared():
            source = _source(arguments)
        return replace_rules(source, here, arguments.output, arguments.yes)
    if arguments.output and os.path.lexists(arguments.output):
        what = f"{arguments.output} is there already, and is not overwritten"
        raise VfwError(what, "name another file with -o")
    with progress.cleared():
        source = _source(arguments)
        progress.tell("writing what it means, and checking it")
        made = make_file(source.found, _known(arguments, state), source.name)
    if arguments.output:
        _write(arguments.output, made.text)
    else:
        sys.stdout.write(made.text)
    print(_summary(made, arguments.output), file=sys.stderr)
    return FAILED if made.left else DONE


def _source(arguments: argparse.Namespace) -> Source:
    if arguments.source is None:
        progress.tell(f"reading {_HERE}")
        _, found = read_source(list_live(), "", "nft")
        return Source("", found, _HERE, None)
    progress.tell(f"reading {arguments.source}")
    text, name = _read(arguments.source)
    kind, found = read_source(text, name, arguments.kind or "")
    return Source(kind, found, f"{name} ({kind})", arguments.source)


def _summary(made: Made, output: Path | None) -> str:
    where = f"{output}: " if output else ""
    left = f"; {len(made.left)} not carried over, see its end" if made.left else ""
    what = f"{counted(made.forwards, 'forward')} for {counted(made.guests, 'guest')}"
    return f"{where}{what}{left}"


def _read(source: Path) -> tuple[str, str]:
    if str(source) == "-":
        return _text(sys.stdin.buffer.read(MOST_OF_RULES + 1), "stdin"), "stdin"
    if not source.exists():
        raise VfwError(f"{source}: no such file")
    with source.open("rb") as file:
        return _text(file.read(MOST_OF_RULES + 1), str(source)), str(source)


def _text(data: bytes, name: str) -> str:
    is_ruleset = b"*nat" in data or b"table " in data or b'"nftables"' in data
    most = MOST_OF_RULES if is_ruleset else MOST_BYTES
    if len(data) > most:
        raise VfwError(f"{name} has more than {most >> 20} MiB")
    return data.decode("utf-8", "surrogateescape")


def _known(arguments: argparse.Namespace, state: str) -> Known:
    """What options say goes before what this host knows."""
    guests, addresses = _pairs(arguments.guest), _pairs(arguments.interface)
    guests = {str(find_address(key) or key): names for key, names in guests.items()}
    for name, some in addresses.items():
        for one in some:
            if one != EVERY and not find_address(one):
                raise VfwError(
                    f"--interface {name}={show(one)}: {show(one)} is no address"
                )
    owners = cache(
        lambda: find_owners(defined_guests(), Inventory(f"{state}/networks"))
    )
    own = cache(_own_addresses)
    return Known(
        lambda address: guests.get(address) or owners().get(address, []),
        lambda name: addresses.get(name) or own().get(name, []),
    )


def _pairs(options: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for option in options:
        key, sign, value = option.partition("=")
        if not (key and sign and value):
            raise VfwError(f"{show(option)}: write it as LEFT=RIGHT")
        some = found.setdefault(key, [])
        some += [] if value in some else [value]
    return found


def _own_addresses() -> dict[str, list[str]]:
    """This host's addresses by interface."""
    found: dict[str, list[str]] = {}
    with Netlink(NETLINK_ROUTE) as link:
        for one in list_addresses(link):
            if one.is_global:
                with suppress(OSError):
                    name = if_indextoname(one.interface)
                    found.setdefault(name, []).append(str(one.address))
    return found


def _write(path: Path, text: str) -> None:
    """A new file, all of it or none; what is there already stays."""
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode())
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # unlike a rename, it never takes another's place
    except FileExistsError:
        raise VfwError(f"{path} is there already, and is not overwritten") from None
    finally:
        Path(temporary).unlink()
