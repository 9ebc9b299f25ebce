"""The Debian package: built, installed, upgraded, removed, by the real dpkg."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from lab.box import wait_until
from lab.host import HOOKS, Host
from lab.net import Net
from lab.systemd import Systemd, start_systemd
from product import (
    CONFIG,
    DRIVERS,
    HERE,
    configure,
    published,
    start_watch,
    stop_watch,
)

from packages.built import find_deb, find_page_deb, repack
from vfwhooks import __version__

KINDS: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "debian-12": Host.debian12,
    "debian-13": Host.debian13,
}
LIB = "/usr/lib/vfwhooks"
FORMER = "0.0.9"
BOTH = "guests:\n  web1: [8080:80]\n  web2: [8081:80]\n"
OTHERS_HOOK = '#!/bin/sh\n# notes what was called\necho "$2" >>/var/log/called\n'
# Between what dpkg has unpacked and what configures it.
WAIT = ": >/run/unpacked\nuntil [ -e /run/go-on ]; do sleep 0.1; done"
LIST = r"""
find /etc /run/vfwhooks /usr/bin /usr/lib /usr/share /var/lib /var/cache/vfwhooks \
    \( -path /var/lib/dpkg -o -path /var/lib/libvirt -o -path /var/lib/systemd \
    -o -path /usr/share/doc -o -path /usr/share/locale -o -name __pycache__ \) \
    -prune -o -printf '%p %y %m %s %l\n' 2>/dev/null | sed 's/ d \([0-9]*\) .*/ d \1/'
"""


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A Debian with libvirtd, its network, and somebody else's hook."""
    with KINDS[request.param]() as host:
        host.install_hooks({"qemu": OTHERS_HOOK})
        host.start_libvirtd()
        host.start_network()
        yield host


def put(host: Host, package: Path) -> str:
    """A package onto the host; where it is there."""
    shutil.copy(package, host.path("/opt"))
    host.run(["rm", "-f", "/usr/sbin/policy-rc.d"])
    return f"/opt/{package.name}"


def files(host: Host) -> set[str]:
    """All that a package may have put somewhere, or changed."""
    return set(host.call(["sh", "-c", LIST]).stdout.splitlines())


def hooks(host: Host) -> dict[str, str]:
    """The package that each hook names by its directory; "" for those of others."""
    found = host.run(["find", HOOKS, "-type", "f", "-printf", "%P\n"]).split()
    texts = {name: host.read(f"{HOOKS}/{name}") for name in found}
    named = {name: re.search("(?m)^lib=(.*)$", text) for name, text in texts.items()}
    return {name: lib[1] if lib else "" for name, lib in named.items()}


def version(host: Host) -> str:
    """Of the release that the command runs."""
    return host.run(["vfwhooks", "--version"]).strip()


def answers(outside: Net) -> list[str]:
    """Who answers on the two ports, or what comes instead."""
    replies = [outside.http(f"http://203.0.113.1:{port}/") for port in (8080, 8081)]
    return [r.body.split(" ")[0] if r.answered else r.outcome.value for r in replies]


@contextmanager
def half_upgraded(call: Callable[[], object], host: Host) -> Iterator[None]:
    """The block runs when the new files are there and nothing has been configured."""
    thread = threading.Thread(target=call)
    thread.start()
    try:
        wait_until(host.path("/run/unpacked").exists, "the files to be unpacked")
        yield
    finally:
        host.write("/run/go-on", "")
        thread.join()


@pytest.mark.parametrize("find", [find_deb, find_page_deb])
def test_lintian_has_nothing_to_say(find: Callable[[], Path]) -> None:
    """No error, no warning, and nothing for information only."""
    argv = ["lintian", "-EvI", "--pedantic", "--tag-display-limit", "0"]
    done = subprocess.run([*argv, find()], capture_output=True, check=False, text=True)

    said = [line for line in done.stdout.splitlines() if line[:1] != "N"]
    assert (said, done.returncode) == ([], 0)


def test_life_of_the_package(host: Host, tmp_path: Path) -> None:
    """From the install on a guest's start counts; also in the middle of an upgrade,
    where its hook finds the former release whole. A removal takes rules and hooks away
    and leaves the edited file, and somebody else's hook; a purge leaves nothing."""
    outside = host.outside()
    web1, web2 = host.define_guest("web1"), host.define_guest("web2")
    former = put(host, repack(tmp_path, FORMER))
    new = put(host, repack(tmp_path, postinst=WAIT))
    before = files(host)

    host.run(["dpkg", "-i", former])
    sample = host.read(CONFIG)
    configure(host, BOTH)
    web1.start(wait=True)
    first = hooks(host), version(host), answers(outside)
    with half_upgraded(lambda: host.run(["dpkg", "-i", new], timeout=200), host):
        web2.start(wait=True)
        between = hooks(host), version(host), answers(outside)
        unpacked = host.read("/usr/share/vfwhooks/vfwhooks/__init__.py")
    upgraded = version(host), answers(outside)
    releases = host.run(["ls", LIB]).split()
    named = hooks(host)
    host.run(["dpkg", "-r", "vfwhooks"])
    removed = hooks(host), published(host), answers(outside), host.read(CONFIG)
    host.run(["dpkg", "-P", "vfwhooks"])

    laid = {f"{name}.d/vfwhooks" if name == "qemu" else name for name in DRIVERS}
    assert {*first[0]} == {"qemu", *laid}
    assert sample == (HERE / "templates/forwards.yaml").read_text()
    assert first[0]["qemu"] == ""
    assert first[0]["lxc"].startswith(f"{LIB}/{FORMER}-")
    assert first[1:] == (FORMER, ["web1", "refused"])
    assert between == (first[0], FORMER, ["web1", "web2"])
    assert f'"{__version__}"' in unpacked
    assert upgraded == (__version__, ["web1", "web2"])
    assert named["lxc"].startswith(f"{LIB}/{__version__}-")
    assert sorted(releases)[2:] == ["current", "directories"]
    assert removed == ({"qemu": ""}, set(), ["refused", "refused"], BOTH)
    assert host.read(f"{HOOKS}/qemu") == OTHERS_HOOK
    assert files(host) ^ before == set()


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    """A Debian 13 that systemd runs."""
    with Host.debian13() as host, start_systemd(host) as systemd:
        yield systemd


def test_service_runs_until_the_switch(systemd: Systemd, tmp_path: Path) -> None:
    """It is started by the install, the same until the new hooks are in place, then
    another one; a removal ends it."""
    host = systemd.host
    former = put(host, repack(tmp_path, FORMER))
    new = put(host, repack(tmp_path, postinst=WAIT))

    def show() -> tuple[str, str]:
        pid = systemd.show("vfwhooks", "MainPID")
        words = systemd.call("cat", f"/proc/{pid}/cmdline").stdout
        release = re.search(rf"{LIB}/([^\0/]*)", words)
        return pid, release[1].partition("-")[0] if release else ""

    systemd.run("dpkg", "-i", former)
    first = show()
    with half_upgraded(lambda: systemd.run("dpkg", "-i", new), host):
        between = show()
    upgraded = show()
    systemd.run("dpkg", "-r", "vfwhooks")

    assert (first[1], between, upgraded[1]) == (FORMER, first, __version__)
    assert first[0] != upgraded[0]
    assert systemd.show("vfwhooks", "ActiveState") in ("inactive", "failed")


def test_the_page_in_cockpit() -> None:
    """It is a package of its own, with what Cockpit reads and nothing else; a removal
    takes it away."""
    page = "/usr/share/cockpit/vfwhooks"
    with Host.debian13() as host:
        host.run(["dpkg", "-i", put(host, find_deb()), put(host, find_page_deb())])
        laid = host.run(["ls", page]).split()
        host.run(["dpkg", "-r", "cockpit-vfwhooks"])
        left = host.call(["ls", page]).status

    sources = (HERE / "cockpit").iterdir()
    assert (laid, left) == (sorted(one.name for one in sources), 2)


def test_beside_install_sh(tmp_path: Path) -> None:
    """The package takes over from install.sh, which does nothing beside it then; what
    only install.sh has put in (manuals, the page in Cockpit) is gone with a purge."""
    with Host.debian13() as host:
        package = put(host, find_deb())
        before = files(host)
        host.run([f"{Host.CHECKOUT}/install.sh"])
        host.run(["dpkg", "-i", package])

        done = host.call([f"{Host.CHECKOUT}/install.sh"])
        named = set(hooks(host).values())
        host.run(["dpkg", "-P", "vfwhooks"])

        assert (done.status, done.stderr) == (
            1,
            "install.sh: vfwhooks is here as a package: upgrade or remove that, in"
            " place of this\n",
        )
        assert {lib.rpartition("/")[0] for lib in named} == {LIB, ""}
        assert (hooks(host), files(host) ^ before) == ({}, set())


def test_beside_a_page_of_a_package() -> None:
    """The page in Cockpit is not install.sh's if a package has it."""
    page = "/usr/share/cockpit/vfwhooks"
    with Host.debian13() as host:
        packages = [put(host, find()) for find in (find_deb, find_page_deb)]
        host.run([f"{Host.CHECKOUT}/install.sh"])
        host.run(["dpkg", "-i", *packages])
        laid = host.run(["ls", page]).split()

    assert laid == sorted(one.name for one in (HERE / "cockpit").iterdir())


def test_removal_beside_a_watch() -> None:
    """A watch that another init has started would put rules back: dpkg removes nothing
    until it has ended."""
    with Host.debian13() as host:
        host.run(["dpkg", "-i", put(host, find_deb())])
        before = hooks(host)
        start_watch(host, "/usr/bin/vfwhooks")
        pid = host.read("/run/watch.pid").strip()
        beside = host.call(["dpkg", "-r", "vfwhooks"])
        still = hooks(host)
        stop_watch(host)
        host.run(["dpkg", "-r", "vfwhooks"])

        assert hooks(host) == {}
    said = (
        f"install.sh: vfwhooks watch runs as process {pid}: end it, then run this again"
    )
    assert (beside.status, said in beside.stderr, still) == (1, True, before)


def test_where_an_image_is_built() -> None:
    """No CAP_NET_ADMIN there: the package comes and goes, the rules of a host stay."""
    weak = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    with Host.debian13() as host:
        before = files(host)
        host.run([*weak, "dpkg", "-i", put(host, find_deb())])
        there = hooks(host)
        host.run([*weak, "dpkg", "-P", "vfwhooks"])
        left = files(host) ^ before
        host.run(["dpkg", "-i", put(host, find_deb())])
        host.run(["vfwhooks", "apply"])
        with_rules = host.run(["nft", "list", "tables"])
        done = host.call([*weak, "dpkg", "-r", "vfwhooks"])
        still = host.run(["nft", "list", "tables"])

    assert (set(there), left) == ({*DRIVERS}, set())
    said = "vfwhooks: the kernel wants CAP_NET_ADMIN: use the host itself\n"
    assert (done.status, said in done.stderr) == (1, True)
    assert still == with_rules != ""


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_purge_beside_install_sh(prefix: str) -> None:
    """What install.sh has put in since the removal needs all that a purge would take:
    the edited file, the releases, the link that has the service started at boot."""
    with Host.debian13() as host:
        host.run(["dpkg", "-i", put(host, find_deb())])
        configure(host, BOTH)
        host.run(["dpkg", "-r", "vfwhooks"])
        host.run([f"{Host.CHECKOUT}/install.sh"], env={"PREFIX": prefix})
        before = files(host), hooks(host)

        host.run(["dpkg", "-P", "vfwhooks"])

        assert (files(host), hooks(host), host.read(CONFIG)) == (*before, BOTH)
        said = host.run([f"{prefix}/bin/vfwhooks", "check"])
        assert said == f"{CONFIG}: 2 forwards for 2 guests\n"


def test_beside_another_prefix() -> None:
    """systemd would prefer the unit of the other one: the package is not unpacked, and
    install.sh knows the package from any PREFIX."""
    local = {"PREFIX": "/usr/local"}
    with Host.debian13() as host:
        package = put(host, find_deb())
        host.run([f"{Host.CHECKOUT}/install.sh"], env=local)
        before = files(host), hooks(host)
        beside = host.call(["dpkg", "-i", package])
        after = files(host), hooks(host)
        host.run([f"{Host.CHECKOUT}/install.sh", "--uninstall"])
        host.run(["dpkg", "-i", package])
        done = host.call([f"{Host.CHECKOUT}/install.sh"], env=local)

    assert (beside.status, after) == (1, before)
    assert (
        "vfwhooks is here by install.sh, in /usr/local: run its"
        " ./install.sh --uninstall, then this again\n"
    ) in beside.stderr
    assert (done.status, done.stderr) == (
        1,
        "install.sh: vfwhooks is here as a package: upgrade or remove that, in place"
        " of this\n",
    )
