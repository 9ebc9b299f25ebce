"""install.sh where vfwhooks is, or comes, under another prefix than /usr."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import Done
from lab.host import HOOKS, Host

PREFIXES = "/usr/local", "/opt/vfwhooks"
SYSTEMCTL = '#!/bin/sh\necho "$*" >>/var/log/systemctl\n'
REMOVE = "./install.sh --uninstall removes that"


@pytest.fixture
def host() -> Iterator[Host]:
    """A host on which libvirtd does not run, and a stand-in for systemd does."""
    with Host.debian13() as host:
        host.run(["mkdir", "-p", "/run/systemd/system"])
        host.write("/usr/local/bin/systemctl", SYSTEMCTL, 0o755)
        yield host


def install(host: Host, argument: str = "", prefix: str | None = None) -> Done:
    """Run install.sh, with PREFIX or without."""
    env = {"PREFIX": prefix} if prefix else None
    return host.call(
        [f"{Host.CHECKOUT}/install.sh", *argument.split()], env=env, timeout=120
    )


def laid(host: Host) -> list[str]:
    """All files with our name but the state, and all hooks."""
    places = ["/usr", "/etc", "/opt", "/var/lib"]
    find = ["find", *places, "-path", HOOKS, "-o", "-path", "*vfwhooks*"]
    return sorted(host.run([*find, "-o", "-path", f"{HOOKS}/*"]).splitlines())


def release_of(host: Host) -> str:
    """The release that the hook for QEMU guests runs."""
    return host.run(["sed", "-n", "s/^lib=//p", f"{HOOKS}/qemu"]).strip()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefix_of_what_is_installed(host: Host, prefix: str) -> None:
    """Without PREFIX an upgrade, --check, --status and --uninstall take that of what is
    there: nothing of it stays, and systemd is told."""
    before = laid(host)

    install(host, prefix=prefix).check()
    first, release = laid(host), release_of(host)
    status = install(host, "--status")
    install(host).check()
    second = laid(host), release_of(host)
    check = install(host, "--check").check()
    host.run(["rm", "/var/log/systemctl"])
    install(host, "--uninstall").check()

    assert release.startswith(f"{prefix}/lib/vfwhooks/")
    name = release.rpartition("/")[2]
    assert status.stdout.splitlines()[:1] == [f"install.sh: {name} is installed"]
    assert second == (first, release)
    assert check.splitlines()[:1] == ["install.sh: would restart vfwhooks.service"]
    assert host.read("/var/log/systemctl").splitlines() == [
        "--quiet disable --now vfwhooks.service",
        "--quiet daemon-reload",
    ]
    assert laid(host) == before


@pytest.mark.parametrize("argument", ["", "--check", "--status", "--uninstall"])
def test_beside_what_is_installed(host: Host, argument: str) -> None:
    """With the PREFIX of nothing that is there, the other one is named and stays."""
    install(host, prefix="/usr/local").check()
    before = laid(host)

    done = install(host, argument, prefix="/usr")

    assert (done.status, done.stdout, done.stderr, laid(host)) == (
        1,
        "",
        "install.sh: vfwhooks is installed in /usr/local:"
        f" PREFIX=/usr/local {REMOVE}\n",
        before,
    )


def test_two_installations(host: Host) -> None:
    """Such as an install.sh of old has left: each goes by its PREFIX, and without one
    neither does."""
    unit = "/usr/local/lib/systemd/system/vfwhooks.service"
    before = laid(host)
    install(host, prefix="/usr/local").check()
    host.run(["mv", unit, "/tmp"])
    install(host).check()
    host.run(["mv", "/tmp/vfwhooks.service", unit])

    done = install(host, "--uninstall")
    install(host, "--uninstall", prefix="/usr/local").check()
    one = install(host, "--check").check()
    install(host, "--uninstall").check()

    assert (done.status, done.stderr) == (
        1,
        "install.sh: vfwhooks is installed in /usr/local:"
        f" PREFIX=/usr/local {REMOVE}\n",
    )
    assert f"lay {HOOKS}/qemu, where libvirt may run it" in one
    assert laid(host) == before
