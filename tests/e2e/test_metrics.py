"""vfwhooks-metrics.service under a real systemd: what is collected of a host where a
guest starts, rules are flushed and the file is broken. promtool reads it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lab.box import wait_until
from lab.cache import find_promtool
from lab.guest import Guest
from lab.host import Host
from lab.systemd import Systemd, start_systemd
from product import HERE, configure, published

UNIT, TIMER = "vfwhooks-metrics.service", "vfwhooks-metrics.timer"
DIRECTORY = "/var/lib/prometheus/node-exporter"
FILE = f"{DIRECTORY}/vfwhooks.prom"
GOOD = "guests:\n  web1: [8080:80, '203.0.113.77:81:80']\n  far: [9090:80]\n"
PAGE = (HERE / "docs/fleet.md").read_text().partition("\n## Prometheus\n")[2]
DESCRIBED = re.findall(r"(?m)^\| `(vfwhooks_\w+)`", PAGE)
# A drop-in as docs/fleet.md has it.
DROP_IN, OTHER = f"/etc/systemd/system/{UNIT}.d", "/opt/textfiles"
OTHERS = rf"[Service]\nEnvironment=TEXTFILES={OTHER}\nReadWritePaths={OTHER}\n"
# The service writes its counts at its beat, here each second; systemd does not wait for
# it, on a busy machine either.
BEAT = r"[Service]\nWatchdogSec=0\nEnvironment=WATCHDOG_USEC=2000000\n"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host with a place for textfiles."""
    with Host.debian13() as host:
        host.run(["mkdir", "-p", DIRECTORY])
        configure(host, GOOD)
        yield host


@pytest.fixture(scope="module")
def systemd(host: Host) -> Iterator[Systemd]:
    """systemd with our units as install.sh has put them; then libvirtd."""
    with start_systemd(host) as systemd:
        drop_in = "/etc/systemd/system/vfwhooks.service.d"
        systemd.run("sh", "-c", f"mkdir {drop_in}; printf '{BEAT}' >{drop_in}/lab.conf")
        systemd.run(f"{Host.CHECKOUT}/install.sh")
        host.start_libvirtd()
        host.start_network()
        yield systemd


@pytest.fixture(scope="module")
def web1(host: Host, systemd: Systemd) -> Guest:
    """A running guest."""
    return host.define_guest("web1").start(wait=True)


def collect(host: Host, systemd: Systemd) -> dict[str, float]:
    """The samples that the unit writes, by what stands before the value."""
    systemd.run("systemctl", "start", UNIT)
    lines = host.read(FILE).splitlines()
    pairs = [line.rpartition(" ") for line in lines if line[0] != "#"]
    return {name.replace("vfwhooks_", ""): float(value) for name, _, value in pairs}


def awaited(
    host: Host, systemd: Systemd, holds: Callable[[dict[str, float]], bool]
) -> dict[str, float]:
    """The samples when something holds of them."""
    seen: list[dict[str, float]] = []

    def is_so() -> bool:
        seen.append(collect(host, systemd))
        return holds(seen[-1])

    wait_until(is_so, lambda: f"metrics: {seen[-1]}")
    return seen[-1]


def test_a_guest_starts(host: Host, systemd: Systemd, web1: Guest) -> None:
    """Its forwards, its connections, its event and the time that took are there."""
    outside = host.outside()
    for _ in range(3):
        assert outside.http("http://203.0.113.1:8080/").answered

    found = awaited(
        host, systemd, lambda got: got['events_total{operation="started"}'] > 0
    )

    states = [value for name, value in found.items() if name.startswith("forwards{")]
    (info,) = (name for name in found if name.startswith("info"))
    assert states == [1, 1, 1, 0, 0]
    assert found['guest_forwards_inactive{guest="web1"}'] == 1
    assert found['guest_connections_total{guest="web1"}'] == 3
    assert not [name for name in found if "far" in name]
    assert (found["service_up"], found["config_in_force"]) == (1, 1)
    assert 'backend="nftables"' in info
    count = found["event_duration_seconds_count"]
    assert count == found['event_duration_seconds_bucket{le="+Inf"}'] > 0
    assert 0 < found["event_duration_seconds_sum"] < 10 * count


def test_promtool_has_nothing_to_say(host: Host, systemd: Systemd, web1: Guest) -> None:
    """Names, units, types and help are as Prometheus has them."""
    collect(host, systemd)

    done = subprocess.run(
        [find_promtool(), "check", "metrics"],
        input=host.read(FILE),
        capture_output=True,
        check=False,
        text=True,
    )

    mode = host.run(["stat", "-c", "%a %U", FILE]).strip()
    beside = host.run(["ls", "-A", DIRECTORY]).split()
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert (mode, beside) == ("644 root", ["vfwhooks.prom"])


def test_the_rules_of_the_manual_are_good(tmp_path: Path) -> None:
    """Whoever copies them from docs/fleet.md has rules of metrics that there are."""
    (rules,) = re.findall(r"(?ms)^```yaml\n(.*?^groups:.*?)^```$", PAGE)
    (tmp_path / "rules.yaml").write_text(rules)

    argv = [str(find_promtool()), "check", "rules", str(tmp_path / "rules.yaml")]
    done = subprocess.run(argv, capture_output=True, check=False, text=True)

    used = set(re.findall(r"vfwhooks_\w+", re.sub(r"(?m)^ +summary:.*$", "", rules)))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert {name.removesuffix("_bucket") for name in used} <= {*DESCRIBED}


def test_every_metric_is_described(host: Host, systemd: Systemd) -> None:
    """In docs/fleet.md, and no other."""
    collect(host, systemd)

    assert re.findall(r"(?m)^# TYPE (\w+)", host.read(FILE)) == DESCRIBED


def test_drift_is_counted(host: Host, systemd: Systemd, web1: Guest) -> None:
    """A ruleset that somebody flushes is restored, and that is told once; an edit is a
    full sync and no drift."""
    before = collect(host, systemd)
    rules = published(host)

    host.run(["nft", "flush table inet vfwhooks; delete table inet vfwhooks"])
    wait_until(lambda: published(host) == rules, "the rules to come back")
    healed = awaited(
        host, systemd, lambda got: total(got, DRIFT) > total(before, DRIFT)
    )
    configure(host, GOOD.replace("9090", "9091"))
    edited = awaited(
        host,
        systemd,
        lambda got: (
            total(got, SYNCS) > total(healed, SYNCS) and got["config_in_force"] > 0
        ),
    )

    assert total(edited, DRIFT) == total(healed, DRIFT)


SYNCS, DRIFT = "full_syncs_total", "drift_healed_total"


def total(samples: dict[str, float], name: str) -> float:
    """The sum of a metric over its labels."""
    return sum(n for key, n in samples.items() if key.partition("{")[0] == name)


def test_a_broken_file_is_told(host: Host, systemd: Systemd, web1: Guest) -> None:
    """What is in force is then older than what was written."""
    before = collect(host, systemd)["config_last_good_timestamp_seconds"]

    configure(host, "guests: [\n")
    broken = awaited(host, systemd, lambda got: got["config_in_force"] == 0)
    configure(host, GOOD)
    mended = awaited(host, systemd, lambda got: got["config_in_force"] == 1)

    times = [got["config_last_good_timestamp_seconds"] for got in (broken, mended)]
    assert (times[0], times[1] > before) == (before, True)


def test_a_service_that_does_not_run_is_told(host: Host, systemd: Systemd) -> None:
    """And its counts stay."""
    before = collect(host, systemd)
    systemd.run("systemctl", "stop", "vfwhooks.service")
    found = collect(host, systemd)
    systemd.run("systemctl", "start", "vfwhooks.service")
    after = collect(host, systemd)

    up = [got["service_up"] for got in (before, found, after)]
    name = 'events_total{operation="started"}'
    assert (up, after[name] >= before[name] > 0) == ([1, 0, 1], True)


def test_a_directory_of_the_exporters(host: Host, systemd: Systemd) -> None:
    """What sets the node exporter up gives the directory to its user, as a rule."""
    systemd.run("rm", "-f", FILE)
    systemd.run("chown", "nobody:nogroup", DIRECTORY)

    collect(host, systemd)
    systemd.run("chown", "root:root", DIRECTORY)

    assert host.path(FILE).stat().st_mode & 0o777 == 0o644


def test_the_units_are_sound(host: Host, systemd: Systemd) -> None:
    """systemd has nothing against them, and rates what is left as little: 2.5 of 10;
    the file's directory is the one place on disk that the unit may write to."""
    analyze = ["systemd-analyze", "--no-pager"]
    text = systemd.run("systemctl", "cat", UNIT)

    verified = systemd.call(*analyze, "verify", "--man=no", UNIT, TIMER)
    rated = systemd.call(*analyze, "security", "--threshold=25", UNIT)

    assert (verified.status, verified.stderr, rated.status) == (0, "", 0)
    assert re.findall("(?m)^ReadWritePaths=(.*)$", text) == [f"/run -{DIRECTORY}"]


def test_the_timer_is_the_administrators(host: Host, systemd: Systemd) -> None:
    """Nobody enables it but who wants it; then it writes by itself, and a removal takes
    it away with its file, which would be collected for ever."""
    enabled = systemd.call("systemctl", "is-enabled", TIMER).stdout.strip()
    systemd.run("rm", FILE)

    systemd.run("systemctl", "enable", "--now", TIMER)
    wait_until(lambda: host.read(FILE), "the timer's file")
    host.run(["mkdir", OTHER])
    host.run(["rm", FILE])
    systemd.run("sh", "-c", f"mkdir {DROP_IN}; printf '{OTHERS}' >{DROP_IN}/lab.conf")
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "start", UNIT)
    written = host.read(f"{OTHER}/vfwhooks.prom")
    systemd.run(f"{Host.CHECKOUT}/install.sh", "--uninstall")

    known = [systemd.show(unit, "LoadState") for unit in (UNIT, TIMER)]
    left = systemd.call("find", DIRECTORY, OTHER, "-type", "f").stdout
    assert (enabled, known, left) == ("disabled", ["not-found"] * 2, "")
    assert written != ""
