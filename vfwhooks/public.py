"""public_ip and the keys about it: a whole address of the host's for one guest."""

from __future__ import annotations

from .config import Node, Text
from .forwards import GuestForwards
from .keys import PUBLIC
from .ports import parse_public_ip, parse_switch
from .values import Values


def read_public(read: Values, key: Text, parts: dict[str, Node]) -> GuestForwards:
    """The guest, with nothing but what these keys say.

    Without ports it is forwarded everything that comes to its addresses.
    """
    node = parts.get("public_ip")
    if node is None:
        for word in PUBLIC:
            if word in parts:
                read.wrong(parts[word].place, f"{word} without a public_ip")
        return GuestForwards(key.value, key.place)
    is_outgoing, is_hosts_own = True, False
    if "outgoing" in parts:
        is_outgoing = bool(read.scalar(parts["outgoing"], parse_switch))
    if "public_ip_of_host" in parts:
        is_hosts_own = bool(read.scalar(parts["public_ip_of_host"], parse_switch))
    return GuestForwards(
        key.value,
        key.place,
        public_ips=read.one_a_family(node, parse_public_ip),
        public_place=node.place,
        is_whole="ports" not in parts,
        is_outgoing=is_outgoing,
        is_hosts_own=is_hosts_own,
    )
