"""Whatever is broken on the host, a guest starts, and lives through `reconnect`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from lab.host import Host
from product import CONFIG, DRIVERS, call_hook, configure, hook_files

LIB = "/usr/lib/vfwhooks"
FORWARDS = "guests:\n  web1: [8080:80]\n"


@pytest.fixture(scope="module")
def copied(host: Host) -> Host:
    """The product in a place of its own, where it can be broken."""
    host.run(["mkdir", "-p", LIB])
    host.install_hooks(hook_files(LIB))
    host.sighup()
    return host


@pytest.fixture
def broken(copied: Host) -> Iterator[Host]:
    """A whole installation at the test's start, whatever the last one left of it."""
    if not copied.libvirtd.pid():
        copied.start_libvirtd()
    source = f"{Host.CHECKOUT}/{{vfwhooks,templates}}"
    copied.run(["bash", "-c", f"rm -rf {LIB}/*; cp -r {source} {LIB}/"])
    copied.run(["sh", "-c", "rm -rf /run/vfwhooks"])
    copied.install_hooks(hook_files(LIB))
    configure(copied, FORWARDS)
    yield copied
    copied.run(
        [
            "sh",
            "-c",
            "for f in /usr/bin/*.away /usr/sbin/*.away; do "
            "[ ! -e $f ] || mv $f ${f%.away}; done; umount /run/vfwhooks || :",
        ]
    )


def hide(host: Host, *paths: str) -> None:
    """Take files away until the test's end."""
    host.run(["sh", "-c", 'for f; do mv "$f" "$f.away"; done', "sh", *paths])


def hide_tools(host: Host) -> None:
    """No nft and no iptables for our hooks; libvirtd, which needs them, has them."""
    real = hook_files(LIB)
    for name, text in real.items():
        host.write(f"{LIB}/hooks/{name}", text, 0o755)
        hidden = "mount -t tmpfs none /usr/sbin && exec"
        script = f'unshare -m sh -c \'{hidden} {LIB}/hooks/{name} "$@"\' sh "$@"'
        host.write(f"/etc/libvirt/hooks/{name}", f"#!/bin/sh\n{script}\n", 0o755)


def hide_python(host: Host) -> None:
    """No python3."""
    hide(host, "/usr/bin/python3")


def drop_package(host: Host) -> None:
    """The package is gone."""
    host.run(["rm", "-rf", f"{LIB}/vfwhooks"])


def drop_half(host: Host) -> None:
    """An upgrade that stopped in the middle: half of the modules are gone."""
    host.run(["sh", "-c", f"cd {LIB}/vfwhooks && rm -rf __pycache__ [l-z]*"])


def break_module(host: Host) -> None:
    """A module does not even compile."""
    host.write(f"{LIB}/vfwhooks/reconcile/planner.py", "def broken(:\n")


def break_config(host: Host) -> None:
    """forwards.yaml is not YAML."""
    configure(host, "guests: [\n")


def break_state(host: Host) -> None:
    """Nothing can be written below the state directory."""
    host.run(["mkdir", "-p", "/run/vfwhooks"])
    host.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", "/run/vfwhooks"])


FAULTS: dict[str, tuple[Callable[[Host], None], str]] = {
    "nft and iptables missing": (hide_tools, "installed|No such file"),
    "python3 missing": (hide_python, "hook failed, status 127"),
    "package missing": (drop_package, "hook failed, status 1"),
    "half of the package": (drop_half, "hook failed, status 1"),
    "a syntax error": (break_module, "SyntaxError"),
    "a broken forwards.yaml": (
        break_config,
        "forwards.yaml:1:9: the . here has no end",
    ),
    "a state directory that is read-only": (break_state, "Read-only file system"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_guest_starts_and_lives_on(broken: Host, fault: str) -> None:
    """Broken like that, a guest starts, lives through a daemon restart, and syslog
    hears what is wrong."""
    inject, logged = FAULTS[fault]
    inject(broken)
    seen = len(broken.syslog(logged))
    broken.call(["virsh", "undefine", "web1"])
    web1 = broken.define_guest("web1", mac="52:54:00:00:00:22")

    web1.start()
    broken.restart_libvirtd()
    wait_until(lambda: "web1" in broken.virsh("list"), "reconnect", timeout=20)
    state = broken.virsh("domstate", "web1").strip()
    web1.destroy()

    assert (state, len(broken.syslog(logged)) > seen) == ("running", True)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("xml", ["", "<domain", "<a>" * 500, "\x00\x01", "<domain/>"])
def test_malformed_xml(broken: Host, driver: str, xml: str) -> None:
    """Whatever stands on standard input, a hook exits 0 and says nothing."""
    operation = "start" if driver == "daemon" else "started"

    done = call_hook(broken, driver, "web1", operation, "begin", "-", xml=xml)

    assert (done.status, done.stdout, done.stderr) == (0, "", "")


def test_no_configuration_at_all(broken: Host) -> None:
    """On a host that never had a forwards.yaml there is nothing to say and to do."""
    broken.run(["sh", "-c", f"rm -rf {CONFIG} /var/lib/vfwhooks/*"])
    seen = len(broken.syslog("vfwhooks"))
    broken.call(["virsh", "undefine", "web1"])
    web1 = broken.define_guest("web1", mac="52:54:00:00:00:22")

    web1.start()
    web1.destroy()

    assert broken.syslog("vfwhooks")[seen:] == []
