"""hairpin_mode: which ports are set, which are ours, and what a kernel may refuse. The
kernel is made up; the real one: tests/e2e/test_hairpin.py."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from unit.builders import record
from unit.netlinks import nla, text
from vfwhooks.host.netlink import Netlink
from vfwhooks.reconcile.hairpin_mode import Hairpins, is_set
from vfwhooks.store.records import Hairpin, Record

VIRBR0, LAN = 3, 4
VNET0, VNET1 = ("vnet0", "virbr0", 17), ("vnet1", "virbr0", 18)
SET_17_ON = struct.pack("=IHHIIBxHiII", 44, 19, 1, 0, 0, 7, 0, 17, 0, 0) + nla(
    0x8000 | 12, nla(4, b"\1")
)
REFUSED = "hairpin mode of vnet0 cannot be set: Operation not permitted"


def wanted(port: Hairpin) -> Hairpin:
    """The port as it is planned: nobody knows whose it is."""
    return (*port[:2], 0)


class Kernel(Netlink):
    """rtnetlink with interfaces by name: number, bridge's number, mode (None for what
    is no port). `refused` are errnos by kind of message."""

    def __init__(self, **links: tuple[int, int, bool | None]) -> None:
        self.links = {"virbr0": (VIRBR0, 0, None), "br-lan": (LAN, 0, None), **links}
        self.refused: dict[int, int] = {}
        self.sent: list[bytes] = []
        self.opened = 0

    def connect(self, protocol: int) -> Netlink:
        """A socket to it."""
        self.opened += protocol == 0
        return self

    def close(self) -> None:
        """Until the next time."""
        self.opened -= 1

    def ask(self, one: bytes) -> bytes:
        _, _, number = self._read(one)
        name = one[36:].rstrip(b"\0").decode()
        for link, (index, bridge, mode) in self.links.items():
            if link == name or index == number:
                head = struct.pack("=BxHiII", 0, 1, index, 0, 0)
                data = nla(1, b"\0") + nla(4, bytes([bool(mode)]))
                info = nla(18, text(4, "bridge"), nla(5, data))
                about = nla(10, struct.pack("=I", bridge)) if bridge else b""
                return head + text(3, link) + about + (b"" if mode is None else info)
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    def request(self, one: bytes) -> None:
        _, family, number = self._read(one)
        assert (family, len(one)) == (7, 44)
        self.sent.append(one)
        for link, (index, bridge, _) in self.links.items():
            if index == number:
                self.links[link] = index, bridge, one[40] == 1
                return
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    def _read(self, one: bytes) -> tuple[int, int, int]:
        _, kind, _, _, _, family, _, number, _, _ = struct.unpack_from(
            "=IHHIIBxHiII", one
        )
        if kind in self.refused:
            raise OSError(self.refused[kind], os.strerror(self.refused[kind]))
        return kind, family, number

    def modes(self) -> dict[str, bool | None]:
        """What ports there are, and their modes."""
        return {name: link[2] for name, link in self.links.items() if link[1]}


def of(*ports: Hairpin) -> Record:
    """A guest with these ports in hairpin mode."""
    found = record()
    found.hairpins = list(ports)
    return found


def carry_out(
    kernel: Kernel, old: Record | None, new: Record | None, *others: Record
) -> tuple[list[Hairpin], list[str]]:
    """Change from one record to the other; the ports that the new one has before
    anything is set, and the problems. `others` are of guests that are gone."""
    hairpins = Hairpins(kernel.connect)
    pairs = [(old, new), *((other, None) for other in others)]
    hairpins.look(pairs)
    noted = list(new.hairpins) if new else []
    assert not kernel.sent
    problems = hairpins.carry_out(pairs)
    assert kernel.opened == 0
    return noted, problems


def test_a_port_is_set() -> None:
    """By the kernel's number of it, in the bridges' own words; that it is ours is known
    before."""
    kernel = Kernel(vnet0=(17, VIRBR0, False), vnet1=(18, VIRBR0, False))

    found = carry_out(kernel, None, of(wanted(VNET0)))

    assert (found, kernel.sent) == (([VNET0], []), [SET_17_ON])
    assert kernel.modes() == {"vnet0": True, "vnet1": False}


def test_what_is_so_already_costs_nothing() -> None:
    """Ours from before stays ours; nothing is set twice."""
    kernel = Kernel(vnet0=(17, VIRBR0, True))

    found = carry_out(kernel, of(VNET0), of(wanted(VNET0)))

    assert (found, kernel.sent) == (([VNET0], []), [])


def test_a_port_that_somebody_else_has_set() -> None:
    """It is not ours, and is not set back when the key goes."""
    kernel = Kernel(vnet0=(17, VIRBR0, True))

    found = carry_out(kernel, None, of(wanted(VNET0)))
    carry_out(kernel, of(*found[0]), of())

    assert (found, kernel.sent) == (([wanted(VNET0)], []), [])


def test_a_port_is_set_back() -> None:
    """When it is not to be in hairpin mode any more; the guest's other one stays."""
    kernel = Kernel(vnet0=(17, VIRBR0, True), vnet1=(18, VIRBR0, True))

    found = carry_out(kernel, of(VNET0, VNET1), of(wanted(VNET1)))

    assert (found, kernel.modes()) == (
        ([VNET1], []),
        {"vnet0": False, "vnet1": True},
    )


def test_a_port_of_ours_that_somebody_has_set_back() -> None:
    """It is set again, and is ours still; where it is not wanted, nothing is done."""
    kernel = Kernel(vnet0=(17, VIRBR0, False))

    again = carry_out(kernel, of(VNET0), of(wanted(VNET0)))
    kernel.links["vnet0"] = 17, VIRBR0, False
    kernel.sent.clear()
    carry_out(kernel, of(VNET0), of())

    assert (again, kernel.sent) == (([VNET0], []), [])


@pytest.mark.parametrize(
    "links",
    [
        {},
        {"vnet0": (17, 0, None)},
        {"vnet0": (17, LAN, True)},
        {"vnet0": (17, LAN, False)},
        {"virbr0": (17, 0, None)},
    ],
    ids=["gone", "unplugged", "elsewhere", "elsewhere and not set", "no bridge"],
)
def test_what_is_no_port_of_that_bridge(
    links: dict[str, tuple[int, int, bool | None]],
) -> None:
    """Nothing is set, back neither, and nothing is wrong: its mode went with its
    place in the bridge."""
    kernel = Kernel(**links)

    found = carry_out(kernel, None, of(wanted(VNET0)))
    left = carry_out(kernel, of(VNET0), of())

    assert (found, left, kernel.sent) == (([wanted(VNET0)], []), ([], []), [])


def test_a_name_that_another_interface_has_now() -> None:
    """The kernel's number tells: the guest was started again without our knowing."""
    kernel = Kernel(vnet0=(20, VIRBR0, False))

    noted, problems = carry_out(kernel, of(VNET0), of(wanted(VNET0)))

    assert (noted, problems, kernel.modes()) == (
        [("vnet0", "virbr0", 20)],
        [],
        {"vnet0": True},
    )
    assert len(kernel.sent) == 1


def test_a_guest_under_another_name() -> None:
    """What its former record says of a port counts."""
    kernel = Kernel(vnet0=(17, VIRBR0, True))

    found = carry_out(kernel, None, of(wanted(VNET0)), of(VNET0))

    assert found == ([VNET0], [])


def test_a_guest_that_has_stopped() -> None:
    """Its ports go by themselves: the kernel is not asked."""
    kernel = Kernel(vnet0=(17, VIRBR0, True))
    kernel.refused = {18: errno.EPERM, 19: errno.EPERM}

    found = carry_out(kernel, of(VNET0), None)

    assert (found, kernel.sent) == (([], []), [])


@pytest.mark.parametrize("kind", [18, 19])
def test_a_refusal(kind: int) -> None:
    """It is said, whichever message it is; what is ours stays so, and is tried again:
    to set, and to set back."""
    kernel = Kernel(vnet0=(17, VIRBR0, False))
    kernel.refused = {kind: errno.EPERM}
    noted, setting = carry_out(kernel, of(VNET0), of(wanted(VNET0)))
    kernel.links["vnet0"] = 17, VIRBR0, True
    without = of()

    _, back = carry_out(kernel, of(VNET0), without)
    still = list(without.hairpins)
    kernel.refused = {}
    carry_out(kernel, without, of())

    assert (noted, setting, back, still) == ([VNET0], [REFUSED], [REFUSED], [VNET0])
    assert kernel.modes() == {"vnet0": False}


def test_a_port_that_goes_meanwhile() -> None:
    """Between the look and the change: nothing is wrong."""
    kernel = Kernel(vnet0=(17, VIRBR0, False))
    kernel.refused = {19: errno.ENODEV}

    _, problems = carry_out(kernel, None, of(wanted(VNET0)))

    assert problems == []


def test_no_socket() -> None:
    """A problem as any other."""

    def connect(_: int) -> Netlink:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    hairpins, new = Hairpins(connect), of(wanted(VNET0))
    hairpins.look([(None, new)])
    problems = hairpins.carry_out([(None, new)])

    said = "hairpin mode of vnet0 cannot be set: Too many open files"
    assert (problems, new.hairpins) == ([said], [wanted(VNET0)])


def test_whether_a_port_is_set(tmp_path: Path) -> None:
    """As the kernel's files have it; what is no port of a bridge is neither."""
    for name, mode in (("vnet0", "0\n"), ("vnet1", "1\n")):
        port = tmp_path / "sys/class/net" / name / "brport"
        port.mkdir(parents=True)
        (port / "hairpin_mode").write_text(mode)
    (tmp_path / "sys/class/net/eth0").mkdir()

    found = [is_set(name, str(tmp_path)) for name in ("vnet0", "vnet1", "eth0", "x")]

    assert found == [False, True, None, None]
