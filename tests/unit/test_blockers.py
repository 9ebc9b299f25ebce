"""blockers: what files and chains say; firewalls themselves: tests/e2e."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vfwhooks.diagnosis.blockers import find_blockers
from vfwhooks.host.netlink import Netlink, attribute, named, nested
from vfwhooks.host.run import Run


class Chains(Netlink):
    """A kernel with these base chains: family, table, name, hook, type, policy."""

    def __init__(self, *chains: tuple[int, str, str, int, str, int]) -> None:
        self._chains = chains

    def dump(
        self, one: bytes, is_wanted: Callable[[bytes], bool] | None = None
    ) -> list[tuple[int, bytes]]:
        return [(0, self._answer(*chain)) for chain in self._chains]

    @staticmethod
    def _answer(
        family: int, table: str, name: str, hook: int, kind: str, policy: int
    ) -> bytes:
        place = nested(4, attribute(1, hook.to_bytes(4, "big")))
        about = named(1, table) + named(3, name) + place + named(7, kind)
        about += attribute(5, policy.to_bytes(4, "big"))
        return bytes((family, 0, 0, 0)) + about


class Nft(Run):
    """nft, which lists a chain as this text."""

    def __init__(self, listed: str = "") -> None:
        super().__init__()
        self.listed = listed

    def __call__(self, argv: list[str], text: str = "") -> str:
        return self.listed


def put(root: Path, **texts: str) -> str:
    """A root directory with these files, named by their last word."""
    places = {
        "conf": "etc/firewalld/firewalld.conf",
        "four": "proc/sys/net/ipv4/ip_forward",
        "six": "proc/sys/net/ipv6/conf/all/forwarding",
    }
    for name, text in texts.items():
        path = root / places[name]
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return str(root)


INET, IP, IP6, BRIDGE = 1, 2, 10, 7
FORWARD, DROP, ACCEPT = 2, 0, 1
SITE = INET, "site", "routed", FORWARD, "filter", DROP


def test_a_host_without_blockers(tmp_path: Path) -> None:
    """Forwarding is on, and nobody drops."""
    root = put(tmp_path, four="1\n", six="1\n")

    assert find_blockers({}, [], Chains(), Nft(), root) == []


def test_forwarding_that_is_off(tmp_path: Path) -> None:
    """Each family by itself."""
    root = put(tmp_path, four="1\n", six="0\n")

    found = find_blockers({}, [], Chains(), Nft(), root)

    cure = "run: sysctl -w net.ipv6.conf.all.forwarding=1"
    said = f"IPv6 forwarding is off; {cure}"
    assert [(one.family, str(one)) for one in found] == [("6", said)]


@pytest.mark.parametrize(
    ("line", "is_strict"),
    [
        ("StrictForwardPorts=yes", True),
        ("StrictForwardPorts = Yes", True),
        ("StrictForwardPorts=no", False),
        ("# StrictForwardPorts=yes", False),
    ],
)
def test_firewalld(tmp_path: Path, line: str, is_strict: bool) -> None:
    """Its switch counts while it runs: then its table is there."""
    root = put(tmp_path, conf=f"DefaultZone=public\n{line}\n")
    firewalld = INET, "firewalld", "filter_FORWARD", FORWARD, "filter", ACCEPT

    runs = find_blockers({}, [], Chains(firewalld), Nft(), root)
    does_not = find_blockers({}, [], Chains(), Nft(), root)

    assert ([one.family for one in runs], does_not) == (["4", "6"] * is_strict, [])


CHAINS = {
    "another's, which drops": (SITE, "46"),
    "of one family": ((IP, "site", "routed", FORWARD, "filter", DROP), "4"),
    "of the other family": ((IP6, "site", "routed", FORWARD, "filter", DROP), "6"),
    "which accepts": ((INET, "site", "routed", FORWARD, "filter", ACCEPT), ""),
    "on another hook": ((INET, "site", "input", 1, "filter", DROP), ""),
    "of another type": ((INET, "site", "routed", FORWARD, "route", DROP), ""),
    "of a bridge": ((BRIDGE, "site", "routed", FORWARD, "filter", DROP), ""),
    "libvirt's": ((IP, "libvirt_network", "forward", FORWARD, "filter", DROP), ""),
}


@pytest.mark.parametrize("name", CHAINS)
def test_base_chains(tmp_path: Path, name: str) -> None:
    """Whose packets a chain is in the way of."""
    chain, families = CHAINS[name]

    found = find_blockers({}, [], Chains(chain), Nft(), str(tmp_path))

    assert "".join(one.family for one in found) == families


@pytest.mark.parametrize(
    ("rule", "is_cured"),
    [
        ("ct status dnat accept", True),
        ('ct status dnat counter accept comment "guests"', True),
        ("ct status dnat tcp dport 80 accept", False),
        ("ct status dnat jump elsewhere", False),
    ],
)
def test_the_cure_is_known_again(tmp_path: Path, rule: str, is_cured: bool) -> None:
    """Just that rule, whether it counts or not; others are not understood."""
    listed = f"table inet site {{\n\tchain routed {{\n\t\t{rule}\n\t}}\n}}\n"

    found = find_blockers({}, [], Chains(SITE), Nft(listed), str(tmp_path))

    assert (found == []) is is_cured


def test_a_cure_for_one_bridge(tmp_path: Path) -> None:
    """What lets everything out to a bridge is known as well; others are still shut."""
    rules = 'iifname "lo" accept\n\t\toifname "virbr0" accept'
    listed = f"table ip site {{\n\tchain routed {{\n\t\t{rules}\n\t}}\n}}\n"
    chain = IP, "site", "routed", FORWARD, "filter", DROP
    bridges = ["virbr0", "virbr1"]

    found = find_blockers({}, bridges, Chains(chain), Nft(listed), str(tmp_path))
    without = find_blockers({}, bridges, Chains(chain), Nft(), str(tmp_path))

    assert [one.bridge for one in found] == ["virbr1"]
    assert [one.bridge for one in without] == [""]
