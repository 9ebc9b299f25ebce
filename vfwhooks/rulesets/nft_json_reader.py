"""`nft -j list ruleset` as a Ruleset: each rule written out as nft would, then read as
that. One object is read at a time; a broken one is named, and the next is looked for.
Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from .nft_reader import PASSING, add_rule, set_base
from .nft_words import STARTS, VALUES
from .ruleset import Element, Problem, Ruleset, Set

_OBJECT = re.compile(r'\{\s*"(?:metainfo|table|chain|set|map|rule|counter|element)"')
_DEEP = 1000  # what is left out of objects within objects within objects
_WORDS = STARTS - VALUES  # from which such a name has to be told
_BARE = {"iif", "oif", "iifname", "oifname"}  # which nft writes without `meta`


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
    if kind == "table":
        table = found.table(str(about["family"]), str(about["name"]), "nft")
        table.is_dormant = "dormant" in about.get("flags", "")  # one, or several
    if kind not in ("chain", "rule", "set", "map"):
        return
    table = found.table(str(about["family"]), str(about["table"]), "nft")
    if kind == "chain":
        chain = table.chain(str(about["name"]))
        if "hook" in about and not table.is_dormant:
            policy = str(about.get("policy", "accept"))
            hook, priority = str(about["hook"]), str(about["prio"])
            set_base(chain, str(about["type"]), hook, priority, policy)
    elif kind == "rule":
        text = " ".join(_statement(one) for one in about["expr"])
        if about.get("comment"):
            text += f' comment "{about["comment"]}"'
        place = f"handle {about['handle']}" if "handle" in about else f"line {line}"
        chain = table.chain(str(about["chain"]))
        add_rule(chain, place, " ".join(text.split()), is_sure=True)
    else:
        one = table.sets.setdefault(str(about["name"]), Set(str(about["name"])))
        flags = {*_listed(about.get("flags", [])), *about}
        one.is_passing = not PASSING.isdisjoint(flags)
        for element in about.get("elem", []):
            one.add(_element(element))


def _element(element: Any) -> Element:
    data = ""
    if isinstance(element, list):
        element, value = element
        data = _value(value)
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
    if name in _STATEMENTS:
        return _STATEMENTS[name](name, about)
    return f"{name} {_expression(about)}" if about is not None else str(name)


def _match(_: str, about: dict[str, Any]) -> str:
    left, right = _expression(about["left"]), _expression(about["right"])
    sign = "" if about["op"] in ("==", "in") else about["op"]
    if "&" in left and not sign:
        sign = "=="
    if right in _WORDS and left[:3] != "ct ":
        right = f'"{right}"'
    return f"{left} {sign} {right}"


def _go(name: str, about: dict[str, Any]) -> str:
    return f"{name} {about['target']}"


def _look_up(name: str, about: dict[str, Any]) -> str:
    return f"{_expression(about['key'])} {name} {_expression(about['data'])}"


def _mangle(_: str, about: dict[str, Any]) -> str:
    return f"{_expression(about['key'])} set {_expression(about['value'])}"


def _translation(name: str, about: dict[str, Any] | None) -> str:
    about = about or {}
    family = f" {about['family']}" if "family" in about else ""
    address = _expression(about["addr"]) if "addr" in about else ""
    port = f":{_expression(about['port'])}" if "port" in about else ""
    if ":" in address and port:
        address = f"[{address}]"
    to = f" to {address}{port}" if address or port else ""
    return " ".join([f"{name}{family}{to}", *_listed(about.get("flags", []))])


def _reject(_: str, about: dict[str, Any] | None) -> str:
    about = about or {}
    kind, error = about.get("type"), about.get("expr")
    if kind == "tcp reset":
        return "reject with tcp reset"
    return f"reject with {kind} {error}" if kind and error else "reject"


def _bare(name: str, _: Any) -> str:
    return name


def _set_element(name: str, about: dict[str, Any]) -> str:
    data = f" : {_expression(about['data'])}" if name == "map" else ""
    more = "".join(f" {_statement(one)}" for one in about.get("stmt", []))
    return f"{about['op']} {about[name]} {{ {_expression(about['elem'])}{more}{data} }}"


def _object(name: str, about: Any) -> str:
    return f'{name} set "{about}"'


def _xt(_: str, about: dict[str, Any]) -> str:
    return f'xt {about.get("type", "match")} "{about.get("name", "")}"'


def _with_options(name: str, about: dict[str, Any] | str | None) -> str:
    if isinstance(about, str):  # the name of a limit or a quota of the table
        return f'{name} name "{about}"'
    options = {**(about or {})}
    if "prefix" in options:
        options["prefix"] = f'"{options["prefix"]}"'
    return " ".join([name, *(f"{k} {_expression(v)}" for k, v in options.items())])


_STATEMENTS: dict[str, Callable[[str, Any], str]] = {
    "match": _match,
    "vmap": _look_up,
    "mangle": _mangle,
    "reject": _reject,
    "xt": _xt,
    **dict.fromkeys(("jump", "goto"), _go),
    **dict.fromkeys(("dnat", "snat", "masquerade", "redirect"), _translation),
    **dict.fromkeys(("counter", "last"), _bare),
    **dict.fromkeys(("set", "map"), _set_element),
    **dict.fromkeys(("ct helper", "ct timeout", "ct expectation"), _object),
    **dict.fromkeys(("limit", "log", "queue", "quota"), _with_options),
}


def _expression(one: Any) -> str:
    """A value or what is looked at, as nft writes it."""
    if isinstance(one, bool):  # of fib
        return "exists" if one else "missing"
    if isinstance(one, (str, int)):
        return str(one)
    if isinstance(one, list):
        return _joined(",", one)
    if not isinstance(one, dict) or len(one) != 1:
        return json.dumps(one).replace('"', "").replace("{", "(").replace("}", ")")
    ((name, about),) = one.items()
    if name in _EXPRESSIONS:
        return _EXPRESSIONS[name](about)
    return f"{name} {_expression(about)}"


def _joined(sign: str, some: Any) -> str:
    return sign.join(map(_expression, some))


def _payload(about: dict[str, Any]) -> str:
    if "protocol" not in about:  # so many bits from somewhere
        return f"payload {_expression(about)}"
    words = about.get("tunnel", ""), about["protocol"], about["field"]
    return " ".join(word for word in words if word)


def _meta(about: dict[str, Any]) -> str:
    key = str(about["key"])
    return key if key in _BARE else f"meta {key}"


def _ct(about: dict[str, Any]) -> str:
    words = [about.get("dir", ""), about.get("family", ""), about["key"]]
    return " ".join(["ct", *(word for word in words if word)])


def _fib(about: dict[str, Any]) -> str:
    return f"fib {' . '.join(_listed(about['flags']))} {about['result']}"


def _prefix(about: dict[str, Any]) -> str:
    return f"{_expression(about['addr'])}/{about['len']}"


def _set(about: Any) -> str:
    return "{ " + ", ".join(map(_pair, about)) + " }"


def _pair(one: Any) -> str:
    if isinstance(one, list):
        key, value = one
        return f"{_expression(key)} : {_value(value)}"
    return _expression(one)


def _value(one: Any) -> str:
    """What an element of a map leads to."""
    return _statement(one) if _is_verdict(one) else _expression(one)


def _listed(some: Any) -> list[str]:
    return [some] if isinstance(some, str) else some


_EXPRESSIONS: dict[str, Callable[[Any], str]] = {
    "payload": _payload,
    "meta": _meta,
    "ct": _ct,
    "fib": _fib,
    "prefix": _prefix,
    "set": _set,
    "map": partial(_look_up, "map"),
    "elem": lambda about: _expression(about["val"]),
    "range": partial(_joined, "-"),
    "concat": partial(_joined, " . "),
    **{sign: partial(_joined, f" {sign} ") for sign in ("|", "&", "^", "<<", ">>")},
}
