"""xml: libvirt's XML read by lxml, compared with a DOM that expat has made."""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import unwrap
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit import oracle_xml
from unit.builders import (
    DAEMONS,
    MAC,
    PROPERTY,
    RECORDED,
    addresses,
    fields,
    pairs,
    refusal,
)
from vfwhooks.libvirt.forgotten_names import forgets_names
from vfwhooks.libvirt.xml import (
    parse_domain,
    parse_networks,
    read_xml,
)
from vfwhooks.values.errors import VfwError
from vfwhooks.values.published import find_address, parse_address

ENTITIES = (
    "<!DOCTYPE a [<!ENTITY a 'aaaa'>"
    + "".join(
        f"<!ENTITY {new} '{f'&{old};' * 99}'>" for old, new in zip("abcd", "bcde")
    )
    + "]>"
)


def recorded(pattern: str) -> list[Path]:
    """What real daemons sent."""
    return [
        path for name in DAEMONS for path in sorted(RECORDED.glob(f"{name}/{pattern}"))
    ]


def shown(path: Path) -> str:
    """A recorded file's name in a test's."""
    return str(path.relative_to(RECORDED))


@pytest.mark.parametrize("path", recorded("qemu-*.xml"), ids=shown)
def test_recorded_domain(path: Path) -> None:
    """Every domain that a real daemon sent reads as the oracle reads it."""
    data = path.read_bytes()

    found = parse_domain(data, "qemu")

    assert fields(found) == oracle_xml.domain(data, "qemu")


@pytest.mark.parametrize(
    "path", recorded("*network-*.xml") + recorded("run-*.xml"), ids=shown
)
def test_recorded_network(path: Path) -> None:
    """Every network, hookData and status file included."""
    data = path.read_bytes()

    found = parse_networks(data)

    assert fields(found) == fields([oracle_xml.network(data)])


def test_there_is_recorded_data() -> None:
    """Recorded data that is not found would be tests that cannot fail."""
    found = len(recorded("qemu-*.xml")), len(recorded("*network-*.xml"))

    assert found == (10, 11)


def test_a_started_guest() -> None:
    """What the other tests compare with the oracle, once by hand."""
    data = (RECORDED / "libvirt-9.0/qemu-started.xml").read_bytes()

    found = parse_domain(data, "qemu")

    assert fields(found) == {
        "driver": "qemu",
        "metadata": "",
        "name": "web1",
        "nics": [
            {
                "bridge": "virbr0",
                "device": "vnet0",
                "kind": "network",
                "mac": MAC,
                "network": "default",
            }
        ],
        "uuid": "705828e8-a5d9-4f3b-96d5-1fd38712b873",
    }


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=12
).filter(lambda text: not set(text) & {"\ufffe", "\uffff"})
MACS = st.from_regex(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}", fullmatch=True)
CLUTTER = st.sampled_from(
    [
        "",
        "\n  ",
        "<!-- x -->",
        "<model type='virtio'/>",
        "<mtu size='9000'/>",
        "<?pi x?>",
    ]
)


@st.composite
def interfaces(draw: st.DrawFn) -> str:
    """An interface as libvirt might write it, things left out, in any order."""
    network, bridge = quoteattr(draw(TEXT)), quoteattr(draw(TEXT))
    sources = [
        f"<source network={network} bridge={bridge}/>",
        f"<source bridge={bridge}><address type='pci'/></source>",
        f"<source network={network} portid='x'/>",
    ]
    parts = [
        f"<mac address={quoteattr(draw(MACS))}/>",
        draw(st.sampled_from(sources)),
        f"<target dev={quoteattr(draw(TEXT))}/>",
        draw(CLUTTER),
    ]
    chosen = draw(st.lists(st.sampled_from(parts), max_size=4, unique=True))
    kind = draw(st.sampled_from(["network", "bridge", "direct", "user", "hostdev"]))
    return f"<interface type='{kind}'>{''.join(chosen)}</interface>"


@st.composite
def domains(draw: st.DrawFn) -> bytes:
    """A domain with things around its interfaces that look like them."""
    nics = draw(st.lists(interfaces(), max_size=3))
    devices = "".join(draw(CLUTTER) + one for one in nics)
    name, uuid = draw(TEXT.filter(bool)), draw(TEXT)
    cdata = name.replace("]]>", "")
    name_as = draw(st.sampled_from([escape(name), f"<![CDATA[{cdata}]]>x"]))
    parts = [
        f"<name>{name_as}</name>",
        f"<uuid>{escape(uuid)}</uuid>",
        f"<devices>{devices}<disk><interface type='x'/></disk></devices>",
        "<metadata><name>no</name><devices><interface/></devices></metadata>",
        draw(CLUTTER),
    ]
    body = "".join(draw(st.permutations(parts)))
    return f"<domain type='kvm' id='1'>{body}</domain>".encode()


@PROPERTY
@given(domains())
def test_any_domain_reads_as_the_oracle_reads_it(data: bytes) -> None:
    """Names, UUIDs and interfaces of generated domains."""
    found = parse_domain(data, "lxc")

    assert fields(found) == oracle_xml.domain(data, "lxc")


# Without IPv4 in IPv6, which Python and the C library write differently.
SIX = st.ip_addresses(v=6).filter(lambda address: int(address) >> 48)
ADDRESSES = st.ip_addresses(v=4).map(str) | SIX.map(str)


@st.composite
def networks(draw: st.DrawFn) -> bytes:
    """A network with any number of subnets and reservations."""
    parts = [f"<name>{escape(draw(TEXT))}</name>"]
    if draw(st.booleans()):
        modes = ["", "mode='nat'", "mode='route'", "mode='open'", "mode='bridge'"]
        parts.append(f"<forward {draw(st.sampled_from(modes))}/>")
    if draw(st.booleans()):
        parts.append(f"<bridge name={quoteattr(draw(TEXT))}/>")
    for _ in range(draw(st.integers(0, 2))):
        address = draw(ADDRESSES)
        width = 128 if ":" in address else 32
        sizes = [f"prefix='{draw(st.integers(0, width))}'", ""]
        if width == 32:
            sizes.append("netmask='255.255.254.0'")
        hosts = [
            f"<host mac='{draw(MACS)}' name='x' ip='{address}'/>",
            f"<host id='0:1' ip='{address}'/>",
            f"<host mac='{draw(MACS)}' name='x'/>",
        ]
        inside = "".join(draw(st.lists(st.sampled_from(hosts), max_size=3)))
        size = draw(st.sampled_from(sizes))
        parts.append(f"<ip address='{address}' {size}><dhcp>{inside}</dhcp></ip>")
    network = f"<network>{''.join(parts)}</network>"
    firewall = draw(st.sampled_from(["", "<firewall name='x' backend='nftables'/>"]))
    around = [
        network,
        f"<networkstatus>{network}{firewall}</networkstatus>",
        f"<networkstatus>{firewall}{network}</networkstatus>",
        f"<hookData>{network}</hookData>",
    ]
    return draw(st.sampled_from(around)).encode()


@PROPERTY
@given(networks())
def test_any_network_reads_as_the_oracle_reads_it(data: bytes) -> None:
    """Mode, bridge, subnets, reservations and libvirt's firewall backend."""
    found = parse_networks(data)

    assert fields(found) == fields([oracle_xml.network(data)])


def test_the_backend_that_libvirt_noted() -> None:
    """libvirt's status file says which firewall backend its rules are in."""
    status = (RECORDED / "libvirt-9.0/run-libvirt-network-default.xml").read_text()
    firewall = "<firewall name='fwRemoval' backend='nftables'/>"
    noted = status.replace("</networkstatus>", firewall + "</networkstatus>")

    (found,) = parse_networks(noted.encode())

    assert found.backend == "nftables"


@pytest.mark.parametrize(
    ("ip", "subnet"),
    [
        ("address='10.1.2.3' prefix='8'", ("10.1.2.3", "10.0.0.0/8")),
        ("address='10.1.2.3' netmask='255.255.0.0'", ("10.1.2.3", "10.1.0.0/16")),
        ("address='10.1.2.3'", ("10.1.2.3", "10.0.0.0/8")),
        ("address='127.255.0.1'", ("127.255.0.1", "127.0.0.0/8")),
        ("address='128.1.2.3'", ("128.1.2.3", "128.1.0.0/16")),
        ("address='191.1.2.3'", ("191.1.2.3", "191.1.0.0/16")),
        ("address='192.1.2.3'", ("192.1.2.3", "192.1.2.0/24")),
        ("address='fd00::1'", ("fd00::1", "fd00::/64")),
        ("address='FD00:0::1' prefix='48'", ("fd00::1", "fd00::/48")),
        ("address='10.0.0.1' prefix='32'", ("10.0.0.1", "10.0.0.1/32")),
        ("address='10.0.0.1' prefix='0'", ("10.0.0.1", "0.0.0.0/0")),
        ("address='10.0.0.1' prefix='33'", ("10.0.0.1", "10.0.0.0/8")),
        ("address='fd00::1' prefix='128'", ("fd00::1", "fd00::1/128")),
        ("address='fd00::1' prefix='129'", ("fd00::1", "fd00::/64")),
        ("address='10.0.0.1' prefix='x'", ("10.0.0.1", "10.0.0.0/8")),
        ("address='10.0.0.1' prefix='²'", ("10.0.0.1", "10.0.0.0/8")),
        ("address='10.0.0.1' netmask='fd00::'", ("10.0.0.1", "10.0.0.0/8")),
        (f"address='10.0.0.1' prefix='{'9' * 5000}'", ("10.0.0.1", "10.0.0.0/8")),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else value[1],
)
def test_subnet(ip: str, subnet: tuple[str, str]) -> None:
    """A prefix, a netmask, or what libvirt takes without: the class, or /64."""
    (found,) = parse_networks(f"<network><ip {ip}/></network>".encode())

    assert found.subnets == pairs([subnet])


@pytest.mark.parametrize("ip", ["", "address=''", "address='web'", "address='10.0.0'"])
def test_no_subnet(ip: str) -> None:
    """An <ip> without an address is none."""
    (found,) = parse_networks(f"<network><ip {ip}/></network>".encode())

    assert found.subnets == []


@pytest.mark.parametrize(
    "host",
    [
        "",
        "mac=''",
        "mac='x'",
        "ip='10.0.0.1'",
        "mac='x' ip='web'",
        "mac='' ip='10.0.0.1'",
    ],
)
def test_no_reservation(host: str) -> None:
    """A <host> counts with a MAC and an address."""
    ip = f"<ip address='10.0.0.1'><dhcp><host {host}/></dhcp></ip>"

    (found,) = parse_networks(f"<network>{ip}</network>".encode())

    assert found.reservations == {}


def test_several_reservations_for_one_mac() -> None:
    """In the order they stand in, from every <ip>, by the MAC in lower case."""
    hosts = [
        f"<ip address='{own}'><dhcp><host mac='{mac}' ip='{ip}'/></dhcp></ip>"
        for own, mac, ip in (
            ("10.0.0.1", "AB:cd:00:00:00:01", "10.0.0.5"),
            ("fd00::1", "ab:CD:00:00:00:01", "FD00::5"),
        )
    ]

    (found,) = parse_networks(f"<network>{''.join(hosts)}</network>".encode())

    assert found.reservations == {"ab:cd:00:00:00:01": addresses("10.0.0.5", "fd00::5")}


def test_no_network() -> None:
    """XML about something else describes no network."""
    found = parse_networks(b"<domain><network/></domain>")

    assert found == []


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"", "line 1, column 0"),
        (b"<domain>", "line 1, column 8"),
        (b"<domain>\n  <name>web1</name>", "line 2, column 19"),
    ],
)
def test_the_end_is_missing(data: bytes, place: str) -> None:
    """A file that was cut off says so, and where."""
    found = refusal(parse_domain, data, "qemu")

    assert found == f"the XML is malformed: no element found: {place}"


@pytest.mark.parametrize(
    "data",
    [
        b"<domain",
        b"<a></b>",
        b"<a/><b/>",
        b"<a/>x",
        b"<a>\xff</a>",
        b"<a>\0</a>",
        b"<a>&e;</a>",
        b"<a b='&e;'/>",
        b"<a b='1' b='2'/>",
        b"<?xml version='1.0' encoding='x-no'?><a/>",
        b"<" + b"a" * 100_000 + b"/>",
        b"<a><!--" + b"c" * 11_000_000 + b"--></a>",
    ],
    ids=lambda data: data[:20].decode("latin-1"),
)
def test_malformed(data: bytes) -> None:
    """What is no XML, or no UTF-8, is refused in one line, and the place is named."""
    found = refusal(parse_domain, data, "qemu")

    assert re.fullmatch(r"the XML is malformed: .+, line 1, column \d+", found)


@pytest.mark.parametrize(
    "data",
    [
        b"<a/>",
        b"<domain/>",
        b"<domain><name/></domain>",
        b"<domain><x><name>w</name></x></domain>",
        b"<x><domain><name>w</name></domain></x>",
        b"<domain xmlns='u'><name>w</name></domain>",
    ],
)
def test_no_domain(data: bytes) -> None:
    """XML about something else describes no domain."""
    found = refusal(parse_domain, data, "qemu")

    assert found == "the XML describes no domain"


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE domain><domain/>",
        b"<!DOCTYPE domain",
        b"<?xml version='1.0'?><!-- x --><!DOCTYPE domain><domain/>",
        "<!DOCTYPE domain><domain/>".encode("utf-16"),
        b"<!DOCTYPE d SYSTEM 'file:///etc/passwd'><d/>",
        b"<!DOCTYPE d [<!ENTITY % x SYSTEM 'file:///etc/passwd'> %x;]><d/>",
        b"<!DOCTYPE d [<!ENTITY e 'x'>]><domain><name>&e;</name></domain>",
        b"<!DOCTYPE d [<!ENTITY e 'x'>]><domain type='&e;'><name>w</name></domain>",
        b"<!DOCTYPE d [<!ATTLIST d a CDATA 'x'>]><d/>",
        f"{ENTITIES}<domain><name>&e;</name></domain>".encode(),
        f"{ENTITIES}<domain type='&e;'/>".encode(),
    ],
    ids=lambda data: data[-40:].decode("latin-1"),
)
def test_a_document_type(data: bytes) -> None:
    """Refused where it begins: nothing is expanded, in text or attributes, followed,
    or even read on."""
    found = refusal(parse_domain, data, "qemu")

    assert found == "the XML has a document type, which libvirt's never has"


@pytest.mark.parametrize(
    "data", [b"<a>" * 101 + b"</a>" * 101, b"<a>" * 100_000, b"<a><b/>" * 100_000]
)
def test_too_deep(data: bytes) -> None:
    """A hundred and one elements are refused, and a hundred thousand as soon."""
    found = refusal(parse_domain, data, "qemu")

    assert found == "the XML is more than 100 elements deep"


def test_the_deepest_that_is_read() -> None:
    """A hundred elements are deeper than anything of libvirt's."""
    found = read_xml(b"<a>" * 100 + b"</a>" * 100)

    assert len(list(found.iter())) == 100


def test_siblings_are_not_deep() -> None:
    """Ten thousand guests' worth of elements beside each other are read."""
    found = read_xml(b"<a>" + b"<b><c/></b>" * 10_000 + b"</a>")

    assert len(found) == 10_000


def test_too_large() -> None:
    """What is larger than anything of libvirt's is refused before it is read."""
    found = refusal(read_xml, b"<a>" + b" " * (16 << 20) + b"</a>")

    assert found == "the XML is larger than 16 MiB"


@pytest.mark.parametrize("tag", ["<a b='{}'/>", "<a {}/>", "<a><b {}></b></a>"])
def test_a_tag_that_is_too_long(tag: str) -> None:
    """Attributes by the ten thousand take libxml2 minutes."""
    data = tag.format("b='1' " * 50_000).encode()

    found = refusal(read_xml, data)

    assert found == "the XML has a tag of more than 256 KiB"


@pytest.mark.parametrize(
    "text", ["{}", "<![CDATA[{}]]>", "<!--{}-->", "<?a {}?>", "<a b='{}'/>"]
)
def test_text_that_is_long(text: str) -> None:
    """What stands in a guest's metadata may be long."""
    data = f"<a>{text.format('x' * 250_000)}{text.format('y' * 250_000)}</a>"

    assert read_xml(data.encode()).tag == "a"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a<!-- no -->b", "ab"),
        ("a<?no no?>b", "ab"),
        ("<![CDATA[<a>&amp;]]>b", "<a>&amp;b"),
        ("&lt;&#97;&#x62;&amp;", "<ab&"),
        (" a\tb\n", " a\tb\n"),
        ("ä€😀", "ä€😀"),
        ("a\r\nb", "a\nb"),
    ],
)
def test_text(text: str, name: str) -> None:
    """Comments and instructions are not there; CDATA and references are what they
    stand for; else text is as it is."""
    data = f"<?xml version='1.0'?><domain><name>{text}</name></domain>".encode()

    assert parse_domain(data, "qemu").name == name


def test_an_attribute() -> None:
    """References and white space are what the standard says; markup is text."""
    data = (
        b"<domain><name>w</name><devices><interface type='a&amp;b&lt;&#10;&quot; >'/>"
    )

    (nic,) = parse_domain(data + b"</devices></domain>", "qemu").nics

    assert nic.kind == 'a&b<\n" >'


def test_another_encoding() -> None:
    """It is believed where it is declared."""
    declared = "<?xml version='1.0' encoding='iso-8859-1'?>"
    data = f"{declared}<domain><name>ä</name></domain>".encode("latin-1")

    assert parse_domain(data, "qemu").name == "ä"


def test_namespaces() -> None:
    """What others put into a domain's metadata is no business of ours, be its prefix
    declared or not: libvirt keeps both."""
    others = "<metadata><q:name xmlns:q='u'>no</q:name><x><p:y p:z='1'/></x></metadata>"
    data = f"<domain>{others}<name>w</name></domain>".encode()

    assert parse_domain(data, "qemu").name == "w"


@PROPERTY
@given(st.binary(max_size=80) | st.text("<>/abdomain='&;![]-? ", max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes | str) -> None:
    """Nothing but VfwError is raised, whatever is on standard input."""
    raw = data if isinstance(data, bytes) else data.encode()
    found = []

    for parse in (lambda: parse_domain(raw, "qemu"), lambda: parse_networks(raw)):
        try:
            parse()
            found.append("read")
        except Exception as error:  # noqa: BLE001 - its type is what is tested
            found.append(type(error).__name__)

    assert set(found) <= {"read", "VfwError"}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.168.122.10", "192.168.122.10"),
        ("FD00:0:0::0010", "fd00::10"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
        ("null", ""),
        ("10.0.0", ""),
        ("10.0.0.1/8", ""),
        ("10.0.0.1\0", ""),
        ("fe80::1%eth0", ""),
        ("bü", ""),
        ("\udcff", ""),
    ],
)
def test_addresses_of_others(address: str, expected: str) -> None:
    """What is no address, or one of an interface's, is none."""
    found = find_address(address)

    assert found == (parse_address(expected) if expected else None)


@pytest.mark.parametrize(
    ("of", "backend", "kind"),
    [
        ("user", "", "user"),
        ("user", "<backend type='passt'/>", "passt"),
        ("vhostuser", "<backend type='passt'/>", "passt"),
        ("vhostuser", "<backend type='other'/>", "vhostuser"),
        ("network", "<backend tap='/dev/net/tun'/>", "network"),
        ("udp", "", "udp"),
    ],
)
def test_what_an_interface_is(of: str, backend: str, kind: str) -> None:
    """Its type; but for passt, which is another process and forwards by itself."""
    interface = f"<interface type='{of}'>{backend}</interface>"
    xml = f"<domain><name>web1</name><devices>{interface}</devices></domain>"

    (found,) = parse_domain(xml.encode(), "qemu").nics

    assert found.kind == kind


# Texts with a new name, and the elements that are read of each; the last has no end.
NAMES = [f"n{n}".encode() + b"y" * 40_000 for n in range(400)]
FORMS = [
    (b"<a><b/><%s/></a>", 2),
    (b"<a><b/><?%s x?></a>", 1),
    (b"<a><b/><?%s'></a>", 0),
]


def count(data: bytes, read: Callable[[bytes], Element] = read_xml) -> int:
    """The elements below the root; 0 for what is refused."""
    try:
        return len(read(data))
    except VfwError:
        return 0


@pytest.mark.parametrize(("form", "elements"), FORMS)
def test_names_are_forgotten(form: bytes, elements: int) -> None:
    """libxml2 has room for some 10 MB of names: a text reads the same behind them."""
    found = {count(form % name) for name in NAMES}

    assert found == {elements}


@pytest.mark.parametrize(("form", "elements"), FORMS)
def test_no_room_for_names(form: bytes, elements: int) -> None:
    """Where libxml2 has no room any more, a part of a text does not count as all."""

    @forgets_names  # in a thread of its own: nobody else is without room
    def counted(names: list[bytes]) -> set[int]:
        return {count(form % name, unwrap(read_xml)) for name in names}

    assert counted(NAMES) == {elements, 0}
