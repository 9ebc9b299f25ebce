"""The kinds of sources: which one a text is, its content says. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..values.errors import VfwError
from .compose_ports import read_compose
from .domain_ports import read_domain_ports
from .firewalld_zone import is_list_all, read_list_all, read_zone
from .hooks_json import read_hooks_json
from .imported import Found, unreadable
from .incus_forwards import read_incus
from .ruleset_forwards import read_rules
from .wiki_script import read_script

_SAVE = re.compile(r"(?m)^\s*\*(nat|filter|mangle|raw|security)\b")
_NFT = re.compile(r"(?m)^table \w+ [^{\n]*\{|\"nftables\"\s*:")
_SCRIPT = re.compile(r"iptables\s+.*-[AI]\s+PREROUTING")
_ROOT = re.compile(r"<(domain|zone)[\s/>]")
_KEY = re.compile(r"(?m)^(services|listen_address)[ \t]*:")


def _read_firewalld(text: str, name: str) -> Found:
    is_xml = text.lstrip()[:1] == "<"
    return read_zone(text, name) if is_xml else read_list_all(text, name)


READERS: dict[str, Callable[[str, str], Found]] = {
    "compose": read_compose,
    "domain": read_domain_ports,
    "firewalld": _read_firewalld,
    "hooks-json": read_hooks_json,
    "incus": read_incus,
    "iptables": read_rules,
    "nft": read_rules,
    "ufw": read_rules,
    "wiki": read_script,
}


def read_source(text: str, name: str, kind: str = "") -> tuple[str, Found]:
    """The kind of a source, and all that it holds. `name` is for messages.

    Raises VfwError for a text of no kind, or of another kind than is said.
    """
    if "\0" in text:
        raise VfwError(f"{name} is no text")
    kind = kind or find_kind(text, name)
    found = READERS[kind](text, name)
    if not found.forwards and not found.left:
        found.notes.append("The source holds no forward.")
    return kind, found


def find_kind(text: str, name: str) -> str:
    """The kind by content. Raises VfwError."""
    if _NFT.search(text):
        return "nft"
    if _SAVE.search(text):
        is_ufw = "ufw-before-" in text or "# rules.before" in text
        return "ufw" if is_ufw else "iptables"
    begin = text.lstrip()[:1]
    if begin == "<":
        root = _ROOT.search(text)
        if root:
            return "domain" if root[1] == "domain" else "firewalld"
    elif begin in ("{", "/"):
        return "hooks-json"
    elif is_list_all(text):
        return "firewalld"
    elif text[:2] == "#!" or _SCRIPT.search(text):
        return "wiki"
    else:
        key = _KEY.search(text)
        if key:
            return "compose" if key[1] == "services" else "incus"
    raise unreadable(
        name,
        "no kind of source that is known",
        f"--from {'|'.join(READERS)} says which",
    )
