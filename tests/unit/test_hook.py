"""hook: what an event is, read from what libvirt gives on standard input."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from unit.builders import (
    ANY_PYTHON,
    CHECKOUT,
    DAEMONS,
    MAC,
    RECORDED,
    fields,
    files_of,
    refusal,
)
from vfwhooks.hook import read_port
from vfwhooks.model import Port
from vfwhooks.records import Intent, parse_intent

# As the gate runs it, but for the state directory and what is printed.
READ = """
import sys
sys.path.insert(0, sys.argv[1])
from vfwhooks.errors import VfwError
from vfwhooks.hook import read_event
from vfwhooks.state import State
try:
    found = read_event(State(sys.argv[2]), *sys.argv[3:])
    sys.stdout.write(found.text() if found else 'nothing')
except VfwError as error:
    sys.stdout.write('refused: ' + str(error))
"""
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


def read(tmp_path: Path, *event: str, stdin: bytes = b"") -> str:
    """What the event is, without when it was: driver, name, operation, owner."""
    argv = ["-IX", "utf8", "-c", READ, str(CHECKOUT), f"{tmp_path}/state", *event]
    done = subprocess.run(
        [ANY_PYTHON, *argv], input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode("utf-8", "surrogateescape")


def event(tmp_path: Path, *words: str, stdin: bytes = b"") -> object:
    """The event's operation and guest, as values."""
    intent: Intent = parse_intent(read(tmp_path, *words, stdin=stdin))
    assert intent.stamp > 0
    return intent.operation, fields(intent.guest)


def recorded(daemon: str, name: str) -> bytes:
    """What a real daemon sent."""
    return (RECORDED / daemon / f"{name}.xml").read_bytes()


def described(driver: str, name: str, uuid: str, *nics: object) -> object:
    """A guest as values."""
    return {"driver": driver, "name": name, "nics": list(nics), "uuid": uuid}


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize(
    ("operation", "means"),
    [("started", "started"), ("reconnect", "reconnected"), ("start", "started")],
)
def test_a_guest_that_starts(
    tmp_path: Path, daemon: str, operation: str, means: str
) -> None:
    """Name, UUID and interfaces of a real daemon's guest."""
    stdin = recorded(daemon, "qemu-start" if operation == "start" else "qemu-started")

    found = event(tmp_path, "qemu", "web1", operation, "", stdin=stdin)

    assert found == (means, described("qemu", "web1", UUIDS[daemon], WEB1))


@pytest.mark.parametrize("operation", ["stopped", "release"])
def test_a_guest_that_stops(tmp_path: Path, operation: str) -> None:
    """It needs no XML, and reads none."""
    found = event(tmp_path, "lxc", "we\nb", operation, "", stdin=b"<broken")

    assert found == ("stopped", described("lxc", "we\nb", ""))


def test_the_name_is_the_one_that_libvirt_calls_with(tmp_path: Path) -> None:
    """argv and XML would differ only for a guest that is being renamed."""
    stdin = recorded("libvirt-9.0", "qemu-started")

    found = event(tmp_path, "qemu", "renamed", "started", "", stdin=stdin)

    assert found == (
        "started",
        described("qemu", "renamed", UUIDS["libvirt-9.0"], WEB1),
    )


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    """Any bytes can be a name."""
    found = event(tmp_path, "qemu", "we\udcffb", "stopped", "")

    assert found == ("stopped", described("qemu", "we\udcffb", ""))


@pytest.mark.parametrize(
    ("operation", "marks"),
    [("started", ["started-qemu"]), ("reconnect", ["started-qemu"]), ("start", [])],
)
def test_a_libvirt_that_has_started(
    tmp_path: Path, operation: str, marks: list[str]
) -> None:
    """Once `started` or `reconnect` has come, `start` is not ours any more."""
    stdin = recorded("libvirt-9.0", "qemu-started")

    read(tmp_path, "qemu", "web1", operation, "", stdin=stdin)

    assert [*files_of(tmp_path / "state")] == marks


@pytest.mark.parametrize("operation", ["started", "updated"])
def test_a_network_that_is_there(tmp_path: Path, operation: str) -> None:
    """What libvirt says of it is kept, byte for byte."""
    stdin = recorded("libvirt-11.3", "network-started")

    found = event(tmp_path, "network", "default", operation, "", stdin=stdin)

    assert found == ("network", described("network", "default", ""))
    assert files_of(tmp_path / "state") == {"networks/default": stdin.decode()}


def test_a_network_that_stops(tmp_path: Path) -> None:
    """That it is gone is kept as an empty file, whatever is on standard input."""
    stdin = recorded("libvirt-11.3", "network-started")

    found = event(tmp_path, "network", "default", "stopped", "", stdin=stdin)

    assert found == ("network", described("network", "default", ""))
    assert files_of(tmp_path / "state") == {"networks/default": ""}


@pytest.mark.parametrize("operation", ["started", "updated"])
@pytest.mark.parametrize("stdin", [b"", b"<hookData>", b"\xff", b"<!DOCTYPE d><d/>"])
def test_a_network_that_libvirt_would_not_write(
    tmp_path: Path, operation: str, stdin: bytes
) -> None:
    """It is not kept: every later event would stumble over it."""
    read(tmp_path, "network", "default", operation, "", stdin=stdin)

    assert files_of(tmp_path / "state") == {}


PORTS = [
    ("port-created", "plugged"),
    ("plugged", "plugged"),
    ("port-deleted", "unplugged"),
    ("unplugged", "unplugged"),
]


@pytest.mark.parametrize(("operation", "means"), PORTS)
def test_an_interface(tmp_path: Path, operation: str, means: str) -> None:
    """Whose it is, and which; older libvirt has other words."""
    stdin = recorded("libvirt-9.0", "network-port-created")

    found = event(tmp_path, "network", "default", operation, "", stdin=stdin)

    nic = {**WEB1, "device": ""}
    assert found == (means, described("port", "web1", UUIDS["libvirt-9.0"], nic))


def test_an_event_without_an_interface(tmp_path: Path) -> None:
    """It changes nothing of ours."""
    stdin = recorded("libvirt-9.0", "network-started")

    found = read(tmp_path, "network", "default", "port-created", "", stdin=stdin)

    assert found == "nothing"


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        (b"", "the XML is malformed: no element found: line 1, column 0"),
        (b"<domain>", "the XML is malformed: no element found: line 1, column 8"),
        (b"<domain/>", "the XML describes no domain"),
        (b"<!DOCTYPE d><d/>", "the XML has a document type, which libvirt's never has"),
        (b" " * (17 << 20), "more than 16 MiB of XML on standard input"),
    ],
)
def test_what_libvirt_would_not_write(tmp_path: Path, stdin: bytes, said: str) -> None:
    """It is refused with the reason; nothing is noted."""
    found = read(tmp_path, "qemu", "web1", "started", "", stdin=stdin)

    assert found == f"refused: {said}"


@pytest.mark.parametrize("daemon", DAEMONS)
@pytest.mark.parametrize("name", ["network-port-created", "network-port-deleted"])
def test_a_port_behind_the_owners_name(daemon: str, name: str) -> None:
    """The gate has read up to the owner's name, and hands it over."""
    before, line, rest = recorded(daemon, name).partition(b"<name>web1</name>\n")
    assert before

    found = read_port(rest, "default", line.decode().strip())

    nic = {**WEB1, "device": ""}
    expected = {"nic": nic, "owner": "web1", "uuid": UUIDS[daemon]}
    assert fields(found) == expected


def test_a_port_whose_owner_needs_escapes() -> None:
    """The gate hands over what stands in the XML."""
    rest = b"<uuid>u</uuid></owner><mac address='m'/></networkport></hookData>"

    found = read_port(rest, "default", "<name>a&amp;b ü</name>")

    assert found and found.owner == "a&b ü"


PORT_CREATED = recorded("libvirt-9.0", "network-port-created")


@pytest.mark.parametrize(
    "lines", range(1, 1 + PORT_CREATED.partition(b"<owner>")[0].count(b"\n"))
)
def test_a_port_wherever_the_gate_has_stopped(lines: int) -> None:
    """A long network ends the gate's patience in any line before the owner."""
    rest = PORT_CREATED.split(b"\n", lines)[-1]

    found = read_port(rest, "default", "")

    nic = {**WEB1, "device": ""}
    expected = {"nic": nic, "owner": "web1", "uuid": UUIDS["libvirt-9.0"]}
    assert fields(found) == expected


def test_a_port_on_a_network_that_the_gate_has_skipped() -> None:
    """The event's own name is the network's."""
    data = recorded("libvirt-9.0", "network-port-created")
    rest = data[data.index(b"<networkport") :]

    found = read_port(rest, "other", "")

    assert isinstance(found, Port) and found.nic.network == "other"


@pytest.mark.parametrize("data", [b"", b"<", b"</network>", b"\xff" * 10])
def test_no_port_at_all(data: bytes) -> None:
    """What is left may be nothing: that is malformed, and said."""
    found = refusal(read_port, data, "default", "")

    assert found.startswith("the XML is malformed: ")
