"""The recorded sources of tests/cases/import, of every kind: what is made of them is
put in force, and each port is answered by the guest that the source means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from product import HERE, vfwhooks
from traffic.asking import Flow
from traffic.servers import Servers

from e2e.standins import Standin, end_libvirtd

CASES = HERE / "tests/cases/import"
NUMBERS = {"web1": 50, "mail": 51, "box": 52}
EVERY = {"4": "203.0.113.1", "6": "2001:db8::1"}
MORE = ("203.0.113.5", "203.0.113.6", "203.0.113.7", "203.0.113.9")
MORE6 = ("2001:db8::5", "2001:db8::9", "2001:db8:ac10:fd01::1:10")
# What a recorded file has elsewhere, and where it is on this host.
FITTING = {"10.1.1.2": "192.168.122.50", "fd42:1::2": "fd00:122::50", " web:": " web1:"}
# The others of their kinds are tried by tests/run --long.
TWINS = "firewalld-list-all", "lxd", "nft-json", "wiki-basic", "wiki-others"
PORT = re.compile(
    r"(?:(?P<host_ip>\[[\da-f:]+\]|\d+\.[\d.]+):)?(?P<published>[\d-]+)"
    r"(?::(?P<target>[\d-]+))?(?:/(?P<protocol>\w+))?"
)


class Port(NamedTuple):
    """One port of the host, who may ask, and who is to answer at which of his."""

    client: str
    host: str
    protocol: str
    number: int
    guest: str
    target: int


def fitted(path: Path) -> str:
    """A recorded file, with this host's names and addresses."""
    text = path.read_text()
    for old, new in FITTING.items():
        text = text.replace(old, new)
    return text


def ports(text: str) -> list[Port]:
    """Every single port of a forwards.yaml, read without any code of ours."""
    found: list[Port] = []
    for guest, about in yaml.load(text, yaml.BaseLoader)["guests"].items():
        entries = about
        if "ports" in about:
            entries = about["ports"]
        elif "public_ip" in about:
            found.append(Port("outside", about["public_ip"], "tcp", 80, guest, 80))
            entries = []
        is_six = isinstance(about, dict) and ":" in about["address"][:9]
        for entry in entries:
            found += single(entry, guest, EVERY["6" if is_six else "4"])
    return found


def single(entry: Any, guest: str, every: str) -> Iterator[Port]:
    """The ports of one entry."""
    if isinstance(entry, str):
        match = PORT.fullmatch(entry)
        assert match, entry
        entry = match.groupdict()
    host = (entry.get("host_ip") or every).strip("[]")
    host = {"0.0.0.0": EVERY["4"], "::": EVERY["6"]}.get(host, host)
    client = "office" if entry.get("allow_from") else "outside"
    client = "host" if host == "127.0.0.1" else client
    first, _, last = entry["published"].partition("-")
    target = (entry.get("target") or first).partition("-")[0]
    for number in range(int(first), int(last or first) + 1):
        at = int(target) + number - int(first)
        protocol = entry.get("protocol") or "tcp"
        yield Port(client, host, protocol, number, guest, at)


class Site(NamedTuple):
    """The host, and who asks."""

    host: Host
    clients: dict[str, Net]


def is_known(host: Host, one: Standin) -> bool:
    """Whether the host has heard of both of his addresses, after he has sent something
    from each."""
    for gateway in ("192.168.122.1", "fd00:122::1"):
        one.net.udp(gateway, 9, timeout=0.1)
    heard = host.run(["ip", "neigh", "show", "dev", "virbr0"])
    known = {line.split(" ")[0] for line in heard.splitlines() if "lladdr" in line}
    return {one.address, one.ipv6} <= known


@pytest.fixture(scope="module")
def site(host: Host) -> Iterator[Site]:
    """Guests that answer at every port that a recorded file leads to. No libvirtd: it
    would say that none of them runs."""
    outside = host.outside()
    host.net.ip(
        *(f"addr add {one}/24 dev outside" for one in MORE),
        *(f"addr add {one}/64 dev outside nodad" for one in MORE6),
    )
    clients = {"outside": outside, "host": host.net}
    clients["office"] = host.outside("198.51.100.7/24", name="office")
    guests = {name: Standin(host, name, at) for name, at in NUMBERS.items()}
    end_libvirtd(host)
    texts = [fitted(path) for path in CASES.glob("*/forwards.yaml")]
    asked = {(p.guest, p.protocol, p.target) for text in texts for p in ports(text)}
    with Servers() as servers:
        for guest, protocol, number in sorted(asked):
            for family in "46":
                net = guests[guest].net
                servers.put_up(net, guest, protocol, number, family)
        for one in guests.values():
            wait_until(partial(is_known, host, one), "the host to know him")
            one.start()
        yield Site(host, clients)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(name, marks=[pytest.mark.long] if name in TWINS else [])
        for name in sorted(path.parent.name for path in CASES.glob("*/forwards.yaml"))
    ],
)
def test_served(site: Site, case: str) -> None:
    """It is imported, and put in force without a word against it; each port is answered
    by its guest at its port."""
    expected = CASES / case / "forwards.yaml"
    (recorded,) = (one for one in (CASES / case).iterdir() if one != expected)
    source, made = f"/root/{recorded.name}", "/root/made"
    site.host.write(source, fitted(recorded))
    known = (CASES / "known").read_text().split()
    options = [
        word
        for one in known
        for word in ("--interface" if one[:4] == "eth0" else "--guest", one)
    ]

    imported = vfwhooks(site.host, "import", source, "-o", made, *options)
    site.host.run(["mv", made, "/etc/vfwhooks/forwards.yaml"])
    applied = vfwhooks(site.host, "apply")
    asked = ports(fitted(expected))
    wrong = {}
    for one in asked:
        flow = Flow(site.clients[one.client], one.protocol, one.host, one.number)
        answer = flow.ask(3)
        flow.close()
        if answer.split()[:2] != [one.guest, f"{one.target}"]:
            wrong[one] = answer

    assert (applied.status, bool(asked)) == (0, True), imported.stderr + applied.stderr
    assert wrong == {}
