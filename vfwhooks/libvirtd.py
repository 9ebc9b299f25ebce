"""Asking libvirtd which guests run. Never from a hook, never while holding our lock:
libvirtd waits for the hook of a guest that it holds, and would wait for us.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import VfwError
from .libvirtxml import parse_domain
from .model import Guest

_URIS = {"qemu": "qemu:///system", "lxc": "lxc:///system", "libxl": "xen:///system"}


@dataclass(frozen=True)
class Answer:
    """The running guests, and the drivers that answered: of others nothing is known."""

    guests: tuple[Guest, ...]
    drivers: tuple[str, ...]


def running_guests() -> Answer:
    """Every running guest of every driver that libvirtd has.

    Raises VfwError when no libvirtd answers at all.
    """
    try:
        import libvirt  # type: ignore[import-untyped]  # no stubs; 28 ms
    except ImportError as error:
        raise VfwError(f"libvirt-python: {error}", "install python3-libvirt") from error
    libvirt.registerErrorHandler(lambda *_: None, None)
    guests: list[Guest] = []
    drivers, reasons = [], []
    for driver, uri in _URIS.items():
        try:
            connection = libvirt.openReadOnly(uri)
        except libvirt.libvirtError as error:
            reasons.append(str(error))
            continue
        for domain in connection.listAllDomains(
            libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        ):
            try:
                guests.append(parse_domain(domain.XMLDesc().encode(), driver))
            except libvirt.libvirtError:
                continue  # it has stopped since it was listed
        connection.close()
        drivers.append(driver)
    if not drivers:
        raise VfwError(f"no libvirtd answers: {reasons[0]}")
    return Answer(tuple(guests), tuple(drivers))
