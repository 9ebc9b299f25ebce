"""Cures for ports in the spelling of other tools: the right spelling for forwards.yaml.

value_syntax reads good entries; this module helps with bad ones.
"""

from __future__ import annotations

import re

from ..values.errors import VfwError, show
from ..values.protocols import PROTOCOLS
from .value_syntax import (
    PortRange,
    Short,
    parse_host_ip,
    parse_ports,
    parse_protocol,
    parse_short,
)

_PORTS = r"\d{1,5}(?:-\d{1,5})?"
_PROTOCOL = f"({'|'.join(PROTOCOLS)})"
_LONGEST = 80
_REWRITTEN = tuple(
    (re.compile(pattern, re.IGNORECASE | re.ASCII), by)
    for pattern, by in (
        (r"^[\"'“”„‘’«»\s]+|[\"'“”‘’«»\s,;]+$", ""),
        (r"\s*(?:->|=>|→|=|>|\sto\s)\s*", ":"),
        (r"(?<=\d)\s*(?:\.\.+|…|‐|‑|‒|–|—|−|~)\s*(?=\d)", "-"),
        (r"\s*([:/-])\s*", r"\1"),
        (rf"^{_PROTOCOL}[:/\s](.+)$", r"\2/\1"),
        (rf"^(.+)[:\s]{_PROTOCOL}$", r"\1/\2"),
        (rf"^({_PORTS})/{_PROTOCOL}:({_PORTS})(?:/\2)?$", r"\1:\3/\2"),
        (r"^\*:(?=.+:)", ""),
        (r"^localhost:", "127.0.0.1:"),
        (rf"^(\d+\.\d+\.\d+\.\d+|\[[\da-f:]+\]):({_PORTS})(/\w+)?$", r"\1:\2:\2\3"),
    )
)
_TWO = re.compile(rf"^(.+)/{_PROTOCOL}[^\w]+{_PROTOCOL}$", re.IGNORECASE | re.ASCII)


def parse_entry(text: str) -> Short:
    """An entry of the short syntax; address and protocol are checked as well.

    Raises VfwError, with the right spelling if the meaning is clear.
    """
    try:
        return _entry(text)
    except VfwError as error:
        raise VfwError(_instead(text) or error.message) from None


def parse_published(text: str) -> PortRange:
    """The ports of `published:`."""
    return _side("published", text)


def parse_target(text: str) -> PortRange:
    """The ports of `target:`."""
    return _side("target", text)


def parse_protocols(text: str) -> str:
    """One protocol; for two in one word, the error tells how to write a list."""
    try:
        return parse_protocol(text)
    except VfwError:
        words = dict.fromkeys(re.split(r"[^a-z]+(?:and[^a-z]+)?", text.lower()))
        if len(words) < 2 or not set(words) <= set(PROTOCOLS):
            raise
        raise VfwError(f"{show(text)}: write [{', '.join(words)}]") from None


def _entry(text: str) -> Short:
    short = parse_short(text)
    if short.host_ip:
        parse_host_ip(short.host_ip)
    if short.protocol:
        parse_protocol(short.protocol)
    return short


def _instead(text: str) -> str:
    """The message with the right spelling; '' if the meaning is not clear."""
    two = _TWO.match(text[:_LONGEST])
    if two and is_entry(f"{two[1]}/{two[2]}"):
        one, other = f"{two[1]}/{two[2].lower()}", f"{two[1]}/{two[3].lower()}"
        return f"{show(text)}: one protocol an entry; write {one} and {other}"
    new = _rewritten(text)
    if new == text or not is_entry(new):
        return ""
    return f"{show(text)}: write " + (f'"{new}"' if new.startswith("[") else new)


def _rewritten(text: str) -> str:
    new = text if len(text) <= _LONGEST else ""
    for pattern, by in _REWRITTEN:
        new = pattern.sub(by, new)
    return new


def is_entry(text: str) -> bool:
    """Whether it is a good entry of the short syntax."""
    try:
        _entry(text)
    except VfwError:
        return False
    return True


def _side(key: str, text: str) -> PortRange:
    try:
        return parse_ports(text)
    except VfwError as error:
        new = _rewritten(text)
        cure = _long_form(key, _entry(new)) if is_entry(new) else ""
        raise VfwError(
            f"{show(text)}: write {cure}" if cure else error.message
        ) from None


def _long_form(key: str, short: Short) -> str:
    """The keys with the meaning of a short entry that stands behind one key."""
    words = [f"{key}: {short.published}"]
    if short.target != short.published:
        words = [f"published: {short.published}", f"target: {short.target}"]
    if short.protocol:
        words.append(f"protocol: {short.protocol.lower()}")
    if short.host_ip and key == "published":
        words.append(f"host_ip: {short.host_ip}")
    return ", ".join(words)
