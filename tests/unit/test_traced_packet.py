"""traced_packet: the lines of `nft monitor trace`, which come when they like."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.box import wait_until

from unit.builders import refusal
from vfwhooks.cli.explained import trace
from vfwhooks.diagnosis.traced_packet import TraceEvent, _events
from vfwhooks.rulesets.packet import ANYBODY
from vfwhooks.store.state import State

OURS = "trace id 1a inet vfwhooks prerouting"
LINES = {
    "rule": f"{OURS} rule tcp dport 80 accept # handle 7 (verdict accept)",
    "young": f"{OURS} unknown rule handle 8 (verdict continue)",
    "policy": f"{OURS} policy accept",
    "other": "trace id 2b inet vfwhooks prerouting policy drop",
}
IN_OURS = "inet", "vfwhooks", "prerouting"


@pytest.fixture
def shell() -> Iterator[subprocess.Popen[bytes]]:
    """Prints what it is given, up to where it stops itself; ends with the test."""
    each = '[ "$line" = stop ] && kill -STOP $$ || echo "$line"'
    with subprocess.Popen(
        ["sh", "-c", f"while read line; do {each}; done; exec sleep 60"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as shell:
        yield shell
        shell.kill()


def hops(shell: subprocess.Popen[bytes], *lines: str) -> list[TraceEvent]:
    """The hops of these lines."""
    assert shell.stdin
    told = "".join(f"{LINES.get(one, one)}\n" for one in lines)
    shell.stdin.write(told.encode())
    shell.stdin.close()
    return list(_events(shell, str(shell.pid), 30))


def test_the_rules_of_one_packet(shell: subprocess.Popen[bytes]) -> None:
    """The first packet alone; a rule that nft has no text of goes by its handle."""
    assert hops(shell, "rule", "other", "young", "policy") == [
        TraceEvent(*IN_OURS, "7", "tcp dport 80 accept", "accept"),
        TraceEvent(*IN_OURS, "8", "", "continue"),
        TraceEvent(*IN_OURS, "", "the policy of the chain", "accept"),
    ]


def test_a_monitor_that_pauses(shell: subprocess.Popen[bytes]) -> None:
    """On a busy machine it does: what is still to come is waited for."""

    def go_on() -> None:
        stat = Path(f"/proc/{shell.pid}/stat")
        wait_until(lambda: stat.read_text().split()[2] == "T", "the pause", 30)
        threading.Event().wait(1.2)  # longer than the quiet after which all is told
        os.kill(shell.pid, signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    found = hops(shell, "rule", "stop", "policy")
    thread.join()

    assert [hop.handle for hop in found] == ["7", ""]


@pytest.mark.parametrize("wait", [float("inf"), float("nan"), 1e300, 86_401.0])
def test_nobody_waits_for_ever(tmp_path: Path, wait: float) -> None:
    """The kernel does not, and nothing is looked at before that is said."""
    way = trace("tcp/80", ANYBODY, wait, State(str(tmp_path)), "/nonexistent")

    assert refusal(next, way) == f"--wait {wait:g}: 86400 seconds are the most"
