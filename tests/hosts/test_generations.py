"""What each generation of libvirt calls, in its order, on a host of its time.

A case is a directory: `events`, and the XML that libvirt gives its hooks. A line of
events is what the client outside gets after it, and what happens: a hook is called, or
libvirt (or Xen's vif script) does something to the rules that no hook hears of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from product import call_hook, vfwhooks

from .recorded import VARIANTS, RecordedHost, recorded_host

CASES = Path(__file__).parents[1] / "cases/generations"
NAMES = sorted(path.name for path in CASES.iterdir())
Hosts = Callable[[str, str], RecordedHost]
SILENT: dict[str, Callable[[RecordedHost], None]] = {
    "libvirt: rules inserted": lambda host: host.libvirt.insert_rules(),
    "libvirt: rules deleted": lambda host: host.libvirt.delete_rules(),
    "libvirt: rules reloaded": lambda host: host.libvirt.reload_rules(),
    "vif-bridge: physdev rule appended": lambda host: host.shell(
        "iptables -A FORWARD -m physdev --physdev-in vif2.0 -j ACCEPT"
    ),
}


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    """Each host that a case asks for, once."""
    with ExitStack() as stack:
        made: dict[tuple[str, str], RecordedHost] = {}

        def find(recording: str, variant: str) -> RecordedHost:
            key = recording, variant
            if key not in made:
                made[key] = stack.enter_context(recorded_host(*key))
            return made[key]

        yield find


def happen(host: RecordedHost, case: Path, event: str) -> None:
    """Call the hook, or do what libvirt does in silence."""
    if event in SILENT:
        SILENT[event](host)
        return
    words, _, file = event.partition(" <")
    driver, *arguments = words.split(" ")
    call_hook(
        host.host, driver, *arguments, xml=(case / file).read_text() if file else ""
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_generation(hosts: Hosts, name: str, variant: str) -> None:
    """The guest is served after each event that can have told us, and whoever was
    served before it; refused once it has stopped."""
    lines = (CASES / name / "events").read_text().splitlines()
    expected = [line.split(maxsplit=1) for line in lines if not line.startswith("#")]
    host = hosts(expected.pop(0)[1], variant)
    host.configure("guests:\n  web1: [8080:80]\n  mail: [8025:80]\n")
    host.libvirt.delete_rules()
    words = {host.guests["web1"].body: "served"}

    seen = []
    for _, event in expected:
        happen(host, CASES / name, event)
        answer = host.ask()
        seen.append([words.get(answer, answer), event])
    ours = [rule for rule in host.rules() if host.guests["web1"].net.address in rule]
    vfwhooks(host.host, "purge")

    assert seen == expected
    assert ours == []


def test_there_are_cases() -> None:
    """A directory without cases would be a test that cannot fail."""
    assert {"libvirt-0.8", "libvirt-0.9.13", "libvirt-1.2.2", "libxl-2.1"} < set(NAMES)
