"""YAML and JSON of other tools as trees in which every value has its place. JSON is
YAML's flow style, so one reader serves both. Pure."""

from __future__ import annotations

import json
import re

from ..config.yaml_nodes import Items, Node, Problem, Text
from ..config.yaml_tree import NotRead
from ..config.yaml_tree import parse_tree as parse_yaml
from .imported import Found, Left, Origin, unreadable

_TOKEN = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/|\t|,(?=\s*[}\]])', re.DOTALL
)
_OF_OURS = re.compile("; compare this line .*")


def parse_source(text: str, name: str, hint: str, found: Found) -> Node:
    """The tree of a YAML text. Raises VfwError, with the place, for none."""
    problems: list[Problem] = []
    try:
        tree = parse_yaml(text.encode("utf-8", "surrogateescape"), name, problems)
    except NotRead as error:
        problem = error.problem
        what = _OF_OURS.sub("", problem.message)
        raise unreadable(str(problem.place), what, hint) from None
    for problem in problems:
        found.take(Left(Origin(str(problem.place), ""), problem.message))
    return tree


def parse_json(text: str, name: str, found: Found) -> Node:
    """The tree of a JSON text with comments, and with commas too many at ends."""
    plain = _TOKEN.sub(_blanked, text)
    try:
        json.loads(plain)
    except json.JSONDecodeError as error:
        where = f"{name}:{error.lineno}:{error.colno}"
        raise unreadable(where, f"no JSON: {error.msg.lower()}") from None
    except RecursionError:
        raise unreadable(name, "no JSON: nested too deeply") from None
    return parse_source(plain, name, "", found)


def _blanked(match: re.Match[str]) -> str:
    """A comment as blanks, so that all else stays in its place; a string as it is."""
    token = match[0]
    if token[0] == '"':
        return token
    return re.sub(r"[^\n]", " ", token)


def origin(node: Node, text: str = "") -> Origin:
    """Where a node stands, and its text on one line."""
    return Origin(str(node.place), text or plain(node))


def plain(node: Node) -> str:
    """A node in one line."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Items):
        return f"[{', '.join(map(plain, node.nodes))}]"
    return f"{{{', '.join(f'{k.value}: {plain(v)}' for k, v in node.nodes)}}}"


def items(node: Node | None) -> tuple[Node, ...]:
    """What a list holds; nothing for anything else."""
    return node.nodes if isinstance(node, Items) else ()


def value(parts: dict[str, Node], key: str) -> str:
    """A scalar of a mapping; '' where there is none."""
    node = parts.get(key)
    return node.value if isinstance(node, Text) else ""
