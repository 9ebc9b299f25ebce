"""What should be published, and what the kernel publishes; imports nothing of vfwhooks.

Both sides are sets of single ports: host address (`*` for every one), protocol, port,
guest address, guest port. The expectation is read from forwards.yaml in the plainest
way; the kernel's side from `nft -j` or iptables-save.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml


class Published(NamedTuple):
    """One port of the host that leads to one port of a guest."""

    host: str
    protocol: str
    port: int
    address: str
    target: int


def expected(forwards: str, addresses: Mapping[str, list[str]]) -> set[Published]:
    """What a valid forwards.yaml publishes for the guests at these addresses."""
    tree = yaml.load(forwards, Loader=yaml.BaseLoader)
    defaults = (tree.get("defaults") or {}).get("host_ip", "*")
    found = set()
    for name, guest in tree["guests"].items():
        ports = guest["ports"] if isinstance(guest, dict) else guest
        for port in ports:
            for host, protocol, first, last, target, step in read_port(port, defaults):
                for address in addresses.get(name, []):
                    if host != "*" and (":" in host) != (":" in address):
                        continue
                    bound = "*" if host in ("0.0.0.0", "::") else host
                    for n in range(last - first + 1):
                        to = target + n * step
                        found.add(Published(bound, protocol, first + n, address, to))
    return found


def read_port(port: Any, default: str) -> Iterator[tuple[str, str, int, int, int, int]]:
    """The forwards of one entry: host address, protocol, first and last port, the first
    target, and how far the next one is."""
    if isinstance(port, dict):
        published = port.get("published") or port["target"]
        target = port.get("target") or published
        protocols = port.get("protocol", "tcp")
        hosts = port.get("host_ip", default)
        for host in hosts if isinstance(hosts, list) else [hosts]:
            for protocol in protocols if isinstance(protocols, list) else [protocols]:
                yield (host, protocol, *_numbers(published, target))
        return
    words, _, protocol = port.partition("/")
    match = re.fullmatch(r"(?:(\[.*\]|[\d.]{7,}):)?([\d-]+?)(?::([\d-]+))?", words)
    assert match, f"the oracle cannot read {port}"
    host, published, target = match.groups()
    host = (host or default).strip("[]")
    yield (host, protocol or "tcp", *_numbers(published, target or published))


def _numbers(published: str, target: str) -> tuple[int, int, int, int]:
    first, _, last = published.partition("-")
    to, _, to_last = target.partition("-")
    return int(first), int(last or first), int(to), 1 if to_last else 0


def nft_published(listing: str) -> set[Published]:
    """What `nft -j list ruleset` says our maps publish."""
    found = set()
    for item in json.loads(listing)["nftables"]:
        about = item.get("map", {})
        if about.get("table") != "vfwhooks" or not about["name"].startswith("dnat"):
            continue
        for key, value in about.get("elem", []):
            words = key["elem"]["val"] if "elem" in key else key
            *host, protocol, port = words["concat"]
            data = value["concat"] if isinstance(value, dict) else [value]
            for number, target in _ports(port, data):
                where = host[0] if host else "*"
                found.add(Published(where, protocol, number, data[0], target))
    return found


def _ports(port: Any, data: list[Any]) -> Iterator[tuple[int, int]]:
    if isinstance(port, dict):
        for number in range(port["range"][0], port["range"][1] + 1):
            yield number, number
    else:
        yield port, data[1]


_DNAT = re.compile(
    r"(?:\[.*?\] )?-A VFW-[AB]-\S+ (?:-d (\S+)/\d+ )?"
    r"-p (\w+) -m \w+ --dport (\d+)(?::(\d+))? -j DNAT --to-destination (.*)"
)


def iptables_published(save: str) -> set[Published]:
    """What iptables-save (or ip6tables-save) says our chains publish."""
    found = set()
    for line in save.split("\n"):
        match = _DNAT.fullmatch(line)
        if match:
            host, protocol, first, last, to = match.groups()
            address, target = _destination(to)
            for port in range(int(first), int(last or first) + 1):
                found.add(
                    Published(host or "*", protocol, port, address, target or port)
                )
    return found


def _destination(to: str) -> tuple[str, int]:
    match = re.fullmatch(r"\[(.*)\]:(\d+)|([\d.]+):(\d+)|(.*)", to)
    assert match
    address = match[1] or match[3] or match[5]
    return address, int(match[2] or match[4] or 0)
