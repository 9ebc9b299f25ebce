"""The real way of one packet, by nftables' own tracing.

The rule that starts the trace is in a table that belongs to its process: the kernel
deletes the table when the process ends, however it ends. The rule matches the first
packet of one new connection. Nothing is sent, and no other rule is touched.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector

from ..host.run import PATH, Run
from ..rulesets.packet import ANYBODY, Packet
from ..values.errors import VfwError

TABLE = "vfwhooks_trace"
_PRIORITY = -199  # behind conntrack, which tells new connections
_READY, _QUIET = 20.0, 0.5  # seconds: for nft's start, and after the last line
_LINE = re.compile(r"trace id (\S+) (\S+) (\S+) (\S+) (.*)")
# A rule that is younger than the monitor has no text.
_RULE = re.compile(r"(?:rule (.*)|unknown rule handle (\d+)) \(verdict (.*)\)")
_HANDLE = re.compile(r"^(.*?) ?# handle (\d+)$")
_ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}
# The shell ends with us, even by a kill: it reads from a pipe that we never write to.
_MONITOR = "nft -a monitor trace & echo $!; read _; kill $!"
_NETFILTER, _TRACES = 12, 1 << 8  # the netlink family, and its group of traces


@dataclass(frozen=True)
class TraceEvent:
    """A rule that the packet met (or, without a handle, the policy of a chain), and the
    verdict."""

    family: str
    table: str
    chain: str
    handle: str
    text: str
    verdict: str


def watch_packet(packet: Packet, seconds: float, run: Run) -> Iterator[TraceEvent]:
    """The events of the first new connection of this kind within `seconds`. Raises
    VfwError if nft cannot trace."""
    tools: list[subprocess.Popen[bytes]] = []
    try:
        tools.append(_start(["sh", "-c", _MONITOR]))
        monitor = _await_monitor(tools[0])
        tools.append(_start(["nft", "-i"]))
        owner = tools[1].stdin
        assert owner
        owner.write(_script(packet).encode())
        owner.flush()
        _await_table(run)
        yield from _events(tools[0], monitor, seconds)
    finally:
        for tool in tools:
            if tool.stdin:
                tool.stdin.close()
            tool.wait()
            if tool.stdout:
                tool.stdout.close()


def _start(argv: list[str]) -> subprocess.Popen[bytes]:
    out = subprocess.PIPE if argv[0] == "sh" else subprocess.DEVNULL
    return subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.DEVNULL,
        env=_ENVIRONMENT,
        start_new_session=True,  # ^C reaches only us; both tools end with us
    )


def _script(packet: Packet) -> str:
    conditions = [f"{packet.protocol} dport {packet.port}", "ct state new"]
    conditions.insert(0, f"{packet.family} daddr {packet.destination}")
    if packet.source != ANYBODY:
        conditions.insert(0, f"{packet.family} saddr {packet.source}")
    rule = f"{' '.join(conditions)} limit rate 1/hour burst 1 packets"
    base = f"{{ type filter hook prerouting priority {_PRIORITY}; }}"
    return (
        f"add table inet {TABLE} {{ flags owner; }}\n"
        f"add chain inet {TABLE} c {base}\n"
        f"add rule inet {TABLE} c {rule} meta nftrace set 1\n"
    )


def _await_monitor(shell: subprocess.Popen[bytes]) -> str:
    """The process id of nft, when it listens. Raises VfwError after _READY seconds."""
    assert shell.stdout
    process = os.read(shell.stdout.fileno(), 64).split(b"\n")[0].decode()
    until = time.monotonic() + _READY
    while time.monotonic() < until:
        if any(int(groups, 16) & _TRACES for groups, _ in _netlink_of(process)):
            return process
        time.sleep(0.05)
    raise VfwError("nft cannot trace here", "`nft monitor trace` does not listen")


def _netlink_of(process: str) -> list[tuple[str, str]]:
    """The groups and the bytes that wait to be read, of its sockets for netfilter."""
    lines = Path("/proc/net/netlink").read_text().splitlines()[1:]
    sockets = [line.split() for line in lines]
    of_it = [one for one in sockets if (int(one[1]), one[2]) == (_NETFILTER, process)]
    return [(groups, waiting) for _, _, _, groups, waiting, *_ in of_it]


def _is_idle(process: str) -> bool:
    """Whether nft sleeps, and nothing is left for it to read: it has printed all that
    there was. On a busy machine its lines come with pauses between."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return True  # it has ended
    return state == "S" and all(waiting == "0" for _, waiting in _netlink_of(process))


def _await_table(run: Run) -> None:
    """Return when the rule is in the kernel; VfwError after _READY seconds."""
    until = time.monotonic() + _READY
    while time.monotonic() < until:
        try:
            if "nftrace" in run(["nft", "list", "table", "inet", TABLE]):
                return
        except VfwError:
            pass  # not yet
        time.sleep(0.05)
    raise VfwError("nft cannot trace here", "it needs nft 0.9.9 with Linux 5.12")


def _events(
    shell: subprocess.Popen[bytes], monitor: str, seconds: float
) -> Iterator[TraceEvent]:
    """The lines of nft (its process: `monitor`) about the first traced packet."""
    stream = shell.stdout
    assert stream
    until, first, rest = time.monotonic() + seconds, "", b""
    with DefaultSelector() as selector:
        selector.register(stream, EVENT_READ)
        while True:
            if not selector.select(max(0.0, until - time.monotonic())):
                if not first or _is_idle(monitor):
                    return
                until = time.monotonic() + _QUIET
                continue
            data = os.read(stream.fileno(), 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                found = _LINE.match(line.decode("utf-8", "replace").strip())
                if not found or (first and found.group(1) != first):
                    continue
                first = found.group(1)
                until = time.monotonic() + _QUIET
                yield from _event(*found.groups()[1:])


def _event(family: str, table: str, chain: str, what: str) -> Iterator[TraceEvent]:
    if table == TABLE:
        return
    rule = _RULE.match(what)
    if rule:
        text, handle = rule.group(1) or "", rule.group(2) or ""
        numbered = _HANDLE.match(text)
        if numbered:
            text, handle = numbered.groups()
        yield TraceEvent(family, table, chain, handle, text, rule.group(3))
    elif what.startswith("policy "):
        yield TraceEvent(
            family, table, chain, "", "the policy of the chain", what[7:].strip()
        )
