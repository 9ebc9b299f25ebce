"""Guests by pattern: the first that runs has the port, the next one waits for it, a
guest's own entry counts in place of the pattern's, and an edit reaches who runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from product import CONFIG, configure, start_watch, status, stop_watch, vfwhooks

from .conftest import ONE_KIND

pytestmark = pytest.mark.parametrize("host", ONE_KIND, indirect=True)
FORWARDS = """
guests:
  ci-own: [8090:80]
patterns:
  ci-*: [8080:80]
  other-*: [8070:80]
"""
EDITED = FORWARDS.replace("8080", "8081")
HOST = "http://203.0.113.1"
YIELDS = "taken by qemu guest ci-1"
NOBODY = "no guest runs that has its forwards by this pattern"


@pytest.fixture(scope="module")
def guests(host: Host, outside: Net) -> Iterator[dict[str, Guest]]:
    """ci-1 and ci-2, which the pattern matches, and ci-own, which has its own entry;
    the first two run, and the service, too."""
    configure(host, FORWARDS)
    start_watch(host)
    found = {name: host.define_guest(name) for name in ("ci-1", "ci-2", "ci-own")}
    found["ci-1"].start(wait=True)
    yield found
    stop_watch(host)


def rows(host: Host) -> list[tuple[str, str, str, str, str]]:
    """The rows of IPv4 in `status`, and those without an address."""
    found = status(host)["forwards"]
    keys = "guest", "published", "state", "reason", "pattern"
    return [
        tuple(one[key] for key in keys) for one in found if ":" not in one["address"]
    ]


def full_syncs(host: Host) -> int:
    """How often all rules have been compared, by the log."""
    return len(host.syslog("checking everything"))


def test_the_first_has_the_port(
    host: Host, outside: Net, guests: dict[str, Guest]
) -> None:
    """The next one to run is a conflict, by an event that compares nothing, and has the
    port when the first has stopped."""
    before = full_syncs(host)

    guests["ci-2"].start(wait=True)
    both, compared = rows(host), full_syncs(host) - before
    named = vfwhooks(host, "explain", "ci-2").stdout
    changed = vfwhooks(host, "apply").stdout
    guests["ci-1"].destroy()
    answer = outside.http(f"{HOST}:8080/")

    assert both == [
        ("ci-1", "8080", "active", "", "ci-*"),
        ("ci-2", "8080", "conflict", YIELDS, "ci-*"),
        ("ci-own", "8090", "stopped", "the guest is not running", ""),
        ("other-*", "8070", "stopped", NOBODY, "other-*"),
    ]
    assert (compared, changed) == (0, "")
    assert f"written  {CONFIG}:5:10, for ci-*" in named
    assert answer.answered


def test_an_own_entry(host: Host, outside: Net, guests: dict[str, Guest]) -> None:
    """It is all that the guest has."""
    guests["ci-own"].start(wait=True)

    found = [row for row in rows(host) if row[0] == "ci-own"]
    assert found == [("ci-own", "8090", "active", "", "")]
    assert outside.http(f"{HOST}:8090/").answered


def test_an_edit(host: Host, outside: Net, guests: dict[str, Guest]) -> None:
    """Running guests follow the pattern to another port, and lose it with the pattern;
    a guest that is stopped is told where its forwards come from."""
    configure(host, EDITED)
    wait_until(lambda: outside.http(f"{HOST}:8081/").answered, "the new port")
    old = outside.http(f"{HOST}:8080/").answered
    doctor = vfwhooks(host, "doctor", "ci-2").stdout
    stopped = vfwhooks(host, "status", "ci-1").stdout
    removed = vfwhooks(host, "remove", "ci-2", "8081")
    configure(host, EDITED.replace("ci-*", "no-*"))
    wait_until(lambda: not outside.http(f"{HOST}:8081/").answered, "it to go")

    assert (old, removed.status) == (False, 1)
    assert f"written: {CONFIG}:5:10, for ci-*" in doctor
    assert "ci-1 (ci-*)" in stopped
    assert "ci-2 has no entry of its own" in removed.stderr
