"""yaml_tree: files as trees of places and text, and what gives no tree."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Union

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import CHECKOUT, PROPERTY, place, working_in
from vfwhooks.config import yaml_tree
from vfwhooks.config.config_files import find_files
from vfwhooks.config.yaml_nodes import Items, Node, Pairs, Place, Problem, Text
from vfwhooks.config.yaml_tree import NotRead, _refuse_stranger, parse_tree, read_tree

ADDRESS = "; an address with :: or in brackets stands in quotes"
PLAIN = "compare this line and the one above it with the examples in forwards.yaml(5)"
QUOTES = "an entry that begins with [ stands in quotes"
Plain = Union[str, list["Plain"], dict[str, "Plain"]]


def plain(node: Node) -> Plain:
    """A tree without its places."""
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Items):
        return [plain(one) for one in node.nodes]
    return {key.value: plain(value) for key, value in node.nodes}


def refused(data: bytes) -> str:
    """The problem of a file that gives no tree."""
    with pytest.raises(NotRead) as caught:
        parse_tree(data, "f.yaml", [])
    return str(caught.value.problem)


def read(path: Path) -> tuple[Node | None, list[str]]:
    """A file's tree, and its problems, with the file named alone."""
    problems: list[Problem] = []
    with working_in(path.parent):
        tree = read_tree(Path(path.name), problems)
    return tree, list(map(str, problems))


def test_place_and_problem_read_as_promised() -> None:
    """FILE:LINE:COLUMN: message, and a warning says that it is one."""
    shown = [
        str(Problem(place(12, 16), "no")),
        str(Problem(Place("/etc/f.yaml"), "no", is_warning=True)),
    ]

    assert shown == ["forwards.yaml:12:16: no", "/etc/f.yaml:1:1: warning: no"]


def test_tree_has_every_place() -> None:
    """Lines and columns count from 1, in every kind of node."""
    data = b"guests:\n  web1: [8080:80, {a: b}]\n"

    tree = parse_tree(data, "f.yaml", [])

    def at(line: int, column: int) -> Place:
        return Place("f.yaml", line, column)

    pair = Text(at(2, 20), "a"), Text(at(2, 23), "b")
    ports = Items(at(2, 9), (Text(at(2, 10), "8080:80"), Pairs(at(2, 19), (pair,))))
    guests = Pairs(at(2, 3), ((Text(at(2, 3), "web1"), ports),))
    assert tree == Pairs(at(1, 1), ((Text(at(1, 1), "guests"), guests),))


@pytest.mark.parametrize(
    "scalar",
    ["22:22", "007", "1e3", "on", "yes", "null", "~", "0x10", "1_000", ".inf", "<<"],
)
def test_scalars_are_read_as_written(scalar: str) -> None:
    """No scalar becomes a number, a boolean, a date or nothing."""
    tree = parse_tree(f"{scalar}: {scalar}".encode(), "f.yaml", [])

    assert plain(tree) == {scalar: scalar}


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"\n\n"])
def test_an_empty_file_is_nothing(data: bytes) -> None:
    """A file without a document is an empty text at its start."""
    tree = parse_tree(data, "f.yaml", [])

    assert tree == Text(Place("f.yaml"), "")


@pytest.mark.parametrize("data", [b"", b"---\n", b"--- \n...\n", b"''"])
def test_an_empty_document_is_nothing(data: bytes) -> None:
    """A document without content is the same."""
    tree = parse_tree(data, "f.yaml", [])

    assert plain(tree) == ""


def test_duplicate_keys_are_all_reported() -> None:
    """The first of a key stands; each more is a problem at its own place."""
    problems: list[Problem] = []

    tree = parse_tree(b"a: 1\nb: 2\na: 3\na: {c: 4, c: 5}\n", "f.yaml", problems)

    assert (plain(tree), list(map(str, problems))) == (
        {"a": "1", "b": "2"},
        [
            "f.yaml:4:11: c: it stands in line 4 already",
            "f.yaml:3:1: a: it stands in line 1 already",
            "f.yaml:4:1: a: it stands in line 1 already",
        ],
    )


def test_the_same_key_in_another_mapping_is_no_duplicate() -> None:
    """Keys are compared within their own mapping."""
    problems: list[Problem] = []

    parse_tree(b"a: {x: 1}\nb: {x: 2}\nx: 3\n", "f.yaml", problems)

    assert problems == []


def test_a_key_that_is_no_text() -> None:
    """A list or a mapping as key is reported and left out."""
    problems: list[Problem] = []

    tree = parse_tree(b"{[a]: 1, {b: c}: 2, d: 3}", "f.yaml", problems)

    assert (plain(tree), list(map(str, problems))) == (
        {"d": "3"},
        [
            f"f.yaml:1:2: a key must be plain text; {QUOTES}",
            f"f.yaml:1:10: a key must be plain text; {QUOTES}",
        ],
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a: [1\n", "f.yaml:1:4: the [ here has no end"),
        (b"a: b: c", "f.yaml:1:5: a second colon with a blank in one line"),
        (b"%x", "f.yaml:1:3: not YAML: found unknown directive name"),
        (
            b"a: *b",
            "f.yaml:1:4: aliases (*name) are not supported; write it out, or a pattern "
            "in quotes",
        ),
        (b"a: 1\n--- b", "f.yaml:2:1: a second document starts here; a file holds"),
        (b"ok\nb\xfcd", "f.yaml:2:2: byte 0xfc is not UTF-8"),
        (b"\xff", "f.yaml:1:1: byte 0xff is not UTF-8"),
        (b"\n\xff", "f.yaml:2:1: byte 0xff is not UTF-8"),
        (b"a: 1\rb: \xff", "f.yaml:2:4: byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbfa: \xff", "f.yaml:1:4: byte 0xff is not UTF-8"),
        (b"\xef\xbb\xbfa: \x01", "f.yaml:1:4: not YAML: unacceptable character #x0001"),
        (
            b"# \xc2\x85\r\na: \x01",
            "f.yaml:3:4: not YAML: unacceptable character #x0001",
        ),
        (b"\n\x07", "f.yaml:2:1: not YAML: unacceptable character #x0007"),
        ("ü: \udcff".encode(errors="surrogateescape"), "f.yaml:1:4: byte 0xff is not"),
        (b"a: \x07", "f.yaml:1:4: not YAML: unacceptable character #x0007"),
        (b"a: 1\nb: \x00", "f.yaml:2:4: not YAML: unacceptable character #x0000"),
    ],
)
def test_what_gives_no_tree(data: bytes, said: str) -> None:
    """Not YAML, not UTF-8, an alias, two documents: at the line and column."""
    problem = refused(data)

    assert problem[: len(said)] == said


@pytest.mark.parametrize(
    ("data", "cure"),
    [
        (b"a:\n\tb: 1", "; write blanks in place of tabs"),
        (b"a:\n -\t1", "; write blanks in place of tabs"),
        (b"a: [2001:db8::5]:443:443", ADDRESS),
        (b"a:\n- [2001:db8::5]:443:443", ADDRESS),
        (b"a: ::", ADDRESS),
        (b"a: 2001:db8::", ADDRESS),
        (b"a: [::]", ADDRESS),
        (b"a: [::/0]", ADDRESS),
        (b"a: @b", "; what begins with @ stands in quotes"),
        (b"a: !<", f"; {PLAIN}"),
        (b"%x", f"; {PLAIN}"),
    ],
)
def test_usual_slips(data: bytes, cure: str) -> None:
    """What no line may hold as it is has YAML's words and the cure; what nobody can
    tell, the next step. What is else done to YAML: test_slips."""
    problem = refused(data)

    assert problem.endswith(cure)


@pytest.mark.parametrize(("depth", "is_taken"), [(12, True), (13, False)])
def test_depth(depth: int, is_taken: bool) -> None:
    """Twelve levels are more than any forwards.yaml has; the thirteenth is refused."""
    data = b"[" * depth + b"]" * depth

    try:
        parse_tree(data, "f.yaml", [])
        said = ""
    except NotRead as error:
        said = str(error.problem)

    assert said == ("" if is_taken else "f.yaml:1:13: nested too deeply")


def test_so_much_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has more values and brackets than any host has forwards is not read on."""
    monkeypatch.setattr(yaml_tree, "_MOST", 7)  # begin and end count, too
    enough = plain(parse_tree(b"[a, b]", "f.yaml", []))

    problem = refused(b"[a, b, c]")

    said = "f.yaml:2:1: more than 7 values and brackets"
    assert (enough, problem) == (["a", "b"], said)


def test_no_depth_reaches_the_stack() -> None:
    """A hundred thousand levels are refused like thirteen."""
    found = refused(b"[" * 100_000)

    assert found == "f.yaml:1:13: nested too deeply"


@PROPERTY
@given(st.binary(max_size=60) | st.text("a:-[]{}&*!|>'\"%@`#?,\n \t0", max_size=40))
def test_any_bytes_give_a_tree_or_a_problem(data: bytes | str) -> None:
    """No content of a file raises anything but NotRead."""
    raw = data if isinstance(data, bytes) else data.encode()

    try:
        parse_tree(raw, "f.yaml", [])
        found = "a tree"
    except Exception as error:  # noqa: BLE001 - its type is what is tested
        found = type(error).__name__

    assert found in ("a tree", "NotRead")


def test_files_in_the_order_they_count(tmp_path: Path) -> None:
    """forwards.yaml first, then forwards.d by name; hidden and other files are none."""
    (tmp_path / "forwards.d").mkdir()
    for name in "20-b.yaml", "10-a.yaml", ".30-c.yaml", "40-d.yaml~", "50-e.yml":
        (tmp_path / "forwards.d" / name).write_text("")
    main = tmp_path / "forwards.yaml"
    main.write_text("")

    found = find_files(main)

    drop_ins = tmp_path / "forwards.d"
    assert found == [main, drop_ins / "10-a.yaml", drop_ins / "20-b.yaml"]


def test_no_files(tmp_path: Path) -> None:
    """A host that never had one has no files."""
    found = find_files(tmp_path / "forwards.yaml")

    assert found == []


def test_a_dangling_link_is_a_file(tmp_path: Path) -> None:
    """A link to nowhere is a broken forwards.yaml, not an absent one."""
    (tmp_path / "forwards.yaml").symlink_to("nowhere")

    found = find_files(tmp_path / "forwards.yaml")

    assert found == [tmp_path / "forwards.yaml"]


def test_read_tree(tmp_path: Path) -> None:
    """A good file gives its tree and no problem."""
    (tmp_path / "f.yaml").write_text("guests: {}\n")

    tree, problems = read(tmp_path / "f.yaml")

    assert (plain(tree) if tree else None, problems) == ({"guests": {}}, [])


def test_a_directory_gives_no_tree(tmp_path: Path) -> None:
    """A directory in the file's place is a problem like any other."""
    (tmp_path / "f.yaml").mkdir()

    found = read(tmp_path / "f.yaml")

    assert found == (None, ["f.yaml:1:1: is a directory"])


def test_an_absent_file_gives_no_tree(tmp_path: Path) -> None:
    """A file that vanished between listing and reading is a problem, no traceback."""
    found = read(tmp_path / "f.yaml")

    assert found == (None, ["f.yaml:1:1: no such file or directory"])


@pytest.mark.parametrize(
    ("mode", "problems"),
    [
        (0o644, []),
        (0o664, []),
        (0o646, ["f.yaml:1:1: can be written by anybody; chmod o-w it"]),
        (0o602, ["f.yaml:1:1: can be written by anybody; chmod o-w it"]),
    ],
)
def test_a_file_that_anybody_can_write(
    tmp_path: Path, mode: int, problems: list[str]
) -> None:
    """Root does not go by what anybody may have written."""
    (tmp_path / "f.yaml").write_text("guests: {}\n")
    (tmp_path / "f.yaml").chmod(mode)

    _, found = read(tmp_path / "f.yaml")

    assert found == problems


@pytest.mark.parametrize(
    ("owner", "problems"),
    [
        (0, []),
        (os.geteuid(), []),
        (4711, ["f.yaml:1:1: belongs to user 4711; chown it to root"]),
    ],
)
def test_a_stranger_owns_the_file(owner: int, problems: list[str]) -> None:
    """Root's files and one's own are taken, nobody else's."""
    about = os.stat_result((0o100644, 1, 1, 1, owner, 0, 10, 0, 0, 0))

    try:
        _refuse_stranger(about, Place("f.yaml"))
        found = []
    except NotRead as error:
        found = [str(error.problem)]

    assert found == problems


@pytest.mark.parametrize(
    ("size", "problems"),
    [(16 << 20, []), ((16 << 20) + 1, ["f.yaml:1:1: is larger than 16 MiB"])],
)
def test_a_huge_file(size: int, problems: list[str]) -> None:
    """A file of more than 16 MiB is not read."""
    about = os.stat_result((0o100644, 1, 1, 1, 0, 0, size, 0, 0, 0))

    try:
        _refuse_stranger(about, Place("f.yaml"))
        found = []
    except NotRead as error:
        found = [str(error.problem)]

    assert found == problems


def test_a_device_is_refused() -> None:
    """What is no regular file is not read: /dev/zero would never end."""
    problems: list[Problem] = []

    read_tree(Path(os.devnull), problems)

    assert list(map(str, problems)) == ["/dev/null:1:1: is not a regular file"]


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO that nobody writes to is a problem, not a wait without end."""
    os.mkfifo(tmp_path / "f.yaml")
    script = (
        "import sys; from pathlib import Path; "
        "from vfwhooks.config.yaml_tree import read_tree; "
        "found = []; read_tree(Path('f.yaml'), found); print(*found, sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        text=True,
        timeout=60,
    )

    assert done.stdout == "f.yaml:1:1: is not a regular file\n"
