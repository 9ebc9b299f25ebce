"""install.sh on other distributions: their os-release files, as they ship them, and
stand-ins for package managers and modular daemons.

Each case says where its os-release is from, and where the names of packages were seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from lab import modular
from lab.box import Done
from lab.host import HOOKS, Host
from lab.managers import LOG, MANAGERS, REFUSALS, stand_in
from product import HERE

CASES = HERE / "tests/cases/install"
NAMES = sorted(case.name for case in CASES.iterdir())
EXAMPLES = {
    "apt-get": "debian-13",
    "dnf": "fedora-43",
    "zypper": "opensuse-tumbleweed",
    "pacman": "arch",
}
PARTS = (
    *(
        f"/usr/lib/python3/dist-packages/{name}"
        for name in ("jinja2", "lxml", "yaml", "libvirt.py")
    ),
    *("/usr/bin/python3", "/usr/sbin/nft", "/usr/sbin/iptables-restore"),
)
OLD_PYTHON = """\
#!/bin/sh
case $* in *print*) echo 3.6 ;; *) exit 1 ;; esac
"""
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >>/var/log/systemctl
"""
# As an image-based host has it: /usr/local alone can be written.
READ_ONLY = """\
mkdir -p /run/lab/local && mount --bind /usr/local /run/lab/local
mount --bind /usr /usr && mount -o remount,bind,ro /usr
mount --bind /run/lab/local /usr/local
exec env PREFIX=/usr/local /srv/vfwhooks/install.sh
"""
MODULAR = "virtqemud", "virtnetworkd"


def install(host: Host, *arguments: str) -> Done:
    """Run install.sh."""
    return host.call([f"{Host.CHECKOUT}/install.sh", *arguments], timeout=300)


def said(name: str) -> dict[str, str]:
    """What is expected on a distribution."""
    case: dict[str, str] = yaml.safe_load((CASES / name / "case.yaml").read_text())
    return case


def names_of(manager: str) -> str:
    """The packages as a distribution with this manager calls them."""
    return said(EXAMPLES[manager])["installs"].partition(" ")[2]


@pytest.fixture(scope="module")
def bare() -> Iterator[Host]:
    """A host that has nothing of what vfwhooks needs, and no package manager."""
    with Host.debian13() as host:
        host.run(["mkdir", "/opt/parts"])
        host.run(["rm", "/usr/bin/apt-get", "/etc/os-release"])
        host.run(["mv", *PARTS, "/opt/parts"])
        yield host


@contextmanager
def on(host: Host, name: str, tools: dict[str, str]) -> Iterator[None]:
    """The host is of this distribution, and has these tools."""
    host.write("/etc/os-release", (CASES / name / "os-release").read_text())
    for path, text in tools.items():
        host.write(path, text, 0o755)
    try:
        yield
    finally:
        host.run(["rm", "-f", LOG, *tools])


@pytest.mark.parametrize("name", [n for n in NAMES if "installs" in said(n)])
def test_packages(bare: Host, name: str) -> None:
    """They have the distribution's own names, a derivative's those of what it is
    like."""
    manager, _, packages = said(name)["installs"].partition(" ")

    with on(bare, name, {f"/usr/local/bin/{one}": stand_in() for one in MANAGERS}):
        lines = install(bare, "--check").check().splitlines()
        asked = bare.read(LOG)

    assert lines[0] == f"install.sh: would have {manager} install {packages}"
    assert (lines[-1], asked) == ("install.sh: nothing was changed", "")


@pytest.mark.parametrize("name", [n for n in NAMES if "refuses" in said(n)])
def test_nothing_to_install_from(bare: Host, name: str) -> None:
    """Where no package manager can bring what is missing, one line says what would;
    none is called, and nothing is done."""
    case = said(name)
    tools = {f"/usr/local/bin/{one}": stand_in() for one in MANAGERS}
    if "python" in case:
        tools["/usr/bin/python3"] = OLD_PYTHON
    if "image" in case:
        tools[f"/usr/local/bin/{case['image']}"] = stand_in()

    with on(bare, name, tools):
        if "image" in case:
            done = bare.call(["unshare", "--mount", "sh", "-ec", READ_ONLY])
        else:
            done = install(bare)
        asked = bare.read(LOG)

    assert (done.status, done.stdout, asked) == (1, "", "")
    assert done.stderr == f"install.sh: {case['refuses']}\n"


@pytest.mark.parametrize("manager", MANAGERS)
def test_no_package_manager(bare: Host, manager: str) -> None:
    """One that the distribution should have, and this host has not."""
    with on(bare, EXAMPLES[manager], {}):
        done = install(bare, "--check")

    assert (done.status, done.stderr) == (
        1,
        "install.sh: this host lacks python3.9 libvirt lxml jinja2 yaml nft, and there"
        f" is no {manager}: install {names_of(manager)}, then run this again\n",
    )


@pytest.mark.parametrize("why", REFUSALS)
@pytest.mark.parametrize("manager", MANAGERS)
def test_a_package_manager_that_fails(bare: Host, manager: str, why: str) -> None:
    """Its words are shown, then the next step; nothing else is done."""
    names = names_of(manager)
    status, words = REFUSALS[why][manager]
    words = words.format(names.split()[1])
    tools = {f"/usr/local/bin/{manager}": stand_in(words, status)}

    with on(bare, EXAMPLES[manager], tools):
        done = install(bare)

    hint = " (where it found no file: pacman -Syu)" if manager == "pacman" else ""
    assert (done.status, done.stdout) == (1, f"install.sh: installing {names}\n")
    assert done.stderr == (
        f"{words}\ninstall.sh: {manager} could not install {names}: see above{hint},"
        " then run this again\n"
    )
    assert not bare.path("/usr/lib/vfwhooks").exists()


def test_a_package_manager_that_finds_all_there(bare: Host) -> None:
    """What this Python lacks all the same is named: packages may be for another."""
    with on(bare, "fedora-43", {"/usr/local/bin/dnf": stand_in("Nothing to do.")}):
        done = install(bare)

    assert (done.status, done.stderr.splitlines()[-1]) == (
        1,
        "install.sh: this host still lacks python3.9 libvirt lxml jinja2 yaml nft:"
        " install them, then run this again",
    )


def test_a_status_that_only_informs(bare: Host) -> None:
    """zypper may end with 106, a repository was passed over, and have installed all."""
    moves = "".join(f"mv /opt/parts/{Path(part).name} {part}\n" for part in PARTS)
    tools = {"/usr/local/bin/zypper": stand_in(status=106, installs=moves)}

    with on(bare, "opensuse-tumbleweed", tools):
        done = install(bare)
        asked = bare.read(LOG)
        bare.run(["mv", *PARTS, "/opt/parts"])

    assert (done.status, done.stderr) == (0, "")
    assert asked == f"zypper -q -n install {names_of('zypper')}\n"


def test_modular_daemons() -> None:
    """Each is told of the hooks and goes on; systemd hears of our own unit alone, which
    is started ahead of all of them at boot."""
    with Host.debian13() as host, modular.running(host, MODULAR):
        host.run(["mkdir", "-p", "/run/systemd/system"])
        host.write("/usr/local/bin/systemctl", SYSTEMCTL, 0o755)
        pids = [host.read(f"/run/{name}.pid").strip() for name in MODULAR]

        check = install(host, "--check").check()
        install(host).check()
        asked = host.read("/var/log/systemctl").splitlines()
        status = install(host, "--status").check()
        told = host.run(["ls", "/run/vfwhooks/daemons"]).split()
        unit = host.read("/usr/lib/systemd/system/vfwhooks.service")
        after = [host.read(f"/run/{name}.pid").strip() for name in MODULAR]
        laid = sorted(host.run(["ls", HOOKS]).split())

    assert [line.partition("would ")[2] for line in check.splitlines()[-6:-1]] == [
        f"lay {HOOKS}/daemon, where libvirt may run it",
        "tell virtqemud virtnetworkd of the hooks, and restart no daemon",
        "put a sample into /etc/vfwhooks/forwards.yaml",
        "put in /usr/lib/systemd/system/vfwhooks.service, and start it",
        "have /usr/bin/vfwhooks run it",
    ]
    assert asked == [
        "--quiet daemon-reload",
        "--quiet enable vfwhooks.service",
        "--quiet restart vfwhooks.service",
    ]
    assert (sorted(told), after) == (sorted(pids), pids)
    assert laid == ["daemon", "network", "qemu"]
    assert " virtqemud virtnetworkd\n" in status
    assert "\nBefore=libvirtd.service virtqemud.service virtnetworkd.service" in unit
