"""return_path_check: whether guests' answers leave as the host's own do. The routes are
made up; e2e/test_return_path.py has a kernel's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from unit.builders import addresses
from vfwhooks.config.value_syntax import Address
from vfwhooks.diagnosis.return_path_check import ReturnPath
from vfwhooks.host.routes import Routes
from vfwhooks.values.published import Family

HOST, GUEST = addresses("198.51.100.1", "192.168.122.10")
BRIDGE = 9_000_003
FIRST, SECOND = 9_000_001, 9_000_002  # no interface has such a number
MAIN, OWN = 254, 100


class MadeUp:
    """Routes by source address; interface SECOND has the host's address."""

    def __init__(self, **ways: tuple[int, int]) -> None:
        self._ways = ways

    def route_from(
        self, source: Address, by: int = 0, mark: int = 0
    ) -> tuple[int, int] | None:
        """As Routes has it."""
        if mark:
            return self._ways.get(f"marked {mark:#x}")
        return self._ways.get("guest" if by else "host")

    def holders(self, address: Address) -> list[int]:
        """The same."""
        return [SECOND]

    def own_addresses(self, family: str) -> list[Address]:
        """The same."""
        return [*addresses("192.168.122.1"), HOST, *addresses("203.0.113.1")]


def path(root: Path, rp_filter: str = "0", **ways: tuple[int, int]) -> ReturnPath:
    """A host with these ways out, all of whose interfaces filter so."""
    for name in ("all", f"interface {SECOND}"):
        conf = root / "proc/sys/net/ipv4/conf" / name
        conf.mkdir(parents=True)
        (conf / "rp_filter").write_text(f"{rp_filter}\n")
    routes = cast("Routes", MadeUp(**ways))
    return ReturnPath(routes, frozenset(addresses("192.168.122.1")), str(root))


ELSEWHERE = f"answers of {GUEST} leave by interface {FIRST}, and those of {HOST}"
RULE = f"ip rule add iif interface {BRIDGE} from {GUEST} lookup {OWN}"
CURE = f"write return_path: true, or run: {RULE}"


@pytest.mark.parametrize(
    ("ways", "rp_filter", "found"),
    [
        ({"host": (SECOND, MAIN), "guest": (SECOND, MAIN)}, "1", ""),
        (
            {"host": (SECOND, OWN), "guest": (FIRST, MAIN)},
            "0",
            f"{ELSEWHERE} by interface {SECOND}; {CURE}",
        ),
        (
            {"host": (SECOND, OWN)},
            "0",
            f"answers of {GUEST} leave nowhere, and those of {HOST}"
            f" by interface {SECOND}; {CURE}",
        ),
        ({"guest": (FIRST, MAIN)}, "0", ""),
        ({"host": (FIRST, MAIN), "guest": (FIRST, MAIN)}, "0", ""),
        ({"host": (FIRST, MAIN), "guest": (FIRST, MAIN)}, "2", ""),
        (
            {"host": (FIRST, MAIN), "guest": (FIRST, MAIN)},
            "1",
            f"interface {SECOND} drops what is answered by interface {FIRST}"
            " (rp_filter 1); run: sysctl -w"
            f" net.ipv4.conf.interface {SECOND}.rp_filter=2",
        ),
    ],
    ids=[
        "one way",
        "another table",
        "no way",
        "the host cannot either",
        "asymmetric",
        "asymmetric, loose",
        "asymmetric, strict",
    ],
)
def test_what_is_in_the_way(
    tmp_path: Path, ways: dict[str, tuple[int, int]], rp_filter: str, found: str
) -> None:
    """Where the host itself has no way out, nothing is said."""
    assert path(tmp_path, rp_filter, **ways).blocker(HOST, GUEST, BRIDGE) == found


@pytest.mark.parametrize(
    ("tables", "marked", "src_valid_mark", "found"),
    [
        ({3: OWN}, SECOND, "1", ""),
        (
            {3: OWN},
            FIRST,
            "1",
            f"{ELSEWHERE} by interface {SECOND}, return_path or not;"
            " run vfwhooks apply",
        ),
        (
            {3: OWN},
            SECOND,
            "0",
            f"net.ipv4.conf.interface {SECOND}.src_valid_mark is 0, and rp_filter 1;"
            " run vfwhooks apply",
        ),
        (
            {3: 7},
            SECOND,
            "1",
            f"return_path knows 15 tables at most, and table {OWN} is one more:"
            f" {ELSEWHERE} by interface {SECOND}; run: {RULE}",
        ),
    ],
    ids=["marked", "another rule is ahead", "the mark is not heeded", "no mark left"],
)
def test_a_forward_with_return_path(
    tmp_path: Path,
    tables: dict[int, int],
    marked: int,
    src_valid_mark: str,
    found: str,
) -> None:
    """It is judged by the route of what has our mark, and strict rp_filter by whether
    it takes account of that."""
    ways = {"host": (SECOND, OWN), "guest": (FIRST, MAIN)}
    paths = path(tmp_path, "1", **ways, **{"marked 0x3000000": (marked, OWN)})
    conf = tmp_path / f"proc/sys/net/ipv4/conf/interface {SECOND}"
    (conf / "src_valid_mark").write_text(f"{src_valid_mark}\n")

    got = replace(paths, tables=tables).blocker(HOST, GUEST, BRIDGE, True)

    assert got == found


def test_the_cure_of_ipv6(tmp_path: Path) -> None:
    """Its rules are others; rp_filter is IPv4's."""
    paths = path(tmp_path, "1", host=(SECOND, OWN), guest=(FIRST, MAIN))
    host, guest = addresses("2001:db8::1", "fd00:122::10")

    found = paths.blocker(host, guest, BRIDGE)

    cure = f"ip -6 rule add iif interface {BRIDGE} from fd00:122::10 lookup {OWN}"
    assert found.rpartition("run: ")[2] == cure


def test_addresses_that_are_reached_from_far_away(tmp_path: Path) -> None:
    """The host's own on libvirt's bridges are not."""
    assert path(tmp_path).outside(Family.IPV4) == addresses(f"{HOST}", "203.0.113.1")
