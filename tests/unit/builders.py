"""Values with defaults, a host that is made up, and what a refusal says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields as all_fields
from dataclasses import is_dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from vfwhooks.config.forwards import Forward, GuestForwards
from vfwhooks.config.value_syntax import Address, PortRange, Subnet, parse_ports
from vfwhooks.config.yaml_nodes import Place
from vfwhooks.host.listeners import Listener, Range
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.store.entry_text import (
    format_entry,
    format_published,
    parse_entry,
    parse_published,
)
from vfwhooks.store.foreign_ports import hold
from vfwhooks.store.records import Record
from vfwhooks.store.state import State
from vfwhooks.values.errors import VfwError
from vfwhooks.values.foreign_claims import ForeignClaim
from vfwhooks.values.guests import Guest, Network, Nic
from vfwhooks.values.needs import parse_need
from vfwhooks.values.published import (
    Family,
    Published,
    family_of,
    parse_address,
    parse_subnet,
)

if TYPE_CHECKING:
    from vfwhooks.values.entries import Entry, Key

IPS = IPv4Address, IPv6Address
HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
RECORDED = HERE / "recorded"
DAEMONS = ("libvirt-9.0", "libvirt-11.3")
MAC = "52:54:00:00:00:10"
OTHER_MAC = "52:54:00:00:00:11"
UUID = "705828e8-a5d9-4f3b-96d5-1fd38712b873"
OTHER_UUID = "6b33ec13-96d6-4581-bc2f-38dee79d5ae5"
ANY_PYTHON = "/usr/bin/python3"

# Hypothesis keeps nothing anywhere: no directory can be made below a device.
set_hypothesis_home_dir(os.devnull + "/hypothesis")
# No deadline: a slow machine is no defect.
PROPERTY = settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# What a name may hold that comes from libvirt's argv (bytes read as UTF-8, what is
# none kept as a surrogate) or from a YAML file.
NAMES = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]),
        st.sampled_from(" %/.\n\t\\\"'<&"),
    ),
    max_size=300,
)

T = TypeVar("T")


def refusal(function: Callable[..., object], *arguments: object) -> str:
    """What the VfwError says that the call raises."""
    try:
        got = function(*arguments)
    except VfwError as error:
        return str(error)
    raise AssertionError(f"no VfwError, but {got!r}")


@contextmanager
def working_in(directory: Path) -> Iterator[None]:
    """`directory` as the working directory."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


def fields(value: Any) -> Any:
    """A value's fields, all the way down, to be compared; addresses as text."""
    if isinstance(value, (list, tuple)):
        return [fields(one) for one in value]
    if isinstance(value, dict):
        return {key: fields(one) for key, one in value.items()}
    if isinstance(value, (*IPS, IPv4Network, IPv6Network)):
        return str(value)
    if is_dataclass(value):
        return {one.name: fields(getattr(value, one.name)) for one in all_fields(value)}
    if hasattr(type(value), "__slots__"):
        return {slot: fields(getattr(value, slot)) for slot in type(value).__slots__}
    return value


def place(line: int = 1, column: int = 1, file: str = "forwards.yaml") -> Place:
    """Somewhere in forwards.yaml."""
    return Place(file, line, column)


def forward(
    published: str = "8080",
    target: str = "",
    protocol: str = "tcp",
    host_ip: Address | None = None,
    allow_from: tuple[Subnet, ...] = (),
    at: Place = Place("forwards.yaml"),  # noqa: B008 - frozen, as all that config has
) -> Forward:
    """A forward as it is written: "8080", "5000-5010"."""
    ports: PortRange = parse_ports(published)
    to = parse_ports(target) if target else ports
    return Forward(host_ip, protocol, ports, to, allow_from, at)


def guest_forwards(name: str, *forwards: Forward) -> GuestForwards:
    """What forwards.yaml says of a guest, without more than ports."""
    return GuestForwards(name, place(), forwards)


def nic(
    mac: str = MAC,
    kind: str = "network",
    network: str = "default",
    bridge: str = "virbr0",
    device: str = "vnet0",
) -> Nic:
    """An interface of a running guest on the default network."""
    return Nic(mac, kind, network, bridge, device)


def guest(
    name: str = "web1", uuid: str = UUID, nics: list[Nic] | None = None, **more: str
) -> Guest:
    """A guest with one interface."""
    driver = more.get("driver", "qemu")
    return Guest(driver, name, uuid, [nic()] if nics is None else nics)


def network(
    name: str = "default",
    bridge: str = "virbr0",
    mode: str = "nat",
    subnets: list[tuple[str, str]] | None = None,
    reservations: dict[str, list[str]] | None = None,
    backend: str = "",
) -> Network:
    """libvirt's default network."""
    inside = [("192.168.122.1", "192.168.122.0/24")] if subnets is None else subnets
    kept = {mac: addresses(*some) for mac, some in (reservations or {}).items()}
    return Network(name, bridge, mode, pairs(inside), kept, backend)


def addresses(*texts: str) -> list[Address]:
    """Addresses, in this order."""
    return list(map(parse_address, texts))


def pairs(texts: Iterable[tuple[str, str]]) -> list[tuple[Address, Subnet]]:
    """A bridge's own addresses, each with its subnet."""
    return [(parse_address(own), parse_subnet(subnet)) for own, subnet in texts]


def parsed(*lines: str) -> list[Entry]:
    """Entries, each as it is written in the state directory."""
    return [parse_entry(line) for line in lines]


def written(found: Iterable[Entry]) -> list[str]:
    """Entries as they are written there, to be compared."""
    return [format_entry(entry) for entry in found]


def at(*addresses: str) -> dict[Family, Address]:
    """Addresses by their families."""
    found = map(parse_address, addresses)
    return {family_of(address): address for address in found}


def published(text: str) -> Published:
    """What is published, as in an entry: "4 * tcp 22 22"."""
    return parse_published(text)


def keys(conflicts: dict[Key, str]) -> dict[str, str]:
    """Conflicts by what two cannot both have, to be compared."""
    return {
        f"{getattr(kind, 'verb', 'back')} {_what(what)}": reason
        for (kind, what), reason in conflicts.items()
    }


def _what(what: object) -> str:
    if isinstance(what, Published):
        return format_published(what)
    return f"{family_of(what)} {what}" if isinstance(what, IPS) else f"{what}"


def record(
    of: Guest | None = None,
    since: int = 1000,
    stamp: int = 2000,
    entries: Iterable[str] = (),
    needs: Iterable[str] = (),
) -> Record:
    """A running guest that holds nothing in the kernel; `entries` and what it needs as
    they are written."""
    held = [parse_entry(line) for line in entries]
    return Record(of or guest(), since, stamp, held, list(map(parse_need, needs)))


class Host(Inventory):
    """A host that is made up; `asked` is what was looked up, in order."""

    def __init__(
        self,
        *networks: Network,
        leases: dict[tuple[str, str], list[tuple[int, str]]] | None = None,
        neighbours: dict[tuple[str, str], list[str]] | None = None,
        holders: dict[tuple[str, str], str] | None = None,
        listeners: list[Listener] | None = None,
        default_sources: list[str] | None = None,
        first: list[str] | None = None,
        local: list[str] | None = None,
        devices: dict[str, str] | None = None,
        claims: Sequence[ForeignClaim] = (),
        silent: Sequence[str] = (),
    ) -> None:
        self.look_anew()
        self.know_taken(hold(claims))
        self._known = {network.name: network for network in networks}
        self._lease = {
            key: [(expiry, parse_address(text)) for expiry, text in some]
            for key, some in (leases or {}).items()
        }
        self._neighbour = {k: addresses(*v) for k, v in (neighbours or {}).items()}
        self._holder = holders or {}
        self._listener = listeners or []
        self._default_source = addresses(*default_sources or ())
        self._first = addresses(*first or ())
        self._local = addresses(*local or ())
        self._devices = devices or {}
        self._silent = addresses(*silent)
        self.asked: list[str] = []

    def network(self, name: str) -> Network | None:
        return self._known.get(name)

    def names(self) -> list[str]:
        return sorted(self._known)

    def leases(self, bridge: str, mac: str) -> list[tuple[int, Address]]:
        self.asked.append(f"leases {bridge} {mac}")
        return self._lease.get((bridge, mac), [])

    def neighbours(self, bridge: str, mac: str) -> list[Address]:
        self.asked.append(f"neighbours {bridge} {mac}")
        return self._neighbour.get((bridge, mac), [])

    def neighbour_at(self, bridge: str, address: Address) -> str:
        self.asked.append(f"neighbour at {bridge} {address}")
        return self._holder.get((bridge, str(address)), "")

    def is_silent(self, bridge: str, address: Address) -> bool:
        return address in self._silent

    def listeners(self, protocol: str, ranges: list[Range]) -> list[Listener]:
        found = [one for one in self._listener if one.protocol == protocol]
        return [one for one in found if any(f <= one.port <= t for f, t in ranges)]

    def is_local(self, address: Address) -> bool:
        return address in self._local

    def device_with(self, address: Address) -> str:
        return self._devices.get(str(address), "")

    def is_default_source(self, address: Address) -> bool:
        return address in self._default_source

    def is_own(self, address: Address, known: bool | None = None) -> bool:
        if self._default_source:
            return address in self._default_source
        return address in self._first if known is None else known

    def index(self, interface: str) -> int:
        return 7


def descriptors() -> list[str]:
    """The descriptors that are open in this process."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


def fresh_state(directory: Path) -> State:
    """A state directory below a test's own."""
    return State(str(directory / "state"))


def files_of(directory: Path) -> dict[str, str]:
    """Every file below a directory with its text."""
    return {
        str(path.relative_to(directory)): path.read_text(errors="surrogateescape")
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
