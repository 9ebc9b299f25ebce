"""doctor's findings of hooks and SELinux: made, found, cured, gone. SELinux and the
modular daemons are stand-ins, as in test_hook_trial.py; so are the policy's tools."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from lab import modular
from lab.host import HOOKS, Host
from lab.policies import FEDORA_41, WITH_MODULE
from lab.selinuxfs import Loaded, selinux
from product import put_in

from e2e.cures import Doctor, cures

INSTALL = f"{Host.CHECKOUT}/install.sh"
MODULAR = "virtqemud", "virtnetworkd"
LABEL = "system_u:object_r:{}:s0"
CONFINED = replace(
    WITH_MODULE, unconfined=WITH_MODULE.unconfined - {"unconfined_service_t"}
)
RESTORECON = f"""#!/usr/bin/python3
import os, sys
for path in sys.argv[2:]:
    os.setxattr(path, "security.selinux", b"{LABEL.format("virt_hook_t")}")
"""
DENIAL = (
    "type=AVC msg=audit(1764000000.123:45): avc:  denied  { execute } for  pid=7 "
    'comm="rpc-virtqemud" name="qemu" dev="dm-0" ino=9 '
    f"scontext={LABEL.format('virtqemud_t')} tcontext={LABEL.format('virt_hook_t')} "
    "tclass=file permissive=0\n"
)


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with the package, and without a libvirt daemon."""
    with Host.debian13() as host:
        put_in(host)
        host.write("/usr/sbin/semodule", "#!/bin/sh\n", 0o755)
        host.write("/usr/sbin/setsebool", "#!/bin/sh\n", 0o755)
        host.write("/usr/sbin/restorecon", RESTORECON, 0o755)
        host.run([INSTALL])
        yield host


@pytest.fixture(scope="module")
def loaded(host: Host) -> Iterator[Loaded]:
    """A policy that lets both daemons run hooks."""
    with selinux(host, WITH_MODULE) as loaded, modular.running(host, MODULAR):
        host.run([INSTALL])
        yield loaded


@cures("hook-refused", "hook-not-laid", "hook-denied")
def test_hooks_that_are_refused(host: Host, loaded: Loaded) -> None:
    """They are taken away, or the policy is changed."""
    doctor = Doctor(host.call)
    loaded.change(FEDORA_41)
    doctor.cure("hook-refused")

    host.write("/var/log/audit/audit.log", DENIAL)
    with doctor.until_gone("hook-not-laid", "hook-denied") as found:
        assert {one["cure"]["argv"][1] for one in found} == {"--selinux-module"}
        loaded.change(WITH_MODULE)
        host.run([INSTALL, "--selinux-module"])


@cures("hook-mislabelled")
def test_a_label(host: Host, loaded: Loaded) -> None:
    """The file was moved there."""
    path = host.path(f"{HOOKS}/qemu")
    os.setxattr(path, "security.selinux", LABEL.format("etc_t").encode())

    Doctor(host.call).cure("hook-mislabelled")


@cures("service-refused")
def test_a_service_that_is_refused(host: Host, loaded: Loaded) -> None:
    """Whoever makes the policy has to change it."""
    loaded.change(CONFINED)

    with Doctor(host.call).until_gone("service-refused"):
        loaded.change(WITH_MODULE)
