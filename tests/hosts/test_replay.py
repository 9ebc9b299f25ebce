"""The recorded hosts, loaded: a guest behind virbr0 is reached while it runs."""

from __future__ import annotations

import pytest
from lab.host import Host
from product import call_hook, configure

from .recorded import (
    JUMP,
    RECORDINGS,
    RecordedHost,
    domain_xml,
    recorded_text,
    saved_rules,
    translate,
)

NET = "192.168.122.0/255.255.255.0"
TRANSLATED: dict[str, dict[str, str]] = {
    "kvm-fedora13": {},
    "xen-default": {
        f"-A POSTROUTING -s {NET} -d ! {NET} -j MASQUERADE": (
            f"-A POSTROUTING -s {NET} ! -d {NET} -j MASQUERADE"
        )
    },
}
TRANSLATED["xen-vm-running"] = TRANSLATED["xen-default"]
# Driver of the hook, type of the domain, and how it is behind virbr0.
KVM = ("qemu", "kvm", "network"), ("lxc", "lxc", "network")
XEN = ("libxl", "xen", "network"), ("libxl", "xen", "bridge")


@pytest.mark.parametrize("recording", RECORDINGS)
def test_translated_spellings(recording: str) -> None:
    """What is loaded otherwise than it was recorded: one negation, on the Xen host."""
    lines = recorded_text(recording).splitlines()

    changed = {line: translate(line) for line in lines if translate(line) != line}

    assert changed == TRANSLATED[recording]


def test_the_old_spelling_is_refused() -> None:
    """Today's iptables does not take the recorded spelling: it has to be translated."""
    with Host.debian12() as host:
        done = host.call(["iptables-restore"], input=recorded_text("xen-default"))

    assert (done.status, "Bad argument" in done.stderr) == (2, True)


def test_loaded_as_recorded(recorded: RecordedHost) -> None:
    """Nothing but spelling differs from what was recorded."""
    text = recorded_text(recorded.host.name)
    expected = [
        f"-A {translate(rule).replace('/255.255.255.0', '/24')}"
        for _, rule in sorted(saved_rules(text))
    ]

    assert sorted(recorded.rules()) == sorted(expected)


@pytest.mark.parametrize("number", [0, 1])
def test_reached_while_it_runs(recorded: RecordedHost, number: int) -> None:
    """Refused before the start, served after it with the client's own address, refused
    after the stop; not a rule of anybody's is changed. KVM and LXC, or Xen with either
    kind of interface."""
    ways = XEN if recorded.host.name.startswith("xen") else KVM
    driver, kind, interface = ways[number]
    host, web1 = recorded.host, recorded.guests["web1"]
    xml = domain_xml(web1, kind, interface)
    configure(host, "guests:\n  web1: [8080:80]\n")
    before = recorded.foreign_rules()
    seen = [recorded.ask()]

    call_hook(host, driver, "web1", "prepare", "begin", "-", xml=xml)
    call_hook(host, driver, "web1", "start", "begin", "-", xml=xml)
    call_hook(host, driver, "web1", "started", "begin", "-", xml=xml)
    seen.append(recorded.ask())
    forward = [line for line in recorded.rules("filter") if "-A FORWARD" in line]
    call_hook(host, driver, "web1", "stopped", "end", "-", xml=xml)
    call_hook(host, driver, "web1", "release", "end", "-", xml=xml)
    seen.append(recorded.ask())

    assert seen == ["refused", web1.body, "refused"]
    assert (forward[0], forward.count(JUMP)) == (JUMP, 1)
    assert recorded.foreign_rules() == before
