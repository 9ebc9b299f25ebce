"""More ways out of the host than one, as rules and tables of the kernel's have them.

`outside` is where the default route leads. Who is behind the cable `elsewhere` comes
from far away while one of these holds: the host has no route to him but a default one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lab.host import Host
from lab.net import Net

from .places import BEYOND, CABLES, FAR
from .world import World

_OWN_TABLE, _VPN_TABLE = "100", "51820"
_TOOLS = (["ip"], ["ip", "-6"])
_MANY = 20
_AWAY, _PEERS = "02:00:00:00:00:01", ("10.9.9.1", "fd00:9::1")
_HALVES = "0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"


@contextmanager
def far_away(world: World) -> Iterator[None]:
    """Whoever is behind `elsewhere` asks from another address, and the host's default
    route is by `outside`."""
    net = world.nets["elsewhere"]
    for address, far in zip(CABLES["elsewhere"], FAR):
        # Without nodad an IPv6 address may be tentative still when the route names it.
        net.ip(f"addr add {far} dev lo" + (" nodad" if ":" in far else ""))
        net.ip(f"route add {address} dev eth0 src {far}")
    default = [f"default via {address}" for address in BEYOND["outside"]]
    world.host.net.ip(*(f"route add {route}" for route in default))
    yield
    world.host.net.ip(*(f"route del {route}" for route in default))
    for address, far in zip(CABLES["elsewhere"], FAR):
        net.ip(f"route del {address} dev eth0 src {far}")
        net.ip(f"addr del {far} dev lo")


@contextmanager
def table_of_its_own(world: World) -> Iterator[None]:
    """The second cable has a table with its default route and the networks around, and
    the host's address on it a rule that leads there."""
    host = world.host
    for tool, gateway in zip(_TOOLS, BEYOND["elsewhere"]):
        for route in _networks(host, tool):
            host.run([*tool, "route", "add", *route, "table", _OWN_TABLE])
        default = ["default", "via", gateway, "table", _OWN_TABLE]
        host.run([*tool, "route", "add", *default])
    for tool, own in zip(_TOOLS, CABLES["elsewhere"]):
        host.run([*tool, "rule", "add", "from", own, "lookup", _OWN_TABLE])
    yield
    _forget(host, _OWN_TABLE)


@contextmanager
def vpn(world: World) -> Iterator[None]:
    """All that the host sends goes into a tunnel, as wg-quick has it: but what a route
    leads elsewhere, and but for the default ones."""
    host = world.host
    remote = f"remote {BEYOND['outside'][0]} dev outside"
    host.net.ip(f"link add vpn type vxlan id 7 dstport 4789 {remote}")
    host.net.ip(
        "addr add 10.66.0.2/32 dev vpn", "addr add fd00:66::2/128 dev vpn nodad"
    )
    host.net.ip("link set vpn up")
    for tool in _TOOLS:
        host.run([*tool, "route", "add", "default", "dev", "vpn", "table", _VPN_TABLE])
        rules = (
            f"pref 30001 not fwmark {_VPN_TABLE} lookup {_VPN_TABLE}",
            "pref 30000 lookup main suppress_prefixlength 0",
        )
        for rule in rules:
            host.run([*tool, "rule", "add", *rule.split()])
    yield
    _forget(host, _VPN_TABLE)
    for tool in _TOOLS:
        host.run([*tool, "rule", "del", "pref", "30000"])
    host.net.ip("link del vpn")


@contextmanager
def strict(world: World) -> Iterator[None]:
    """The kernel drops what comes in by the second cable and would leave by another."""
    key = "net.ipv4.conf.elsewhere.rp_filter"
    before = world.host.run(["sysctl", "-n", key]).strip()
    world.host.run(["sysctl", "-qw", f"{key}=1"])
    yield
    world.host.run(["sysctl", "-qw", f"{key}={before}"])


@contextmanager
def vpn_of(guest: Net) -> Iterator[None]:
    """All that a guest sends beyond its network goes into a tunnel, as OpenVPN has it
    with redirect-gateway def1: nobody answers for who has asked by the bridge."""
    guest.ip(
        "link add vpn type veth peer name away",
        "link set away up",
        "link set vpn up",
        *(f"route add {one} dev vpn" for one in _PEERS),
        *(f"neigh add {one} lladdr {_AWAY} dev vpn" for one in _PEERS),
        *(f"route add {one} via {_PEERS[':' in one]} dev vpn" for one in _HALVES),
    )
    yield
    guest.ip("link del vpn")


def _networks(host: Host, tool: list[str]) -> Iterator[list[str]]:
    """The routes of the networks that the host is on."""
    for line in host.run([*tool, "route", "show", "proto", "kernel"]).splitlines():
        words = line.split()
        if words[0] != "default" and words[0][:4] != "fe80":
            yield words[:3]


def _forget(host: Host, table: str) -> None:
    """Take away the table, and all rules that lead there: those of cures, too."""
    for tool in _TOOLS:
        for _ in range(_MANY):
            if host.call([*tool, "rule", "del", "lookup", table]).status:
                break
        host.run([*tool, "route", "flush", "table", table])
