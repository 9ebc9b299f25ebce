"""selinux by way of selinuxfs's files, on a host that has them (lab/selinuxfs.py); what
they say is tested in unit/test_selinux.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import policies
from lab.host import Host
from lab.policies import Policy
from lab.selinuxfs import PLACE, Loaded, build, selinux

from vfwhooks.installation.selinux import ask_rights, ask_service
from vfwhooks.installation.selinux_policy import is_enforcing

POLICIES = {
    name: value for name, value in vars(policies).items() if isinstance(value, Policy)
}
PYTHON = "/usr/bin/python3"
BUSY = "Device or resource busy"
ASK = """\
import sys
sys.path.insert(0, '/srv/vfwhooks')
from vfwhooks.installation.selinux import ask_rights, ask_service, find_label
from vfwhooks.installation.selinux_policy import ask_kernel, is_enforcing
"""
ALL = f"{ASK}print(is_enforcing(), ask_rights(), ask_service())"
LABEL = f"{ASK}print(find_label('/etc/libvirt/hooks/qemu', sys.argv[1]))"
FEDORAS = "system_u:object_r:virt_hook_t:s0"
# Asks all questions before it reads an answer, and reads the last answer first.
AT_ONCE = f"""
import os, sys
asked = [os.open('{PLACE}/create', os.O_RDWR) for _ in sys.argv[1:]]
for fd, question in zip(asked, sys.argv[1:]):
    os.write(fd, question.encode())
for fd in reversed(asked):
    print(b''.join(iter(lambda: os.read(fd, 99), b'')).decode().rstrip(chr(0)))
"""
# Writes one question after the other to one descriptor, and prints what becomes of it.
QUESTIONS = f"""
import os, sys
fd = os.open('{PLACE}/access', os.O_RDWR)
for question in sys.argv[1:]:
    try:
        print(os.write(fd, question.encode()) == len(question))
    except OSError as error:
        print(error.strerror)
print(*iter(lambda: os.read(fd, 99), b''))
"""


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host, without libvirtd."""
    with Host.debian13() as host:
        yield host


@pytest.fixture(scope="module")
def loaded(host: Host) -> Iterator[Loaded]:
    """The policy that it has loaded: FEDORA_41, unless a test changes it."""
    with selinux(host, policies.FEDORA_41) as loaded:
        yield loaded


def python(host: Host, script: str, *arguments: str) -> str:
    """What a script prints on the host."""
    return host.run([PYTHON, "-c", script, *arguments])


@pytest.mark.parametrize("name", POLICIES)
def test_answers_through_the_files(
    host: Host, loaded: Loaded, tmp_path: Path, name: str
) -> None:
    """They are those that the policy gives without files in between."""
    policy = POLICIES[name]
    build(tmp_path, policy)

    def ask(file: str, question: str) -> str:
        try:
            return policy.answer(file.rpartition("/")[2], question).rstrip("\0")
        except OSError:
            return ""

    root = str(tmp_path)
    loaded.change(policy)

    found = python(host, ALL)

    rights, service = ask_rights(root=root, ask=ask), ask_service(root, ask)
    assert found == f"{is_enforcing(root)} {rights} {service}\n"


def test_many_may_ask_at_once(host: Host, loaded: Loaded) -> None:
    """Nobody gets another's answer."""
    loaded.change(policies.FEDORA_41)
    daemons = "virtqemud", "virtnetworkd", "virtxend"
    init = "system_u:system_r:init_t:s0"
    questions = [f"{init} system_u:object_r:{each}_exec_t:s0 2" for each in daemons]

    found = python(host, AT_ONCE, *questions).splitlines()

    expected = [f"system_u:system_r:{each}_t:s0" for each in reversed(daemons)]
    assert found == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("init_t", ["True", BUSY, "b'0 ffffffff 0 ' b'ffffff' b'ff ' b'7 ' b'0'"]),
        ("none_t", ["Invalid argument", BUSY, ""]),
    ],
)
def test_the_files_take_one_question(
    host: Host, loaded: Loaded, kind: str, expected: list[str]
) -> None:
    """As the kernel's do: not of a type that the policy does not have, and not a second
    one; the answer may come in parts, and ends."""
    loaded.change(policies.FEDORA_41)
    context = f"system_u:system_r:{kind}:s0"

    found = python(host, QUESTIONS, f"{context} {context} 2", "and now")

    assert found.split("\n")[:-1] == expected


@pytest.mark.parametrize(
    ("said", "root", "expected"),
    [
        ("$*:r:t:s0", "", "-n -m file /etc/libvirt/hooks/qemu:r:t:s0"),
        ("u:r:t", "", "u:r:t"),
        ("<<none>>", "", FEDORAS),
        ("", "", FEDORAS),
        # The file contexts are this root's.
        ("u:r:t:s0", "/other", FEDORAS),
    ],
)
def test_labels_by_the_tool(host: Host, said: str, root: str, expected: str) -> None:
    """It is asked where libselinux's Python module is not installed. What has no label
    in the file contexts has the one that Fedora gives it."""
    path = "/usr/sbin/matchpathcon"
    host.write(path, f'#!/bin/sh\necho "{said}"\n', 0o755)

    found = python(host, LABEL, root)

    host.path(path).unlink()
    assert found == f"{expected}\n"


def test_labels_by_the_module(host: Host) -> None:
    """libselinux says which label a regular file there gets."""
    path = "/usr/lib/python3/dist-packages/selinux.py"
    host.write(path, "def matchpathcon(*what): return [0, f'{what}:r:t:s0']\n")

    found = python(host, LABEL, "")

    host.path(path).unlink()
    assert found == "('/etc/libvirt/hooks/qemu', 32768):r:t:s0\n"


def test_labels_that_the_module_does_not_know(host: Host) -> None:
    """It raises an error then."""
    path = "/usr/lib/python3/dist-packages/selinux.py"
    host.write(path, "def matchpathcon(*what): raise FileNotFoundError\n")

    found = python(host, LABEL, "")

    host.path(path).unlink()
    assert found == f"{FEDORAS}\n"
