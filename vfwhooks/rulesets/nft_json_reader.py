"""`nft -j list ruleset` as a Ruleset: each rule written out as nft would, then read as
that. One object is read at a time; a broken one is named, and the next is looked for.
Pure."""

from __future__ import annotations

import json
import re
from typing import Any

from .nft_reader import add_rule, set_base
from .ruleset import Element, Problem, Ruleset, Set

_OBJECT = re.compile(r'\{\s*"(?:metainfo|table|chain|set|map|rule|counter|element)"')
_DEEP = 1000  # what is left out of objects within objects within objects
_OPERATORS = {"|", "&", "^", "<<", ">>"}


def read_nft_json(text: str) -> Ruleset:
    """Every table of it."""
    found = Ruleset()
    decoder = json.JSONDecoder()
    line, counted = 1, 0
    begin = _OBJECT.search(text)
    while begin:
        at = begin.start()
        line, counted = line + text.count("\n", counted, at), at
        try:
            item, end = decoder.raw_decode(text, at)
            _take(found, line, item)
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as e:
            why = str(e) if isinstance(e, ValueError) else "it is not what nft writes"
            found.problems.append(Problem(line, text[at : at + 60], why))
            end = at + (_DEEP if isinstance(e, RecursionError) else 1)
        begin = _OBJECT.search(text, end)
    if '"nftables"' not in text and not found.tables and not found.problems:
        found.problems.append(Problem(1, text[:60], "it is not what nft writes"))
    return found


def _take(found: Ruleset, line: int, item: dict[str, Any]) -> None:
    ((kind, about),) = item.items()
    if kind not in ("chain", "rule", "set", "map"):
        return
    table = found.table(str(about["family"]), str(about["table"]), "nft")
    if kind == "chain":
        chain = table.chain(str(about["name"]))
        if "hook" in about:
            policy = str(about.get("policy", "accept"))
            hook, priority = str(about["hook"]), str(about["prio"])
            set_base(chain, str(about["type"]), hook, priority, policy)
    elif kind == "rule":
        text = " ".join(_statement(one) for one in about["expr"])
        if about.get("comment"):
            text += f' comment "{about["comment"]}"'
        place = f"handle {about['handle']}" if "handle" in about else f"line {line}"
        add_rule(table.chain(str(about["chain"])), place, " ".join(text.split()))
    else:
        one = table.sets.setdefault(str(about["name"]), Set(str(about["name"])))
        for element in about.get("elem", []):
            one.add(_element(element))


def _element(element: Any) -> Element:
    data = ""
    if isinstance(element, list):
        element, value = element
        data = _expression(value) if not _is_verdict(value) else _statement(value)
    comment = ""
    if isinstance(element, dict) and "elem" in element:
        comment = str(element["elem"].get("comment", ""))
        element = element["elem"]["val"]
    parts = (
        element["concat"] if isinstance(element, dict) and "concat" in element else 0
    )
    keys = parts if isinstance(parts, list) else [element]
    return Element(tuple(_expression(one) for one in keys), data, comment)


def _is_verdict(value: Any) -> bool:
    names = ("accept", "drop", "return", "continue", "jump", "goto")
    return isinstance(value, dict) and next(iter(value)) in names


def _statement(one: Any) -> str:
    """One statement of a rule, as nft writes it."""
    if isinstance(one, str):
        return one
    ((name, about),) = one.items()
    if name == "match":
        left, right = _expression(about["left"]), _expression(about["right"])
        sign = "" if about["op"] in ("==", "in") else about["op"]
        if "&" in left and not sign:
            sign = "=="
        return f"{left} {sign} {right}"
    if name in ("jump", "goto"):
        return f"{name} {about['target']}"
    if name == "vmap":
        return f"{_expression(about['key'])} vmap {_expression(about['data'])}"
    if name == "mangle":
        return f"{_expression(about['key'])} set {_expression(about['value'])}"
    if name in ("dnat", "snat", "masquerade", "redirect"):
        return _translation(name, about or {})
    if name == "reject":
        return _reject(about or {})
    if name in ("counter", "last"):
        return ""
    if name == "xt":
        return f'xt {about.get("type", "match")} "{about.get("name", "")}"'
    if name in ("limit", "log", "queue", "quota"):
        words = [f"{k} {_expression(v)}" for k, v in (about or {}).items()]
        return f"{name} {' '.join(words)}"
    return f"{name} {_expression(about)}" if about is not None else str(name)


def _translation(name: str, about: dict[str, Any]) -> str:
    family = f" {about['family']}" if "family" in about else ""
    address = _expression(about["addr"]) if "addr" in about else ""
    port = f":{_expression(about['port'])}" if "port" in about else ""
    if ":" in address and port:
        address = f"[{address}]"
    to = f" to {address}{port}" if address or port else ""
    flags = about.get("flags", [])
    words = [flags] if isinstance(flags, str) else flags
    return " ".join([f"{name}{family}{to}", *words])


def _reject(about: dict[str, Any]) -> str:
    kind, error = about.get("type"), about.get("expr")
    if kind == "tcp reset":
        return "reject with tcp reset"
    return f"reject with {kind} {error}" if kind and error else "reject"


def _expression(one: Any) -> str:
    """A value or what is looked at, as nft writes it."""
    if isinstance(one, bool):  # of fib
        return "exists" if one else "missing"
    if isinstance(one, (str, int)):
        return str(one)
    if isinstance(one, list):
        return ",".join(map(_expression, one))
    if not isinstance(one, dict) or len(one) != 1:
        return json.dumps(one).replace('"', "").replace("{", "(").replace("}", ")")
    ((name, about),) = one.items()
    if name == "payload" and "protocol" in about:
        return f"{about['protocol']} {about['field']}"
    if name == "meta":
        key = str(about["key"])
        bare = key in ("iif", "oif", "iifname", "oifname")
        return key if bare else f"meta {key}"
    if name == "ct":
        words = [about.get("dir", ""), about.get("family", ""), about["key"]]
        return " ".join(["ct", *(word for word in words if word)])
    if name == "fib":
        flags = about["flags"]
        flags = [flags] if isinstance(flags, str) else flags
        return f"fib {' . '.join(flags)} {about['result']}"
    if name == "prefix":
        return f"{_expression(about['addr'])}/{about['len']}"
    if name == "range":
        return "-".join(map(_expression, about))
    if name == "concat":
        return " . ".join(map(_expression, about))
    if name == "set":
        return "{ " + ", ".join(map(_pair, about)) + " }"
    if name == "map":
        return f"{_expression(about['key'])} map {_expression(about['data'])}"
    if name == "elem":
        return _expression(about["val"])
    if name in _OPERATORS:
        return f" {name} ".join(map(_expression, about))
    return f"{name} {_expression(about)}"


def _pair(one: Any) -> str:
    if isinstance(one, list):
        key, value = one
        said = _statement(value) if _is_verdict(value) else _expression(value)
        return f"{_expression(key)} : {said}"
    return _expression(one)
