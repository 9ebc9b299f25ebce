"""Base rulesets as text, rendered from the templates; they have no entry of any guest.

Only this module imports Jinja2. The compiled configuration keeps the rendered texts, so
that a hook can restore a base ruleset without this import.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..store.files import find_templates
from ..values.connection_marks import MARKS, MASQUERADE_BIT, RETURN_BITS, return_mark
from .nft_names import IN_LIBVIRTS

TEMPLATES = find_templates(__file__.rsplit("/", 2)[0])


@dataclass(frozen=True)
class Family:
    """The words in which IPv4 and IPv6 differ in a ruleset."""

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
    """One list of source ranges: its chain, and its networks by family number."""

    chain: str
    sources: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Value:
    """One value of a connection's mark for a return route, and the mark as text."""

    number: int
    mark: str


@dataclass(frozen=True)
class Marks:
    """Our bits of a connection's mark. `has_return`: a forward has return_path.
    `has_masquerade`: a forward has masquerade."""

    has_return: bool = False
    has_masquerade: bool = False
    bits: str = f"{RETURN_BITS:#x}"
    others: str = f"{RETURN_BITS ^ 0xFFFFFFFF:#x}"
    masquerade: str = f"{MASQUERADE_BIT:#x}"
    values: tuple[Value, ...] = tuple(Value(n, f"{return_mark(n):#x}") for n in MARKS)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def render_base_rulesets(
    allows: tuple[Allow, ...], marks: Marks = Marks()
) -> dict[str, str]:
    """The text of every base ruleset by its part: own, 4, 6, iptables4, iptables6."""
    environment = _environment()
    nftables = environment.get_template("nftables.j2")
    libvirts = environment.get_template("libvirt_network.j2")
    iptables = environment.get_template("iptables.j2")
    texts = {"own": nftables.render(families=FAMILIES, allows=allows, marks=marks)}
    for family in FAMILIES:
        texts[family.number] = libvirts.render(family=family, ours=IN_LIBVIRTS)
        texts["iptables" + family.number] = iptables.render(
            family=family, allows=allows, marks=marks
        )
    return texts
