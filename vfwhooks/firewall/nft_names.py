"""The names of our nf_tables tables, chains, sets and maps, and of libvirt's tables
with our chain. The kernel holds these names, so no release changes them."""

from __future__ import annotations

from functools import cache

from ..values.entries import PUBLISHING, Accept, Entry, Exempt, entry_family
from ..values.published import Family

OWN = "vfwhooks"  # our table
BASE_CHAINS = "raw", "prerouting", "output", "back", "input", "postrouting"
LIBVIRT = "libvirt_network"  # libvirt's tables
IN_LIBVIRTS = "vfwhooks"  # our chain, and our set, in each of libvirt's tables
LIBVIRTS_CHAINS = ("guest_cross", "guest_input", "guest_output")
NFT = 10 << 8  # the kinds of netlink messages about nf_tables
# Family and table of each part: the family by number (for netlink) and by name.
PARTS = {
    "own": (1, "inet", OWN),
    "4": (2, "ip", LIBVIRT),
    "6": (10, "ip6", LIBVIRT),
}
# Our families by what nft calls the family of a table.
FAMILIES = {"ip": "4", "ip6": "6", "inet": "46"}


def set_name(entry: Entry) -> str:
    """The set or map that holds the entry. Its name has the verb, the family, `_any`
    (every local address) and `_range`, or `_all` (a whole address)."""
    if isinstance(entry, Accept):
        return IN_LIBVIRTS
    if not isinstance(entry, PUBLISHING):
        return f"{entry.verb}{entry_family(entry)}"
    one, verb = entry.published, entry.verb
    is_range = one.is_range and not isinstance(entry, Exempt)
    return _set_name(verb, one.family, one.is_one_to_one, one.host is None, is_range)


@cache  # a name a kind, not one an entry
def _set_name(
    verb: str, family: Family, is_all: bool, is_any: bool, is_range: bool
) -> str:
    if is_all:
        return f"{verb}{family}_all"
    return f"{verb}{family}{'_any' if is_any else ''}{'_range' if is_range else ''}"
