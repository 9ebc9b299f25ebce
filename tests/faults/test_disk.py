"""A state directory that cannot be written, for a while."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from standin import BACKENDS, CONFIG, QUIET, STATE, alone, run, wait_for

from faults.scenes import WEB0, WEB1, Stage, edit, published
from faults.watched import watching
from vfwhooks.reconcile.reconciler import Reconciler
from vfwhooks.store.state import State


def fill() -> None:
    """Leave not one byte free."""
    with (STATE / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


def fill_inodes() -> None:
    """Leave room for no other file."""
    try:
        for number in range(10_000):
            (STATE / f"filler{number}").touch()
    except OSError:
        pass


def make_read_only() -> None:
    """Nothing can be changed."""
    run("mount", "-o", "remount,ro", str(STATE))


def free() -> None:
    """As it was."""
    run("mount", "-o", "remount,rw", str(STATE))
    for path in STATE.glob("filler*"):
        path.unlink()


FAULTS = {"full": fill, "out of inodes": fill_inodes, "read-only": make_read_only}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["started", "stopped", "reconnect"])
@alone
def test_a_state_directory_that_cannot_be_written(
    backend: str, fault: str, operation: str
) -> None:
    """Hooks end well; with room again, one later event or `apply` finds the plan."""
    stage = Stage(backend, small=True)
    stage.learn()
    if operation != "started":
        stage.host.event("qemu", "web1", "started", WEB1.xml())
    FAULTS[fault]()
    called = [stage.host.call("qemu", "web1", operation, WEB1.xml())]
    free()
    runs = (WEB0,) if operation == "stopped" else (WEB0, WEB1)

    later = "release" if operation == "stopped" else operation
    called.append(stage.host.call("qemu", "web1", later, WEB1.xml()))

    wrong = stage.differs(runs, "there was room")
    assert (called, wrong, stage.left_over()) == ([QUIET] * 2, [], [])


@alone
def test_a_network_that_stops_while_the_disk_is_full() -> None:
    """Where no hook may run the service finds it by libvirt's files: what it could not
    write down, it does when there is room."""
    stage = Stage("nftables", small=True)
    with watching():
        fill()
        fill_inodes()
        Path("/run/libvirt/network/default.xml").rename("/run/stopped.xml")
        run("ip", "link", "del", "virbr0")
        time.sleep(2)
        published_then = published("nftables")

        free()

        wait_for(lambda: not published("nftables"))
        wait_for(lambda: not stage.left_over())
    assert published_then


@alone
def test_the_last_good_configuration_cannot_be_kept_over_a_boot() -> None:
    """/var is full: the edit is in force all the same."""
    stage = Stage("nftables")
    stage.learn(1, 0)
    run("mount", "-t", "tmpfs", "-o", "size=4k", "small", "/var/lib/vfwhooks")
    Path("/var/lib/vfwhooks/filler").write_bytes(b"\0" * 4096)
    edit(stage)

    called = stage.host.call("qemu", "web0", "reconnect", WEB0.xml())

    assert (called, stage.differs((WEB0,), "the edit")) == (QUIET, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_compiled_configuration_that_is_damaged(backend: str) -> None:
    """Head and size are right, the rest is not: it is compiled anew, by the event
    after the one that finds it so."""
    stage = Stage(backend)
    stage.learn()
    kept = Path("/var/lib/vfwhooks/compiled")
    wait_for(kept.exists)  # nobody waits for the disk
    for path in (STATE / "compiled", kept):
        data = path.read_bytes()
        path.write_bytes(data[:300] + b"\xff" * (len(data) - 300))
    called = [stage.host.start(WEB1)]

    called.append(stage.host.call("qemu", "idle", "stopped"))

    wrong = stage.differs((WEB0, WEB1), "two events")
    assert (called, wrong, stage.left_over()) == ([QUIET] * 2, [], [])


@alone
def test_a_drop_in_whose_name_is_no_utf_8() -> None:
    """It counts like any other, and so does everything beside it."""
    stage = Stage("nftables")
    stage.learn()
    drop_ins = CONFIG.parent / "forwards.d"
    drop_ins.mkdir()
    Path(os.fsdecode(bytes(drop_ins) + b"/b\xfccher.yaml")).write_text("guests: {}\n")
    time.sleep(0.25)

    status = stage.host.apply(WEB0)

    called = stage.host.start(WEB1)
    wrong = stage.differs((WEB0, WEB1), "start")
    assert (status, called, wrong) == (0, QUIET, [])


@pytest.mark.parametrize("is_there", [False, True])
@alone
def test_leases_behind_a_link(is_there: bool) -> None:
    """dnsmasq's own file may be a link, even one that leads to no file: a guest that is
    not in there keeps nobody from anything."""
    stage = Stage("nftables")
    stage.learn()
    stage.host.network(WEB0)  # web1 has no address
    misc = Path("/var/lib/misc")
    (misc / "kept").mkdir(parents=True)
    (misc / "kept" / "leases").touch()
    target = "kept/leases" if is_there else "kept"
    (misc / "dnsmasq.leases").symlink_to(target)

    status = stage.host.apply(WEB0, WEB1)

    assert (status, stage.differs((WEB0,), "apply")) == (0, [])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "line", ["- dnat 4 * tcp x x 192 80", "- snat 4", "+ reject 4 *", ""]
)
@alone
def test_stale_notes_that_cannot_be_read(backend: str, line: str) -> None:
    """A letter has changed in what a holder of the lock has left, or it is a directory:
    it is set aside, and keeps nobody from his event."""
    stage = Stage(backend)
    stage.learn()
    damaged = STATE / "cuts/00000000000000000001"
    if line:
        damaged.write_text(f"{line}\n")
    else:
        damaged.mkdir()

    called = [stage.host.call("qemu", "web1", "started", WEB1.xml())]

    wrong = stage.differs((WEB0, WEB1), "the start")
    aside = len([*STATE.glob("aside/*")])
    assert (called, wrong, damaged.exists(), aside) == ([QUIET], [], False, 1)


# Every kind of file of the state directory, by one of its names; those together that
# do not hide each other's harm.
FILES = {
    "marks": ("full", "late", "started-qemu", "working"),
    "base": ("base", "taken"),
    "configuration": ("broken", "compiled", "kept/compiled", "kept/lock"),
    "lock": ("lock",),
    "guest": ("addresses/192.168.122.11", "claims/web1", "guests/qemu/web1"),
    "network": ("guests/network/default", "members/default/qemu.web1"),
    "networks": ("networks/default", "localnet/virbr0", "vmark/uplink", "ways/1"),
    "events": ("cuts/1", "daemons/1", "gone/qemu.web1", "intents/1-1", "tmp/1"),
    "asking": ("asking/0",),
}


@pytest.mark.parametrize("names", FILES.values(), ids=FILES)
@alone
def test_a_directory_in_the_place_of_a_file(names: tuple[str, ...]) -> None:
    """With something in it, at any time, and again and again: it is set aside or does
    no harm, and events, the service and `apply` do their work."""
    stage = Stage("nftables")
    stage.learn()
    told = Path("/run/libvirt/network/default.xml").read_text()
    acts = {
        "started": (WEB0, WEB1),
        "reconnect": (WEB0, WEB1),
        "stopped": (WEB0,),
        "network": (WEB0,),
        "look": (WEB0,),
        "apply": (WEB0,),
    }
    wrong = []

    for act, runs in acts.items():
        for path in (STATE / name for name in names):
            if path.is_file():
                path.unlink()
            (path / "something").mkdir(parents=True, exist_ok=True)
        if act == "apply":
            failed = stage.host.apply(*runs) != 0
            wrong += [stage.host.said.getvalue()] * failed
        elif act == "look":
            look()
        elif act == "network":
            wrong += [act] * (stage.host.call(act, "default", "started", told) != QUIET)
        else:
            called = stage.host.call("qemu", "web1", act, WEB1.xml())
            wrong += [act] * (called != QUIET)
        wrong += stage.differs(runs, act)
    look()

    assert (wrong, stage.left_over()) == ([], [])


def look() -> None:
    """What the service does when it hears of anything."""
    reconcile = Reconciler(State(str(STATE)), str(CONFIG))
    reconcile.check(is_full=False)
    reconcile.close()
