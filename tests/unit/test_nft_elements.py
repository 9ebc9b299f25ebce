"""nft_elements: entries as elements of nf_tables sets, and back."""

from __future__ import annotations

import struct
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, UUID
from unit.netlinks import nla
from vfwhooks.firewall.nft_elements import comment, decode, encode
from vfwhooks.firewall.nft_names import set_name
from vfwhooks.store.entry_text import parse_entry
from vfwhooks.values.entries import entry_family

# Every verb: an entry, and the set that it stands in.
ENTRIES = {
    "dnat 4 * tcp 8080 8080 192.168.122.10 80": "dnat4_any",
    "dnat 4 * tcp 5000 5010 192.168.122.10 5000": "dnat4_any_range",
    "dnat 4 203.0.113.5 udp 53 53 192.168.122.10 5353": "dnat4",
    "dnat 4 203.0.113.5 sctp 5000 5010 192.168.122.10 5000": "dnat4_range",
    "dnat 6 * tcp 80 80 fd00:122::10 8080": "dnat6_any",
    "dnat 6 2001:db8::5 udp 80 81 fd00:122::10 80": "dnat6_range",
    "guard 4 * tcp 8443 8443 allow_0f5c": "guard4_any",
    "guard 4 203.0.113.5 tcp 80 82 allow_0f5c": "guard4_range",
    "guard 6 2001:db8::5 tcp 80 80 allow_0f5c": "guard6",
    "reject 4 * tcp 8443 8443": "reject4_any",
    "reject 6 * tcp 80 82": "reject6_any_range",
    "reject 4 203.0.113.5 udp 80 80": "reject4",
    "left 4 192.168.122.1 udp 53 53": "left4",
    "left 6 fd00:122::1 udp 547 547": "left6",
    "hairpin 4 192.168.122.0/24": "hairpin4",
    "hairpin 6 fd00:122::/64": "hairpin6",
    "inside 4 192.168.122.0/24": "inside4",
    "inside 6 fd00:122::/64": "inside6",
    "localnet 4 virbr0": "localnet4",
    "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0": "dnat4_all",
    "dnat 6 2001:db8::7 all 0 65535 fd00:122::10 0": "dnat6_all",
    "guard 4 203.0.113.7 all 0 65535 allow_0f5c": "guard4_all",
    "reject 6 2001:db8::7 all 0 65535": "reject6_all",
    "snat 4 192.168.122.10 203.0.113.7": "snat4",
    "snat 6 fd00:122::10 2001:db8::7": "snat6",
    "masq 4 * tcp 8080 8080": "masq4_any",
    "masq 6 * udp 9000 9010": "masq6_any_range",
    "masq 4 203.0.113.5 tcp 80 80": "masq4",
    "masq 6 2001:db8::7 all 0 65535": "masq6_all",
    "back 4 203.0.113.5 tcp 80 80 eth1 1": "back4",
    "back 6 2001:db8::5 udp 80 82 enp3s0f1np1.100 15": "back6_range",
    "back 4 203.0.113.7 all 0 65535 eth1 2": "back4_all",
    "backany 4 203.0.113.5 sctp 80 80 eth1 3": "backany4",
    "backany 6 2001:db8::5 tcp 80 82 eth1 1": "backany6_range",
    "accept 4 192.168.122.10": "vfwhooks",
    "accept 6 fd00:122::10": "vfwhooks",
}


def key(value: str) -> bytes:
    """NFTA_SET_ELEM_KEY with one value in hex."""
    return nla(0x8001, nla(1, bytes.fromhex(value)))


def key_end(value: str) -> bytes:
    """NFTA_SET_ELEM_KEY_END with one value in hex."""
    return nla(0x800A, nla(1, bytes.fromhex(value)))


def data(value: str) -> bytes:
    """NFTA_SET_ELEM_DATA with one value in hex."""
    return nla(0x8002, nla(1, bytes.fromhex(value)))


@pytest.mark.parametrize(("entry", "name"), ENTRIES.items())
def test_set_of_an_entry(entry: str, name: str) -> None:
    """By verb, family, whether it is bound to an address, and whether it is a range."""
    found = set_name(parse_entry(entry))

    assert found == name


@pytest.mark.parametrize(
    ("entry", "element"),
    [
        (
            "dnat 4 * tcp 8080 8080 192.168.122.10 80",
            (key("06000000 1f900000"), data("c0a87a0a 00500000")),
        ),
        (
            "dnat 4 203.0.113.5 udp 5000 5010 192.168.122.10 5000",
            (
                key("cb007105 11000000 13880000")
                + key_end("cb007105 11000000 13920000"),
                data("c0a87a0a"),
            ),
        ),
        (
            "dnat 6 * sctp 1 1 fd00::a 2",
            (key("84000000 00010000"), data("fd00" + "00" * 13 + "0a 00020000")),
        ),
        (
            "guard 4 * tcp 80 80 allow_1",
            (
                key("06000000 00500000"),
                nla(
                    0x8002,
                    nla(
                        0x8002,
                        nla(1, b"\xff\xff\xff\xfd"),  # NFT_JUMP
                        nla(2, b"allow_1\0"),
                    ),
                ),
            ),
        ),
        ("reject 4 * tcp 80 80", (key("06000000 00500000"), b"")),
        (
            "left 4 192.168.122.1 udp 53 53",
            (key("c0a87a01 11000000 00350000"), b""),
        ),
        (
            "hairpin 4 192.168.122.0/24",
            (key("c0a87a00 c0a87a00") + key_end("c0a87aff c0a87aff"), b""),
        ),
        (
            "inside 4 10.0.0.0/8",
            (key("0a000000 00000000") + key_end("0affffff ff000000"), b""),
        ),
        (
            "dnat 4 203.0.113.7 all 0 65535 192.168.122.10 0",
            (key("cb007107"), data("c0a87a0a")),
        ),
        ("reject 4 203.0.113.7 all 0 65535", (key("cb007107"), b"")),
        (
            "snat 4 192.168.122.10 203.0.113.7",
            (key("c0a87a0a"), data("cb007107")),
        ),
        ("localnet 4 virbr0", (key("766972627230" + "00" * 10), b"")),
        ("accept 4 192.168.122.10", (key("c0a87a0a"), b"")),
        ("accept 6 fd00::a", (key("fd00" + "00" * 13 + "0a"), b"")),
    ],
)
def test_element_of_an_entry(entry: str, element: tuple[bytes, bytes]) -> None:
    """Byte for byte what the kernel's headers say."""
    _, *found = encode(parse_entry(entry))

    assert tuple(found) == element


def test_comment() -> None:
    """NFTNL_UDATA_SET_ELEM_COMMENT, with the NUL that nft expects."""
    found = comment("allow-all")

    assert found == nla(6, b"\x00\x0aallow-all\0")


@pytest.mark.parametrize(("entry", "name"), ENTRIES.items())
def test_an_element_reads_as_its_entry(entry: str, name: str) -> None:
    """Every entry comes back, with its owner."""
    one = parse_entry(entry)
    found_in, keys, value = encode(one)
    shown = f"accept{entry_family(one)}" if name == "vfwhooks" else name

    found = decode(shown, keys + value + comment(UUID))

    assert (found, found_in) == ((one, UUID, 0), name)


PORTS = st.integers(1, 65535)


@st.composite
def entries(draw: st.DrawFn) -> str:
    """Any entry that can be."""
    family = draw(st.sampled_from("46"))
    addresses = st.ip_addresses(v=4 if family == "4" else 6).map(str)
    verb = draw(st.sampled_from(["dnat", "guard", "reject", "hairpin", "inside"]))
    if verb in ("hairpin", "inside"):
        length = draw(st.integers(0, 32 if family == "4" else 128))
        subnet = ip_network(f"{draw(addresses)}/{length}", strict=False)
        return f"{verb} {family} {subnet}"
    host = draw(st.just("*") | addresses)
    protocol = draw(st.sampled_from(["tcp", "udp", "sctp"]))
    first, last = sorted([draw(PORTS), draw(st.just(1) | PORTS)])
    line = f"{verb} {family} {host} {protocol} {first} {last}"
    if verb == "guard":
        return f"{line} allow_{draw(st.from_regex('[0-9a-f]{16}', fullmatch=True))}"
    if verb == "dnat":
        target = draw(PORTS) if first == last else first
        return f"{line} {draw(addresses)} {target}"
    return line


@PROPERTY
@given(entries())
def test_any_element_reads_as_its_entry(entry: str) -> None:
    """Encoding and decoding lose nothing."""
    one = parse_entry(entry)
    _, keys, value = encode(one)

    found, owner, _ = decode(set_name(one), keys + value + comment("x"))

    assert (encode(found), owner) == (encode(one), "x")


def test_an_element_without_a_comment_is_nobodys() -> None:
    """An element that somebody else has put into our set has no owner."""
    _, keys, value = encode(parse_entry("reject 4 * tcp 80 80"))

    _, owner, _ = decode("reject4_any", keys + value)

    assert owner == ""


def test_a_comment_that_is_no_text() -> None:
    """Somebody else's comment may hold anything."""
    _, keys, _ = encode(parse_entry("reject 4 * tcp 80 80"))

    _, owner, _ = decode("reject4_any", keys + nla(6, b"\x00\x02\xff\xfe"))

    assert owner == "\ufffd\ufffd"


def test_a_protocol_that_has_no_name_here() -> None:
    """Somebody else's element is no entry."""
    with pytest.raises(ValueError, match="protocol 47 is none of ours"):
        decode("reject4_any", key("2f000000 00500000"))


def test_connections_are_the_counters_packets() -> None:
    """A nat counter counts a connection's first packet."""
    _, keys, value = encode(parse_entry("dnat 4 * tcp 80 80 192.168.122.10 80"))
    counter = nla(0x8002, nla(1, struct.pack(">Q", 4000)), nla(2, struct.pack(">Q", 7)))
    expression = nla(0x8007, nla(1, b"counter\0"), counter)

    _, _, connections = decode("dnat4_any", keys + value + expression)

    assert connections == 7
