"""public_ip and its keys: a whole address of the host for one guest."""

from __future__ import annotations

from .forwards import GuestForwards
from .forwards_keys import PUBLIC
from .value_reader import Values
from .value_syntax import parse_public_ip
from .yaml_nodes import Node, Text


def read_public(read: Values, key: Text, parts: dict[str, Node]) -> GuestForwards:
    """The guest, with the values of these keys only.

    Without `ports`, everything that comes to its addresses is forwarded.
    """
    node = parts.get("public_ip")
    if node is None:
        for word in PUBLIC:
            if word in parts:
                read.wrong(parts[word].place, f"{word} without a public_ip")
        return GuestForwards(key.value, key.place)
    return GuestForwards(
        key.value,
        key.place,
        public_ips=read.one_a_family(node, parse_public_ip),
        public_place=node.place,
        is_one_to_one="ports" not in parts,
        is_egress=read.switch(parts, "outgoing", True),
        is_hosts_own=read.switch(parts, "public_ip_of_host", False),
    )
