"""The JSON Schema of forwards.yaml, by which editors complete and check: it says no
more than `vfwhooks check` does, and no less where structure alone is at fault."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # none are installed

from unit.builders import CHECKOUT, PROPERTY, working_in
from unit.test_check import CASES, case
from unit.test_docs import DOCS, examples
from vfwhooks.config.forwards_keys import (
    DEFAULTS,
    DOCUMENT,
    GUEST,
    METADATA,
    PATTERN,
    PORT,
)
from vfwhooks.config.schema import read_forwards

SCHEMA = json.loads((CHECKOUT / "templates/forwards.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
# YAML's core schema, version 1.2, by which editors read plain scalars.
_NULL = ("", "~", "null", "Null", "NULL")
_TRUE, _FALSE = ("true", "True", "TRUE"), ("false", "False", "FALSE")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INT = re.compile(r"[-+]?[0-9]+")


def as_json(node: yaml.Node) -> object:
    """What an editor asks the schema about; keys are text, whatever they look like."""
    if isinstance(node, yaml.MappingNode):
        if not all(isinstance(key, yaml.ScalarNode) for key, _ in node.value):
            raise yaml.YAMLError("a key that JSON cannot have")
        return {key.value: as_json(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [as_json(one) for one in node.value]
    text = node.value
    assert isinstance(node, yaml.ScalarNode)
    if node.style:
        return text
    if text in _NULL:
        return None
    if text in _TRUE + _FALSE:
        return text in _TRUE
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def accepts(path: Path) -> bool:
    """Whether the schema has nothing against the file; one that no YAML reader takes is
    refused by the editor itself."""
    try:
        node = yaml.compose(path.read_text("utf-8-sig"), yaml.BaseLoader)
        value = as_json(node) if node else None
    except (yaml.YAMLError, OSError, UnicodeError):
        return False
    return bool(VALIDATOR.is_valid(value))


def errors_of(main: Path) -> list[str]:
    """What `check` has against it."""
    return [str(one) for one in read_forwards(main)[1] if not one.is_warning]


def test_it_is_a_schema() -> None:
    """Of draft 2020-12."""
    Draft202012Validator.check_schema(SCHEMA)


def test_it_has_our_keys() -> None:
    """Each level has the keys that the reader knows, and no other."""
    defined = SCHEMA["$defs"]
    found = [
        list(level["properties"])
        for level in (
            SCHEMA,
            SCHEMA["properties"]["defaults"],
            defined["guest_with_keys"],
            defined["pattern_with_keys"],
            defined["port_with_keys"],
            defined["metadata"],
        )
    ]

    wanted = [DOCUMENT, DEFAULTS, GUEST, PATTERN, PORT, METADATA]
    assert list(map(sorted, found)) == list(map(sorted, wanted))


# Wrong, and no schema can say so: what two entries have to do with each other or with
# the host, what two numbers in one text mean, and how YAML itself is written.
BEYOND = {
    "alias",
    "defaults-of-a-drop-in",
    "defaults-reach-drop-ins",
    "duplicate-key-in-port",
    "duplicate-keys",
    "every-address-and-its-family",
    "guest-address-of-nobody",
    "guest-in-two-files",
    "loopback",
    "mixed-families",
    "no-blank-after-the-colon-in-braces",
    "one-guest-one-port-twice",
    "overlap-by-name",
    "overlap-by-name-and-uuid",
    "overlap-in-capitals",
    "overlap-in-several-protocols",
    "overlap-on-one-address",
    "overlap-through-defaults",
    "overlap-with-a-drop-in",
    "overlap-written-differently",
    "public-ip-of-two",
    "range-overlaps-later",
    "ranges-of-different-length",
    "ranges-overlap",
    "reversed-ranges",
    "pattern-and-a-part-of-a-guests-ports",
    "pattern-in-two-files",
    "two-addresses-of-one-family",
    "two-guests-one-port",
}


@pytest.mark.parametrize("name", CASES)
def test_cases(tmp_path: Path, name: str) -> None:
    """What `check` takes the schema takes, and a problem is one that both see, or is on
    the list of those that no schema can say."""
    directory = case(tmp_path, name)
    with working_in(directory):
        errors = errors_of(Path("forwards.yaml"))
        drop_ins = sorted(Path("forwards.d").glob("[!.]*.yaml"))
        is_accepted = all(map(accepts, [Path("forwards.yaml"), *drop_ins]))

    assert is_accepted == (not errors or name in BEYOND)


def test_the_list_has_cases_only() -> None:
    """A case that is gone, or renamed, is not left on the list."""
    assert sorted(BEYOND - set(CASES)) == []


@pytest.mark.parametrize("text", examples(DOCS / "forwards.md"))
def test_examples(tmp_path: Path, text: str) -> None:
    """Those of the manual are taken."""
    path = tmp_path / "forwards.yaml"
    path.write_text(text)

    assert accepts(path)


PORTS = ["1", "65535", "080", "8080", "22-23", "5000-5010"]
BAD_PORTS = ["0", "65536", "-5", "http", "5.5", "80-", "1-70000", "8 0", "true", "''"]
PROTOCOLS = ["tcp", "UDP", "Sctp"]
BAD_PROTOCOLS = ["dccp", "6", "tcp udp", "''", "{}"]
ADDRESSES = ["203.0.113.5", '"2001:db8::5"', "0.0.0.0", '"::"']
BAD_ADDRESSES = [
    *("203.0.113", "203.0.113.256", "eth0", "7", "''", "[]", "{}"),
    *("{device: eth0}", "{interface: []}", "{interface: lo, name: a}"),
    *("{interface: sixteen-letters-}", "{interface: a/b}", "{interface: '.'}"),
]
HOSTS = [ADDRESSES[0], "{interface: lo}", "{name: public}"]
NETWORKS = ["198.51.100.0/24", '"2001:db8::/32"', "10.0.0.0/255.0.0.0", "192.0.2.1"]
BAD_NETWORKS = ["office", "10.0.0.0/", "5", "''", "[]"]
SWITCHES = ["true", "False", "TRUE", "'true'"]
BAD_SWITCHES = ["yes", "1", "on", "''", "[]"]
SHORT = ["{0}", "{0}:{0}", "{0}/udp", "{0}:{0}/SCTP", "203.0.113.5:{0}:{0}"]
BAD_SHORT = [
    "{0}:",
    ":{0}",
    "{0}/",
    "{0}/dccp",
    "{0}:{0}:{0}:{0}",
    "[::1]:{0}",
    "a:{0}",
]
LISTED = {
    "protocol": (PROTOCOLS, BAD_PROTOCOLS),
    "host_ip": (HOSTS, BAD_ADDRESSES),
    "allow_from": (NETWORKS[:1], BAD_NETWORKS),
}
SINGLE = dict.fromkeys(("over_listener", "return_path", "masquerade"))


@st.composite
def ports(draw: st.DrawFn, number: int, is_bad: bool) -> str:
    """An entry of a list of ports; the port is nobody else's."""
    port = draw(st.sampled_from([f"{number}", f"{number}-{number + 5}"]))
    if draw(st.booleans()):
        form = draw(st.sampled_from(BAD_SHORT if is_bad else SHORT))
        return '"' + form.format(port) + '"' if form[0] in "[:" else form.format(port)
    keys = {draw(st.sampled_from(["published", "target"])): port}
    for key, (good, _) in LISTED.items():
        if draw(st.booleans()):
            some = draw(st.lists(st.sampled_from(good), min_size=1, max_size=2))
            keys[key] = f"[{', '.join(some)}]" if draw(st.booleans()) else some[0]
    for key in SINGLE:
        if draw(st.booleans()):
            keys[key] = draw(st.sampled_from(SWITCHES))
    if is_bad:
        bad = {"published": BAD_PORTS, "target": BAD_PORTS, "unknown": ["1"]}
        bad |= {key: wrong for key, (_, wrong) in LISTED.items()}
        bad |= dict.fromkeys(SINGLE, BAD_SWITCHES)
        key = draw(st.sampled_from(sorted(bad)))
        keys[key] = draw(st.sampled_from(bad[key]))
    return "{" + ", ".join(f"{key}: {value}" for key, value in keys.items()) + "}"


@st.composite
def files(draw: st.DrawFn, is_bad: bool) -> str:
    """A file with one fault of structure, or with none."""
    count = draw(st.integers(1, 4))
    at = draw(st.integers(0, count - 1)) if is_bad else -1
    guests = []
    for number in range(count):
        entry = draw(ports(1000 + 10 * number, number == at))
        keys = {"ports": draw(st.sampled_from([f"[{entry}]", f"\n    - {entry}"]))}
        if draw(st.booleans()):
            keys["address"] = draw(st.sampled_from(['"fd00::5"', "192.168.122.5"]))
            keys["address"] = "[192.168.122.5, 'fd00::5']"
        if draw(st.booleans()):
            keys["network"] = draw(st.sampled_from(["default", "7", "null", "true"]))
        for key in ("hairpin", "over_listener"):
            if draw(st.booleans()):
                keys[key] = draw(st.sampled_from(SWITCHES))
        if draw(st.booleans()):
            keys["when_stopped"] = draw(st.sampled_from(["reject", "pass"]))
        lines = "\n".join(f"  {key}: {value}" for key, value in keys.items())
        guests.append(f" guest{number}:\n{lines}\n")
    named = "addresses: {public: 203.0.113.7, other: ['2001:db8::7', 192.0.2.7]}\n"
    return named + "guests:\n" + "".join(guests) + draw(patterns())


GOOD_PATTERNS = [
    "web-*",
    "'*'",
    "'?'",
    "'c[0-9]'",
    "'[!a-z]*'",
    "'[]]b'",
    "'[[]'",
    "'a]*'",
]
BAD_PATTERNS = ["web", "'a['", "'[^a]'", "'[]'", "'[!]'", "'a\\*'", "'{a,b}*'", "''"]
BAD_PATTERNS += ["'[[:digit:]]'", '"a\\n*"', '"\\u007f*"', f"{'a' * 255}*"]


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Patterns, each once, with ports of their own; or none."""
    names = draw(st.lists(st.sampled_from(GOOD_PATTERNS), max_size=3, unique=True))
    lines = []
    for number, name in enumerate(names):
        entry = draw(ports(2000 + 10 * number, False))
        value = draw(st.sampled_from([f"[{entry}]", f"{{ports: [{entry}]}}"]))
        lines.append(f" {name}: {value}\n")
    return "patterns:\n" + "".join(lines) if lines else ""


@pytest.mark.parametrize("pattern", [*GOOD_PATTERNS, *BAD_PATTERNS])
def test_patterns(tmp_path: Path, pattern: str) -> None:
    """Both take the same ones, whether a file names guests beside them or not."""
    path = tmp_path / "forwards.yaml"
    path.write_text(f"patterns:\n  {pattern}: [80]\n")

    is_good = pattern in GOOD_PATTERNS
    assert (accepts(path), errors_of(path) == []) == (is_good, is_good)


@pytest.mark.parametrize("guest", [*GOOD_PATTERNS, *BAD_PATTERNS])
def test_guests_of_metadata(tmp_path: Path, guest: str) -> None:
    """Both take the same patterns as below `patterns:`, and a name without a sign."""
    path = tmp_path / "forwards.yaml"
    path.write_text(f"metadata: {{guests: [{guest}], ports: 80}}\nguests: {{}}\n")

    is_good = guest in (*GOOD_PATTERNS, "web")
    assert (accepts(path), errors_of(path) == []) == (is_good, is_good)


@pytest.mark.parametrize("key", [*GUEST, "unknown"])
def test_keys_of_a_pattern(tmp_path: Path, key: str) -> None:
    """What is one guest's own neither takes."""
    values = {"network": "n", "bridge": "b", "ports": "[81]", "allow_from": "192.0.2.1"}
    values |= {"address": "192.0.2.1", "public_ip": "192.0.2.1"}
    path = tmp_path / "forwards.yaml"
    rest = "" if key == "ports" else "ports: [80], "
    value = values.get(key, "reject" if key == "when_stopped" else "true")
    path.write_text(f"patterns: {{a*: {{{rest}{key}: {value}}}}}\n")

    is_good = key in PATTERN
    assert (accepts(path), errors_of(path) == []) == (is_good, is_good)


@PROPERTY
@given(files(False))
def test_good_files(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    """Both take a file without a fault."""
    path = tmp_path_factory.getbasetemp() / "good.yaml"
    path.write_text(text)

    assert (accepts(path), errors_of(path)) == (True, [])


@PROPERTY
@given(files(True))
def test_faults_of_structure(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """Both refuse an unknown key, a value of another type, a protocol, an address or a
    port that is none, and a malformed short entry."""
    path = tmp_path_factory.getbasetemp() / "bad.yaml"
    path.write_text(text)

    assert (accepts(path), bool(errors_of(path))) == (False, True)


WORDS = [*PORTS, *BAD_PORTS, *ADDRESSES, *BAD_ADDRESSES, *NETWORKS, *BAD_NETWORKS]
WORDS += [*SWITCHES, *BAD_SWITCHES, "8080:80", "80/tcp", "[80]", "null", "reject", "~"]
KEYS = sorted(
    {*DOCUMENT, *DEFAULTS, *GUEST, *PORT, *METADATA, "web1", "'w*'", "unknown"}
)
TREES = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda some: f"[{', '.join(some)}]"),
        st.dictionaries(st.sampled_from(KEYS), inner, max_size=4).map(
            lambda pairs: "{" + ", ".join(f"{k}: {v}" for k, v in pairs.items()) + "}"
        ),
    ),
    max_leaves=8,
)


@PROPERTY
@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=3), TREES)
def test_any_tree(
    tmp_path_factory: pytest.TempPathFactory, top: dict[str, str], guest: str
) -> None:
    """What the schema refuses `check` refuses, whatever the file looks like."""
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    lines = {"guests": f"{{web1: {guest}}}", **top}
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))

    assert accepts(path) or errors_of(path)
