"""What reads text that others write, each as a function of bytes, with seeds.

A function may raise what its docstring in the product allows; `Finding` is what it must
never come to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fuzz import metadata_target
from fuzz.metadata_target import SEEDS, WORDS
from vfwhooks.config import compiled_file, schema
from vfwhooks.config.compiled_lines import parse_settings
from vfwhooks.config.compiler import guest_lines
from vfwhooks.config.conflicts import find_conflicts
from vfwhooks.config.pattern_warnings import find_covered
from vfwhooks.config.shared_ports import mark_shared
from vfwhooks.config.yaml_nodes import Problem
from vfwhooks.config.yaml_tree import NotRead, parse_tree
from vfwhooks.firewall.nft_elements import encode
from vfwhooks.importers.forwards_file import make_file
from vfwhooks.importers.settled_forwards import Known
from vfwhooks.importers.source_kinds import READERS, read_source
from vfwhooks.libvirt.domain_status import parse_domain_status
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.libvirt.xml import parse_domain, parse_networks
from vfwhooks.reconcile import guest_addresses
from vfwhooks.reconcile.hook_events import read_event
from vfwhooks.service.lease_changes import LeaseChanges
from vfwhooks.store import files, spool
from vfwhooks.store.records import Record, parse_guest_event, parse_record, seal
from vfwhooks.store.state import State
from vfwhooks.values.errors import VfwError
from vfwhooks.values.published import Family, parse_address

RECORDED = Path(__file__).resolve().parent.parent / "unit" / "recorded"
CASES = Path(__file__).resolve().parent.parent / "cases" / "fuzz"
MAC = "52:54:00:00:00:10"
_GUEST = {
    Family.IPV4: parse_address("192.168.122.10"),
    Family.IPV6: parse_address("fd00::10"),
}


class Target(NamedTuple):
    """A reader, what it may be given, and words that matter to it."""

    read: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()


def domain(data: bytes) -> object:
    """A domain's XML; the guest is written to a record and read again."""
    try:
        guest = parse_domain(data, "qemu")
    except VfwError:
        return None
    text = Record(guest, 1, 2, [], []).text()
    assert parse_record(text).guest == guest
    return files.file_name(guest.name)


def domstatus(data: bytes) -> object:
    """libvirt's status file of a guest."""
    try:
        found = parse_domain_status(data, "qemu")
    except VfwError:
        return None
    assert 0 <= found.pid < 1 << 31
    return found.guest


def imported(data: bytes) -> object:
    """A source of forwards, of the kind that it looks like or of any other: what is
    made of it checks clean, and nothing of it gets out of its comment."""
    text = data.decode("utf-8", "surrogateescape")
    known = Known(lambda one: (one,), lambda _: ("203.0.113.5",))
    kind = sorted(READERS)[len(data) % len(READERS)] if len(data) % 3 else ""
    try:
        _, found = read_source(text, "it", kind)
    except VfwError:
        return None
    made = make_file(found, known, "it")
    problems: list[Problem] = []
    tree = parse_tree(made.text.encode(), "it", problems)
    assert not problems
    assert len(made.left) + made.forwards > 0 or not found.forwards
    return tree


def networks(data: bytes) -> object:
    """A network's XML, libvirt's status file or hookData."""
    try:
        found = parse_networks(data)
    except VfwError:
        return None
    for network in found:
        subnets = [subnet for _, subnet in network.subnets]
        for one in _GUEST.values():
            guest_addresses.is_inside(one, subnets)
    return found


def event(data: bytes) -> object:
    """What a hook has written down, and what it means."""
    state = State(str(_scratch("state")))
    (Path(state.path) / "spool" / f"{7:020d}-7{spool.FORMAT}").write_bytes(data)
    ((_, found),) = spool.waiting(state.path)
    if found is None:
        return None
    try:
        return read_event(state, found)
    except VfwError:
        return None


def leases(data: bytes) -> object:
    """dnsmasq's leases, as hooks and as watch read them."""
    directory = _scratch("var/lib/libvirt/dnsmasq")
    (directory / "virbr0.status").write_bytes(data)
    LeaseChanges(str(directory)).news("virbr0.status")
    root = str(directory).partition("/var/lib/libvirt")[0]
    try:
        return Inventory("/nowhere", root).leases("virbr0", MAC)
    except VfwError:
        return None


def record(data: bytes) -> object:
    """A guest's record; what can be read is written the same way again."""
    try:
        found = parse_record(seal(_text(data)))
    except (ValueError, IndexError):
        return None
    again = parse_record(found.text())
    assert again.text() == found.text()
    return again


def guest_event(data: bytes) -> object:
    """An event that waits."""
    try:
        found = parse_guest_event(seal(_text(data)))
    except (ValueError, IndexError):
        return None
    assert parse_guest_event(found.text()).text() == found.text()
    return found


def compilation(data: bytes) -> object:
    """A compiled configuration: whole, or none."""
    fd = os.memfd_create("compiled")
    os.write(fd, data)
    try:
        found = compiled_file.Compiled(fd)
    except ValueError:
        os.close(fd)
        return None
    try:
        for name in ("web1", "a", *found.guests()):
            parse_settings(found.lookup(name))
            parse_settings(found.lines_of(name, "b"))
        for lines in found.patterns().values():
            parse_settings(lines)
        return found.base_rulesets()
    except (VfwError, ValueError, IndexError):
        return None
    finally:
        found.close()


def forwards(data: bytes) -> object:
    """forwards.yaml, to the lines that are compiled of it and back."""
    problems: list[Problem] = []
    # What read_forwards does with each file's tree.
    reader = schema._Reader(lambda _: ())
    try:
        tree = parse_tree(data, "forwards.yaml", problems)
        reader.names(tree)
        reader.document(tree, True)
    except NotRead as error:
        return str(error.problem)
    guests, conflicts = find_conflicts(reader.guests)
    guests = mark_shared(guests)
    found = problems + reader.read.problems + conflicts
    found += find_covered([one for one in guests if one.is_pattern])
    for problem in found:
        str(problem).encode("utf-8", "surrogateescape")
    if not found:
        for guest in guests:
            settings = parse_settings(guest_lines(guest))
            for entry in settings.entries(_GUEST):
                encode(entry)
    return found


def names(data: bytes) -> object:
    """Any name becomes one word, one file name, and comes back."""
    name = _text(data)
    word, file = files.quote(name), files.file_name(name)
    assert files.unquote(word) == name
    assert not set(word) & set(" \n\t\0")
    assert "/" not in file and file not in ("", ".", "..")
    assert len(os.fsencode(file)) <= 255
    try:
        return files.unquote(name)
    except ValueError:
        return None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _scratch(below: str) -> Path:
    """A directory of this process in memory."""
    path = Path(f"/dev/shm/vfwhooks-fuzz-{os.getpid()}") / below
    path.mkdir(parents=True, exist_ok=True)
    return path


def _recorded(*patterns: str) -> tuple[bytes, ...]:
    found = [path for one in patterns for path in sorted(RECORDED.glob(one))]
    assert found
    return tuple(path.read_bytes() for path in found)


_STARTED = _recorded("*/qemu-started.xml")
_NETWORK = _recorded("*/network-started.xml")
_YAML = b"""defaults: {host_ip: 203.0.113.5, allow_from: [10.0.0.0/8]}
guests:
  web1: [8080:80, 443, "[2001:db8::5]:443:443/udp", 5000-5010:5000-5010/udp]
  mail:
    ports: [{published: 8443, target: 443, protocol: [tcp, udp], host_ip: 203.0.113.6}]
    address: [192.168.122.50, fd00::50]
    network: default
"""
_RECORD = b"""1203344455 1203344456
guest qemu web1 6b33ec13-96d6-4581-bc2f-38dee79d5ae5
nic 52:54:00:00:00:10 network default virbr0 vnet0
off
waiting
on default
entry dnat 4 * tcp 8080 8080 192.168.122.10 80
entry guard 4 * tcp 8443 8443 allow_0f5c
entry dnat 6 fd00::1 udp 5000 5010 fd00::10 5000
entry accept 4 192.168.122.10
"""
_LEASES = b"""[
  {"ip-address": "192.168.122.10", "mac-address": "52:54:00:00:00:10",
   "hostname": "web1", "client-id": "ff:00", "expiry-time": 4000000000},
  {"ip-address": "fd00::10", "mac-address": "52:54:00:00:00:10", "expiry-time": 0}
]
"""
_COMPILED = compiled_file.build(
    "forwards.yaml 1 2 3 4",
    {"own": "table inet vfwhooks", "4": "x"},
    {"web1": ["forward * tcp 8080 8080 80 80 -", "address 10.0.0.1"], "a": []},
)
_SOURCES = sorted((CASES.parent / "import").glob("*/[!f]*")) + sorted(
    (CASES.parent / "import").glob("*/forward.yaml")
)
TARGETS = {
    "import": Target(
        imported,
        tuple(path.read_bytes() for path in _SOURCES),
        (b"192.168.122.50", b"-j DNAT", b"[", b"{", b"ports:", b"0", b"65535", b"::"),
    ),
    "domain": Target(
        domain,
        (_STARTED[0], b"<domain><name>a</name><uuid>u</uuid></domain>"),
        (
            b"<interface>",
            b"<source network='x' bridge='y'/>",
            b"&#10;",
            b"&amp;",
            b"<!DOCTYPE d>",
            b"<!DOCTYPE d [<!ENTITY e 'x'>]>",
            b"&e;",
            b"<![CDATA[",
            b"]]>",
            b"<!--",
            b"<?p ",
            b" xmlns:a='u'",
            b"<a:b>",
            b"<?xml version='1.0' encoding='utf-16'?>",
        ),
    ),
    "metadata": Target(metadata_target.metadata, SEEDS, WORDS),
    "domstatus": Target(
        domstatus,
        _recorded("*/domstatus*.xml"),
        (b"<domstatus pid='1'>", b"pid='2147483648'", b"pid='9999999999'", b"<actual>"),
    ),
    "networks": Target(
        networks,
        _recorded("*/network-started.xml", "*/run-libvirt-network-*.xml"),
        (b"prefix='64'", b"netmask='255.0.0.0'", b"family='ipv6'", b"<ip ", b"&lt;"),
    ),
    "event": Target(
        event,
        tuple(b"qemu\0web1\0started\0" + one for one in _STARTED)
        + tuple(b"network\0default\0updated\0" + one for one in _NETWORK),
        (b"\0", b"network\0", b"reconnect\0", b"stopped\0", b"\xff", b"<!DOCTYPE d>"),
    ),
    "leases": Target(leases, (_LEASES,), (b"[", b"{", b"null", b"1e999", b"-1", b'"')),
    "record": Target(record, (_RECORD,), (b"entry ", b"nic ", b"%", b"%2", b"off\n")),
    "intent": Target(
        guest_event,
        (b"started 123\nguest qemu web1 u\nnic m network default virbr0 vnet0\n",),
        (b"stopped ", b"nic ", b"%", b" "),
    ),
    "compiled": Target(
        compilation,
        (_COMPILED,),
        (b"0000000000", b"9999999999", b"-000000001", b"\n\t"),
    ),
    "forwards": Target(
        forwards,
        (_YAML, b"guests: {a: [80]}\n"),
        (b"*a", b"&a ", b"!!x ", b"<<: ", b"- ", b"[", b"{", b": ", b"|\n", b"65536"),
    ),
    "names": Target(names, (b"web1", b"..", b"a/b"), (b"/", b".", b"%", b"\xff")),
}
