"""state: the state directory, file by file."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

import pytest

from unit.builders import (
    fields,
    files_of,
    fresh_state,
    guest,
    record,
    refusal,
)
from vfwhooks.store.records import GuestEvent
from vfwhooks.store.state import _DIRECTORIES, State, record_name
from vfwhooks.values.errors import OutOfTime

WEB, LXC = ("qemu", "web1"), ("lxc", "web1")
ENTRIES = ["dnat 4 * tcp 80 80 192.168.122.10 80", "accept 4 192.168.122.10"]
PID = os.getpid()

CURE = ": run vfwhooks apply, which asks libvirtd"


def contents(state: State) -> dict[str, str]:
    """Every file of the state directory."""
    return files_of(Path(state.path))


def test_the_directory_is_made(tmp_path: Path) -> None:
    """A host's first event after boot finds nothing, and makes all of it, for root."""
    state = fresh_state(tmp_path)

    names = sorted(p.name for p in Path(state.path).iterdir())
    modes = {p.stat().st_mode & 0o7777 for p in Path(state.path).rglob("*")}
    assert (names, modes, Path(state.path).stat().st_mode & 0o7777) == (
        [
            "addresses",
            "aside",
            "asking",
            "claims",
            "cuts",
            "daemons",
            "gone",
            "guests",
            "intents",
            "localnet",
            "members",
            "networks",
            "spool",
            "tmp",
            "vmark",
            "ways",
        ],
        {0o700},
        0o700,
    )
    assert state.names("guests") == ["libxl", "lxc", "network", "qemu"]


def test_a_directory_that_was_made_in_part(tmp_path: Path) -> None:
    """Whoever was killed at it, wherever he got to, left the rest to the next one."""
    order = list(_DIRECTORIES)
    lacking = []

    for count in range(len(order)):
        directory = tmp_path / f"{count}"
        for name in ["state", *(f"state/{name}" for name in order[:count])]:
            (directory / name).mkdir(0o700, parents=True)
        fresh_state(directory)
        lacking += [n for n in order if not (directory / "state" / n).is_dir()]

    assert lacking == []


def test_the_directory_is_found_as_it_was(tmp_path: Path) -> None:
    """Another event finds what the last one left."""
    fresh_state(tmp_path).keep(record())

    found = fresh_state(tmp_path).record(WEB)

    assert fields(found) == fields(record())


def test_a_link_is_no_state_directory(tmp_path: Path) -> None:
    """Nobody leads us elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    State(f"{tmp_path}/elsewhere")
    (tmp_path / "state").symlink_to("elsewhere")

    found = refusal(fresh_state, tmp_path)

    assert found == f"{tmp_path}/state is not a directory of ours (remove it)"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o722])
def test_a_directory_that_others_can_write(tmp_path: Path, mode: int) -> None:
    """What others could have written is not gone by."""
    state = fresh_state(tmp_path)
    Path(state.path).chmod(mode)

    found = refusal(fresh_state, tmp_path)

    assert found == f"{tmp_path}/state can be written by others (remove it)"


def test_a_directory_that_others_can_read(tmp_path: Path) -> None:
    """Reading harms nobody."""
    Path(fresh_state(tmp_path).path).chmod(0o755)

    found = fresh_state(tmp_path).names("intents")

    assert found == []


def test_files_are_roots_alone(tmp_path: Path) -> None:
    """Mode 0600, whatever the umask."""
    state = fresh_state(tmp_path)
    before = os.umask(0)
    try:
        state.keep(record())
        state.lock().close()
    finally:
        os.umask(before)

    files = [p for p in Path(state.path).rglob("*") if p.is_file()]
    assert {p.stat().st_mode & 0o7777 for p in files} == {0o600}


def test_one_holder_of_the_lock(tmp_path: Path) -> None:
    """Held until it is closed, and by nobody else meanwhile."""
    state = fresh_state(tmp_path)
    lock = state.lock()
    fd = os.open(f"{state.path}/lock", os.O_RDWR)
    found = []

    for _ in range(2):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found.append("free")
        except BlockingIOError:
            found.append("held")
            lock.close()

    os.close(fd)
    assert found == ["held", "free"]


def open_files() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_directory_serves_as_the_lock(tmp_path: Path) -> None:
    """Whoever put it there: who made a file of it might do so while it is held."""
    state = fresh_state(tmp_path)
    Path(f"{state.path}/lock").mkdir()

    held = state.lock()

    with pytest.raises(OutOfTime):
        state.lock(time.monotonic() + 0.05)
    held.close()
    state.lock(time.monotonic() + 60).close()


def test_a_lock_that_is_not_waited_for_any_longer(tmp_path: Path) -> None:
    """Nothing is left of the wait: neither a descriptor nor an alarm."""
    state = fresh_state(tmp_path)
    held = state.lock()
    before = open_files(), signal.getsignal(signal.SIGALRM)

    with pytest.raises(OutOfTime, match="somebody else has the lock"):
        state.lock(time.monotonic() + 0.05)

    after = open_files(), signal.getsignal(signal.SIGALRM)
    held.close()
    assert (after, signal.getitimer(signal.ITIMER_REAL)) == (before, (0, 0))


def test_a_lock_that_is_free_in_time(tmp_path: Path) -> None:
    """It is held, and the alarm does not go off any more."""
    state = fresh_state(tmp_path)

    lock = state.lock(time.monotonic() + 60)

    alarm = signal.getitimer(signal.ITIMER_REAL)
    lock.close()
    assert alarm == (0, 0)


def test_the_lock_is_not_inherited(tmp_path: Path) -> None:
    """Only tools that are given it keep it."""
    lock = fresh_state(tmp_path).lock()

    found = os.get_inheritable(lock.fd)

    lock.close()
    assert not found


def test_read_and_write(tmp_path: Path) -> None:
    """Text comes back, bytes that are no UTF-8 too; no file is ''."""
    state = fresh_state(tmp_path)
    state.write("working", "bü\udcff\n")

    found = state.read("working"), state.read("full"), state.names("tmp")

    assert found == ("bü\udcff\n", "", [])


def test_intents_are_followed_in_order(tmp_path: Path) -> None:
    """By when they were noted, whoever noted them."""
    state = fresh_state(tmp_path)
    stamps = [1234, 99, 10**19, 5]
    for stamp in stamps:
        state.note(GuestEvent("started", guest(f"web{stamp}"), stamp))

    found = [guest_event.stamp for _, guest_event in state.guest_events()]

    assert found == sorted(stamps)


def test_an_intent_comes_back(tmp_path: Path) -> None:
    """With the file that it is in."""
    state = fresh_state(tmp_path)
    guest_event = GuestEvent("started", guest(), 1234)

    name = state.note(guest_event)

    ((found, same),) = state.guest_events()
    assert (found, name, fields(same)) == (
        name,
        f"intents/00000000000000001234-{PID}",
        fields(guest_event),
    )


def test_intents_that_were_carried_out_are_gone(tmp_path: Path) -> None:
    """Those and no other, and nobody is at work any more."""
    state = fresh_state(tmp_path)
    names = [state.note(GuestEvent("started", guest(), stamp)) for stamp in (1, 2)]
    state.begin()

    state.end(names[:1])

    assert [*contents(state)] == [names[1]]


@pytest.mark.parametrize(
    "text", ["", "started", "started x\nguest", "\0\0\0", "\udcff"]
)
def test_an_intent_that_cannot_be_read_is_set_aside(tmp_path: Path, text: str) -> None:
    """It is kept for a look, everything is checked, and the others are carried out."""
    state = fresh_state(tmp_path)
    state.note(GuestEvent("started", guest(), 1))
    state.write("intents/0-7", text)

    found = [guest_event.stamp for _, guest_event in state.guest_events()]

    aside = "aside/intents%2F0-7"
    said = f"{state.path}/intents/0-7 cannot be read and is now {aside}{CURE}"
    assert (found, state.problems, state.read(aside), state.take_full()) == (
        [1],
        [said],
        text,
        True,
    )


def test_a_record_comes_back(tmp_path: Path) -> None:
    """One file a guest, by driver and name."""
    state = fresh_state(tmp_path)
    known = record(entries=ENTRIES, needs=["default"])

    state.keep(known)

    assert (fields(state.record(WEB)), state.record(LXC)) == (fields(known), None)
    assert [*contents(state)] == ["guests/qemu/web1"]


def test_a_name_that_looks_like_a_path(tmp_path: Path) -> None:
    """It stays inside the state directory."""
    state = fresh_state(tmp_path)
    known = record(guest("../../../etc/passwd"))

    state.keep(known)

    assert [*contents(state)] == ["guests/qemu/%2E.%2F..%2F..%2Fetc%2Fpasswd"]
    assert fields(state.record(known.key)) == fields(known)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (("qemu", "web1"), "guests/qemu/web1"),
        (("lxc", "my web"), "guests/lxc/my%20web"),
        (("network", "a/b"), "guests/network/a%2Fb"),
    ],
)
def test_record_name(key: tuple[str, str], name: str) -> None:
    """One component below the driver's directory."""
    found = record_name(key)

    assert found == name


def test_records_of_everybody(tmp_path: Path) -> None:
    """Guests of all drivers and networks, who runs longest first."""
    state = fresh_state(tmp_path)
    names = {
        "b": ("qemu", 30),
        "a": ("lxc", 20),
        "c": ("network", 10),
        "d": ("libxl", 40),
    }
    for name, (driver, since) in names.items():
        state.keep(record(guest(name, driver=driver), since))

    found = [one.guest.name for one in state.records()]

    assert found == ["c", "a", "b", "d"]


@pytest.mark.parametrize("text", ["1000", "1000 2000\nghost", "", "\0", "\udcff\n"])
def test_a_record_that_cannot_be_read_is_set_aside(tmp_path: Path, text: str) -> None:
    """Truncated (to nothing too) or foreign: never fatal, and made anew."""
    state = fresh_state(tmp_path)
    state.keep(record(guest("web2")))
    state.write("guests/qemu/web1", text)

    found = [one.guest.name for one in state.records()]

    aside = "aside/guests%2Fqemu%2Fweb1"
    said = f"{state.path}/guests/qemu/web1 cannot be read and is now {aside}{CURE}"
    assert (found, state.problems, state.take_full(), aside in contents(state)) == (
        ["web2"],
        [said],
        True,
        True,
    )


def test_one_record_that_cannot_be_read(tmp_path: Path) -> None:
    """The same where it is asked for alone: the guest is not known, and then free."""
    state = fresh_state(tmp_path)
    state.write("guests/qemu/web1", "1000")

    found = state.record(WEB), state.record(WEB), len(state.problems)

    assert found == (None, None, 1)


@pytest.mark.parametrize("kind", ["directory", "link", "link to nowhere"])
@pytest.mark.parametrize("where", ["guests/qemu", "intents"])
def test_what_is_no_file_is_set_aside(tmp_path: Path, where: str, kind: str) -> None:
    """A directory or a link stops nobody, and no link is followed."""
    state = fresh_state(tmp_path)
    state.keep(record(guest("web2")))
    state.note(GuestEvent("started", guest("web2"), 1))
    path = Path(state.path) / where / "0-7"
    if kind == "directory":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(Path(state.path) / "guests/qemu/web2")
    else:
        path.symlink_to("nowhere")

    found = (
        [r.guest.name for r in state.records()],
        [i.stamp for _, i in state.guest_events()],
    )

    assert (found, state.take_full()) == ((["web2"], [1]), True)


@pytest.mark.parametrize("name", ["base", "broken", "cuts/1", "localnet/virbr0"])
def test_what_is_no_file_reads_like_none(tmp_path: Path, name: str) -> None:
    """It is set aside for a look; whatever was there is made anew."""
    state = fresh_state(tmp_path)
    (Path(state.path) / name).mkdir()

    found = state.read(name)

    is_left = (Path(state.path) / name).exists()
    assert (found, is_left, state.take_full()) == ("", False, True)


def test_a_guest_that_is_forgotten(tmp_path: Path) -> None:
    """Its record is gone."""
    state = fresh_state(tmp_path)
    state.keep(record())

    state.forget(WEB)

    assert contents(state) == {}


def test_base(tmp_path: Path) -> None:
    """The backend and its marks come back; before the first event there is none."""
    state = fresh_state(tmp_path)
    base = {"backend": "nftables", "own": "12-0a b=1 c:2", "4": ""}
    before = state.base()

    state.keep_base(base)

    assert (before, state.base()) == ({}, base)


def test_full_is_asked_for_once(tmp_path: Path) -> None:
    """The mark goes when it is taken."""
    state = fresh_state(tmp_path)
    state.ask_full()

    found = state.is_full_asked(), state.take_full(), state.take_full()

    assert (found, state.is_full_asked()) == ((True, True, False), False)


def test_work_that_was_cut_short(tmp_path: Path) -> None:
    """Whoever begins hears whether the last one has ended."""
    state = fresh_state(tmp_path)

    first = state.begin()
    second = state.begin()
    state.end([])
    third = state.begin()

    assert (first, second, third) == (False, True, False)


def test_a_network_that_started(tmp_path: Path) -> None:
    """What the hook was told is kept byte for byte."""
    state = fresh_state(tmp_path)
    data = "<network><name>büro</name></network>\n".encode()

    state.note_network("büro", data)

    assert (Path(state.path) / "networks/büro").read_bytes() == data


def test_a_network_that_stopped(tmp_path: Path) -> None:
    """An empty file is newer than what libvirt has not removed yet."""
    state = fresh_state(tmp_path)
    state.note_network("my net", b"<network/>")

    state.note_network("my net", b"")

    assert contents(state) == {"networks/my%20net": ""}


def test_started_is_noted_once(tmp_path: Path) -> None:
    """The mark is not written by every start."""
    state = fresh_state(tmp_path)
    state.note_started("qemu")
    before = (Path(state.path) / "started-qemu").stat().st_ino

    state.note_started("qemu")

    assert (Path(state.path) / "started-qemu").stat().st_ino == before
    assert [*contents(state)] == ["started-qemu"]


def test_a_configuration_comes_into_force(tmp_path: Path) -> None:
    """It is for the next boot only when somebody keeps it."""
    state = fresh_state(tmp_path)

    state.put_compiled(b"compiled")

    assert contents(state) == {"compiled": "compiled"}


def test_what_killed_writers_left(tmp_path: Path) -> None:
    """A temporary file is cleared away when its writer is gone, and not before."""
    state = fresh_state(tmp_path)
    state.write("tmp/99999999", "half")
    state.write(f"tmp/{os.getppid()}", "half")

    for directory in ("tmp", "daemons"):
        state.sweep(directory)

    assert state.names("tmp") == [str(os.getppid())]


@pytest.mark.parametrize(
    "name",
    ["full", "base", "guests/qemu/web1", pytest.param(f"tmp/{PID}", id="tmp/PID")],
)
def test_a_directory_that_is_in_the_way_of_a_file(tmp_path: Path, name: str) -> None:
    """It is set aside with all that is in it, as often as there is one."""
    state = fresh_state(tmp_path)
    target = "base" if name.startswith("tmp/") else name

    for text in ("1", "2"):
        (Path(state.path) / name).mkdir()
        (Path(state.path) / name / "something").touch()
        state.write(target, text)
        found = state.read(target)
        assert (found, state.remove(target), state.remove(target)) == (
            text,
            True,
            False,
        )

    assert len([*Path(state.path).glob("aside/*/something")]) == 2


@pytest.mark.parametrize("name", ["full", "late"])
def test_a_directory_in_the_place_of_a_mark(tmp_path: Path, name: str) -> None:
    """It counts as the mark, and is gone with it."""
    state = fresh_state(tmp_path)
    (Path(state.path) / name / "something").mkdir(parents=True)

    found = state.remove(name)

    assert (found, (Path(state.path) / name).is_dir()) == (True, False)
