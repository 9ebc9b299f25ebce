"""What `pip install .` gives: a wheel that has all it needs, and works from there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.network import mac_for
from oracle import Published
from product import (
    DRIVERS,
    HERE,
    configure,
    domain_xml,
    published,
    start_watch,
    stop_watch,
)

from vfwhooks import __version__

NAME = f"vfwhooks-{__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
VENV = "/opt/empty"
COMMAND = f"{VENV}/bin/vfwhooks"
TEMPLATES = (
    "forwards-metadata.rng",
    "forwards.schema.json",
    "forwards.yaml",
    "iptables.j2",
    "libvirt_network.j2",
    "nftables.j2",
    "vfwhooks-metrics.service",
    "vfwhooks-metrics.timer",
    "vfwhooks.cil",
    "vfwhooks.service",
)
ABOUT = "METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"
NOT_OURS = (HERE / ".gitignore").read_text().replace("/", "").split()
BUILD = "import setuptools.build_meta as backend; backend.build_sdist('..')"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a copy of the checkout, the sdist of that, and the wheel that
    pip makes of the sdist. Nothing is asked of any index."""
    there = tmp_path_factory.mktemp("built")
    ignore = shutil.ignore_patterns(".git", *NOT_OURS)
    shutil.copytree(HERE, there / "checkout", ignore=ignore)
    # Not where the copy is: what building leaves behind would be in there.
    shutil.copytree(there / "checkout", there / "source")
    sdist = [sys.executable, "-c", BUILD]
    subprocess.run(sdist, cwd=there / "source", check=True, capture_output=True)
    alone = "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir"
    pip = [sys.executable, "-m", "pip", "--isolated", "wheel", *alone]
    wheel = [*pip, f"--wheel-dir={there}", f"{there}/{NAME}.tar.gz"]
    subprocess.run(wheel, check=True, capture_output=True)
    return there


@pytest.fixture(scope="module")
def host(built: Path) -> Iterator[Host]:
    """A host with libvirtd, without hooks, and with the wheel in an empty venv."""
    with Host.debian12() as host:
        shutil.copy(built / WHEEL, host.path("/opt"))
        host.run(["/usr/bin/python3", "-m", "venv", "--system-site-packages", VENV])
        pip = [f"{VENV}/bin/pip", "--isolated", "install", "--no-index", "--no-deps"]
        host.run([*pip, f"/opt/{WHEEL}"])
        host.run(["mkdir", "/var/lib/vfwhooks"])
        host.start_libvirtd()
        host.start_network()
        yield host


def tree(top: Path) -> dict[str, tuple[bool, bytes]]:
    """Every file below: whether it can be run, and what is in it."""
    return {
        str(path.relative_to(top)): (bool(path.stat().st_mode & 0o111), data)
        for path in top.rglob("*")
        if path.is_file()
        for data in [path.read_bytes()]
    }


def package(host: Host) -> str:
    """Where the venv has the package."""
    code = "import vfwhooks; print(*vfwhooks.__path__)"
    return host.run([f"{VENV}/bin/python", "-I", "-c", code]).strip()


def test_the_wheel(built: Path) -> None:
    """Modules, hooks that can be run, templates and the unit, and nothing else."""
    with zipfile.ZipFile(built / WHEEL) as wheel:
        found = {
            one.filename: bool(one.external_attr >> 16 & 0o111)
            for one in wheel.infolist()
        }

    paths = (HERE / "vfwhooks").rglob("*.py")
    modules = [str(path.relative_to(HERE)) for path in paths]
    names = [f"vfwhooks/templates/{name}" for name in TEMPLATES]
    names += [f"{NAME}.dist-info/{name}" for name in (*ABOUT, "top_level.txt")]
    hooks = [f"vfwhooks/hooks/{name}" for name in DRIVERS]
    assert found == {
        **dict.fromkeys([*modules, *names], False),
        **dict.fromkeys(hooks, True),
    }


def test_the_sdist(built: Path, tmp_path: Path) -> None:
    """It is the checkout, from which install.sh and the tests run as well."""
    shutil.unpack_archive(built / f"{NAME}.tar.gz", tmp_path)

    found = tree(tmp_path / NAME)

    # setuptools adds a part of its own to setup.cfg, and these.
    made = {"PKG-INFO", *(name for name in found if ".egg-info/" in name)}
    expected = {**tree(built / "checkout"), "setup.cfg": found["setup.cfg"]}
    assert {name: found[name] for name in found.keys() - made} == expected


def test_check_apply_and_a_hook(host: Host) -> None:
    """The command line takes a file, and the hook another, which nobody else has seen;
    a guest has its forward while it runs."""
    hook = f"{package(host)}/hooks/qemu"
    configure(host, "guests:\n  web1: [8080:80]\n")

    seen = [host.call([COMMAND, "check"]), host.call([COMMAND, "apply"])]
    configure(host, "guests:\n  web1: [9090:90]\n")
    xml = domain_xml("web1", mac_for(10))
    seen += [host.call([hook, "web1", "started", "begin", "-"], input=xml)]
    running = published(host)
    seen += [host.call([hook, "web1", "stopped", "end", "-"], input=xml)]
    stopped = published(host)

    assert ([(one.status, one.stderr) for one in seen], running, stopped) == (
        [(0, "")] * 4,
        {Published("*", "tcp", 9090, "192.168.122.10", 90)},
        set(),
    )


def test_the_watch(host: Host) -> None:
    """The wheel's is started, by which children ask libvirtd who runs already, and
    compile an edit."""
    configure(host, "guests:\n  web2: [8080:80]\n")
    guest = host.define_guest("web2").start()
    first = {Published("*", "tcp", 8080, guest.address, 80)}
    second = {Published("*", "tcp", 9090, guest.address, 90)}
    site = package(host).rpartition("/")[0]

    start_watch(host, COMMAND)
    pid = host.read("/run/watch.pid").strip()
    words = host.run(["cat", f"/proc/{pid}/cmdline"]).split("\0")
    seen = published(host)
    configure(host, "guests:\n  web2: [9090:90]\n")
    wait_until(lambda: published(host) == second, "the edit to be in force")
    stop_watch(host)
    guest.destroy()

    assert (site in words, seen) == (True, first)
