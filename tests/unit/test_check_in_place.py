"""check --as: a file is checked as if it stood in its place, beside the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from vfwhooks.cli.checked import check_files
from vfwhooks.cli.parser import make_parser
from vfwhooks.values.errors import VfwError

OTHERS = "guests:\n  db: [5432:5432]\n"


def check(tmp_path: Path, new: str, place: str = "20-mail.yaml") -> bool:
    """Whether check takes the text for that place in forwards.d."""
    (tmp_path / "forwards.d").mkdir(exist_ok=True)
    (tmp_path / "new").write_text(new)
    to_be = tmp_path / "forwards.d" / place
    argv = ["check", str(tmp_path / "new"), "--as", str(to_be)]
    main = str(tmp_path / "forwards.yaml")
    return check_files(make_parser().parse_args(argv), main, str(tmp_path / "state"))


def write_others(tmp_path: Path, text: str = OTHERS) -> None:
    """Somebody else's file in forwards.d."""
    (tmp_path / "forwards.d").mkdir(exist_ok=True)
    (tmp_path / "forwards.d/90-others.yaml").write_text(text)


def test_a_port_of_another_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names both files as they are read."""
    write_others(tmp_path)

    is_good = check(tmp_path, "guests:\n  mail: [5432:25]\n")

    directory = tmp_path / "forwards.d"
    said = capsys.readouterr().err
    assert not is_good
    assert said == (
        f"{directory}/90-others.yaml:2:8: host port tcp/5432 is taken by mail "
        f"({directory}/20-mail.yaml:2:10)\n"
    )


@pytest.mark.parametrize("text", ["guests:\n  mail: [25:25]\n", OTHERS])
def test_a_file_that_fits_is_good(tmp_path: Path, text: str) -> None:
    """What stood in its place before does not count, nor do mistakes of others."""
    write_others(tmp_path, "guests: [\n")
    (tmp_path / "forwards.d/20-mail.yaml").write_text(OTHERS)

    assert check(tmp_path, text)


def test_nothing_is_written(tmp_path: Path) -> None:
    """The place stays as it is."""
    check(tmp_path, OTHERS)

    assert list((tmp_path / "forwards.d").iterdir()) == []


def test_a_place_that_is_not_read(tmp_path: Path) -> None:
    """A file there would have no effect."""
    with pytest.raises(VfwError, match="is not read"):
        check(tmp_path, OTHERS, "20-mail.yml")


def test_a_place_without_a_file(tmp_path: Path) -> None:
    """It is no file to check."""
    arguments = make_parser().parse_args(["check", "--as", "x.yaml"])

    with pytest.raises(VfwError, match="--as needs a file"):
        check_files(arguments, str(tmp_path / "forwards.yaml"), "")
