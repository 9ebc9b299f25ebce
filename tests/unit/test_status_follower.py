"""status_follower: what of libvirt's own files is an event, and what is known
already."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import threading
import time
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import (
    MAC,
    OTHER_MAC,
    UUID,
    descriptors,
    fresh_state,
    guest,
    nic,
    record,
)
from unit.test_domain_status import ON_DEFAULT, status
from vfwhooks.libvirt.status_directories import DIRECTORIES, NETWORKS
from vfwhooks.libvirt.status_follower import Follower, is_migrating
from vfwhooks.store import asking
from vfwhooks.store.state import State
from vfwhooks.values.guests import Guest

QEMU = "/run/libvirt/qemu"
NETWORK = """<networkstatus><firewall backend='nftables'/><network><name>default</name>
<forward mode='nat'/><bridge name='virbr0'/>
<ip address='192.168.122.1' prefix='24'><dhcp>{}</dhcp></ip></network></networkstatus>
"""
PLAIN = NETWORK.format("")
TOLD = PLAIN[PLAIN.index("<network>") : PLAIN.rindex("</networkstatus>")]
TOLD = f"<hookData>{TOLD}</hookData>"
RESERVED = f"<host mac='{MAC}' ip='192.168.122.10'/>"
OURS = os.getpid()
RUNS = f"state='running' pid='{OURS}'"
PAUSED = f"state='paused' reason='migration' pid='{OURS}'"


def following(tmp_path: Path, *recorded: Guest) -> tuple[State, Follower]:
    """The follower of a host on which these guests are recorded."""
    for directory in DIRECTORIES:
        (tmp_path / directory[1:]).mkdir(parents=True)
    state = fresh_state(tmp_path)
    for one in recorded:
        state.keep(record(one))
    return state, Follower(state, str(tmp_path))


def write(tmp_path: Path, path: str, data: bytes) -> None:
    """A file of libvirt's."""
    (tmp_path / path[1:]).write_bytes(data)


def heard(state: State, follower: Follower, *paths: str) -> list[str]:
    """The events that come of news of these files."""
    follower.hear(paths)
    follower.note()
    return events(state)


def events(state: State) -> list[str]:
    """The events that wait, and the interfaces in them."""
    return [
        " ".join([one.operation, one.guest.driver, one.guest.name, *macs(one.guest)])
        for _, one in state.guest_events()
    ]


def macs(of: Guest) -> list[str]:
    """The MACs of its interfaces."""
    return [one.mac for one in of.nics]


def test_a_guest_that_starts(tmp_path: Path) -> None:
    """Nobody has told of it."""
    state, follower = following(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))

    assert heard(state, follower, f"{QEMU}/web1.xml") == [f"found qemu web1 {MAC}"]


def test_a_guest_that_is_known(tmp_path: Path) -> None:
    """Its hook has told of it, or we have: there is nothing to do."""
    state, follower = following(tmp_path, guest())
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))

    assert heard(state, follower, f"{QEMU}/web1.xml") == []


def test_an_interface_is_plugged_in_or_out(tmp_path: Path) -> None:
    """The guest is told of as it is now."""
    state, follower = following(tmp_path, guest())
    second = ON_DEFAULT.replace(MAC.upper(), OTHER_MAC).replace("vnet0", "vnet1")
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS, "", ON_DEFAULT + second))

    assert heard(state, follower, f"{QEMU}/web1.xml") == [
        f"found qemu web1 {MAC} {OTHER_MAC}"
    ]


def test_the_name_of_its_interface_is_news(tmp_path: Path) -> None:
    """A hook that told of a port did not know it."""
    state, follower = following(tmp_path, guest(nics=[nic(device="")]))
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))

    assert heard(state, follower, f"{QEMU}/web1.xml") == [f"found qemu web1 {MAC}"]


@pytest.mark.parametrize("recorded", [[], [guest()]], ids=["unknown", "known"])
def test_a_guest_that_does_not_run_yet(tmp_path: Path, recorded: list[Guest]) -> None:
    """Neither start nor stop: with a hook it may be recorded already."""
    state, follower = following(tmp_path, *recorded)
    job = "<job type='none' async='start'/>"
    write(tmp_path, f"{QEMU}/web1.xml", status(PAUSED, job))

    assert heard(state, follower, f"{QEMU}/web1.xml") == []


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_guest_that_is_migrated(tmp_path: Path, direction: str) -> None:
    """Where it is forwarded to and does not run, not yet or not any more, this is news;
    not again as long as it is so; and it is found where it runs again."""
    state, follower = following(tmp_path, guest())
    path, job = f"{QEMU}/web1.xml", f"<job type='none' async='migration {direction}'/>"
    write(tmp_path, path, status(PAUSED, job))
    seen = [heard(state, follower, path)]

    away = record()
    away.is_away = True
    state.keep(away)
    seen.append(heard(state, follower, path)[1:])
    write(tmp_path, path, status(RUNS))
    seen.append(heard(state, follower, path)[1:])

    assert seen == [[f"away qemu web1 {MAC}"], [], [f"found qemu web1 {MAC}"]]


def test_a_guest_that_is_migrated_in_is_no_news_before_it_runs(tmp_path: Path) -> None:
    """Without a hook nothing is known of it until then."""
    state, follower = following(tmp_path)
    job = "<job type='none' async='migration in'/>"
    write(tmp_path, f"{QEMU}/web1.xml", status(PAUSED, job))

    assert heard(state, follower, f"{QEMU}/web1.xml") == []


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("web1", status(PAUSED, "<job async='migration in'/>"), True),
        ("web1", status(PAUSED, "<job async='start'/>"), False),
        ("web1", status(RUNS), False),
        ("web1", b"<job async='migration in'/>", False),
        ("web2", status(PAUSED, "<job async='migration in'/>"), False),
    ],
    ids=["migrated", "restored", "running", "no status", "no file"],
)
def test_is_migrating(tmp_path: Path, name: str, data: bytes, expected: bool) -> None:
    """By libvirt's own file, if there is one that says so."""
    following(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", data)

    assert is_migrating(guest(name), str(tmp_path)) == expected


def test_a_guest_that_is_gone(tmp_path: Path) -> None:
    """libvirt has unlinked its file."""
    state, follower = following(tmp_path, guest())

    assert heard(state, follower, f"{QEMU}/web1.xml") == ["stopped qemu web1"]


def test_a_guest_that_was_never_known(tmp_path: Path) -> None:
    """Its end is no news."""
    state, follower = following(tmp_path)

    assert heard(state, follower, f"{QEMU}/web1.xml") == []


def test_the_end_of_an_unknown_guest_while_libvirtd_is_asked(tmp_path: Path) -> None:
    """The answer may still name the guest."""
    state, follower = following(tmp_path)
    asking.begin(state)

    assert heard(state, follower, f"{QEMU}/web1.xml") == ["stopped qemu web1"]


def test_a_stop_that_is_recorded_already(tmp_path: Path) -> None:
    """Its entries could not be taken out yet, which is somebody's work already."""
    state, follower = following(tmp_path)
    off = record()
    off.is_off = True
    state.keep(off)

    assert heard(state, follower, f"{QEMU}/web1.xml") == []


def dead() -> int:
    """The number of a process that there was."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def with_daemon(root: Path) -> None:
    """libvirt's daemon is seen there, by its file and its process."""
    (root / "proc/77").mkdir(parents=True)
    (root / "proc/77/comm").write_text("libvirtd\n")
    (root / "run/libvirtd.pid").write_text("77\n")


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_guest_whose_process_is_gone(tmp_path: Path, is_seen: bool) -> None:
    """Whatever the file says, nobody has unlinked it yet. Where libvirt's own processes
    are not seen either, numbers mean nothing: one of both is in a container."""
    state, follower = following(tmp_path, guest())
    if is_seen:
        with_daemon(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(f"state='running' pid='{dead()}'"))

    found = heard(state, follower, f"{QEMU}/web1.xml")

    assert found == ["stopped qemu web1"] * is_seen


def test_a_process_that_ends(tmp_path: Path) -> None:
    """It is news by itself, as soon as it has ended."""
    child = subprocess.Popen(["sleep", "60"])
    state, follower = following(tmp_path, guest())
    with_daemon(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(f"state='running' pid='{child.pid}'"))
    before = heard(state, follower, f"{QEMU}/web1.xml")

    child.kill()
    follower.hear_processes(wait=10)
    follower.note()
    child.wait()

    assert (before, events(state)) == ([], ["stopped qemu web1"])


def test_a_process_of_somebody_else(tmp_path: Path) -> None:
    """Where libvirt's own are not seen, who has the number here is not the guest."""
    child = subprocess.Popen(["sleep", "60"])
    state, follower = following(tmp_path, guest())
    write(tmp_path, f"{QEMU}/web1.xml", status(f"state='running' pid='{child.pid}'"))
    heard(state, follower, f"{QEMU}/web1.xml")

    child.kill()
    child.wait()
    follower.hear_processes()
    follower.note()

    assert events(state) == []


def test_a_process_that_ends_with_the_daemon_away(tmp_path: Path) -> None:
    """That it was seen once is enough: nobody else tells of the guest then."""
    child = subprocess.Popen(["sleep", "60"])
    state, follower = following(tmp_path, guest())
    with_daemon(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(f"state='running' pid='{child.pid}'"))
    heard(state, follower, f"{QEMU}/web1.xml")
    (tmp_path / "run/libvirtd.pid").unlink()

    child.kill()
    child.wait()

    assert heard(state, follower, f"{QEMU}/web1.xml") == ["stopped qemu web1"]


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("what", ["qemu/web1.xml", "qemu", ""])
def test_a_file_that_somebody_else_takes_away(
    tmp_path: Path, what: str, has_ended: bool
) -> None:
    """A guest whose process is there runs, alone or with all the others; so does a
    network whose directory has gone."""
    child = subprocess.Popen(["sleep", "60"])
    state, follower = following(tmp_path, guest())
    noted(state, TOLD)
    with_daemon(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(f"state='running' pid='{child.pid}'"))
    heard(state, follower, f"{QEMU}/web1.xml")
    (tmp_path / NETWORKS[1:] / "default.xml").write_text(PLAIN)
    subprocess.run(["rm", "-r", tmp_path / "run/libvirt" / what], check=True)
    if has_ended:
        child.kill()
        child.wait()

    follower.look(QEMU)
    follower.look(NETWORKS)
    follower.note()
    child.kill()
    child.wait()

    assert events(state) == ["stopped qemu web1"] * has_ended


def test_a_directory_that_was_never_there(tmp_path: Path) -> None:
    """Nor does it say anything of a guest whose process is not known."""
    state, follower = following(tmp_path, guest())
    (tmp_path / QEMU[1:]).rmdir()

    follower.look(QEMU)
    follower.note()

    assert events(state) == []


def test_a_stop_is_written_down_before_others_are_read(tmp_path: Path) -> None:
    """With many files that takes long, and a hook may tell meanwhile that the guest has
    started again: that is the later event."""
    state, follower = following(tmp_path, guest("gone"))
    late = tmp_path / f"{QEMU[1:]}/web1.xml"
    os.mkfifo(late)
    follower.hear([f"{QEMU}/gone.xml", f"{QEMU}/web1.xml"])
    thread = threading.Thread(target=follower.note)

    thread.start()
    with late.open("wb") as file:  # as soon as somebody reads it
        before = events(state)
        file.write(status(RUNS))
    thread.join()

    assert (before, events(state)) == (
        ["stopped qemu gone"],
        ["stopped qemu gone", f"found qemu web1 {MAC}"],
    )


def test_a_guest_without_a_process(tmp_path: Path) -> None:
    """Xen's have none here: what stands in their file is not looked for."""
    state, follower = following(tmp_path)
    path = "/run/libvirt/libxl/web1.xml"
    write(tmp_path, path, status(f"state='running' pid='{dead()}'"))

    assert heard(state, follower, path) == [f"found libxl web1 {MAC}"]


def test_before_linux_5_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no descriptor of a process: it is looked for when the file is news."""
    monkeypatch.delattr(os, "pidfd_open")
    state, follower = following(tmp_path, guest(), guest("web2"))
    with_daemon(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(f"state='running' pid='{dead()}'"))
    write(tmp_path, f"{QEMU}/web2.xml", status("state='running' pid='1'"))

    found = heard(state, follower, f"{QEMU}/web1.xml")

    assert found == ["stopped qemu web1"]


def test_another_guest_of_the_name(tmp_path: Path) -> None:
    """Its UUID is another: it is a guest that has started."""
    state, follower = following(tmp_path, guest(uuid=UUID.replace("7", "8")))
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))

    assert heard(state, follower, f"{QEMU}/web1.xml") == [f"found qemu web1 {MAC}"]


def test_another_name_of_the_guest(tmp_path: Path) -> None:
    """The old name goes first, whatever the order of the files."""
    state, follower = following(tmp_path, guest("www"))
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))

    found = heard(state, follower, f"{QEMU}/web1.xml", f"{QEMU}/www.xml")

    assert found == ["stopped qemu www", f"found qemu web1 {MAC}"]


def test_other_files(tmp_path: Path) -> None:
    """What libvirt has beside them is none of ours."""
    _, follower = following(tmp_path)

    assert not follower.hear([f"{QEMU}/web1.pid", f"{QEMU}/web1.xml.new"])


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Somebody is told, and the others are dealt with."""
    state, follower = following(tmp_path)
    write(tmp_path, f"{QEMU}/web0.xml", b"<domstatus>")
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))

    found = heard(state, follower, f"{QEMU}/web0.xml", f"{QEMU}/web1.xml")

    said = "the XML is malformed: no element found: line 1, column 11"
    assert (found, follower.problems) == (
        [f"found qemu web1 {MAC}"],
        [f"{QEMU}/web0.xml: {said}"],
    )


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOSPC])
def test_a_shortage(tmp_path: Path, code: int) -> None:
    """What could not be read or noted stays noted: the same works later."""
    state, follower = following(tmp_path)
    write(tmp_path, f"{NETWORKS}/default.xml", PLAIN.encode())
    short = OSError(code, os.strerror(code))
    follower.hear([f"{NETWORKS}/default.xml"])
    with (
        patch.object(State, "note_network", side_effect=short),
        pytest.raises(OSError),
    ):
        follower.note()

    follower.note()

    assert events(state) == ["network network default"]


def test_a_look_at_all(tmp_path: Path) -> None:
    """What is there, and what is recorded and not there."""
    state, follower = following(tmp_path, guest("gone"), guest("web2"))
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))
    write(tmp_path, f"{QEMU}/web2.xml", status(RUNS).replace(b">web1<", b">web2<"))

    follower.look(QEMU)
    follower.note()

    assert events(state) == ["stopped qemu gone", f"found qemu web1 {MAC}"]


def noted(state: State, data: str, seconds_ago: float = 3600) -> None:
    """What a network's hook was told."""
    state.note_network("default", data.encode())
    at = time.time() - seconds_ago
    os.utime(f"{state.path}/networks/default", (at, at))


@pytest.mark.parametrize(
    ("before", "now", "is_news"),
    [
        ("", PLAIN, True),
        (TOLD, PLAIN, False),
        (PLAIN, "", True),
        (PLAIN, NETWORK.format(RESERVED), True),
        ("", "", False),
    ],
    ids=["started", "its hook has told", "stopped", "updated", "none"],
)
def test_a_network(tmp_path: Path, before: str, now: str, is_news: bool) -> None:
    """It is news once, and what is known of it from then on is what its file says."""
    state, follower = following(tmp_path)
    path = tmp_path / NETWORKS[1:] / "default.xml"
    if before:
        noted(state, before)
    if now:
        path.write_text(now)

    found = heard(state, follower, f"{NETWORKS}/default.xml")
    again = heard(state, follower, f"{NETWORKS}/default.xml")

    assert found == ["network network default"] * is_news
    assert (again, follower.problems) == (found, [])


def test_a_network_where_old_libvirts_have_it(tmp_path: Path) -> None:
    """Before 1.2.4 or so its file was elsewhere; the directory was there already."""
    state, follower = following(tmp_path)
    noted(state, TOLD)
    (tmp_path / "var/lib/libvirt/network").mkdir(parents=True)
    write(tmp_path, "/var/lib/libvirt/network/default.xml", PLAIN.encode())

    follower.look(NETWORKS)
    follower.note()

    assert events(state) == []


@pytest.mark.parametrize(
    ("seconds_ago", "found"), [(3600, ["network network default"]), (1, [])]
)
def test_a_look_at_networks(
    tmp_path: Path, seconds_ago: float, found: list[str]
) -> None:
    """One whose hook was called a moment ago has no file yet."""
    state, follower = following(tmp_path)
    noted(state, TOLD, seconds_ago)

    follower.look(NETWORKS)
    follower.note()

    assert events(state) == found


def test_nothing_is_kept_open(tmp_path: Path) -> None:
    """But for one descriptor a process, however often its file is written."""
    state, follower = following(tmp_path, guest())
    with_daemon(tmp_path)
    write(tmp_path, f"{QEMU}/web1.xml", status(RUNS))
    heard(state, follower, f"{QEMU}/web1.xml")
    before = descriptors()

    for _ in range(10):
        heard(state, follower, f"{QEMU}/web1.xml")

    assert descriptors() == before


def test_more_guests_than_descriptors(tmp_path: Path) -> None:
    """As many as a process may have open as a rule; all are found, and whoever else
    needs a descriptor gets one."""
    state, follower = following(tmp_path)
    with_daemon(tmp_path)
    for n in range(1100):
        write(tmp_path, f"{QEMU}/web{n}.xml", status(RUNS))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))

    follower.look(QEMU)
    follower.note()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert (len(state.guest_events()), follower.problems[:1]) == (1100, [])


def test_nothing_is_kept_open_of_guests_that_are_gone(tmp_path: Path) -> None:
    """Whether its file or its process has gone first."""
    state, follower = following(tmp_path)
    with_daemon(tmp_path)
    before = descriptors()

    for name in ("web1", "web2", "web3"):
        child = subprocess.Popen(["sleep", "60"])
        path = f"{QEMU}/{name}.xml"
        write(tmp_path, path, status(f"state='running' pid='{child.pid}'"))
        heard(state, follower, path)
        child.kill()
        child.wait()
        (tmp_path / path[1:]).unlink()
        follower.hear_processes(wait=10)
        heard(state, follower, path)

    assert descriptors() == before
