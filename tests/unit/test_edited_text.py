"""edited_text: one entry more or less, and everything else stays as it is written."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, refusal
from unit.test_docs import DOCS, examples
from vfwhooks.config.edited_text import add, change, remove
from vfwhooks.config.yaml_nodes import plain
from vfwhooks.config.yaml_tree import parse_tree

ADDED = {
    "a file with nothing in it": ("", "guests:\n  web1: [8443]\n"),
    "comments alone": ("# ours\n", "# ours\nguests:\n  web1: [8443]\n"),
    "an open last line": ("# ours", "# ours\nguests:\n  web1: [8443]\n"),
    "no guests yet": (
        "guests: {}  # none\n# end\n",
        "guests:  # none\n  web1: [8443]\n# end\n",
    ),
    "guests: and nothing": ("guests: # x\n", "guests: # x\n  web1: [8443]\n"),
    "defaults alone": (
        "defaults:\n  hairpin: true\n",
        "defaults:\n  hairpin: true\nguests:\n  web1: [8443]\n",
    ),
    "a new guest": (
        "guests:\n    a: 80 # a\n      # of a\n    # b\n\n# end",
        "guests:\n    a: 80 # a\n      # of a\n    web1: [8443]\n    # b\n\n# end",
    ),
    "the last line is open": (
        "guests:\r\n  a: 80",
        "guests:\r\n  a: 80\r\n  web1: [8443]",
    ),
    "a new guest in braces": ("guests: {a: 80}", "guests: {a: 80, web1: [8443]}"),
    "all in braces": ("{guests: {}}\n", "{guests: {web1: [8443]}}\n"),
    "braces over lines": (
        "guests: {\n  a: 80,  # a\n  b: 81  # b\n}\n",
        "guests: {\n  a: 80,  # a\n  b: 81,  # b\n  web1: [8443]\n}\n",
    ),
    "brackets over lines": (
        "guests:\n  web1: [\n    80\n  ]\n",
        "guests:\n  web1: [\n    80,\n    8443\n  ]\n",
    ),
    "a comma at the end": (
        "guests: {\n  a: 80,  # a\n}\n",
        "guests: {\n  a: 80,  # a\n  web1: [8443],\n}\n",
    ),
    "one port": ("guests:\n  web1: 80 # x\n", "guests:\n  web1: [80, 8443] # x\n"),
    "one port in quotes": (
        "guests: {'web1': \"80\"}",
        "guests: {'web1': [\"80\", 8443]}",
    ),
    "a name and nothing": ("guests:\n  web1:\n", "guests:\n  web1: [8443]\n"),
    "an empty list": ("guests:\n  web1: [ ]\n", "guests:\n  web1: [ 8443]\n"),
    "a list in one line": (
        "guests:\n  web1: [80, 443 ] # x\n  b: 1\n",
        "guests:\n  web1: [80, 443, 8443 ] # x\n  b: 1\n",
    ),
    "a list of lines": (
        "guests:\n  web1:\n  -   80 # x\n  # y\n  b: 1\n",
        "guests:\n  web1:\n  -   80 # x\n  -   8443\n  # y\n  b: 1\n",
    ),
    "a list of mappings": (
        "guests:\n  web1:\n    - published: 80\n      # why\n  b: 1\n",
        "guests:\n  web1:\n    - published: 80\n      # why\n    - 8443\n  b: 1\n",
    ),
    "a guest with keys": (
        "guests:\n  web1:\n    ports:\n      - 80\n    network: n\n",
        "guests:\n  web1:\n    ports:\n      - 80\n      - 8443\n    network: n\n",
    ),
    "keys without ports": (
        "guests:\n  web1:\n    network: n # n\n",
        "guests:\n  web1:\n    network: n # n\n    ports: [8443]\n",
    ),
    "keys in braces": (
        "guests:\n  web1: {ports: 80, network: n}\n",
        "guests:\n  web1: {ports: [80, 8443], network: n}\n",
    ),
    "text over lines": (
        "guests:\n  a: >-\n    80\n\n",
        "guests:\n  a: >-\n    80\n\n  web1: [8443]\n",
    ),
    "a byte order mark": ("\ufeffguests: {}", "\ufeffguests:\n  web1: [8443]"),
}


@pytest.mark.parametrize("name", ADDED)
def test_an_entry_more(name: str) -> None:
    """It goes where an administrator would write it, in the style of what is there."""
    before, after = ADDED[name]

    assert add(before, "web1", ["8443"]) == after


REMOVED = {
    "the last guest": (
        "guests: # all\n  web1: 80 # x\n# end\n",
        [0],
        "guests: {} # all\n# end\n",
    ),
    "the last guest in braces": ("guests: {web1: 80}", [], "guests: {}"),
    "the first in braces": ("guests: {web1: 80, b: 1}", [0], "guests: {b: 1}"),
    "the last in braces": ("guests: {b: 1, web1: [80]}", [0], "guests: {b: 1}"),
    "one of a list": ("guests: {web1: [80, 81, 82]}", [1], "guests: {web1: [80, 82]}"),
    "the last of a list": ("guests: {web1: [80, 81]}", [1], "guests: {web1: [80]}"),
    "two of a list": ("guests: {web1: [80, 81, 82]}", [0, 2], "guests: {web1: [81]}"),
    "all of a list": ("guests: {web1: [80, 81], b: 1}", [0, 1], "guests: {b: 1}"),
    "a line of a list in brackets": (
        "guests:\n  web1: [\n    80, # x\n    # of 81\n    81 # y\n  ]\n",
        [0],
        "guests:\n  web1: [\n    # of 81\n    81 # y\n  ]\n",
    ),
    "the last line of a list in brackets": (
        "guests:\n  web1: [\n    80, # x\n    81 # y\n  ]\n",
        [1],
        "guests:\n  web1: [\n    80, # x\n  ]\n",
    ),
    "a line of a list": (
        "guests:\r\n  web1:\r\n  - 80 # x\r\n  - target: 8\r\n    host_ip: x\r\n  - 82",
        [1],
        "guests:\r\n  web1:\r\n  - 80 # x\r\n  - 82",
    ),
    "a guest with keys": (
        "guests:\n  a: 1\n  web1:\n    network: n\n    ports: [80]\n\n  # b\n  b: 2\n",
        [0],
        "guests:\n  a: 1\n\n  # b\n  b: 2\n",
    ),
    "a guest with nothing": ("guests:\n  web1:\n  b: 1\n", [], "guests:\n  b: 1\n"),
}


@pytest.mark.parametrize(
    ("old", "before", "after"),
    [
        ("8080:80", "guests: {web1: [80, ", ", 81]} # x"),
        ('"8080:80"', "guests:\n  web1:\n  - 80\n  - ", "  # web\n  mail: 25\n"),
        (
            "8080:80",
            "guests:\n  web1:\n    ports:\n      # a\n      - 80\n      - ",
            "",
        ),
        ("{published: 8080, target: 80}", "guests:\n  web1: [80, ", "]"),
        ("published: 8080\n     target: 80", "guests:\n  web1:\n   - 80\n   - ", "\n"),
    ],
)
def test_another_entry_in_its_place(old: str, before: str, after: str) -> None:
    """All else stays, what stands beside the entry too."""
    found = change(f"{before}{old}{after}", "web1", 1, "{published: 1, target: 2}")

    assert found == f"{before}{{published: 1, target: 2}}{after}"


def test_another_entry_for_the_only_one() -> None:
    """A port that is no list stays none."""
    found = change("guests:\n  web1: 8080:80 # x\n", "web1", 0, "443")

    assert found == "guests:\n  web1: 443 # x\n"


def test_no_comment_is_lost_in_a_change() -> None:
    """One in the entry itself has no place in the new one."""
    text = "guests:\n  web1:\n  - published: 80 # web\n    target: 81\n"

    said = refusal(change, text, "web1", 0, "443")

    assert said.endswith("(write by hand, for web1: 443)")


@pytest.mark.parametrize("name", REMOVED)
def test_an_entry_less(name: str) -> None:
    """Its lines go, and its comma; with the last one the guest goes."""
    before, doomed, after = REMOVED[name]

    assert remove(before, "web1", doomed) == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guests: [80]\n", "this entry cannot be edited where it stands"),
        ("guests:\n  web1: {ports: {80: 80}}\n", "this entry cannot be edited"),
        ("---\n...\n", "this entry cannot be edited"),
        ("guests:\n  web1: |\n    80\n", "this entry cannot be edited"),
        ("guests:\n  web1: 80, 443\n", "this entry cannot be edited"),
        ("guests: ~\n", "this entry cannot be edited where it stands"),
    ],
)
def test_what_has_no_place(text: str, said: str) -> None:
    """An entry that would be read as something else is refused, with what to write."""
    by_hand = "write by hand, below guests: web1: [8443]"
    found = refusal(add, text, "web1", ["8443"])

    assert (found.startswith(said), found.endswith(f"({by_hand})")) == (True, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("guests: [80\n", "line 1: the [ here has no end"),
        ("guests:\n  a: 1\n  a: 2\n", "line 3: a: it stands in line 2 already"),
    ],
)
def test_what_is_broken_already(text: str, said: str) -> None:
    """A file that cannot be read is left alone; what is wrong with it is said."""
    assert refusal(add, text, "web1", ["8443"]).startswith(said)


# Files, as people write them.

COMMENTS = st.sampled_from(["", "", " # why", "  # é, [x: {", "   "])
ABOVE = st.sampled_from(["", "", "# a comment\n", "\n", "      # far\n", "  \n"])
ENTRIES = st.sampled_from(
    ["80", "'81'", "8080:80", '"[2001:db8::5]:443:443"', "{published: 1, target: 2}"]
)
NAMES = st.sampled_from(["web1", "a", '"b c"', "'d: e'", "07", "ü", "on", "g-1.x"])


@st.composite
def flow_lists(draw: st.DrawFn, indent: str) -> str:
    """A list in brackets, in one line or in several."""
    items = draw(st.lists(ENTRIES, max_size=3))
    comma = draw(st.sampled_from(["", ","])) if items else ""
    if draw(st.booleans()):
        return f"[{', '.join(items)}{comma}]"
    lines = [
        f"{indent}  {item}{',' if n < len(items) - 1 else comma}{draw(COMMENTS)}\n"
        for n, item in enumerate(items)
    ]
    return f"[{draw(COMMENTS)}\n{''.join(lines)}{indent} ]"


@st.composite
def values(draw: st.DrawFn, indent: str) -> str:
    """What stands behind a key that has ports."""
    kind = draw(st.sampled_from(["one", "flow", "block", "long", "nothing"]))
    if kind == "one":
        return f" {draw(st.sampled_from(['80', chr(34) + '81' + chr(34), '8:9']))}"
    if kind == "flow":
        return f" {draw(flow_lists(indent))}"
    if kind == "nothing":
        return ""
    dash = f"{indent}{draw(st.sampled_from(['', '  ', '    ']))}-"
    blanks = draw(st.sampled_from([" ", "   "]))
    lines = [draw(COMMENTS)]
    for entry in draw(st.lists(ENTRIES, min_size=1, max_size=3)):
        if kind == "long":
            inner = " " * (len(dash) + len(blanks))
            entry = (
                f"published: 7\n{inner}allow_from:{draw(COMMENTS)}\n{inner}- 10.0.0.1"
            )
        above = draw(ABOVE)
        lines.append(f"\n{above}{dash}{blanks}{entry}{draw(COMMENTS)}")
    return "".join(lines)


@st.composite
def files(draw: st.DrawFn) -> str:
    """A whole forwards.yaml."""
    head = draw(ABOVE) + draw(st.sampled_from(["", "defaults: {hairpin: true}\n"]))
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    if not names:
        empty = draw(st.sampled_from(["guests: {}", "guests: {} # x\n", "guests:\n"]))
        return head + empty + draw(ABOVE)
    if draw(st.booleans()):
        pairs = [f"{name}: {draw(flow_lists('    '))}" for name in names]
        between = draw(st.sampled_from([", ", ",\n    ", ", # x\n    "]))
        text = f"{head}guests: {{{between.join(pairs)}}}{draw(COMMENTS)}"
    else:
        indent = draw(st.sampled_from(["  ", "    "]))
        text = f"{head}guests:{draw(COMMENTS)}"
        for name in names:
            value = draw(values(indent))
            if draw(st.booleans()):
                inner = indent + "  "
                value = f"\n{inner}network: n{draw(COMMENTS)}\n{inner}ports:"
                value += draw(values(inner))
            text += f"\n{draw(ABOVE)}{indent}{name}:{value}"
            if value[-1:] not in "]0123456789'\"}":
                continue
            text += draw(COMMENTS)
    text += draw(st.sampled_from(["", "\n", "\n# end", "\n\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


def said(text: str) -> dict[str, object]:
    """What another reader finds, all of it as text; the guests, and what they have."""
    found = yaml.load(text, Loader=yaml.BaseLoader)
    return found.get("guests") or {} if found else {}


def ports(value: object) -> list[object]:
    """The entries of a guest."""
    if isinstance(value, dict):
        value = value.get("ports", [])
    return value if isinstance(value, list) else [value] if value else []


def changed_lines(before: str, after: str) -> list[str]:
    """The lines of the first that the second has not."""
    lines = before.splitlines(True), after.splitlines(True)
    matcher = difflib.SequenceMatcher(None, *lines, autojunk=False)
    return [
        line
        for kind, first, last, _, _ in matcher.get_opcodes()
        if kind in ("replace", "delete")
        for line in lines[0][first:last]
    ]


@PROPERTY
@given(files(), st.sampled_from(["web1", "a", "new one", "07"]))
def test_any_file_with_an_entry_more(text: str, guest: str) -> None:
    """Another reader finds the same guests and the new entry behind the others'; of all
    lines two at most are not as they were: that of the entry before it, and where the
    file was empty."""
    before = said(text)

    after = add(text, guest, ["9:9/udp"])

    found = said(after)
    assert {name: ports(value) for name, value in found.items()} == {
        **{name: ports(value) for name, value in before.items()},
        guest: [*ports(before.get(guest)), "9:9/udp"],
    }
    assert list(found) == list(dict.fromkeys([*before, guest]))
    assert len(changed_lines(text, after)) <= 2


@PROPERTY
@given(files(), st.data())
def test_any_file_with_an_entry_less(text: str, data: st.DataObject) -> None:
    """Another reader finds the same without that entry, or without the guest; no line
    is new but one that has lost the entry."""
    before = said(text)
    if not before:
        return
    guest = data.draw(st.sampled_from(sorted(before)))
    had = ports(before[guest])
    doomed = [data.draw(st.integers(0, len(had) - 1))] if had else []

    after = remove(text, guest, doomed)

    found = {name: ports(value) for name, value in said(after).items()}
    left = [one for number, one in enumerate(had) if number not in doomed]
    wanted = {name: ports(value) for name, value in before.items() if name != guest}
    assert found == ({**wanted, guest: left} if left else wanted)
    assert len(changed_lines(after, text)) <= 1


@PROPERTY
@given(files())
def test_there_and_back(text: str) -> None:
    """A guest that is added and removed leaves the text as it was, but for where there
    was no guest before."""
    if not said(text):
        return

    after = remove(add(text, "new one", ["9"]), "new one")

    assert after.rstrip("\r\n") == text.rstrip("\r\n")


@PROPERTY
@given(st.text(max_size=60), st.sampled_from(["guests: {}\n", "guests: {b: 1}\n"]))
def test_any_name(name: str, text: str) -> None:
    """A guest is found under its own name again, whatever that is; our own reader has
    its word in this, since a name may not be like one that is there."""
    if name == "b":
        return

    found = plain(parse_tree(add(text, name, ["80"]).encode(), "", []))

    assert isinstance(found, dict)
    assert isinstance(found["guests"], dict)
    assert found["guests"][name] == ["80"]


def every_entry(text: str, edit: Callable[[str, str, int], str]) -> list[int]:
    """How many lines change by an edit of each entry of each guest."""
    return [
        len(changed_lines(edit(text, guest, number), text))
        for guest, value in said(text).items()
        for number, _ in enumerate(ports(value))
    ]


@pytest.mark.parametrize("text", examples(DOCS / "forwards.md"))
def test_examples(text: str) -> None:
    """Those of the manual can all be edited, and one line at most is another."""
    more = every_entry(text, lambda text, guest, _: add(text, guest, ["9"]))
    new = [len(changed_lines(text, add(text, "new", ["9"])))]
    less = every_entry(text, lambda text, guest, number: remove(text, guest, [number]))

    assert [n for n in [*more, *less, *new] if n > 1] == []
