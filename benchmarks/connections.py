"""New connections per second through the last of N forwards, by kind of ruleset."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import time
from _socket import AF_INET, SO_LINGER, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket
from functools import partial
from pathlib import Path

from .bed import IPT, LEGACY, NFT, Bed, sh
from .guests import Guest, GuestsForwards, plain
from .hosts import others_rules, prepare
from .measure import Series, in_turn
from .plot import render
from .report import Section, Table, Verdict

SIZES = (1, 100, 1_000, 10_000)
EACH = 100
FIRST = 20_000
RULES = "a rule a port"
_SECONDS = 0.15
_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1


def measure(runs: int) -> Section:
    """Our rulesets, and one with a rule a port, in turn."""
    beds: dict[tuple[str, int], Bed] = {}
    for size in SIZES:
        for backend in (NFT, IPT, LEGACY):
            bed = beds[f"vfwhooks, {backend}", size] = Bed(backend)
            bed.call(_ours, backend, size)
        for backend in (IPT, LEGACY):
            bed = beds[f"{RULES}, {backend}", size] = Bed(backend)
            bed.call(_peers, size)
    contenders = {key: partial(bed.call, _rate) for key, bed in beds.items()}
    named = {f"{name}|{size}": run for (name, size), run in contenders.items()}
    for run in named.values():
        run()
    found = in_turn(named, runs)
    for bed in beds.values():
        bed.close()
    return _section(found)


def _section(found: dict[str, Series]) -> Section:
    section = Section(
        "New connections per second",
        "A client opens and closes TCP connections as fast as it can, through the "
        f"host, to the last of N forwards ({EACH} a guest); median (min–max).",
    )
    names = list(dict.fromkeys(key.partition("|")[0] for key in found))
    table = Table(("ruleset", *(f"{size:,}" for size in SIZES), "last to only"))
    for name in names:
        series = [found[f"{name}|{size}"] for size in SIZES]
        ratio = series[-1].ratio(series[0])
        table.rows.append((name, *(s.show(1, 0) for s in series), f"{ratio:.2f}"))
    section.tables.append(table)
    ours = found[f"vfwhooks, {NFT}|{SIZES[-1]}"]
    ratio = ours.ratio(found[f"vfwhooks, {NFT}|1"])
    what = "connections through the last of 10,000 forwards ≥ 0.95 × through the only"
    section.verdicts.append(Verdict(what, f"{ratio:.2f} ×", ratio >= 0.95))
    ratio = ours.ratio(found[f"{RULES}, {IPT}|{SIZES[-1]}"])
    what = "… and ≥ 10 × through a rule a port"
    section.verdicts.append(Verdict(what, f"{ratio:.1f} ×", ratio >= 10))
    lines = {
        name: [(float(size), found[f"{name}|{size}"].median) for size in SIZES]
        for name in names
    }
    title = "New connections per second through the last forward"
    section.plots["connections.svg"] = render(title, "forwards", "per second", lines)
    return section


def _ours(backend: str, size: int) -> None:
    """So many forwards; the last guest's last one leads to the server."""
    guests = max(1, size // EACH)
    each = min(size, EACH)
    forwards: GuestsForwards = {
        Guest(n + 1).name: plain(each, FIRST + n * each) for n in range(guests)
    }
    prepare(backend, forwards, guests)
    _connect(Guest(guests).address, FIRST + size - 1)


def _peers(size: int) -> None:
    """So many rules; the last one leads to the server."""
    others_rules(size)
    address = f"192.168.{200 + (size - 1) // 20000}.{(size - 1) % 250 + 2}"
    _connect(address, FIRST + size - 1)


def _connect(address: str, port: int) -> None:
    """A client outside and a server at the guest's address, each in its own network."""
    for name in ("client", "guest"):
        sh(f"ip netns add {name} && ip -n {name} link set lo up")
        sh(f"ip link add {name} type veth peer name eth0 netns {name}")
        sh(f"ip link set {name} up")
    sh("ip link set guest master virbr0")
    sh(f"ip -n guest addr add {address}/16 dev eth0 && ip -n guest link set eth0 up")
    sh("ip -n guest route add default via 192.168.0.1")
    sh("ip addr add 203.0.113.1/24 dev client")
    sh("ip -n client addr add 203.0.113.2/24 dev eth0 && ip -n client link set eth0 up")
    ports = "net.ipv4.ip_local_port_range='1024 65535'"
    sh(f"ip netns exec client sysctl -qw {ports}")
    sh("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_close=1")
    Path("/run/port").write_text(str(port))
    if os.fork() == 0:
        _serve(port)


def _serve(port: int) -> None:
    """In a child: take connections and drop them, until the host ends."""
    _enter("guest")
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    server = socket.socket()
    server.bind(("", port))
    server.listen(4096)
    while True:
        server.accept()[0].close()


def _rate() -> float:
    """Connections a second, from the client's side."""
    port = int(Path("/run/port").read_text())
    mine, its = os.pipe()
    child = os.fork()
    if child == 0:
        _enter("client")
        os.write(its, struct.pack("=d", _knock(port)))
        os._exit(0)
    os.close(its)
    data = os.read(mine, 8)
    os.close(mine)
    os.waitpid(child, 0)
    rate: float = struct.unpack("=d", data)[0]
    return rate


def _knock(port: int) -> float:
    at_once = struct.pack("ii", 1, 0)
    where = "203.0.113.1", port
    count, start = 0, time.perf_counter()
    until = start + _SECONDS
    while time.perf_counter() < until:
        client = Socket(AF_INET, SOCK_STREAM)
        client.setsockopt(SOL_SOCKET, SO_LINGER, at_once)
        client.connect(where)
        client.close()
        count += 1
    return count / (time.perf_counter() - start)


def _enter(name: str) -> None:
    fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
    if ctypes.CDLL(None).setns(fd, _NEWNET) != 0:
        raise OSError("setns")
    os.close(fd)
