"""A host that has no room for another process, or for a thread."""

from __future__ import annotations

import subprocess

import pytest
from standin import ENVIRONMENT, QUIET, Called, StandIn, alone, hook_argv

from faults.scenes import WEB1, published

SHELLS = ("dash",), ("bash", "--posix")
FORKS = "inject=clone,clone3,fork,vfork:error=ENOMEM"
THREADS = "inject=clone,clone3:error=EAGAIN"  # dash starts Python by vfork


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize(
    ("driver", "operation"),
    [
        *((driver, "reconnect") for driver in ("qemu", "lxc", "libxl")),
        *(("network", "started"), ("daemon", "start")),
    ],
)
@alone
def test_a_hook_that_cannot_start_python(
    driver: str, operation: str, shell: tuple[str, ...]
) -> None:
    """It ends well: libvirt ends a running guest whose hook fails."""
    StandIn("nftables")

    assert traced(FORKS, *shell, *hook_argv(driver, "web1", operation)) == QUIET


def traced(inject: str, *argv: str, xml: str = "") -> Called:
    """Call a hook; the kernel refuses system calls of it and of its processes."""
    done = subprocess.run(
        ["strace", "-f", "-o", "/dev/null", "-e", inject, *argv],
        input=xml.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        check=False,
    )
    return Called(done.returncode, done.stdout.decode())


@alone
def test_a_hook_that_has_no_room_for_a_thread() -> None:
    """Its deadline is an alarm then, and it does its work."""
    host = StandIn("nftables", "guests:\n  web1: [8080:80]\n")
    host.network(WEB1)
    host.apply()

    hook = hook_argv("qemu", "web1", "started")
    called = traced(THREADS, "dash", *hook, xml=WEB1.xml())

    assert (called, len(published("nftables"))) == (QUIET, 1)
