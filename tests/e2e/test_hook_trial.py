"""Hosts whose libvirt may not run hooks: install.sh finds out before a guest has to.

SELinux is a stand-in (lab/selinuxfs.py), for the kernel here has none; so are modular
daemons. What refuses for real is the kernel, by fanotify, and a mount without exec.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from lab import modular
from lab.box import Done, wait_until
from lab.host import HOOKS, Host
from lab.network import default_network
from lab.policies import (
    FEDORA_41,
    FEDORA_41_ON,
    MONOLITHIC,
    PERMISSIVE_HOST,
    VIRTQEMUD_PERMISSIVE,
    WITH_MODULE,
    Policy,
)
from lab.refuse import refusing
from lab.selinuxfs import selinux
from product import CONFIG, configure, published, start_watch, stop_watch, vfwhooks

from e2e.cures import cures, in_checkout

WEB = "guests:\n  web1: [8080:80]\n"
MODULAR = "virtqemud", "virtnetworkd"
FAILS = "#!/bin/sh\n# somebody else's\nexit 0\n"
KINDS = "libvirt-9.0", "libvirt-11.3"
# What does not depend on libvirt's age is asked of one, or of both.
once = pytest.mark.parametrize(
    "host", KINDS if "VFWHOOKS_ALL_KINDS" in os.environ else KINDS[1:], indirect=True
)
# Fedora's, where libvirtd is confined as the modular daemons are.
CONFINED = replace(FEDORA_41, unconfined=FEDORA_41.unconfined - {"virtd_t"})
FOLLOWED = "follows libvirt's own files; nothing else on this host was changed"
MODULE = (
    "to have hooks: ./install.sh --selinux-module, which loads a policy module and "
    "switches virt_hooks_unconfined on"
)
VIRTD = "virtd_t may not execute, read, open, getattr virt_hook_t"
# None of the lab's hosts has one.
ALONE = "there is no systemd here: have /usr/bin/vfwhooks watch run from boot on"
OFF = "virt_hooks_unconfined is off"
ON = "virt_hooks_unconfined is on"


def install(host: Host, *arguments: str, env: dict[str, str] | None = None) -> Done:
    """Run install.sh."""
    return host.call([f"{Host.CHECKOUT}/install.sh", *arguments], env=env, timeout=120)


def said(done: Done) -> list[str]:
    """What install.sh has said, but for what it says in the end: the release, and
    doctor's verdict."""
    lines = done.check().splitlines()
    return [line.removeprefix("install.sh: ") for line in lines[:-2]]


def laid(host: Host) -> list[str]:
    """The hooks on disk."""
    return sorted(host.run(["find", HOOKS, "-type", "f", "-printf", "%P\n"]).split())


def findings(host: Host, *words: str) -> list[str]:
    """What doctor says of hooks and of those that may not run them."""
    lines = vfwhooks(host, "doctor").stdout.splitlines()
    return [line for line in lines if any(word in line for word in words)]


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with libvirtd, its network and a guest that has forwards and is off."""
    make = {"libvirt-9.0": Host.debian12, "libvirt-11.3": Host.debian13}
    with make[request.param]() as host:
        host.start_libvirtd()
        host.start_network(default_network())
        host.define_guest("web1")
        configure(host, WEB)
        yield host


@pytest.fixture
def quiet() -> Iterator[Host]:
    """A host on which no libvirt daemon runs."""
    with Host.debian13() as host:
        yield host


def test_a_libvirt_that_really_refuses(host: Host) -> None:
    """A hook that was laid by hand keeps the guest from starting. install.sh finds out
    and lays none, and a guest that starts meanwhile does, and is forwarded to."""
    host.run(["mkdir", "-p", "/var/lib/vfwhooks"])
    start_watch(host)
    with refusing(host):
        host.install_hooks({"qemu": FAILS})
        host.sighup()
        wait_until(
            lambda: "failed" in host.call(START).stderr, "the control is refused"
        )
        control = host.call(START)
        host.run(["rm", f"{HOOKS}/qemu"])
        host.sighup()

        done: list[Done] = []
        thread = threading.Thread(target=lambda: done.append(install(host)))
        thread.start()
        wait_until(lambda: host.call(START).status == 0, "the guest starts")
        wait_until(lambda: published(host), "it is forwarded to")
        thread.join()
        host.virsh("destroy", "web1")
        wait_until(lambda: not published(host), "its forwards are gone")
        again = host.call(START)
        wait_until(lambda: published(host), "it is forwarded to again")
        stop_watch(host)

    assert (control.status, "Hook script execution failed" in control.stderr) == (
        1,
        True,
    )
    assert (laid(host), again.status) == ([], 0)
    assert [line for line in said(done[0]) if line[:1] != "+"] == [
        "libvirtd may not run hooks here: libvirtd was told to reload, and did not run"
        f" {HOOKS}/daemon",
        f"no hook is laid for it: the service {FOLLOWED}",
        "to have hooks: mend that, then run ./install.sh again",
        ALONE,
    ]


START = ["virsh", "-q", "start", "web1", "--paused"]


@once
def test_hooks_on_a_mount_without_exec(host: Host) -> None:
    """libvirt looks at a hook's mode alone, and the guest does not start: so none is
    laid there, it is said, and the guest is served. One that is laid all the same is
    named by doctor, and taken away by the service when it starts."""
    host.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "lab", HOOKS])

    done = install(host)
    seen = laid(host)
    host.install_hooks({"qemu": host.read("/srv/vfwhooks/hooks/qemu")})
    host.sighup()
    wait_until(lambda: "126" in host.call(START).stderr, "the control is refused")
    found = findings(host, "without exec")
    start_watch(host)
    wait_until(lambda: not laid(host), "the hook is taken away")
    wait_until(lambda: host.call(START).status == 0, "the guest starts")
    wait_until(lambda: published(host), "it is forwarded to")
    stop_watch(host)

    assert said(done) == [
        f"libvirtd may not run hooks here: {HOOKS} is on a file system without exec",
        f"no hook is laid for it: the service {FOLLOWED}",
        "to have hooks: mend that, then run ./install.sh again",
        ALONE,
    ]
    what = f"{HOOKS} is on a file system without exec"
    what += ", and hooks there keep guests and networks from starting"
    cure = f"run: mount -o remount,exec {HOOKS}, and take noexec out of /etc/fstab"
    assert (seen, found) == ([], [f"wrong  {what}; {cure}"])


def test_a_mount_without_exec_and_no_daemon(quiet: Host) -> None:
    """Nobody has to be asked: there none is laid either, for libvirt may be started
    where no service of ours takes it away."""
    quiet.run(["mkdir", "-p", HOOKS])
    quiet.run(["mount", "-t", "tmpfs", "-o", "noexec,mode=755", "lab", HOOKS])

    done = install(quiet)

    assert (laid(quiet), said(done)[0]) == (
        [],
        f"libvirtd may not run hooks here: {HOOKS} is on a file system without exec",
    )


@once
@cures("hook-not-called", "hook-not-executable")
def test_a_hook_that_nobody_may_execute(host: Host) -> None:
    """libvirt, told to look again, does not call it: doctor says so and that the hook
    of the guest was not called, the cure cures it, and the guest is served."""
    install(host).check()
    start_watch(host)
    host.run(["chmod", "000", f"{HOOKS}/qemu"])
    host.sighup()
    host.run(["sleep", "3"])  # it reloads, and what began before is too old to say

    host.run(START)
    wait_until(lambda: published(host), "it is forwarded to")
    path = f"{HOOKS}/qemu"
    executable = findings(host, "not executable")
    wait_until(lambda: findings(host, "was not called"), "it is noticed", 20)
    seen = findings(host, "was not called"), vfwhooks(host, "status").stdout
    doctor = in_checkout(host)
    with doctor.until_gone("hook-not-called"):
        doctor.cure("hook-not-executable")
        host.run(["sleep", "2"])  # the kernel tells its own start in whole seconds
        host.sighup()
    stop_watch(host)

    what = f"{path} is not executable: libvirt does not call it"
    assert executable == [f"note   {what}; run: chmod 755 {path}"]
    assert seen[0] == [
        "wrong  web1 started and the qemu hook was not called: the service found it; "
        "what is said of hooks above, and libvirt's log, tell why"
    ]
    assert "problem  web1: its hook was not called" in seen[1]


POLICIES = {
    # policy, the daemons that run, what is laid, what is said
    "Fedora 41": (
        FEDORA_41,
        MODULAR,
        [],
        [
            "virtqemud and virtnetworkd may not run hooks here: virtqemud_t may not"
            f" execute virt_hook_t; {OFF} (SELinux); virtnetworkd_t may not execute"
            f" virt_hook_t; {OFF} (SELinux)",
            "no hook is laid for them: the service (as unconfined_service_t) "
            + FOLLOWED,
            MODULE,
            ALONE,
        ],
    ),
    "Fedora 41, the boolean on": (
        FEDORA_41_ON,
        MODULAR,
        ["daemon", "network"],
        [
            "virtqemud may not run hooks here: virtqemud_t may not execute virt_hook_t;"
            f" {ON} (SELinux)",
            "no hook is laid for it: the service (as unconfined_service_t) " + FOLLOWED,
            MODULE,
            ALONE,
        ],
    ),
    "Fedora 41, libvirtd confined": (
        CONFINED,
        ("libvirtd",),
        [],
        [
            f"libvirtd may not run hooks here: {VIRTD}; {OFF} (SELinux)",
            "no hook is laid for it: the service (as unconfined_service_t) " + FOLLOWED,
            MODULE,
            ALONE,
        ],
    ),
    "virtqemud permissive": (
        VIRTQEMUD_PERMISSIVE,
        MODULAR,
        ["daemon", "qemu"],
        [
            "virtnetworkd may not run hooks here: virtnetworkd_t may not execute"
            f" virt_hook_t; {OFF} (SELinux)",
            "no hook is laid for it: the service (as unconfined_service_t) " + FOLLOWED,
            MODULE,
            ALONE,
        ],
    ),
    "with the module": (WITH_MODULE, MODULAR, ["daemon", "network", "qemu"], []),
    "permissive host": (PERMISSIVE_HOST, MODULAR, ["daemon", "network", "qemu"], []),
    "monolithic": (
        MONOLITHIC,
        ("libvirtd",),
        ["daemon", "libxl", "lxc", "network", "qemu"],
        [],
    ),
}


@pytest.mark.parametrize("name", [*POLICIES, "no SELinux"])
def test_selinux(quiet: Host, name: str) -> None:
    """What the loaded policy refuses is not laid, for no driver; the others are. What
    is said is said whole, and doctor has nothing wrong to say of what was done."""
    policy, daemons, hooks, lines = POLICIES.get(
        name, (None, MODULAR, ["daemon", "network", "qemu"], [])
    )

    with ExitStack() as stack:
        if policy:
            stack.enter_context(selinux(quiet, policy))
        stack.enter_context(modular.running(quiet, daemons))
        done = install(quiet)
        seen = laid(quiet)
        wrong = findings(quiet, "wrong")

    assert (said(done), seen) == (lines, hooks)
    assert [line for line in wrong if "keeps guests" in line] == []


def test_hooks_of_an_older_release_are_taken_away(quiet: Host) -> None:
    """They were laid without a look: the next install.sh makes that good."""
    older = {
        name: quiet.read(f"/srv/vfwhooks/hooks/{name}") for name in ("qemu", "daemon")
    }
    quiet.install_hooks({**older, "qemu.d/mine": FAILS})

    with selinux(quiet, FEDORA_41), modular.running(quiet, MODULAR):
        install(quiet).check()
        seen = laid(quiet)

    assert seen == ["qemu.d/mine"]


def test_a_daemon_that_does_not_reach_the_hook(quiet: Host) -> None:
    """The policy allows it, and something else refuses: only who has reached the daemon
    hook gets its own."""
    with modular.running(quiet, MODULAR, refused=["virtqemud"]):
        done = install(quiet)
        seen = laid(quiet)

    assert seen == ["daemon", "network"]
    assert said(done)[0] == (
        "virtqemud may not run hooks here: virtqemud was told to reload, and did not"
        f" run {HOOKS}/daemon"
    )


def test_a_daemon_that_is_woken(quiet: Host) -> None:
    """One that systemd starts for who connects is started by one connection, tried, and
    gets its hook; of the others, who are not here, no hook is laid."""
    with modular.awaited(quiet, "virtqemud"):
        done = install(quiet)
        seen = laid(quiet), quiet.read("/var/log/woken").split()

    by_doctor = ["virtqemud"]  # which asks for the guests
    assert (said(done), seen) == ([], (["daemon", "qemu"], ["virtqemud", *by_doctor]))


@once
def test_a_policy_that_changes(host: Host) -> None:
    """The service asks again when it starts: hooks that would be refused are gone, and
    libvirtd has heard of it, before a guest has to fail."""
    with selinux(host, PERMISSIVE_HOST) as loaded:
        install(host).check()
        before = laid(host)
        loaded.change(CONFINED)
        doctor = findings(host, "keeps guests")
        start_watch(host)
        wait_until(lambda: not laid(host), "the hooks are taken away")
        started = wait_until(lambda: host.call(START), "the guest starts")
        wait_until(lambda: published(host), "it is forwarded to")
        status = vfwhooks(host, "status").stdout.splitlines()[2]
        said = wait_until(lambda: host.syslog("taken away"), "it is said", timeout=30)
        stop_watch(host)

    reason = f"{VIRTD}; {OFF} (SELinux)"
    what = f"{HOOKS}/qemu keeps guests or networks from starting: {reason}"
    cure = f"run install.sh again, or: rm {HOOKS}/qemu, then reload libvirt"
    assert before == ["daemon", "libxl", "lxc", "network", "qemu"]
    assert doctor[0] == f"wrong  {what}; {cure}"
    assert (len(said), started.status) == (1, 0)
    assert status == f"hooks    none: the service follows libvirt's files; {reason}"


# Stand in for the tools of a host with SELinux.
TOOLS = {
    "semodule": 'echo "semodule $*" >>/var/log/policy',
    "setsebool": 'echo "setsebool $*" >>/var/log/policy',
    "restorecon": 'echo "restorecon $*" >>/var/log/restorecon',
}


def test_the_module_on_request(quiet: Host) -> None:
    """It is loaded and the boolean set, then the hooks are asked for again and laid;
    all of it is given back in the end."""
    for name, text in TOOLS.items():
        quiet.write(f"/usr/sbin/{name}", f"#!/bin/sh\n{text}\n", 0o755)

    with selinux(quiet, FEDORA_41) as loaded, modular.running(quiet, MODULAR):
        module = "case $1 in -i) touch /run/lab/loaded ;; esac"
        quiet.write(
            "/usr/sbin/semodule", f"#!/bin/sh\n{TOOLS['semodule']}\n{module}\n", 0o755
        )
        thread = threading.Thread(target=change_when, args=(quiet, loaded, WITH_MODULE))
        thread.start()
        done = install(quiet, "--selinux-module")
        thread.join()
        seen = laid(quiet)
        release = quiet.run(["sh", "-c", "echo /usr/lib/vfwhooks/*/templates"]).strip()
        install(quiet, "--uninstall").check()

    assert said(done) == [
        "the policy module vfwhooks is loaded, and virt_hooks_unconfined is on"
    ]
    assert seen == ["daemon", "network", "qemu"]
    assert (laid(quiet), quiet.read("/var/log/policy").splitlines()) == (
        [],
        [
            f"semodule -i {release}/vfwhooks.cil",
            "setsebool -P virt_hooks_unconfined on",
            "semodule -r vfwhooks",
            "setsebool -P virt_hooks_unconfined off",
        ],
    )


@pytest.mark.parametrize("tool", ["semodule", "setsebool"])
def test_a_module_that_cannot_be_loaded(quiet: Host, tool: str) -> None:
    """Nothing is left of the try, and without the option it is not tried again."""
    for name, text in TOOLS.items():
        fails = "[ $1 = -r ]" if name == tool else ":"
        quiet.write(f"/usr/sbin/{name}", f"#!/bin/sh\n{text}\n{fails}\n", 0o755)

    with selinux(quiet, FEDORA_41), modular.running(quiet, MODULAR):
        done = install(quiet, "--selinux-module")
        left = quiet.call(["ls", "/usr/lib/vfwhooks", CONFIG]).stdout
        log = quiet.read("/var/log/policy").splitlines()
        again = install(quiet)

    assert (done.status, done.stderr, left, laid(quiet)) == (
        1,
        "install.sh: the policy module could not be loaded: see above\n",
        "",
        [],
    )
    assert (log[-1], again.status) == ("semodule -r vfwhooks", 0)


def change_when(host: Host, loaded: object, policy: Policy) -> None:
    """Load another policy as soon as semodule has been called."""
    wait_until(lambda: host.path("/run/lab/loaded").exists(), "the module is loaded")
    loaded.change(policy)  # type: ignore[attr-defined]  # lab.selinuxfs.Loaded


def test_labels_of_others(quiet: Host) -> None:
    """What is laid is labelled as the policy has it; a hook of somebody else's keeps
    the label that he gave it, with which it may run."""
    quiet.write("/usr/sbin/restorecon", f"#!/bin/sh\n{TOOLS['restorecon']}\n", 0o755)
    quiet.write(f"{HOOKS}/qemu", FAILS, 0o755)

    with selinux(quiet, FEDORA_41_ON), modular.running(quiet, MODULAR):
        install(quiet).check()

    lines = quiet.read("/var/log/restorecon").splitlines()
    assert sorted({line for line in lines if HOOKS in line}) == [
        f"restorecon -F {HOOKS}",
        f"restorecon -F {HOOKS} {HOOKS}/daemon",
        f"restorecon -F {HOOKS} {HOOKS}/network",
        f"restorecon -F {HOOKS}/daemon",
    ]


@pytest.mark.parametrize("tool", ["", "semodule"])
def test_the_module_where_it_cannot_be(quiet: Host, tool: str) -> None:
    """Without SELinux, or without its tools, nothing is done at all."""
    with ExitStack() as stack:
        if tool:
            stack.enter_context(selinux(quiet, FEDORA_41))
        done = install(quiet, "--selinux-module")

    why = (
        "semodule is missing: install policycoreutils"
        if tool
        else "--selinux-module: there is no SELinux here"
    )
    assert (done.status, done.stderr, laid(quiet)) == (1, f"install.sh: {why}\n", [])
    assert not quiet.path("/usr/bin/vfwhooks").exists()


def read_only(host: Host, *places: str) -> None:
    """Nothing can be written below these."""
    for place in places:
        host.run(["mount", "--bind", place, place])
        host.run(["mount", "-o", "remount,bind,ro", place])


def read_only_usr(host: Host) -> None:
    """As an image-based host has it: /usr/local alone is the administrator's."""
    host.run(["sh", "-c", "cp -a /usr/local /run/lab/local"])
    read_only(host, "/usr")
    host.run(["mount", "--bind", "/run/lab/local", "/usr/local"])


def test_a_read_only_usr(quiet: Host) -> None:
    """What cannot be done is said, with the way, and nothing is done by halves."""
    read_only_usr(quiet)
    before = quiet.run(["find", "/etc", "/usr/local", "/opt", "-newer", "/proc/1"])

    done = install(quiet)

    after = quiet.run(["find", "/etc", "/usr/local", "/opt", "-newer", "/proc/1"])
    way = "run PREFIX=/usr/local ./install.sh, or put a package of vfwhooks into the"
    assert (done.status, done.stdout, done.stderr, after) == (
        1,
        "",
        f"install.sh: /usr is read-only here: {way} image\n",
        before,
    )


@once
@pytest.mark.parametrize(
    ("prefix", "unit"),
    [
        ("/usr/local", "/usr/local/lib/systemd/system/vfwhooks.service"),
        ("/opt/vfwhooks", "/etc/systemd/system/vfwhooks.service"),
    ],
)
def test_another_prefix(host: Host, prefix: str, unit: str) -> None:
    """All is there that is needed, its unit where systemd reads it, and it works."""
    read_only_usr(host)

    done = install(host, env={"PREFIX": prefix})
    host.run(START)
    wait_until(lambda: published(host), lambda: f"{done}: it is forwarded to", 20)

    command = f"{prefix}/bin/vfwhooks"
    assert f"ExecStart={command} watch" in host.read(unit)
    assert "8080/tcp" in host.run([command, "status"])
    install(host, "--uninstall", env={"PREFIX": prefix}).check()
    assert (host.read(unit), laid(host)) == ("", [])


def test_a_read_only_directory_of_hooks(host: Host) -> None:
    """The service follows libvirt, and the rest is installed."""
    read_only(host, HOOKS)
    host.run(["mkdir", "-p", "/var/lib/vfwhooks"])
    start_watch(host)

    done = install(host)
    host.run(START)
    wait_until(lambda: published(host), "it is forwarded to")
    stop_watch(host)

    assert [line for line in said(done) if line[:1] != "+"] == [
        f"{HOOKS} is read-only: no hook is laid,"
        " the service follows libvirt's own files",
        ALONE,
    ]


def test_nixos(quiet: Host) -> None:
    """It makes such files anew from its own: the page says what to write there."""
    quiet.write("/etc/NIXOS", "")

    done = install(quiet)

    assert (done.status, done.stderr, quiet.path(CONFIG).exists()) == (
        1,
        "install.sh: NixOS makes such files anew from its own: docs/hosts.md says what"
        " to write there\n",
        False,
    )
