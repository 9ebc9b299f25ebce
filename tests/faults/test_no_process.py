"""A host that has no room for another process."""

from __future__ import annotations

import subprocess

import pytest
from standin import ENVIRONMENT, QUIET, Called, StandIn, alone, hook_argv

SHELLS = ("dash",), ("bash", "--posix")
FORKS = "inject=clone,clone3,fork,vfork:error=ENOMEM"


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
    strace = "strace", "-o", "/dev/null", "-e", FORKS

    done = subprocess.run(
        [*strace, *shell, *hook_argv(driver, "web1", operation)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        check=False,
    )

    assert Called(done.returncode, done.stdout.decode()) == QUIET
