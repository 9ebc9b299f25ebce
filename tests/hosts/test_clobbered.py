"""Others replace whole tables. At the next event, and by the watch without one, what
was wiped is there again, what came back stale is gone, and nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from lab.box import wait_until
from product import start_watch, stop_watch, vfwhooks

from .recorded import (
    JUMP,
    VARIANTS,
    RecordedHost,
    recorded_host,
    recorded_text,
    translate,
)

FORWARDS = "guests:\n  web1: [8080:80]\n  mail: [8025:80]\n"
SAVED = "/etc/sysconfig/iptables"
WIPE = "iptables -w -F; iptables -w -X; iptables -w -t nat -F; iptables -w -t nat -X"
RESTART = f"{WIPE}; iptables-restore -w <{SAVED}"
# What a distribution has in that file when nobody has saved anything.
DISTRIBUTIONS = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
COMMIT
"""
PHYSDEV = "-A FORWARD -m physdev --physdev-in vif9.0 -j ACCEPT"
REJECT_ALL = "-A FORWARD -j REJECT --reject-with icmp-host-prohibited"
HOSTS = [(r, v) for r in ("kvm-fedora13", "xen-vm-running") for v in VARIANTS]


@pytest.fixture(scope="module", params=HOSTS, ids="-".join)
def recorded(request: pytest.FixtureRequest) -> Iterator[RecordedHost]:
    """The KVM host, and that of the Xen hosts which has a rule more."""
    with recorded_host(*request.param) as host:
        yield host


@pytest.fixture(scope="module")
def running(recorded: RecordedHost) -> Iterator[RecordedHost]:
    """The recorded host while web1 runs."""
    recorded.configure(FORWARDS)
    recorded.start("web1")
    yield recorded
    recorded.stop("web1")


def restart_with_libvirts_rules(host: RecordedHost) -> None:
    """`service iptables restart` with a file that was saved before we came."""
    lines = recorded_text(host.host.name).split("\n")
    host.host.write(SAVED, "\n".join(map(translate, lines)))
    host.shell(RESTART)


def restore_what_was_saved_while_another_ran(host: RecordedHost) -> None:
    """Our own rules come back, for a guest that has stopped since."""
    host.start("mail")
    host.shell(f"mkdir -p /etc/sysconfig; iptables-save -c >{SAVED}")
    host.stop("mail")
    host.shell(f"iptables-restore -w -c <{SAVED}")


def restore_what_was_saved_under_another_configuration(host: RecordedHost) -> None:
    """Our own rules come back, for ports that forwards.yaml does not have any more."""
    host.configure(FORWARDS.replace("8080", "8888"))
    host.shell(f"mkdir -p /etc/sysconfig; iptables-save >{SAVED}")
    host.configure(FORWARDS)
    host.shell(f"iptables-restore -w <{SAVED}")


def start_the_firewall_after_libvirtd(host: RecordedHost) -> None:
    """The firewall's start wipes libvirt's rules; a reload of libvirtd is the cure.
    What Xen's script had put there is put there again by hand."""
    physdev = [rule for rule in host.rules("filter") if "physdev" in rule]
    host.host.write(SAVED, DISTRIBUTIONS)
    host.shell(RESTART)
    host.libvirt.reload_rules()
    host.shell(f"iptables -w -D {REJECT_ALL[3:]}")
    for rule in physdev:
        host.shell(f"iptables -w {rule}")


def jump_twice(host: RecordedHost) -> None:
    """An administrator has put our jumps in by hand, on top of what is there."""
    host.shell(f"iptables -w -A {JUMP[3:]}; iptables -w -I {JUMP[3:]}")


def lose_our_chains(host: RecordedHost) -> None:
    """Somebody has flushed what is ours alone."""
    host.shell("iptables -w -F VFW-FORWARD; iptables -w -t nat -F VFW-ANY")
    host.libvirt.reload_rules()


CLOBBERERS: dict[str, Callable[[RecordedHost], None]] = {
    "restarted with libvirt's rules": restart_with_libvirts_rules,
    "restored, another guest's": restore_what_was_saved_while_another_ran,
    "restored, another file's": restore_what_was_saved_under_another_configuration,
    "firewall after libvirtd": start_the_firewall_after_libvirtd,
    "our jump by hand": jump_twice,
    "our chains flushed": lose_our_chains,
}


@pytest.mark.parametrize("clobberer", CLOBBERERS)
def test_at_the_next_event(running: RecordedHost, clobberer: str) -> None:
    """A guest that is none of ours starts and stops: all is as it was."""
    before = running.standing()

    CLOBBERERS[clobberer](running)
    is_changed = running.standing() != before
    running.start("lan1", "br0")
    seen = [running.ask(port) for port in (8080, 8025, 8888)]
    running.stop("lan1")

    web1 = running.guests["web1"].body
    assert (is_changed, seen) == (True, [web1, "refused", "refused"])
    assert running.standing() == before


def test_a_rule_behind_ours(running: RecordedHost) -> None:
    """Xen's vif script appends a rule for one interface: it stays where it is, and
    nothing of ours is put in a second time."""
    rules, order = running.standing()
    running.shell(f"iptables {PHYSDEV}")

    running.start("lan1", "br0")
    after, served = running.standing(), running.ask()
    running.stop("lan1")
    running.shell(f"iptables -w {PHYSDEV.replace('-A', '-D')}")

    forward = [line for line in order if line.startswith("-A FORWARD")]
    rest = [line for line in order if line not in forward]
    assert after == (sorted([*rules, PHYSDEV]), [*forward, PHYSDEV, *rest])
    assert served == running.guests["web1"].body


@pytest.mark.parametrize("is_libvirtd_first", [True, False])
def test_after_a_boot(running: RecordedHost, is_libvirtd_first: bool) -> None:
    """The firewall starts with a file that rejects what nobody has accepted, and
    libvirtd before it (which takes a reload then) or after it; then a guest starts."""
    recorded = [rule for rule in running.rules("filter") if "VFW-" not in rule]
    running.stop("web1")
    vfwhooks(running.host, "purge")
    running.shell(WIPE)
    running.host.write(SAVED, DISTRIBUTIONS)

    if is_libvirtd_first:
        running.libvirt.insert_rules()
    running.shell(RESTART)
    running.libvirt.reload_rules()
    running.start("web1")
    forward = [rule for rule in running.rules("filter") if "-A FORWARD" in rule]
    served = running.ask()
    restart_with_libvirts_rules(running)
    running.start("web1")

    libvirts = [r for r in recorded if "-A FORWARD" in r and "physdev" not in r]
    assert (forward, served) == (
        [JUMP, *libvirts, REJECT_ALL],
        running.guests["web1"].body,
    )


@pytest.fixture(scope="module")
def watched(running: RecordedHost) -> Iterator[RecordedHost]:
    """The same, watched; in haste where nobody tells the watch of changes."""
    start_watch(running.host, WATCHDOG_USEC="1000000")
    yield running
    stop_watch(running.host)


@pytest.mark.parametrize("clobberer", CLOBBERERS)
def test_by_the_watch(watched: RecordedHost, clobberer: str) -> None:
    """Nothing starts or stops: all is as it was all the same."""
    before = watched.standing()

    CLOBBERERS[clobberer](watched)
    wait_until(lambda: watched.standing() == before, "the rules")

    seen = [watched.ask(port) for port in (8080, 8025, 8888)]
    assert seen == [watched.guests["web1"].body, "refused", "refused"]
