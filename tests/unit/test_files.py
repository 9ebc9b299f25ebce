"""files: words of a line, names of files, and small files by rename."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given

from unit.builders import NAMES, PROPERTY, files_of
from vfwhooks.store import files


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("web1", "web1"),
        ("", "%"),
        ("my web", "my%20web"),
        ("50%", "50%25"),
        ("a\nb", "a%0Ab"),
        ("\x00\x7f", "%00%7F"),
        ("\x1f!", "%1F!"),
        ("bü/c", "bü/c"),
    ],
)
def test_quote(word: str, quoted: str) -> None:
    """Blanks, control characters and the quote itself are written in hex."""
    found = files.quote(word)

    assert found == quoted


@PROPERTY
@given(NAMES)
def test_unquote_gives_back_what_quote_took(word: str) -> None:
    """Any name comes back."""
    found = files.unquote(files.quote(word))

    assert found == word


@PROPERTY
@given(NAMES)
def test_a_quoted_word_is_one_word_of_one_line(word: str) -> None:
    """A line is split at line feeds and blanks; neither is in a quoted word."""
    quoted = files.quote(word)

    assert quoted and not set(quoted) & set("\n\r\t \0")


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["templates"], "templates"),
        (["vfwhooks/templates"], "vfwhooks/templates"),
        (["templates", "vfwhooks/templates"], "vfwhooks/templates"),
    ],
    ids=["checkout", "wheel", "wheel beside another's"],
)
def test_where_the_templates_are(tmp_path: Path, there: list[str], found: str) -> None:
    """Beside the package, or inside it; inside comes first, so that nobody else's are
    taken."""
    for directory in there:
        (tmp_path / directory).mkdir(parents=True)

    templates = files.find_templates(f"{tmp_path}/vfwhooks")

    assert templates == f"{tmp_path}/{found}"


def test_unquote_of_a_word_cut_short() -> None:
    """What is cut within an escape loses the escape only."""
    found = [files.unquote(word) for word in ("a%", "a%2", "%20%2", "a%20b")]

    assert found == ["a", "a", " ", "a b"]


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("web1", "web1"),
        ("", "%"),
        (".", "%2E"),
        ("..", "%2E."),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("a.b", "a.b"),
        ("my web", "my%20web"),
        ("x" * 240, "x" * 240),
        ("ü" * 120, "ü" * 120),
        (
            "x" * 241,
            "%7dbf05774ebc8b0213e8f74d789e344714ca95a03e019d92c8d48365045b7989",
        ),
    ],
)
def test_file_name(word: str, name: str) -> None:
    """A name is one path component, of at most 240 bytes or a sum."""
    found = files.file_name(word)

    assert found == name


@PROPERTY
@given(NAMES, NAMES)
def test_file_names_stay_in_their_directory(one: str, other: str) -> None:
    """Every name is a file name, and two names are two files."""
    names = [files.file_name(one), files.file_name(other)]

    assert all(
        name and "/" not in name and name[0] != "." and "\0" not in name
        for name in names
    )
    assert all(len(os.fsencode(name)) < 256 for name in names)
    assert (names[0] == names[1]) == (one == other)


def test_read_gives_the_content(tmp_path: Path) -> None:
    """A file larger than one read is read whole."""
    content = os.urandom((1 << 20) + 5)
    (tmp_path / "file").write_bytes(content)

    found = files.read(f"{tmp_path}/file")

    assert found == content


def test_read_of_no_file(tmp_path: Path) -> None:
    """No file is None; an empty one is empty."""
    (tmp_path / "empty").write_bytes(b"")

    found = [files.read(f"{tmp_path}/{name}") for name in ("absent", "empty")]

    assert found == [None, b""]


def test_read_follows_no_link(tmp_path: Path) -> None:
    """A symbolic link is refused."""
    (tmp_path / "file").write_bytes(b"secret")
    (tmp_path / "link").symlink_to("file")

    with pytest.raises(OSError, match="symbolic links"):
        files.read(f"{tmp_path}/link")


def test_write_replaces_the_file(tmp_path: Path) -> None:
    """The new content is there, mode 0600, and the temporary file is gone."""
    (tmp_path / "file").write_text("old and longer")

    files.write(f"{tmp_path}/file", b"new", f"{tmp_path}/temporary")

    mode = (tmp_path / "file").stat().st_mode & 0o7777
    assert (files_of(tmp_path), mode) == ({"file": "new"}, 0o600)


@pytest.mark.parametrize("durable", [False, True])
def test_write_of_a_leftover(tmp_path: Path, durable: bool) -> None:
    """A temporary file that a killed writer left behind does no harm."""
    (tmp_path / "temporary").write_text("left by somebody who was killed")

    files.write(f"{tmp_path}/file", b"new", f"{tmp_path}/temporary", durable)

    assert files_of(tmp_path) == {"file": "new"}


def test_write_through_no_link(tmp_path: Path) -> None:
    """A link in the temporary file's place leads nowhere."""
    (tmp_path / "victim").write_text("theirs")
    (tmp_path / "temporary").symlink_to("victim")

    with pytest.raises(OSError, match="symbolic links"):
        files.write(f"{tmp_path}/file", b"new", f"{tmp_path}/temporary")
    assert files_of(tmp_path)["victim"] == "theirs"


def test_write_replaces_a_link(tmp_path: Path) -> None:
    """A link in the file's own place is replaced, not followed."""
    (tmp_path / "victim").write_text("theirs")
    (tmp_path / "file").symlink_to("victim")

    files.write(f"{tmp_path}/file", b"new", f"{tmp_path}/temporary")

    assert files_of(tmp_path) == {"file": "new", "victim": "theirs"}


def test_remove_says_whether_there_was_one(tmp_path: Path) -> None:
    """True for a file, False for none."""
    (tmp_path / "file").write_text("")

    found = [files.remove(f"{tmp_path}/file") for _ in range(2)]

    assert found == [True, False]


def test_names_that_cannot_be_read_are_not_none(tmp_path: Path) -> None:
    """A directory that is not there is empty; one of which the kernel says nothing is
    not."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "file").write_text("")

    found = [files.names(str(tmp_path / name)) for name in ("absent", "file")]

    with pytest.raises(OSError, match="symbolic links"):
        files.names(str(loop))
    assert found == [[], []]
