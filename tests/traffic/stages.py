"""What the host is like while some rows are played, and plain again after them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lab.docker import install_rules, remove_rules
from lab.firewalld import end_firewalld, start_firewalld
from product import settled_ruleset, status

from . import uplinks
from .world import World

# It leads to another port of the host's, where a service is.
_FOREIGN = """table inet foreign {
    chain pre {
        type nat hook prerouting priority -150
        meta nfproto ipv4 tcp dport 8130 dnat ip to 203.0.113.1:8131
        meta nfproto ipv6 tcp dport 8130 dnat ip6 to [2001:db8:1::1]:8131
    }
}
"""
Enter = Callable[[World], Iterator[None]]
# What IPv6 itself lives by is let in.
_DROP = """
table inet own {
  chain input {
    type filter hook input priority 0; policy drop;
    meta l4proto ipv6-icmp accept
  }
}
"""


def _plain(world: World) -> Iterator[None]:
    yield


def _bridge_nf(world: World) -> Iterator[None]:
    world.bridge_nf(True)
    yield
    world.bridge_nf(False)


def _routes(world: World) -> Iterator[None]:
    world.default_routes(True)
    yield
    world.default_routes(False)


def _docker(world: World) -> Iterator[None]:
    for tool in ("iptables", "ip6tables"):
        install_rules(world.host, tool)
    yield
    for tool in ("iptables", "ip6tables"):
        remove_rules(world.host, tool)


def _ufw(world: World) -> Iterator[None]:
    world.host.run(["ufw", "--force", "enable"])
    yield
    world.host.run(["ufw", "--force", "reset"])


def _firewalld(world: World) -> Iterator[None]:
    start_firewalld(world.host)
    world.host.restart_libvirtd()  # which has it put the bridges in a zone of theirs
    settled_ruleset(world.host)
    yield
    end_firewalld(world.host)


def _uplink(world: World) -> Iterator[None]:
    with uplinks.far_away(world), uplinks.table_of_its_own(world):
        yield


def _strict(world: World) -> Iterator[None]:
    with uplinks.far_away(world), uplinks.strict(world):
        yield


def _vpn(world: World) -> Iterator[None]:
    all_of_it = uplinks.vpn(world), uplinks.table_of_its_own(world)
    with uplinks.far_away(world), all_of_it[0], all_of_it[1]:
        yield


def _taken(world: World) -> Iterator[None]:
    world.host.run(["nft", "-f", "-"], input=_FOREIGN)
    yield
    world.host.run(["nft", "delete", "table", "inet", "foreign"])


def _guests_firewall(world: World) -> Iterator[None]:
    net = world.nets["web1"]
    net.run(["nft", "-f", "-"], input=_DROP)
    yield
    net.run(["nft", "delete", "table", "inet", "own"])


def _guests_vpn(world: World) -> Iterator[None]:
    with uplinks.vpn_of(world.nets["web1"]):
        yield


_STAGES: dict[str, Enter] = {
    "plain": _plain,
    "bridge-nf": _bridge_nf,
    "routes": _routes,
    "changes": _plain,
    "docker": _docker,
    "docker, cured": _docker,
    "ufw": _ufw,
    "ufw, cured": _ufw,
    "firewalld": _firewalld,
    "uplink": _uplink,
    "uplink, cured": _uplink,
    "uplink, strict": _strict,
    "vpn": _vpn,
    "taken": _taken,
    "vpn, cured": _vpn,
    "guest's firewall": _guests_firewall,
    "guest's VPN": _guests_vpn,
}


@contextmanager
def stage(world: World, name: str) -> Iterator[None]:
    """The host as the rows of that stage want it."""
    yield from _STAGES[name](world)


def settle(world: World, name: str) -> None:
    """Do what status names as the cure for each forward that is blocked, where the rows
    of that stage want it."""
    if name.endswith(", cured"):
        rows = status(world.host)["forwards"]
        cures = (row["reason"].partition("run: ")[2] for row in rows)
        for cure in dict.fromkeys(filter(None, cures)):
            world.host.run(["sh", "-c", cure])
