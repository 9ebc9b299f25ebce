"""metrics: what Prometheus gets, its bounds, and what the service counts for it."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from unit.builders import CHECKOUT, fresh_state, refusal
from vfwhooks.cli.metrics_file import show_metrics
from vfwhooks.config.source_stamps import stamps, written_at
from vfwhooks.diagnosis import metrics
from vfwhooks.diagnosis.metrics import OPERATIONS, find_metrics, render_metrics
from vfwhooks.diagnosis.overview import Overview
from vfwhooks.diagnosis.status_rows import ForwardStatus, GuestStatus
from vfwhooks.firewall.entry_delta import SyncResult
from vfwhooks.reconcile.sync_report import LABELS, NOT_INTACT, Report
from vfwhooks.service.event_counter import EventCounter
from vfwhooks.store.counts import FILE, parse_counts
from vfwhooks.values.entries import Accept, Entry
from vfwhooks.values.published import parse_address

ENTRY: Entry = Accept(parse_address("192.168.122.10"))


def forward(guest: str, state: str, connections: int = 0) -> ForwardStatus:
    """One row of `status`."""
    words = "*", "8080", "80", "tcp", "192.168.122.10"
    return ForwardStatus(guest, *words, state, "", connections)


def overview(*rows: ForwardStatus, running: tuple[str, ...] = ()) -> Overview:
    """A host with these forwards."""
    guests = tuple(GuestStatus(name, "", "running", []) for name in running)
    return Overview("nftables", guests, rows, ("a problem",), {})


def samples(root: Path, seen: Overview) -> dict[str, float]:
    """The metrics' samples of a host, by name and labels as they are written."""
    with patch.object(metrics, "look", lambda *_: seen):
        text = render_metrics(find_metrics(fresh_state(root), f"{root}/no.yaml"))
    lines = [line for line in text.splitlines() if line[0] != "#"]
    pairs = [line.rpartition(" ") for line in lines]
    assert len({name for name, _, _ in pairs}) == len(pairs)
    return {name.replace("vfwhooks_", ""): float(value) for name, _, value in pairs}


def test_forwards_are_counted_by_state_and_by_running_guest(tmp_path: Path) -> None:
    """One file may name the guests of many hosts: those that do not run here have no
    series of their own. Guests of one name are one."""
    rows = [forward("web1", "active", 5), forward("web1", "blocked", 2)]
    rows += [forward("web1", "active", 1), forward("far", "stopped")]
    seen = overview(*rows, running=("web1", "idle"))

    found = samples(tmp_path, seen)

    named = {name: value for name, value in found.items() if "guest=" in name}
    states = {name: n for name, n in found.items() if name.startswith("forwards{")}
    assert named == {
        'guest_forwards_inactive{guest="web1"}': 1,
        'guest_connections_total{guest="web1"}': 8,
    }
    assert states == {
        'forwards{state="active"}': 2,
        'forwards{state="pending"}': 0,
        'forwards{state="stopped"}': 1,
        'forwards{state="conflict"}': 0,
        'forwards{state="blocked"}': 1,
    }
    assert (found["problems"], found["config_in_force"]) == (1, 0)


@pytest.mark.parametrize("name", ['a"b\\c', "line\nfeed", "caf\udce9", "é"])
def test_any_name_is_a_label(tmp_path: Path, name: str) -> None:
    """Whoever defines a guest chooses its name, and it ends no label and no line."""
    found = samples(tmp_path, overview(forward(name, "active"), running=(name,)))

    (label,) = (key for key in found if key.startswith("guest_connections_total"))
    assert label.count("\n") == 0 and label.encode().decode() == label
    inner = label[len('guest_connections_total{guest="') : -len('"}')]
    assert '"' not in inner.replace("\\\\", "").replace('\\"', "")


def test_what_is_counted_is_there_after_a_restart(tmp_path: Path) -> None:
    """The service writes it at its beat, and the next one goes on from there."""
    state = fresh_state(tmp_path)
    report = Report()
    report.carried = [("started", 0.02), ("stopped", 0.3)]
    report.problems = ["it went wrong"]
    report.note_check(NOT_INTACT, SyncResult([], [], []), 0, 0)
    report.note_check("a reason of somebody's", SyncResult([], [ENTRY], []), 0, 1)
    counter = EventCounter(state)

    said = counter.take(report)
    is_unwritten = state.read(FILE) == ""
    counter.keep()
    after = EventCounter(state)
    after.take(report)
    after.fail(OSError("no room"))
    after.keep()

    counted = parse_counts(state.read(FILE))
    last_error = counted.pop(("last-error", "all"))
    assert (said, is_unwritten, last_error > 1.7e9) == (["it went wrong"], True, True)
    assert counted == {
        ("event", "started"): 2,
        ("event", "stopped"): 2,
        ("took", "0.025"): 2,
        ("took", "0.5"): 2,
        ("seconds", "all"): pytest.approx(0.64),
        ("check", "rules"): 2,
        ("healed", "rules"): 2,
        ("check", "other"): 2,
        ("error", "all"): 3,
    }


def test_counts_become_a_histogram(tmp_path: Path) -> None:
    """Each bucket holds those below it as well, and the last one all."""
    counter = EventCounter(fresh_state(tmp_path))
    report = Report()
    report.carried = [("started", 0.004), ("started", 0.04), ("stopped", 9.0)]
    counter.take(report)
    counter.keep()

    found = samples(tmp_path, overview())

    buckets = [n for name, n in found.items() if "_bucket" in name]
    assert buckets == [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3]
    assert found["event_duration_seconds_count"] == 3
    assert found["event_duration_seconds_sum"] == pytest.approx(9.044)
    assert found['events_total{operation="started"}'] == 2


def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    """A service that rests writes nothing."""
    state = fresh_state(tmp_path)
    counter = EventCounter(state)

    counter.take(Report())
    counter.keep()

    assert state.read(FILE) == ""


def test_no_room_for_the_counts(tmp_path: Path) -> None:
    """It ends nothing, and they are written when there is room."""
    state = fresh_state(tmp_path)
    counter = EventCounter(state)
    counter.fail(OSError("x"))
    with patch.object(state, "write", side_effect=OSError(28, "no space")):
        counter.keep()
    before = state.read(FILE)
    counter.keep()

    assert (before, bool(state.read(FILE))) == ("", True)


@pytest.mark.parametrize("text", ["", "x", "vfw1 00000000\nevent started 1\n"])
def test_a_damaged_file_begins_anew(text: str) -> None:
    """A counter that is lost is a reset, which Prometheus knows."""
    assert parse_counts(text) == {}


def literals() -> set[str]:
    """The reasons of full syncs that stand as text where they are given."""
    found: set[str] = set()
    package = CHECKOUT / "vfwhooks"
    for path in (*package.glob("reconcile/*.py"), *package.glob("service/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                first = node.args[0]
                is_why = name in ("NeedsFullSync", "ask_full")
                if is_why and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_reason_has_a_label() -> None:
    """A reason is made with its label, and dashboards know the labels by name."""
    assert (literals(), len(LABELS) > 8) == (set(), True)
    assert (
        *("boot", "config", "rules", "foreign_rules", "backend", "network", "guest"),
        *("retry", "asked", "poll", "other"),
    ) == metrics.REASONS


def test_every_operation_has_a_series(tmp_path: Path) -> None:
    """From the beginning, so that its first event is an increase."""
    found = samples(tmp_path, overview())

    names = {f'events_total{{operation="{one}"}}' for one in OPERATIONS}
    assert names <= set(found)


def test_when_the_files_in_force_were_written(tmp_path: Path) -> None:
    """The newest of them, and not the templates, which a release brings."""
    main, part = tmp_path / "forwards.yaml", tmp_path / "forwards.d/10-a.yaml"
    part.parent.mkdir()
    for path in (main, part):
        path.write_text("guests: {}\n")
    newest = max(p.stat().st_mtime_ns for p in (main, part, part.parent))

    found = written_at(stamps(str(main)), str(main))

    assert (found, written_at("", str(main))) == (newest, 0)


def test_output_is_replaced_in_one_step(tmp_path: Path) -> None:
    """Everybody may read it, and nothing else is left in the directory."""
    (tmp_path / "out").mkdir()
    path = tmp_path / "out/vfwhooks.prom"
    path.write_text("old")
    state = fresh_state(tmp_path)
    with patch.object(metrics, "look", lambda *_: overview()):
        show_metrics(state, f"{tmp_path}/no.yaml", path)

    assert [one.name for one in path.parent.iterdir()] == ["vfwhooks.prom"]
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_text().startswith("# HELP vfwhooks_info ")


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_no_output_takes_the_place_of_what_is_no_file(
    tmp_path: Path, kind: str
) -> None:
    """A directory, a pipe, /dev/null above all: they stay, and nothing is left beside
    them."""
    there = tmp_path / "there"
    if kind == "directory":
        (there / "in").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(there)
    else:
        there.symlink_to("/dev/null")
    state = fresh_state(tmp_path)
    with patch.object(metrics, "look", lambda *_: overview()):
        said = refusal(show_metrics, state, f"{tmp_path}/no.yaml", there)

    assert said == f"{there} is no regular file"
    assert Path("/dev/null").is_char_device()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["state", "there"]


def test_output_by_a_link(tmp_path: Path) -> None:
    """A link leads where it led."""
    path = tmp_path / "vfwhooks.prom"
    path.symlink_to("there.prom")
    state = fresh_state(tmp_path)
    with patch.object(metrics, "look", lambda *_: overview()):
        show_metrics(state, f"{tmp_path}/no.yaml", path)

    assert path.is_symlink()
    assert (tmp_path / "there.prom").read_text().startswith("# HELP vfwhooks_info ")
