"""README and docs/: links lead somewhere, examples are good, nothing is left out."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from lxml import etree  # type: ignore[import-untyped]  # it has no stubs

from vfwhooks import __version__
from vfwhooks.cli.commands import find_commands
from vfwhooks.cli.parser import make_parser
from vfwhooks.config import forwards_keys
from vfwhooks.config.schema import read_forwards
from vfwhooks.diagnosis.status_rows import ForwardStatus, GuestStatus

TOP = Path(__file__).resolve().parent.parent.parent
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", TOP / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
MANUALS = sorted(DOCS.glob("*.[1-9]"))
FORWARDS, MANUAL = (
    (DOCS / name).read_text() for name in ("forwards.md", "forwards.yaml.5")
)
KEYS = {
    *forwards_keys.DOCUMENT,
    *forwards_keys.DEFAULTS,
    *forwards_keys.GUEST,
    *forwards_keys.PORT,
    *forwards_keys.METADATA,
}


def relative_links(page: Path) -> list[str]:
    """Where a page's links to files of ours lead."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [link for link in found if not re.match(r"[a-z]+:|#", link)]


def examples(page: Path) -> list[str]:
    """The whole forwards.yaml files that a page or a manual shows."""
    text = page.read_text().replace("\\-", "-")
    blocks = re.findall(r"(?ms)^(?:```yaml|\.EX)\n(.*?)^(?:```|\.EE)$", text)
    return [block for block in blocks if re.search("(?m)^guests:", block)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and a heading that it has."""
    broken = []
    for link in relative_links(page):
        file, _, anchor = link.partition("#")
        target = page.parent / file
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


def anchors(page: Path) -> list[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"(?m)^#+ (.*)$", page.read_text())
    words = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return [heading.replace(" ", "-") for heading in words]


def test_readme_fits_three_screens() -> None:
    """A newcomer reads all of it: three times 45 lines of 100 columns."""
    text = (TOP / "README.md").read_text()
    lines = text.splitlines()

    pictures = re.findall(r"\]\((docs/\w.*\.svg)\)", text)
    assert len(lines) <= 135 and max(map(len, lines)) <= 100
    assert pictures == ["docs/status.svg", "docs/packet-way.svg"]


@pytest.mark.parametrize("picture", sorted(DOCS.glob("*.svg")), ids=lambda p: p.name)
def test_pictures_are_sound(picture: Path) -> None:
    """Well-formed, without a script, and nothing from elsewhere."""
    text = picture.read_text()
    tags = {
        etree.QName(one).localname
        for one in etree.fromstring(text.encode()).iter("{*}*")
    }

    assert tags & {"script", "foreignObject", "image", "use", "a"} == set()
    assert set(re.findall(r"\w+://[^\"'\s)]*", text)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("page", [*PAGES, *MANUALS], ids=lambda page: page.name)
def test_examples_are_good(page: Path, tmp_path: Path) -> None:
    """Whoever copies an example has a forwards.yaml without a problem."""
    found = []
    for number, text in enumerate(examples(page)):
        file = tmp_path / f"{number}" / "forwards.yaml"
        file.parent.mkdir()
        file.write_text(text)
        found += [(text, str(problem)) for problem in read_forwards(file)[1]]

    assert found == []


@pytest.mark.parametrize("text", [FORWARDS, MANUAL], ids=["forwards.md", "manual"])
def test_every_key_is_described(text: str) -> None:
    """Whatever forwards.yaml may hold."""
    missing = [key for key in sorted(KEYS) if key not in text]

    assert missing == []


def test_every_field_of_the_json_is_described() -> None:
    """Programs that read status --json know what they get."""
    manual = (DOCS / "vfwhooks.8").read_text()
    names = [f.name for kind in (GuestStatus, ForwardStatus) for f in fields(kind)]

    missing = [name for name in names if f'"{name}"' not in manual]

    assert missing == []


def test_every_command_is_described() -> None:
    """Whatever `vfwhooks --help` lists has its part in the manual, and its line in the
    synopsis."""
    manual = (DOCS / "vfwhooks.8").read_text()
    commands = find_commands(make_parser())
    synopsis = re.findall(r"(?m)^\.B vfwhooks (\w+)", manual.partition(".SH DESC")[0])

    missing = [name for name in commands if f".SS {name}" not in manual]
    unlisted = [name for name in commands if name not in synopsis]

    assert (len(commands) > 4, missing, unlisted) == (True, [], [])


def test_every_module_is_described() -> None:
    """Whoever looks for a module finds in design.md what it is for: in the words that
    its docstring begins with."""
    page = (DOCS / "design.md").read_text()
    paths = sorted((TOP / "vfwhooks").glob("*/[!_]*.py"))

    missing = [row for path in paths if (row := table_row(path)) not in page]

    assert (len(paths) > 90, missing) == (True, [])


def test_modules_are_in_order() -> None:
    """Whoever looks for a module in design.md finds it in its room, in alphabetical
    order, and finds none that is not there any more."""
    text = (DOCS / "design.md").read_text()
    _, *parts = re.split(r"(?m)^\| \*\*(\w+)\*\* \|", text)
    rooms = (TOP / "vfwhooks").glob("*/__init__.py")

    found = {
        room: re.findall(r"(?m)^\| \| (\w+) \|", rows)
        for room, rows in zip(parts[::2], parts[1::2])
    }

    assert found == {
        room.parent.name: sorted(path.stem for path in room.parent.glob("[!_]*.py"))
        for room in rooms
    }


def test_the_package_is_as_long_as_said() -> None:
    """comparison.md names its lines, and is at most a tenth wrong."""
    page = (DOCS / "comparison.md").read_text()
    [said] = re.findall(r"([\d,]+) lines of Python", page)
    files = (TOP / "vfwhooks").rglob("*.py")

    lines = sum(len(path.read_text().splitlines()) for path in files)

    assert abs(int(said.replace(",", "")) - lines) < lines / 10


def test_every_module_of_the_lab_is_described() -> None:
    """Whoever looks for a stand-in or a program finds it in the lab's README."""
    lab = TOP / "tests" / "lab"
    page = (lab / "README.md").read_text()

    missing = [
        path.stem
        for path in sorted(lab.glob("[!_]*.py"))
        if not re.search(rf"`{path.stem}[`.]", page)
    ]

    assert missing == []


def table_row(path: Path) -> str:
    """A module's row in design.md's table: its name, and its first sentence."""
    head, _, _ = (ast.get_docstring(ast.parse(path.read_text())) or "").partition(
        "\n\n"
    )
    sentence = re.split(r"\.(?: |$)", " ".join(head.split()))[0].replace("|", "\\|")
    return f"| | {path.stem} | {sentence} |\n"


@pytest.mark.parametrize("manual", MANUALS, ids=lambda page: page.name)
def test_manuals_are_sound(manual: Path) -> None:
    """mandoc has nothing to say against them."""
    mandoc = shutil.which("mandoc")
    assert mandoc, "mandoc is not installed"

    said = subprocess.run(
        [mandoc, "-T", "lint", "-W", "warning", str(manual)],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@pytest.mark.parametrize("manual", MANUALS, ids=lambda page: page.name)
def test_manuals_are_of_this_version(manual: Path) -> None:
    """A manual names the release that it describes."""
    named = re.search(r'(?m)^\.TH .*"vfwhooks (.*?)"', manual.read_text())

    assert named and named[1] == __version__
