"""`vfwhooks metadata`: a guest's forwards in the metadata of its domain, in the syntax
of forwards.yaml."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from ..config import compiled_file
from ..config.metadata_bounds import Permission
from ..config.metadata_forwards import check_guest
from ..config.metadata_syntax import format_tree, guest_tree, metadata_of
from ..config.port_mappings import Settings
from ..config.yaml_nodes import Problem, Text
from ..config.yaml_tree import NotRead, parse_tree
from ..libvirt.forwards_element import (
    find_faults,
    format_part,
    in_namespace,
    parse_forwards,
)
from ..libvirt.guest_metadata import Domain
from ..reconcile.metadata_merge import add_metadata
from ..values.errors import VfwError, show
from ..values.guests import UNREADABLE, Guest
from .editor_session import Copy, End, edit_copy, find_editor, tell_unchanged
from .outcome import BAD, DONE
from .output import counted
from .printed_problems import print_plain

_NAMES = {"live": "the running guest", "config": "its definition"}
_EMPTY = b"""\
# Forwards in the guest's metadata, in the syntax of forwards.yaml; for example
# - 8080:80
# - {published: 8443, target: 443, allow_from: [198.51.100.0/24]}
[]
"""


def run_metadata(arguments: argparse.Namespace, state: str) -> int:
    """Do what the arguments say; `state` is the state directory."""
    if arguments.action == "set" and not arguments.file:
        raise VfwError("set needs a FILE", "vfwhooks metadata set GUEST - reads stdin")
    if arguments.action != "set" and arguments.file:
        raise VfwError(f"{arguments.action} takes no FILE")
    with Domain(arguments.guest) as domain:
        parts = domain.parts(arguments.live, arguments.config)
        if arguments.action == "get":
            return _get(domain, parts)
        if arguments.action == "clear":
            domain.put("", parts)
            print(f"{show(domain.name)}: no forwards in {_said(parts)}")
            return DONE
        if arguments.action == "edit":
            return _edit(domain, parts, state)
        data, name = _read(str(arguments.file))
        text, problems = _checked(data, name, domain.name)
        print_plain(problems)
        return BAD if problems else _put(domain, parts, text, state)


def _read(path: str) -> tuple[bytes, str]:
    if path == "-":
        return sys.stdin.buffer.read(), "stdin"
    return Path(path).read_bytes(), path


def _said(parts: list[str]) -> str:
    return " and ".join(_NAMES[part] for part in parts)


def _get(domain: Domain, parts: list[str]) -> int:
    """Print the forwards of the first part, and warn if the second has others."""
    found = {part: domain.get(part) for part in parts}
    sys.stdout.write(_written(found[parts[0]]))
    if _differ(found.values()):
        what = "the running guest has these; its definition has others"
        print(f"vfwhooks: {what}: --config shows them", file=sys.stderr)
    return DONE


def _differ(texts: Iterable[str]) -> bool:
    """Whether the running guest and its definition have different forwards."""
    return len({in_namespace(text) if text else "" for text in texts}) > 1


def _written(text: str) -> str:
    """Metadata in the syntax of forwards.yaml. Raises VfwError for what is none."""
    if not text:
        return "[]\n"
    whole = in_namespace(text)
    if whole.startswith(UNREADABLE):
        raise VfwError(whole[len(UNREADABLE) :])
    wrong = [f"line {one.line}: {one.message}" for one in find_faults(whole)]
    if not wrong:
        problems: list[Problem] = []
        tree = guest_tree(parse_forwards(whole), problems)
        wrong = [f"line {one.place.line}: {one.message}" for one in problems]
    if wrong:
        what = f"the metadata is not valid: {wrong[0]}"
        raise VfwError(what, "virsh metadata shows it")
    return format_tree(tree)


def _checked(data: bytes, name: str, guest: str) -> tuple[str, list[Problem]]:
    """The metadata for a file's content; or what is wrong with that."""
    problems: list[Problem] = []
    try:
        node = parse_tree(data, name, problems)
    except NotRead as error:
        return "", [error.problem]
    if isinstance(node, Text) and not node.value:
        problems.append(Problem(node.place, "nothing is in it; [] says none"))
    if problems:
        return "", problems
    # Names and interfaces may be another host's; what this one lacks is told later.
    _, problems = check_guest(node, guest, Permission().tree, lambda _: (), True)
    if problems:
        return "", problems
    part = metadata_of(node, problems)
    text = format_part(part) if part.parts else ""
    whole = in_namespace(text) if text else ""
    if whole.startswith(UNREADABLE):
        problems.append(Problem(node.place, whole[len(UNREADABLE) :]))
    return text, problems


def _put(domain: Domain, parts: list[str], text: str, state: str) -> int:
    domain.put(text, parts)
    count = text.count("<range ") or text.count("<publicIp ")
    what = counted(count, "forward") if count else "no forwards"
    print(f"{show(domain.name)}: {what} in {_said(parts)}")
    for reason in _not_permitted(domain, text, state) if text else ():
        print(f"vfwhooks: {show(reason)}", file=sys.stderr)
    return DONE


def _not_permitted(domain: Domain, text: str, state: str) -> list[str]:
    """What of it this host's forwards.yaml does not permit, or has itself."""
    compiled = compiled_file.load(state)
    if compiled is None:
        return ["no forwards.yaml is in force on this host: run vfwhooks apply"]
    guest = Guest(domain.driver, domain.name, domain.uuid, [], in_namespace(text))
    settings = Settings()
    add_metadata(settings, guest, compiled)
    found = settings.from_metadata
    if found is None:
        return []
    refused = [f"{one.protocol}/{one.first}: {why}" for one, _, why in found.refused]
    return [*found.faults, *refused]


def _edit(domain: Domain, parts: list[str], state: str) -> int:
    """Have the forwards edited until they are good or given up."""
    argv = find_editor(os.environ)
    before = [domain.get(part) for part in parts]
    if _differ(before):
        what = f"{show(domain.name)} has other forwards than its definition"
        raise VfwError(what, "--live or --config edits one of them")
    first = _written(before[0]).encode() if before[0] else _EMPTY
    made: list[str] = []

    def check(data: bytes) -> list[Problem]:
        text, problems = _checked(data, f"{domain.name}.yaml", domain.name)
        made.append(text)
        return problems

    def write(_: bytes) -> None:
        if [domain.get(part) for part in parts] != before:
            raise VfwError(f"somebody else has edited {show(domain.name)} meanwhile")
        _put(domain, parts, made[-1], state)

    name = f"{domain.uuid}.yaml"
    end = edit_copy(Copy(name, first, first, check, write), argv)
    return DONE if end is End.WRITTEN else tell_unchanged(domain.name, end)
