"""Skeletons as text, from the templates; nothing of a guest is in them.

Jinja2 lives here alone. What is rendered is kept with the compiled configuration, so
that a hook which has to restore a skeleton does not import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .files import find_templates

TEMPLATES = find_templates(__file__.rpartition("/")[0])


@dataclass(frozen=True)
class Family:
    """The words that tell IPv4 from IPv6 in a ruleset."""

    number: str
    ip: str
    type: str
    loopback: str


FAMILIES = (
    Family("4", "ip", "ipv4_addr", "127.0.0.0/8"),
    Family("6", "ip6", "ipv6_addr", "::1/128"),
)


@dataclass(frozen=True)
class Allow:
    """One list of allowed sources: its chain, its networks by family number."""

    chain: str
    sources: dict[str, tuple[str, ...]]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render_skeletons(allows: tuple[Allow, ...]) -> dict[str, str]:
    """The text of every skeleton by the part of the kernel's rules that it makes."""
    environment = _environment()
    nftables = environment.get_template("nftables.j2")
    libvirts = environment.get_template("libvirt_network.j2")
    iptables = environment.get_template("iptables.j2")
    texts = {"own": nftables.render(families=FAMILIES, allows=allows)}
    for family in FAMILIES:
        texts[family.number] = libvirts.render(family=family)
        texts["iptables" + family.number] = iptables.render(
            family=family, allows=allows
        )
    return texts
