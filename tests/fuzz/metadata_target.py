"""Whatever stands in a domain's metadata: the guest is read all the same, its forwards
of forwards.yaml stay, and nothing is published beyond the bounds."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from lxml import etree  # type: ignore[import-untyped]  # it has no stubs

from vfwhooks.config import compiled_file
from vfwhooks.config.compiler import compile_file
from vfwhooks.config.port_mappings import METADATA, PortMapping
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.libvirt.xml import parse_domain
from vfwhooks.reconcile.planner import Planner
from vfwhooks.store.records import Record, parse_record
from vfwhooks.store.state import State
from vfwhooks.values.guests import Guest

_FILE = """\
metadata: {guests: "*", ports: [8000-8999], host_ip: [203.0.113.5, {name: a}]}
addresses: {a: 203.0.113.6}
guests:
  web1: [80, 8080:80, "203.0.113.5:8500-8600:8500-8600"]
"""
_HEAD = b"<domain><name>web1</name><uuid>u1</uuid><metadata>"
_TAIL = (
    b"</metadata><devices><interface type='network'><mac address='52:54:00:00:00:10'/>"
)
_TAIL += b"<source network='default' bridge='virbr0'/></interface></devices></domain>"
_OPEN = b"<vfwhooks:forwards xmlns:vfwhooks='urn:vfwhooks:forwards:1'>"
_CLOSE = b"</vfwhooks:forwards>"
SEEDS = (
    _OPEN
    + b"<vfwhooks:portForward proto='tcp' address='203.0.113.5' overListener='yes'>"
    b"<vfwhooks:range start='8080' end='8090' to='80'/>"
    b"<vfwhooks:range start='8085' exclude='yes'/>"
    b"<vfwhooks:allowFrom address='198.51.100.0' prefix='24'/></vfwhooks:portForward>"
    + _CLOSE,
    _OPEN + b"<vfwhooks:portForward proto='udp' name='a'><vfwhooks:range start='8001'/>"
    b"</vfwhooks:portForward><vfwhooks:publicIp address='203.0.113.7' outgoing='no'/>"
    + _CLOSE,
    b"<app:x xmlns:app='urn:app'><app:y/></app:x>" + _OPEN + _CLOSE,
)
WORDS = (
    b"<vfwhooks:range start='1' end='65535'/>",
    b"<vfwhooks:range start='8700' end='8710'/>",
    b"<vfwhooks:portForward proto='sctp'>",
    b"<vfwhooks:publicIp address='203.0.113.5'/>",
    b" dev='eth0'",
    b" masquerade='yes'",
    b" to='65535'",
    b"&#10;",
    b"&amp;",
    b"&e;",
    b"<!--",
    b"-->",
    b"<?p ?>",
    b"<![CDATA[x]]>",
    b"<!DOCTYPE d [<!ENTITY e 'x'>]>",
    b" xmlns:vfwhooks='urn:other'",
    b"<a>" * 150,
    b"<a/>" * 3000,
    b"x" * 300_000,
)


@cache
def _compiled() -> compiled_file.Compiled:
    path = Path(f"/dev/shm/vfwhooks-fuzz-{os.getpid()}/metadata")
    path.mkdir(parents=True, exist_ok=True)
    (path / "forwards.yaml").write_text(_FILE)
    state = State(str(path / "state"))
    assert compile_file(path / "forwards.yaml", state) == []
    found = compiled_file.load(state.path)
    assert found
    return found


def metadata(data: bytes) -> object:
    """As a fuzzer writes it, or mended until it is XML, as libvirt would have it."""
    inner = data.replace(b"</metadata", b"</metadatb")
    return _look(inner if len(data) % 3 == 0 else _mended(inner))


def _mended(inner: bytes) -> bytes:
    parser = etree.XMLParser(recover=True, resolve_entities=False, no_network=True)
    try:
        root = etree.fromstring(b"<metadata>" + inner + b"</metadata>", parser)
    except etree.XMLSyntaxError:
        return b""
    return b"" if root is None else b"".join(map(etree.tostring, root))


def _look(inner: bytes) -> Guest:
    guest = parse_domain(_HEAD + inner + _TAIL, "qemu")
    assert [guest.name, guest.uuid, len(guest.nics)] == ["web1", "u1", 1]
    record = Record(guest, 1, 2, [], [])
    assert parse_record(record.text()).guest == guest
    assert len(guest.metadata) <= 64 << 10
    settings = Planner(_compiled(), Inventory("/nowhere")).settings(guest)
    written = [one for one in settings.forwards if one.source != METADATA]
    assert [one.first for one in written] == [80, 8080, 8500]
    for one in settings.forwards[len(written) :]:
        assert _is_within(one), one
    assert (settings.public, settings.one_to_one, settings.over) == ([], [], set())
    more = settings.from_metadata
    assert not any("Error" in fault for fault in (more.faults if more else ()))
    return guest


def _is_within(one: PortMapping) -> bool:
    """By the numbers of the file above, written out once more."""
    is_free = not one.first <= 8080 <= one.last or str(one.protocol) != "tcp"
    is_free &= str(one.host) != "203.0.113.5" or one.last < 8500 or one.first > 8600
    return (
        8000 <= one.first <= one.last <= 8999
        and str(one.host) in ("203.0.113.5", "203.0.113.6")
        and (is_free or str(one.protocol) != "tcp")
    )
