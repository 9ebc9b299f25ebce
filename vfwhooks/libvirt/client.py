"""Questions to libvirtd: which guests run; and DHCP reservations made by libvirtd.

A hook never calls this module, and nobody calls it with our lock held: libvirtd waits
for the hook of a guest that it holds, and the hook would wait for libvirtd.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any

from ..values.errors import VfwError
from ..values.guests import Guest
from ..values.published import Address
from .xml import has_dhcp, parse_domain, parse_networks

URIS = {"qemu": "qemu:///system", "lxc": "lxc:///system", "libxl": "xen:///system"}


@dataclass(frozen=True)
class Answer:
    """The running guests of the drivers that answered. The other drivers are
    unknown."""

    guests: tuple[Guest, ...]
    drivers: tuple[str, ...]


def running_guests(libvirt: Any = None) -> Answer:
    """Every running guest of every driver that libvirtd has.

    `libvirt` is the Python module. Raises VfwError if no libvirtd answers.
    """
    libvirt = libvirt or load_libvirt()
    guests: list[Guest] = []
    drivers, reasons = [], []
    for driver, uri in URIS.items():
        try:
            active = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
            guests += _guests(libvirt, uri, driver, active)
        except libvirt.libvirtError as error:
            reasons.append(str(error))
        else:
            drivers.append(driver)
    if not drivers:
        raise VfwError(f"no libvirtd answers: {reasons[0]}")
    return Answer(tuple(guests), tuple(drivers))


def defined_guests() -> list[Guest]:
    """Every guest, running or not, of the drivers that answer; none if none does."""
    guests: list[Guest] = []
    with suppress(VfwError):
        libvirt = load_libvirt()
        for driver, uri in URIS.items():
            with suppress(libvirt.libvirtError):
                guests += _guests(libvirt, uri, driver, 0)
    return guests


def _guests(libvirt: Any, uri: str, driver: str, which: int) -> list[Guest]:
    """The guests of a driver. Raises libvirtError if the daemon ends meanwhile: the
    guests that it has not listed may still run."""
    guests = []
    with closing(libvirt.openReadOnly(uri)) as connection:
        for domain in connection.listAllDomains(which):
            try:
                guests.append(parse_domain(domain.XMLDesc().encode(), driver))
            except libvirt.libvirtError as error:
                # The guest may have stopped since the list was made.
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
    return guests


def known_guests() -> set[tuple[str, str]]:
    """Name and UUID of all guests, running or not, of the drivers that answer."""
    libvirt = load_libvirt()
    known: set[tuple[str, str]] = set()
    for uri in URIS.values():
        try:
            connection = libvirt.openReadOnly(uri)
        except libvirt.libvirtError:
            continue
        try:
            with closing(connection):
                for domain in connection.listAllDomains(0):
                    known.add((domain.name(), domain.UUIDString()))
        except libvirt.libvirtError as error:
            raise VfwError(f"libvirtd: {error}") from error
    return known


def guests_known_soon(
    patience: float = 2.0,
    ask: Callable[[], set[tuple[str, str]]] = known_guests,
) -> set[tuple[str, str]]:
    """The answer of `known_guests`, or an empty set if libvirtd fails or takes more
    than `patience` seconds. A daemon that hangs must not delay a command for a side
    question."""
    found: set[tuple[str, str]] = set()

    def answer() -> None:
        with suppress(VfwError):
            found.update(ask())

    thread = Thread(target=answer, daemon=True)
    thread.start()
    thread.join(patience)
    return set() if thread.is_alive() else found


def reserve(name: str, mac: str, address: Address) -> bool:
    """Reserve the address for the MAC in the network's DHCP.

    The running network and, unless the network is transient, its definition are
    changed. Returns False if both have the reservation already. Raises VfwError.
    """
    libvirt = load_libvirt()
    try:
        connection = _open(libvirt)
        network = connection.networkLookupByName(name)
        parts = [(0, libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE)]
        if network.isPersistent():
            persistent = libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
            parts.append((libvirt.VIR_NETWORK_XML_INACTIVE, persistent))
        missing = [
            flag
            for which, flag in parts
            if not _has(network.XMLDesc(which).encode(), mac, address)
        ]
        for flag in missing:
            network.update(
                libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST,
                libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST,
                -1,
                f"<host mac='{mac}' ip='{address}'/>",
                flag,
            )
        connection.close()
    except libvirt.libvirtError as error:
        raise VfwError(f"network {name}: {error}") from error
    return bool(missing)


def _has(data: bytes, mac: str, address: Address) -> bool:
    """Whether the network has this reservation; VfwError if it cannot have it."""
    network = parse_networks(data)[0]
    where = f"network {network.name}"
    if not has_dhcp(data):
        raise VfwError(f"{where} has no DHCP", "set the address inside the guest")
    others = "virsh net-update NETWORK delete ip-dhcp-host removes a reservation"
    for whose, addresses in network.reservations.items():
        if address in addresses and whose != mac:
            raise VfwError(f"{address} is reserved for {whose} on {where}", others)
    have = [one for one in network.reservations.get(mac, []) if one.version == 4]
    if have and address not in have:
        which = ", ".join(map(str, have))
        what = f"{mac} has {which} reserved on {where}, not {address}"
        raise VfwError(what, others)
    return bool(have)


def load_libvirt() -> Any:
    """The module libvirt. The import costs 28 ms; without a handler it prints
    errors."""
    try:
        import libvirt  # type: ignore[import-untyped]  # no stubs
    except ImportError as error:
        raise VfwError(f"libvirt-python: {error}", "install python3-libvirt") from error
    libvirt.registerErrorHandler(lambda *_: None, None)
    return libvirt


def _open(libvirt: Any) -> Any:
    """A connection that may change networks, from the first driver that answers."""
    reasons = []
    for uri in URIS.values():
        try:
            return libvirt.open(uri)
        except libvirt.libvirtError as error:
            reasons.append(str(error))
    raise VfwError(f"no libvirtd answers: {reasons[0]}")
