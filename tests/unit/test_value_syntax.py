"""value_syntax: the words of one port entry."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import CHECKOUT, PROPERTY, refusal
from vfwhooks.config.value_syntax import (
    PortRange,
    Short,
    parse_address,
    parse_ports,
    parse_protocol,
    parse_short,
    parse_subnet,
)
from vfwhooks.values.errors import VfwError
from vfwhooks.values.protocols import ALL_PROTOCOLS, PROTOCOLS, Protocol

HTTP, ALT = PortRange(80, 80), PortRange(8080, 8080)
SEVERAL = "no blanks and commas in one; several are a list, [8080:80, 443]"
BRACKETS = "write an IPv6 address in [brackets], and all in quotes"


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("80", Short("", HTTP, HTTP, "")),
        ("8080:80", Short("", ALT, HTTP, "")),
        ("8080:80/udp", Short("", ALT, HTTP, "udp")),
        ("80/tcp", Short("", HTTP, HTTP, "tcp")),
        ("22:22", Short("", PortRange(22, 22), PortRange(22, 22), "")),
        ("203.0.113.5:8080:80", Short("203.0.113.5", ALT, HTTP, "")),
        ("203.0.113.5:8080:80/sctp", Short("203.0.113.5", ALT, HTTP, "sctp")),
        ("[2001:db8::5]:8080:80", Short("2001:db8::5", ALT, HTTP, "")),
        ("[::]:8080:80/udp", Short("::", ALT, HTTP, "udp")),
        ("5000-5010", Short("", PortRange(5000, 5010), PortRange(5000, 5010), "")),
        ("8000-8001:80-81", Short("", PortRange(8000, 8001), PortRange(80, 81), "")),
        ("8000-8001:80", Short("", PortRange(8000, 8001), HTTP, "")),
    ],
)
def test_short_syntax(text: str, short: Short) -> None:
    """Compose's short syntax, ranges and bracketed IPv6 included."""
    found = parse_short(text)

    assert found == short


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is not a port or a range of ports"),
        ("80/", "80/: no protocol behind the slash"),
        (":80", ":80: no published port; write it out"),
        ("1.2.3.4::80", "1.2.3.4::80: no published port; write it out"),
        ("80:", "80:: no target port; write it out"),
        ("/udp", "/udp: no port in front of the slash"),
        ("80, 443", f"80, 443: {SEVERAL}"),
        ("80:80 443:443", f"80:80 443:443: {SEVERAL}"),
        ("[80, 443]", f"[80, 443]: {SEVERAL}"),
        ("8080 : 80", f"8080 : 80: {SEVERAL}"),
        ("80\n", f"80\\n: {SEVERAL}"),
        ("80\t443", f"80\\t443: {SEVERAL}"),
        ("80:web", "'web' is not a port or a range of ports"),
        ("203.0.113.5:80", "'203.0.113.5' is not a port or a range of ports"),
        ("1:2:3:4", f"1:2:3:4: {BRACKETS}"),
        ("2001:db8::5:80:80", f"2001:db8::5:80:80: {BRACKETS}"),
        ("[::1", "[::1: write [IPv6 address]:published:target"),
        ("[::1]", "[::1]: write [IPv6 address]:published:target"),
        ("[::1]80:80", "[::1]80:80: write [IPv6 address]:published:target"),
        ("[::1]:80:80:80", "[::1]:80:80:80: write [IPv6 address]:published:target"),
        ("[::1]:80", "[::1]:80: write [IPv6 address]:published:target"),
        (":80:80", ":80:80: no address in front of the ports"),
        ("[]:80:80", "[]:80:80: no address in front of the ports"),
        ("80\x1b/", "80\\x1b/: no protocol behind the slash"),
    ],
)
def test_short_syntax_that_is_none(text: str, said: str) -> None:
    """What is not the short syntax is refused with the cure."""
    found = refusal(parse_short, text)

    assert found == said


@PROPERTY
@given(st.text(max_size=30) | st.text("0123456789:[]/.-", max_size=30))
def test_short_syntax_reads_or_refuses(text: str) -> None:
    """Any text is an entry or a VfwError, never another exception."""
    try:
        short = parse_short(text)
    except Exception as error:  # noqa: BLE001 - its type is what is tested
        found = type(error).__name__
    else:
        found = type(short).__name__

    assert found in ("Short", "VfwError")


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("1", PortRange(1, 1)),
        ("65535", PortRange(65535, 65535)),
        ("1-65535", PortRange(1, 65535)),
        ("80-80", HTTP),
        ("080", HTTP),
    ],
)
def test_ports(text: str, ports: PortRange) -> None:
    """One port is a range of one; ports are 1 to 65535, in decimal."""
    found = parse_ports(text)

    assert found == ports


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "0: ports are 1 to 65535"),
        ("65536", "65536: ports are 1 to 65535"),
        ("1-65536", "1-65536: ports are 1 to 65535"),
        ("9" * 5000, "9" * 5000 + ": ports are 1 to 65535"),
        ("81-80", "range 81-80 is reversed; write 80-81"),
        ("80-", "'80-' is not a port or a range of ports"),
        ("-80", "'-80' is not a port or a range of ports"),
        ("1-2-3", "'1-2-3' is not a port or a range of ports"),
        ("http", "'http' is not a port or a range of ports"),
        ("8_0", "'8_0' is not a port or a range of ports"),
        (" 80", "' 80' is not a port or a range of ports"),
        ("٨٠", r"'\u0668\u0660' is not a port or a range of ports"),  # another script's
        ("²", r"'\xb2' is not a port or a range of ports"),
        ("80‑90", r"'80\u201190' is not a port or a range of ports"),  # no hyphen
    ],
)
def test_ports_that_are_none(text: str, said: str) -> None:
    """Anything but one or two ports from 1 to 65535 is refused."""
    found = refusal(parse_ports, text)

    assert found == said


@PROPERTY
@given(st.integers(1, 65535), st.integers(0, 65534))
def test_ports_are_written_as_they_are_read(first: int, more: int) -> None:
    """A range's text reads as the range."""
    ports = PortRange(first, min(first + more, 65535))

    found = parse_ports(str(ports))

    assert found == ports


def test_one_port_is_written_alone() -> None:
    """A range of one is shown as a number."""
    shown = [str(PortRange(80, 80)), str(PortRange(80, 81))]

    assert shown == ["80", "80-81"]


@pytest.mark.parametrize("text", ["203.0.113.5", "0.0.0.0", "::", "2001:db8::5"])
def test_address(text: str) -> None:
    """An address of a host, or every one of a family."""
    found = parse_address(text)

    assert found == ip_address(text)


@pytest.mark.parametrize(
    "text",
    ["localhost", "1.2.3", "01.2.3.4", "1.2.3.4/32", "[::1]", "", "1.2.3.4 ", "::g"],
)
def test_address_that_is_none(text: str) -> None:
    """A name is not looked up, and a network is not an address."""
    found = refusal(parse_address, text)

    cure = "an IPv4 or IPv6 address is needed here"
    assert found == f"'{text}' is not an address: {cure}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fe80::1%eth0", "fe80::1%eth0: an address with a zone cannot be forwarded"),
        ("::1%\n", "::1%\\n: an address with a zone cannot be forwarded"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1: write 192.0.2.1"),
        ("224.0.0.1", "224.0.0.1 is not the address of one host"),
        ("ff02::1", "ff02::1 is not the address of one host"),
        ("255.255.255.255", "255.255.255.255 is not the address of one host"),
    ],
)
def test_address_that_no_host_can_have(text: str, said: str) -> None:
    """No zone, no multicast, no broadcast, and IPv4 is written as IPv4."""
    found = refusal(parse_address, text)

    assert found == said


@pytest.mark.parametrize("text", ["198.51.100.0/24", "10.0.0.1", "2001:db8::/32"])
def test_subnet(text: str) -> None:
    """A network, or one address as the network of one."""
    found = parse_subnet(text)

    assert found == ip_network(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "198.51.100.1/24",
            "198.51.100.1/24 has host bits set; write 198.51.100.0/24",
        ),
        ("2001:db8::1/32", "2001:db8::1/32 has host bits set; write 2001:db8::/32"),
        ("office", "'office' is not an address or a network like 10.0.0.0/8"),
        ("host bits", "'host bits' is not an address or a network like 10.0.0.0/8"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not an address or a network like 10.0.0.0/8"),
        ("", "'' is not an address or a network like 10.0.0.0/8"),
        ("a\nb", "'a\\nb' is not an address or a network like 10.0.0.0/8"),
        ("0.0.0.0", "nobody has the address 0.0.0.0; write 0.0.0.0/0 for everybody"),
        ("::", "nobody has the address ::; write ::/0 for everybody"),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.7: write 198.51.100.7/32"),
        ("::ffff:10.0.0.0/104", "::ffff:10.0.0.0/104: write 10.0.0.0/8"),
        ("fe80::%eth0/64", "fe80::%eth0/64: a source range has no zone"),
        ("fe80::1%eth0", "fe80::1%eth0: a source range has no zone"),
        ("fe80::%\n-A X/64", "fe80::%\\n-A X/64: a source range has no zone"),
    ],
)
def test_subnet_that_is_none(text: str, said: str) -> None:
    """Host bits are shown how to be written; a name is not looked up."""
    found = refusal(parse_subnet, text)

    assert found == said


ADDRESSES = st.sampled_from(["::", "fe80::", "::1", "10.0.0.0", "192.0.2.1", "0::%e"])


@PROPERTY
@given(ADDRESSES, st.text(max_size=8), st.sampled_from(["", "/64", "/8", "/32"]))
def test_rules_get_nothing_but_numbers(address: str, more: str, prefix: str) -> None:
    """What is taken for a source range or an address has no text of others in it: it
    goes into rules as it is."""
    found = []
    for parse in (parse_subnet, parse_address):
        for text in (address + more + prefix, address + prefix + more):
            with suppress(VfwError):
                found.append(str(parse(text)))

    assert [one for one in found if set(one) - set("0123456789abcdef:./")] == []


@pytest.mark.parametrize("text", ["tcp", "udp", "sctp", "TCP", "Udp", "sCTP"])
def test_protocol(text: str) -> None:
    """The three protocols that have ports, whose names are small letters for us."""
    found = parse_protocol(text)

    assert found == text.lower()


@pytest.mark.parametrize("text", ["TCP/IP", "icmp", "", "6", "tcp "])
def test_protocol_that_is_none(text: str) -> None:
    """Any other word is refused, and the three are named."""
    found = refusal(parse_protocol, text)

    assert found == f"'{text}' is not a protocol; write tcp, udp or sctp"


def test_there_is_one_list_of_protocols() -> None:
    """No module but that one has names or numbers of them in a row, and each protocol
    has both. What reads rulesets of others knows more of them."""
    names = {str(protocol) for protocol in Protocol} - {ALL_PROTOCOLS}
    rooms = [path for path in (CHECKOUT / "vfwhooks").iterdir() if path.is_dir()]
    paths = [p for room in rooms if room.name != "rulesets" for p in room.glob("*.py")]

    others = [path.name for path in paths if "sctp" in path.read_text().lower()]

    assert (names, others) == (set(PROTOCOLS), ["protocols.py"])
