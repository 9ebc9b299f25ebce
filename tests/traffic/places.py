"""Who and where everybody in the matrix is: networks, guests, addresses."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lab.network import Network, default_network, mac_for, second_network

Pair = tuple[str, str]

# The host's address on each cable; who is at the other end has the next one.
CABLES: dict[str, Pair] = {
    "outside": ("203.0.113.1", "2001:db8:1::1"),
    "elsewhere": ("198.51.100.1", "2001:db8:2::1"),
    "attacker": ("192.0.2.1", "2001:db8:3::1"),
}
BEYOND: dict[str, Pair] = {
    "outside": ("203.0.113.2", "2001:db8:1::2"),
    "elsewhere": ("198.51.100.2", "2001:db8:2::2"),
    "attacker": ("192.0.2.2", "2001:db8:3::2"),
}
# More addresses of the host; some are whole ones of guests, and the last one comes
# when the forwards are in force.
HOST: dict[str, Pair] = {
    "second": ("203.0.113.5", "2001:db8:1::5"),
    "whole": ("203.0.113.7", "2001:db8:1::7"),
    "part": ("203.0.113.8", "2001:db8:1::8"),
    "inward": ("203.0.113.9", "2001:db8:1::9"),
    "later": ("203.0.113.77", "2001:db8:1::77"),
}
# Who is behind the cable `elsewhere` and far away, where a row wants that.
FAR: Pair = ("198.18.7.2", "2001:db8:9::2")
# An address that leads to the host and that it does not have.
ABSENT: Pair = ("54.210.1.2", "2001:db8:7::2")
RESOLVER: Pair = ("127.0.0.53", "::1")
LOOPBACK: Pair = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Lan:
    """A libvirt network, and the number in its bridge's name and its addresses."""

    network: Network
    number: int

    @property
    def bridge_address(self) -> Pair:
        """The host's own addresses on its bridge."""
        return f"192.168.{self.number}.1", f"fd00:{self.number}::1"

    @property
    def is_masqueraded(self) -> bool:
        """Whether libvirt hides its guests behind the host's address."""
        return self.network.mode == "nat"


def _lan(name: str, number: int, mode: str | None) -> Lan:
    network = second_network(name, number, mode, f"fd00:{number}::1/64")
    return Lan(replace(network, nat_ipv6=mode == "nat"), number)


LANS = {
    "default": Lan(default_network(ipv6=True), 122),
    "second": _lan("second", 150, "nat"),
    "quiet": _lan("quiet", 155, "nat"),
    "isolated": _lan("isolated", 160, None),
    "routed": _lan("routed", 170, "route"),
    "open": _lan("open", 180, "open"),
}


@dataclass(frozen=True)
class LabGuest:
    """A guest: its name as libvirt knows it, its number, the network it is reached on.

    `key` names it in here; `more` is a network of a first card, where nobody answers;
    `at` is a guest whose address it takes over. One that is not to run is `off`.
    """

    key: str
    number: int
    lan: str = "default"
    name: str = ""
    more: str = ""
    at: str = ""
    off: bool = False

    @property
    def uuid(self) -> str:
        """Its UUID."""
        return f"00000000-0000-4000-8000-0000000000{self.number}"

    @property
    def mac(self) -> str:
        """The MAC of the card it is reached on."""
        return mac_for(self.number)

    @property
    def addresses(self) -> Pair:
        """Where it is."""
        if self.at:
            return GUESTS[self.at].addresses
        number = LANS[self.lan].number
        return f"192.168.{number}.{self.number}", f"fd00:{number}::{self.number}"

    @property
    def title(self) -> str:
        """Its name as virsh shows it."""
        return self.name or self.key


GUESTS = {
    guest.key: guest
    for guest in (
        LabGuest("web1", 10),
        LabGuest("mail", 11),
        LabGuest("quotes", 12, name="we\"b 'two'"),
        LabGuest("space", 13, name=" leading space"),
        LabGuest("long", 14, name="n" * 200),
        LabGuest("wide", 15, name="名" * 80),
        LabGuest("numbered", 16),
        LabGuest("old", 17),
        LabGuest("new", 18, at="old", off=True),
        LabGuest("brief", 19),
        LabGuest("idle", 20, off=True),
        LabGuest("whole", 21),
        LabGuest("part", 22),
        LabGuest("inward", 23),
        LabGuest("app", 30, "second"),
        LabGuest("app2", 31, "second"),
        LabGuest("cards", 32, "second", more="default"),
        LabGuest("desk", 40, "quiet"),
        LabGuest("vault", 50, "isolated"),
        LabGuest("vault2", 51, "isolated"),
        LabGuest("router", 60, "routed"),
        LabGuest("router2", 61, "routed"),
        LabGuest("wing", 70, "open"),
        LabGuest("wing2", 71, "open"),
    )
}


def neighbour_of(guest: str) -> str:
    """Another guest of the same network."""
    lan = GUESTS[guest].lan
    return next(g.key for g in GUESTS.values() if g.lan == lan and g.key != guest)


def stranger_to(guest: str) -> str:
    """A guest of another network, one whose guests publish nothing."""
    return "web1" if GUESTS[guest].lan == "quiet" else "desk"
