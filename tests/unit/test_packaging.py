"""Packages say what the checkout says: the version, what is needed, every command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from unit.builders import CHECKOUT
from vfwhooks import __version__
from vfwhooks.cli.commands import find_commands
from vfwhooks.cli.known_names import find_known
from vfwhooks.cli.manual_pages import DATE, render_pages
from vfwhooks.cli.parser import make_parser
from vfwhooks.config.compiler import compile_file
from vfwhooks.store.state import State

CONTROL = (CHECKOUT / "packaging/debian/control").read_text()
CHANGELOG = (CHECKOUT / "packaging/debian/changelog").read_text()
SPEC = (CHECKOUT / "packaging/vfwhooks.spec").read_text()
INSTALL = (CHECKOUT / "install.sh").read_text()
# As setup.cfg has them, and as distributions call them.
PYPI = {
    "libvirt-python": "python3-libvirt",
    "lxml": "python3-lxml",
    "Jinja2": "python3-jinja2",
    "PyYAML": "python3-yaml",
}


def release(*shell: str, **environment: str) -> str:
    """The name that install.sh gives this release; it is called from another place."""
    script = f"{CHECKOUT.name}/install.sh"
    env = {"PATH": os.environ["PATH"], **environment}
    argv = [*shell, script, "--release"]
    return subprocess.check_output(argv, cwd=CHECKOUT.parent, env=env, text=True)


def test_release_in_any_locale(tmp_path: Path) -> None:
    """A host and the one that Ansible runs on, with another language and shell, have
    one name for it."""
    locale = tmp_path / "en_US.UTF-8"
    subprocess.run(["localedef", "-i", "en_US", "-f", "UTF-8", locale], check=True)

    there = release("bash", "--posix", LOCPATH=str(tmp_path), LC_ALL="en_US.UTF-8")

    assert there == release("sh", LC_ALL="C") != ""


def test_release_beside_a_path_for_cd(tmp_path: Path) -> None:
    """An exported CDPATH leads to no other directory of the same name."""
    (tmp_path / CHECKOUT.name).mkdir()

    found = release("sh", CDPATH=str(tmp_path))

    assert re.fullmatch(rf"{re.escape(__version__)}-[0-9a-f]{{8}}\n", found)


def installs(manager: str) -> list[str]:
    """What install.sh installs by a package manager."""
    found = re.search(rf"\tmanager={manager}\n\t+packages='(.*)'\n", INSTALL)
    assert found
    return found[1].split()


def test_versions() -> None:
    """The package of each kind is of this release."""
    spec = re.search(r"(?m)^Version: +(\S+)$", SPEC)
    changelog = re.search(r"^vfwhooks \((.*?)\)", CHANGELOG)

    assert spec and changelog
    assert (spec[1], changelog[1]) == (__version__, __version__)
    assert f"- {__version__}-1\n" in SPEC


def test_debian_depends_on_what_install_sh_installs() -> None:
    """Under the same names, in the same order; iptables will do in place of nft."""
    found = re.search(r"(?m)^Depends: ((?:.*,\n)*.*)$", CONTROL)

    assert found
    names = [one.split()[0] for one in re.split(r",\s*", found[1])]
    assert names == ["${misc:Depends}", *installs("apt-get")]


@pytest.mark.parametrize(("manager", "other"), [("dnf", 1), ("zypper", 2)])
def test_rpm_requires_what_install_sh_installs(manager: str, other: int) -> None:
    """Under the same names, in the same order; SUSE has names of its own."""
    main = SPEC.partition("%package")[0]
    parts = re.split(r"(?m)^%(?:if 0%\{\?suse_version\}|else|endif)$", main)
    del parts[other]

    assert re.findall(r"(?m)^Requires: +(\S+)", "".join(parts)) == installs(manager)


@pytest.mark.parametrize("manager", ["apt-get", "dnf", "zypper", "pacman"])
def test_packages_stand_in_one_order(manager: str) -> None:
    """Which is the order in which install.sh looks for what is missing."""
    order = "python", "libvirt", "lxml", "jinja", "yaml", "nftables"
    names = installs(manager)

    assert len(names) == len(order)
    assert [what for what, name in zip(order, names) if what in name.lower()] == [
        *order
    ]


def test_setup_cfg_needs_the_same() -> None:
    """What pip installs is what packages depend on, Python and nft aside."""
    text = (CHECKOUT / "setup.cfg").read_text()
    found = re.search(r"install_requires =\n((?:    .*\n)*)", text)

    assert found
    names = [PYPI[name] for name in found[1].split()]
    assert ["python3", *names, "nftables"] == installs("apt-get")


def test_date_of_manuals() -> None:
    """Pages that are made show the date of those that are written."""
    manual = (CHECKOUT / "docs/vfwhooks.8").read_text()

    assert f".TH VFWHOOKS 8 {DATE} " in manual


@pytest.mark.parametrize("name", render_pages())
def test_made_manuals_are_sound(name: str, tmp_path: Path) -> None:
    """mandoc has nothing to say against them."""
    page = tmp_path / name
    page.write_text(render_pages()[name])
    mandoc = shutil.which("mandoc")
    assert mandoc, "mandoc is not installed"

    argv = [mandoc, "-T", "lint", "-W", "warning", str(page)]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", find_commands(make_parser()))
def test_help_fits_one_screen(name: str) -> None:
    """And has an example, which the manual page has as well."""
    command = find_commands(make_parser())[name]
    page = render_pages()[f"vfwhooks-{name}.8"]

    lines = command.parser.format_help().splitlines()

    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    assert command.examples[0].startswith(("vfwhooks ", "systemctl "))
    assert command.about.splitlines()[0].replace("-", "\\-") in page


def test_pages_cannot_break_out() -> None:
    """No line of text is a request to roff that the page does not mean."""
    requests = {
        line.partition(" ")[0]
        for page in render_pages().values()
        for line in page.splitlines()
        if line.startswith((".", "'"))
    }

    made = {
        '.\\"',
        ".TH",
        ".SH",
        ".B",
        ".BI",
        ".RB",
        ".RI",
        ".I",
        ".TP",
        ".EX",
        ".EE",
        ".BR",
    }
    assert requests == made


FILE = """\
guests:
  web1: [8080:80, "53:53/udp", 5000-5010:5000-5010]
  "a\\e[1mb": [443]
  big: {public_ip: 203.0.113.7}
"""


def test_known_names_of_the_file(tmp_path: Path) -> None:
    """Before anything is in force, and for whoever may not read what is, they are those
    of the file; a name that would do something to a terminal is left out."""
    (tmp_path / "forwards.yaml").write_text(FILE)

    found = find_known(
        f"{tmp_path}/state", f"{tmp_path}/forwards.yaml", ("guests", "ports")
    )

    assert found == ["web1", "8080", "53/udp", "5000", "443", "big"]


def test_known_names_in_force(tmp_path: Path) -> None:
    """They are read where a hook reads them, and a guest that runs is among them; a
    network that runs is no guest."""
    main = tmp_path / "forwards.yaml"
    main.write_text(FILE)
    state = State(str(tmp_path / "state"))
    state.make()
    compile_file(main, state)
    main.unlink()
    (tmp_path / "state/guests/qemu").mkdir(parents=True, exist_ok=True)
    (tmp_path / "state/guests/qemu/other%20one").write_text("")
    (tmp_path / "state/guests/network/default").write_text("")

    found = find_known(state.path, str(main), ("guests",))

    assert found == ["big", "web1", "other one"]


def test_known_names_of_nothing(tmp_path: Path) -> None:
    """Where there is neither, nothing is said, and nothing is made."""
    found = find_known(f"{tmp_path}/state", f"{tmp_path}/no", ("ports",))

    assert (found, [*tmp_path.iterdir()]) == ([], [])
