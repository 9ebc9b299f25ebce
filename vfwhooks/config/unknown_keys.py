"""Hints for unknown keys: words of other tools, and keys at a wrong level."""

from __future__ import annotations

import re
from difflib import get_close_matches
from ipaddress import ip_network

from ..values.errors import VfwError, show
from .forwards_keys import DEFAULTS, DOCUMENT, GUEST, PATTERN, PORT
from .value_syntax import parse_ports, parse_short
from .yaml_nodes import Items, Node, Pairs, Text, listed, pairs

# The words of other tools for each key, without dashes and in small letters.
_OTHERS_WORDS = {
    "published": "hostport publicport externalport listenport sourceport srcport dport"
    " port ports host public external listen from expose",
    "target": "guestport containerport privateport internalport toport destport"
    " destinationport dstport vmport guest container internal private to dest"
    " destination",
    "protocol": "proto protocols type",
    "host_ip": "hostaddress hostaddr listenaddress listenip bindaddress bindip bind ip"
    " publicaddress externalip onip",
    "allow_from": "sourceip sourceaddress source sources sourcerange sourceranges src"
    " srcip allow allowed allowedips allowlist whitelist clients remoteip",
    "address": "privateip guestip vmip internalip ipaddress addr",
    "network": "interface net nic",
    "bridge": "hostbridge br virtualswitch vswitch",
}
_OF_A_GUEST_ALONE = {
    "address": "ip host guest",
    "ports": "port portmap portrange forward forwards portforward portforwards",
}
_OF_A_PORT = {
    word: ours for ours, words in _OTHERS_WORDS.items() for word in words.split()
}
_OF_A_GUEST = _OF_A_PORT | {
    word: ours for ours, words in _OF_A_GUEST_ALONE.items() for word in words.split()
}
# Keys that only the hooks.json of a hook script has; many users come from such a file.
_HOOKS_JSON = {"private_ip", "port_map", "port_range", "source_ip"}


def hint(key: Text, value: Node, keys: tuple[str, ...], beside: Pairs) -> str:
    """The hint for an unknown key in the mapping `beside` of the known `keys`."""
    word = key.value
    if word[:1].isdigit() and isinstance(value, Text) and value.value:
        return f"a port has no blank in it: [{show(f'{word}:{value.value}')}]"
    name, colon, rest = word.partition(":")
    if colon and rest and name in (*DOCUMENT, *DEFAULTS, *GUEST, *PORT):
        return f"write a blank after the colon: {name}: {show(rest)}"
    found = _of_another_level(word, keys)
    if not found and keys == DOCUMENT:
        found = _of_no_level(key, value)
        if found and _says_none(beside):
            found += ", and write guests: without {}"
    elif not found and keys in (GUEST, PATTERN, PORT):
        found = _of_others(word, value, keys)
    if found:
        return found
    near = get_close_matches(word.lower().replace("-", "_"), keys, 1)
    return f"did you mean {near[0]}" if near else f"known: {', '.join(keys)}"


def _of_another_level(word: str, keys: tuple[str, ...]) -> str:
    """The right level of a known key that stands too far out or in."""
    if keys == DOCUMENT and word in DEFAULTS:
        return "it stands below defaults:, or below a guest, indented"
    if keys == DOCUMENT and word in (*GUEST, *PORT):
        return "it is a key of a guest: indent it below the guest's name"
    if keys == PATTERN and word in GUEST:
        return "it is one guest's own: write the guest below guests:"
    if keys in (GUEST, PATTERN) and word in PORT:
        return "it is a key of a port: ports: [{published: 8080}]"
    if keys == PORT and word == "public_ip":
        return "write host_ip for this port; public_ip is a guest's, beside ports:"
    if keys == PORT and word in GUEST:
        return f"it is a key of the guest: write {word}: beside ports:"
    if keys in (GUEST, PATTERN, PORT) and word in DOCUMENT:
        return "it is the file's: it begins in column 1"
    return ""


def _of_no_level(key: Text, value: Node) -> str:
    """The hint for guests at the top of the file, without guests: above them."""
    name = show(key.value)
    inner = pairs(value)
    if _HOOKS_JSON & inner.keys():
        ports = ", ".join(_mapped(inner)) or "8080:80"
        what = "as in hooks.json of another hook"
        return f"{what}; write below guests:, indented, {name}: [{ports}]"
    if is_guest(value):
        return f"is it a guest? indent {name}: below guests:"
    return ""


def _says_none(document: Pairs) -> bool:
    """Whether guests: {} stands in the file."""
    guests = pairs(document).get("guests")
    return isinstance(guests, Pairs) and not guests.nodes


def is_guest(node: Node) -> bool:
    """Whether the node looks like the value of a guest's name."""
    if isinstance(node, Pairs):
        return bool(pairs(node).keys() & {*GUEST, *_HOOKS_JSON})
    if isinstance(node, Items):
        return all(not isinstance(one, Items) for one in node.nodes)
    return ":" in node.value and _is_port(node.value)


def _mapped(guest: dict[str, Node]) -> list[str]:
    """The ports of a port_map, in the spelling of forwards.yaml."""
    found = []
    for protocol, node in pairs(guest.get("port_map")).items():
        end = "" if protocol == "tcp" else f"/{show(protocol)}"
        for one in node.nodes if isinstance(node, Items) else ():
            words = [show(word.value) for word in listed(one) if isinstance(word, Text)]
            found.append(":".join(words) + end)
    return found


def _of_others(word: str, value: Node, keys: tuple[str, ...]) -> str:
    """Our key for another tool's word; a port or an address as its value decides
    between two meanings."""
    plain = re.sub("[^a-z0-9]", "", word.lower())
    ours = (_OF_A_PORT if keys == PORT else _OF_A_GUEST).get(plain, "")
    text = value.value if isinstance(value, Text) else ""
    if plain in [key.replace("_", "") for key in keys]:
        return f"did you mean {keys[[k.replace('_', '') for k in keys].index(plain)]}"
    if ours == "address" and keys == GUEST and _is_port(text):
        ours = "published" if plain == "host" else "target"
    if ours in ("host_ip", "allow_from") and _is_port(text):
        ours = "published"
    elif ours == "published" and _is_network(text):
        ours = "allow_from" if plain in ("from",) or "/" in text else "host_ip"
    elif ours == "target" and _is_network(text):
        ours = "address"
    if ours in keys:
        return f"write {ours}"
    if ours in PORT:
        return f"write {ours}, which is a key of a port: ports: [{{published: 8080}}]"
    return f"write {ours}: beside ports:, which is a key of the guest" if ours else ""


def _is_port(text: str) -> bool:
    try:
        parse_short(text) if ":" in text else parse_ports(text)
    except VfwError:
        return False
    return True


def _is_network(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return not text.isdigit()
