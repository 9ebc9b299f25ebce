"""The names of our nf_tables tables, chains, sets and maps, and of libvirt's tables
with our chain. The kernel holds these names, so no release changes them."""

from __future__ import annotations

from ..values.entries import PUBLISHING, Accept, Exempt, entry_family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..values.entries import Entry

OWN = "vfwhooks"  # our table
BASE_CHAINS = "raw", "prerouting", "output", "back", "input", "postrouting"
LIBVIRT = "libvirt_network"  # libvirt's tables
IN_LIBVIRTS = "vfwhooks"  # our chain, and our set, in each of libvirt's tables
LIBVIRTS_CHAINS = ("guest_cross", "guest_input", "guest_output")
# Family and table of each part: the family by number (for netlink) and by name.
PARTS = {
    "own": (1, "inet", OWN),
    "4": (2, "ip", LIBVIRT),
    "6": (10, "ip6", LIBVIRT),
}


def set_name(entry: Entry) -> str:
    """The set or map that holds the entry. Its name has the verb, the family, `_any`
    (every local address) and `_range`, or `_all` (a whole address)."""
    if isinstance(entry, Accept):
        return IN_LIBVIRTS
    name = f"{entry.verb}{entry_family(entry)}"
    if not isinstance(entry, PUBLISHING):
        return name
    published = entry.published
    if published.is_one_to_one:
        return f"{name}_all"
    if published.host is None:
        name += "_any"
    if published.is_range and not isinstance(entry, Exempt):
        name += "_range"
    return name
