"""yaml_mistakes: where the mistake is in what is no YAML, or not the YAML that was
meant.

How they are said of whole files: tests/cases/check.
"""

from __future__ import annotations

import pytest
import yaml

from unit.builders import place
from vfwhooks.config import yaml_tree
from vfwhooks.config.yaml_mistakes import slip_in
from vfwhooks.config.yaml_nodes import Items, Text
from vfwhooks.config.yaml_tree import NotRead, parse_tree

NO_END = "here has no end; write"
BACKSLASH = "no such sign behind a backslash; write single quotes"


@pytest.fixture(params=["CBaseLoader", "BaseLoader"], autouse=True)
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of PyYAML's readers, which have other words and other places."""
    monkeypatch.setattr(yaml_tree, "_LOADER", getattr(yaml, request.param))


def refused(text: str) -> str:
    """Line, column and problem of a file that gives no tree."""
    with pytest.raises(NotRead) as caught:
        parse_tree(text.encode(), "f", [])
    return str(caught.value.problem)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [b}", "f:1:6: this } does not end the [ before it; write ]"),
        ("a: {b: [1}", "f:1:10: this } does not end the [ before it; write ]"),
        ("a: ]", "f:1:4: this ] ends nothing that was begun; take it away"),
        ("a: [1, [2]\n", f"f:1:4: the [ {NO_END} ] behind what belongs to it"),
        ("a: {b: 1\nc: 2\n", f"f:1:4: the {{ {NO_END} }} behind what belongs to it"),
        ("a: [1, # ]\n", f"f:1:4: the [ {NO_END} ] behind what belongs to it"),
        ("a: [\n", f"f:1:4: the [ {NO_END} ] behind what belongs to it"),
        ("a: 'b\n", f"f:1:4: the ' {NO_END} another ' behind it"),
        ('a: "\\q"', f"f:1:4: {BACKSLASH}"),
        ("a: 'b' c", "f:1:8: nothing goes on behind ' but a comma or a comment"),
        (
            "a: 1\r\n b: 2",
            "f:2:2: indented by 1, below a line that is complete; "
            "beside line 1 it takes 0",
        ),
        (
            "\ufeffa: 1\n b: 2",
            "f:2:2: indented by 1, below a line that is complete; "
            "beside line 1 it takes 0",
        ),
        (
            "a:\n- b\n- c\nd:\n  - e\n f: 1",
            "f:6:2: indented by 1, as no line above "
            "it is; write 2 blanks as line 5 has, or 0",
        ),
        (
            "a:\n  - - 1\n    b: 2",
            "f:3:5: a key among the items of a list; "
            "write ports: above line 2, and indent the list below it",
        ),
        (
            "a: [1,\n2]\n b: 2",
            "f:3:2: indented by 1, below a line that is complete; "
            "beside line 1 it takes 0",
        ),
    ],
)
def test_where_the_mistake_is(text: str, said: str) -> None:
    """Not where the reader could not go on."""
    found = refused(text)

    assert found == said


@pytest.mark.parametrize(
    ("line", "column", "right"),
    [
        ("  web1:[8080:80]  # c", 2, "web1: [8080:80]"),
        ("web1:8080:80", 0, "web1: 8080:80"),
        ('"web 1":[80]', 0, '"web 1": [80]'),
        ("  - published:80", 4, "published: 80"),
        ("a: {web1:[80], b: [81]}", 4, "web1: [80]"),
    ],
)
def test_no_blank_after_the_colon(line: str, column: int, right: str) -> None:
    """The key, and the line as it is right."""
    found = slip_in(line)

    assert found == (column, f"no blank after the colon; write {right}")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "web1: [8080:80]",
        "web1:",
        "  - 8080:80",
        "  8080:80",
        "- tcp:80:80",
        "localhost:80:80",
        "- [80, 81]",
        "web:1: [80]",
        "---",
        "web1: 80 # a:b",
        "x" * 501 + ":[80]",
    ],
)
def test_a_line_without_a_slip(line: str) -> None:
    """What is right, or wrong in another way, is not corrected."""
    assert slip_in(line) is None


def test_a_value_that_goes_over_lines() -> None:
    """It is known which lines it was read from; in quotes it was meant."""
    tree = parse_tree(b"- a b\n  c\n\n  d # e\n- 'f\n  g'\n- h\n", "f", [])

    assert isinstance(tree, Items)
    lines = [node.lines for node in tree.nodes if isinstance(node, Text)]
    a, c, d = place(1, 3, "f"), place(2, 3, "f"), place(4, 3, "f")
    assert lines == [(Text(a, "a b"), Text(c, "c"), Text(d, "d")), (), ()]


def test_a_large_file_that_is_wrong_at_its_end() -> None:
    """A slip is not looked for in all of it."""
    text = "a:[1]\n" + "# c\n" * 1200 + "b: 1\n"

    found = refused(text)

    assert "no blank" not in found
