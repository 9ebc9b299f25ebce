"""The SELinux module beside a policy like Fedora's, by SELinux's own tools.

No kernel is asked, and none here would answer: secilc and semodule make the policy that
a kernel would be given, and what sesearch and seinfo are made of reads it back, whole.
"""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

setools = import_module("setools")  # it has no types, and is not there for the linters

TESTS = Path(__file__).resolve().parents[1]
MODULE = TESTS.parent / "templates/vfwhooks.cil"
POLICY = TESTS / "cases/selinux/base.cil"
BASE = POLICY.read_text()

SHELL = """\
allow DAEMON bin_t:dir { getattr ioctl lock open read search }
allow DAEMON bin_t:lnk_file { getattr read }
allow DAEMON shell_exec_t:file \
{ execute execute_no_trans getattr ioctl lock map open read }
"""
HOOK = """\
allow DAEMON virt_hook_t:file { execute getattr ioctl map open read }
allow DAEMON virt_hook_unconfined_t:process transition
allow virt_hook_unconfined_t DAEMON:fd use
allow virt_hook_unconfined_t DAEMON:fifo_file { append getattr ioctl lock read write }
allow virt_hook_unconfined_t DAEMON:process sigchld
type_transition DAEMON virt_hook_t:process virt_hook_unconfined_t
"""


def rules(daemons: str, text: str = HOOK + SHELL) -> set[str]:
    """The rules for these daemons' hooks as sesearch prints them, each under the
    boolean."""
    return {
        f"{line.replace('DAEMON', daemon)}; [ virt_hooks_unconfined ]:True"
        for daemon in daemons.split()
        for line in text.splitlines()
    }


def without(names: str, policy: str = BASE) -> str:
    """A policy without the statements in which one of these names stands."""
    named = re.compile(rf"\b({'|'.join(names.split())})\b")
    return "".join(line for line in policy.splitlines(True) if not named.search(line))


def run(*argv: str | Path) -> list[str]:
    """What a tool prints, both of its streams."""
    done = subprocess.run(
        argv, check=True, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.splitlines()


def read(binary: Path) -> set[str]:
    """All that a binary policy says: its rules, and its names with what they are."""
    policy = setools.SELinuxPolicy(str(binary))
    kinds = policy.bools, policy.roles, policy.typeattributes, policy.types
    names = {name.statement() for kind in kinds for name in kind()}
    return names | {str(rule) for rule in policy.terules()}


def compiled(tmp_path: Path, *sources: Path) -> set[str]:
    """What secilc makes of sources, and what it says meanwhile."""
    binary = tmp_path / "policy"
    said = run("secilc", "-o", binary, "-f", tmp_path / "contexts", *sources)
    return {*read(binary), *said}


def difference(tmp_path: Path, policy: str) -> tuple[set[str], set[str]]:
    """What the module adds to a policy, and what it takes away from it."""
    base = tmp_path / "base.cil"
    base.write_text(policy)
    before = compiled(tmp_path, base)
    after = compiled(tmp_path, base, MODULE)
    return after - before, before - after


def test_adds(tmp_path: Path) -> None:
    """The confined daemons get what virtnetworkd has, all of it under the boolean; it
    gets nothing more, and so does everybody else."""
    added = difference(tmp_path, BASE)

    assert added == (rules("virtqemud_t virtxend_t"), set())


def test_same_as_virtnetworkd(tmp_path: Path) -> None:
    """The rules are those that the policy itself has for virtnetworkd."""
    policy = compiled(tmp_path, POLICY)

    conditional = {line for line in policy if line.endswith("]:True")}

    assert conditional == rules("virtnetworkd_t")


def test_domain_of_a_later_policy(tmp_path: Path) -> None:
    """A daemon that no policy confines yet has its hooks where one does."""
    later = f"{BASE}\n(type virtlxcd_t)\n(roletype system_r virtlxcd_t)\n"

    added = difference(tmp_path, later)

    assert added == (rules("virtqemud_t virtxend_t virtlxcd_t"), set())


def test_shell_for_virtnetworkd(tmp_path: Path) -> None:
    """The first policies with hooks (41.7, 40.13.4) gave virtnetworkd no shell to run
    them by."""
    shell = re.compile(r"\(booleanif .* virtnetworkd_t (bin_t|shell_exec_t) .*\n")
    first, count = shell.subn("", BASE)

    added = difference(tmp_path, first)

    expected = rules("virtqemud_t virtxend_t") | rules("virtnetworkd_t", SHELL)
    assert (count, added) == (3, (expected, set()))


@pytest.mark.parametrize(
    ("missing", "others"),
    [
        ("virtqemud_t", "virtxend_t"),
        ("virtxend_t", "virtqemud_t"),
        ("virtnetworkd_t", "virtqemud_t virtxend_t"),
        ("virtnetworkd_t virtqemud_t virtxend_t", ""),
    ],
)
def test_without_a_domain(tmp_path: Path, missing: str, others: str) -> None:
    """A domain that the policy lacks takes no other's rules with it, and nothing is
    said about it."""
    added = difference(tmp_path, without(missing))

    assert added == (rules(others), set())


@pytest.mark.parametrize(
    "missing",
    [
        "virt_hooks_unconfined",
        "virt_hook_t",
        "virt_hook_unconfined_t",
        "bin_t",
        "shell_exec_t",
        "virt_hooks_unconfined virt_hook_t virt_hook_unconfined_t",
    ],
)
def test_without_hooks(tmp_path: Path, missing: str) -> None:
    """A policy that knows less of hooks compiles, stays as it is, and nothing is said:
    CentOS Stream 9 has neither their types nor the boolean."""
    added = difference(tmp_path, without(missing))

    assert added == (set(), set())


def test_installed_and_removed(tmp_path: Path) -> None:
    """semodule takes the module in, in silence, and makes the policy that secilc makes;
    without the module it makes the one from before."""
    for directory in ("etc/selinux", "var/lib/selinux"):
        (tmp_path / directory).mkdir(parents=True)
    (tmp_path / "etc/selinux/semanage.conf").write_text("module-store = direct\n")
    semodule = "semodule", "-p", tmp_path, "-s", "fedora", "-N"
    run(*semodule, "-i", POLICY)
    (binary,) = (tmp_path / "etc/selinux/fedora/policy").iterdir()

    seen = [run(*semodule, "-i", MODULE), run(*semodule, "-l"), read(binary)]
    run(*semodule, "-r", "vfwhooks")
    seen += [run(*semodule, "-l"), read(binary)]

    before, after = compiled(tmp_path, POLICY), compiled(tmp_path, POLICY, MODULE)
    assert seen == [[], ["base", "vfwhooks"], after, ["base"], before]
