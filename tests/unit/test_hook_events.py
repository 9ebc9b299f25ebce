"""hook_events: what an event means for us, read from what libvirt gave its hook."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import (
    DAEMONS,
    MAC,
    RECORDED,
    fields,
    files_of,
    fresh_state,
    guest,
    refusal,
)
from vfwhooks.reconcile import hook_events
from vfwhooks.reconcile.hook_events import read_event, waiting
from vfwhooks.service import hook
from vfwhooks.store.records import GuestEvent
from vfwhooks.store.spool import HookEvent
from vfwhooks.store.state import State

UUIDS = {
    "libvirt-9.0": "705828e8-a5d9-4f3b-96d5-1fd38712b873",
    "libvirt-11.3": "6b33ec13-96d6-4581-bc2f-38dee79d5ae5",
}
WEB1 = {
    "bridge": "virbr0",
    "device": "vnet0",
    "kind": "network",
    "mac": MAC,
    "network": "default",
}


def event(
    tmp_path: Path, driver: str, name: str, operation: str, stdin: bytes = b""
) -> object:
    """The event's operation and guest, as values."""
    found = read_event(
        fresh_state(tmp_path), HookEvent(driver, name, operation, stdin, 77)
    )
    assert found.stamp == 77
    return found.operation, fields(found.guest)


def recorded(daemon: str, name: str) -> bytes:
    """What a real daemon sent."""
    return (RECORDED / daemon / f"{name}.xml").read_bytes()


def described(driver: str, name: str, uuid: str, *nics: object) -> object:
    """A guest as values."""
    found = {"driver": driver, "name": name, "nics": list(nics), "uuid": uuid}
    return {**found, "metadata": ""}


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize(
    ("operation", "means"),
    [("started", "started"), ("reconnect", "reconnected"), ("start", "starting")],
)
def test_a_guest_that_starts(
    tmp_path: Path, daemon: str, operation: str, means: str
) -> None:
    """Name, UUID and interfaces of a real daemon's guest."""
    stdin = recorded(daemon, "qemu-start" if operation == "start" else "qemu-started")

    found = event(tmp_path, "qemu", "web1", operation, stdin=stdin)

    assert found == (means, described("qemu", "web1", UUIDS[daemon], WEB1))


@pytest.mark.parametrize("operation", ["stopped", "release"])
def test_a_guest_that_stops(tmp_path: Path, operation: str) -> None:
    """It needs no XML, and reads none."""
    found = event(tmp_path, "lxc", "we\nb", operation, stdin=b"<broken")

    assert found == ("stopped", described("lxc", "we\nb", ""))


def test_the_name_is_the_one_that_libvirt_calls_with(tmp_path: Path) -> None:
    """argv and XML would differ only for a guest that is being renamed."""
    stdin = recorded("libvirt-9.0", "qemu-started")

    found = event(tmp_path, "qemu", "renamed", "started", stdin=stdin)

    assert found == (
        "started",
        described("qemu", "renamed", UUIDS["libvirt-9.0"], WEB1),
    )


@pytest.mark.parametrize(
    ("operation", "marks"),
    [("started", ["started-qemu"]), ("reconnect", ["started-qemu"]), ("start", [])],
)
def test_a_libvirt_that_has_started(
    tmp_path: Path, operation: str, marks: list[str]
) -> None:
    """Once `started` or `reconnect` has come, `start` is not ours any more."""
    stdin = recorded("libvirt-9.0", "qemu-started")

    event(tmp_path, "qemu", "web1", operation, stdin=stdin)

    assert [*files_of(tmp_path / "state")] == marks


@pytest.mark.parametrize("operation", ["started", "updated"])
def test_a_network_that_is_there(tmp_path: Path, operation: str) -> None:
    """What libvirt says of it is kept, byte for byte."""
    stdin = recorded("libvirt-11.3", "network-started")
    fresh_state(tmp_path).note_network("default", b"<network/>")

    found = event(tmp_path, "network", "default", operation, stdin=stdin)

    assert found == ("network", described("network", "default", ""))
    assert files_of(tmp_path / "state") == {"networks/default": stdin.decode()}


@pytest.mark.parametrize(
    ("place", "file", "is_kept"),
    [
        ("network", "default", True),
        ("old", "default", True),
        ("network", "other", False),
        ("old", "other", False),
        ("nowhere", "other", True),
    ],
)
def test_a_definition_that_is_updated(
    tmp_path: Path, place: str, file: str, is_kept: bool
) -> None:
    """libvirt calls the hook for an inactive network's, too, which stays inactive: an
    active one has a file of libvirt's, where such files are seen at all."""
    stdin = recorded("libvirt-11.3", "network-updated")
    (tmp_path / place).mkdir()
    (tmp_path / place / f"{file}.xml").touch()

    with (
        patch.object(hook_events, "NETWORKS", f"{tmp_path}/network"),
        patch.object(hook_events, "OLD_NETWORKS", f"{tmp_path}/old"),
    ):
        found = event(tmp_path, "network", "default", "updated", stdin=stdin)

    kept = {"networks/default": stdin.decode()} if is_kept else {}
    assert found == ("network", described("network", "default", ""))
    assert files_of(tmp_path / "state") == kept


def test_a_network_that_stops(tmp_path: Path) -> None:
    """That it is gone is kept as an empty file, whatever is on standard input."""
    stdin = recorded("libvirt-11.3", "network-started")

    found = event(tmp_path, "network", "default", "stopped", stdin=stdin)

    assert found == ("network", described("network", "default", ""))
    assert files_of(tmp_path / "state") == {"networks/default": ""}


@pytest.mark.parametrize("operation", ["started", "updated"])
@pytest.mark.parametrize("stdin", [b"", b"<hookData>", b"\xff", b"<!DOCTYPE d><d/>"])
def test_a_network_that_libvirt_would_not_write(
    tmp_path: Path, operation: str, stdin: bytes
) -> None:
    """It is not kept: every later event would stumble over it."""
    state = fresh_state(tmp_path)

    refusal(read_event, state, HookEvent("network", "default", operation, stdin))

    assert files_of(tmp_path / "state") == {}


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "the XML is malformed: no element found: line 1, column 0"),
        (b"<domain>", "the XML is malformed: no element found: line 1, column 8"),
        (b"<domain/>", "the XML describes no domain"),
        (b"<!DOCTYPE d><d/>", "the XML has a document type, which libvirt's never has"),
    ],
)
def test_what_libvirt_would_not_write(tmp_path: Path, stdin: bytes, said: str) -> None:
    """It is refused with the reason."""
    state = fresh_state(tmp_path)

    assert (
        refusal(read_event, state, HookEvent("qemu", "web1", "started", stdin)) == said
    )


def put(state: State, name: str, operation: str, stamp: int, data: bytes = b"") -> str:
    """A hook has written this down."""
    return hook.put(state.path, ("qemu", name, operation, data, stamp))


def left(state: State) -> list[str]:
    """The events that are still there, of either kind."""
    return sorted(name for name in files_of(Path(state.path)) if "-" in name)


def found(state: State) -> list[tuple[str, str, int]]:
    """What waits: operation, guest, when."""
    return [
        (guest_event.operation, guest_event.guest.name, guest_event.stamp)
        for _, guest_event in waiting(state)
    ]


def test_all_that_waits(tmp_path: Path) -> None:
    """What hooks were told and what the service, or a hook of the release before, has
    noted, the oldest first; each with its file, by which it is removed in the end."""
    state = fresh_state(tmp_path)
    last = put(state, "web2", "stopped", 30)
    noted = state.note(GuestEvent("moved", guest("web1"), 20))
    first = put(state, "web1", "stopped", 10)

    files = [file for file, _ in waiting(state)]

    assert files == [first, noted, last]
    assert found(state) == [
        ("stopped", "web1", 10),
        ("moved", "web1", 20),
        ("stopped", "web2", 30),
    ]


@pytest.mark.parametrize("data", [b"", b"<domain", b"\xff", b"<network/>"])
def test_xml_that_says_nothing(tmp_path: Path, data: bytes) -> None:
    """It is said, with the guest's name, and gone; it stands in nobody's way, and
    nothing else has to be looked at."""
    state = fresh_state(tmp_path)
    put(state, "we\nb", "started", 1, data)
    put(state, "web2", "stopped", 2)

    ours = found(state)

    (said,) = state.problems
    assert ours == [("stopped", "web2", 2)]
    assert said.isprintable()
    assert said.startswith("we")
    assert len(waiting(state)) == 1
    assert not state.is_full_asked()


def test_a_file_that_is_no_event(tmp_path: Path) -> None:
    """It is set aside, and everything is looked at."""
    state = fresh_state(tmp_path)
    file = put(state, "web1", "stopped", 1)
    (Path(state.path) / file).write_bytes(b"garbage")
    put(state, "web2", "stopped", 2)

    ours = found(state)

    assert ours == [("stopped", "web2", 2)]
    assert (len(state.names("aside")), state.is_full_asked()) == (1, True)


@pytest.mark.parametrize(
    "error", [ValueError, KeyError, RecursionError, TypeError, AssertionError]
)
def test_a_defect_of_ours(tmp_path: Path, error: type[Exception]) -> None:
    """What cannot be read by a mistake of ours would meet everybody behind it: it is
    set aside, with a word on what happened."""
    state = fresh_state(tmp_path)
    put(state, "web1", "started", 1, recorded("libvirt-9.0", "qemu-started"))
    put(state, "web2", "stopped", 2)

    with patch.object(hook_events, "parse_domain", side_effect=error("x")):
        ours = found(state)

    assert ours == [("stopped", "web2", 2)]
    assert state.problems[0] == f"web1 started: {error('x')!r}"
    assert (len(state.names("aside")), state.is_full_asked()) == (1, True)


@pytest.mark.parametrize("error", [OSError, MemoryError])
def test_no_room_for_a_moment(tmp_path: Path, error: type[Exception]) -> None:
    """The event is good, and stays for whoever comes next."""
    state = fresh_state(tmp_path)
    file = put(state, "web1", "started", 1, recorded("libvirt-9.0", "qemu-started"))

    with (
        patch.object(hook_events, "parse_domain", side_effect=error("x")),
        pytest.raises(error),
    ):
        found(state)

    assert (Path(state.path) / file).exists()


def test_another_format(tmp_path: Path) -> None:
    """It is left where it is, without a word."""
    state = fresh_state(tmp_path)
    file = Path(state.path) / put(state, "web1", "stopped", 1)
    file.rename(file.with_suffix(".2"))

    ours = found(state)

    assert (ours, len(left(state)), state.problems) == ([], 1, [])
