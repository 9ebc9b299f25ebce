"""Forwards in a domain's metadata: what they say, what forwards.yaml permits of them,
and who has a port that several want."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from unit.builders import (
    CHECKOUT,
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    UUID,
    Host,
    fresh_state,
    network,
    nic,
    published,
    written,
)
from unit.builders import guest as some_guest
from unit.builders import record as running
from unit.test_layers import loaded
from vfwhooks.config import compiled_file
from vfwhooks.config.compiled_file import Compiled
from vfwhooks.config.compiler import compile_file
from vfwhooks.config.forwards import Forward
from vfwhooks.config.forwards_keys import OPTIONS
from vfwhooks.config.metadata_bounds import Permission
from vfwhooks.config.metadata_forwards import check_guest, read_metadata
from vfwhooks.config.metadata_syntax import format_tree, guest_tree, metadata_of
from vfwhooks.config.port_mappings import METADATA
from vfwhooks.config.yaml_nodes import Place, Problem
from vfwhooks.config.yaml_tree import parse_tree
from vfwhooks.libvirt.forwards_element import (
    find_faults,
    format_part,
    in_namespace,
    parse_forwards,
)
from vfwhooks.libvirt.xml import parse_domain
from vfwhooks.reconcile.metadata_needs import look_for_conflicts, look_for_rules
from vfwhooks.reconcile.planner import Planner
from vfwhooks.store.records import GuestEvent, Record, parse_guest_event, parse_record
from vfwhooks.values.errors import NeedsFullSync
from vfwhooks.values.guests import Guest
from vfwhooks.values.protocols import PROTOCOLS

URN = "urn:vfwhooks:forwards:1"
NOWHERE = Permission().tree
RESERVED = {MAC: ["192.168.122.10"], OTHER_MAC: ["192.168.122.11"]}
ALL = 'metadata: {guests: "*", ports: 1-65535}\n'


def element(inner: str) -> str:
    """The element with this in it, as `Guest.metadata` has it."""
    text = f"<forwards xmlns='{URN}'>{inner}</forwards>"
    return parse_domain(domain(text), "qemu").metadata


def forward(start: str, more: str = "", inner: str = "", proto: str = "tcp") -> str:
    """One portForward of one range."""
    ports = f"<range start='{start}'/>"
    return f"<portForward proto='{proto}' {more}>{ports}{inner}</portForward>"


def domain(metadata: str) -> bytes:
    """A domain with this in its metadata."""
    text = f"<domain><name>web1</name><uuid>{UUID}</uuid>"
    return f"{text}<metadata>{metadata}</metadata></domain>".encode()


def says(inner: str) -> list[str]:
    """What the element publishes, or what is wrong with it."""
    guest, faults = read_metadata(element(inner), "web1", NOWHERE, {"eth0": ()}.get)
    some = [*guest.forwards, *guest.unplaced] if guest else []
    return faults + [
        " ".join(
            [
                one.interface or str(one.host_ip or "*"),
                f"{one.published}:{one.target}/{one.protocol}",
                *map(str, one.allow_from),
            ]
        )
        for one in some
    ]


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("", []),
        (forward("80"), ["* 80:80/tcp"]),
        (
            "<portForward proto='udp' address='203.0.113.5'>"
            "<range start='8080' end='8090' to='80'/><range start='53'/>"
            "<range start='8085' exclude='yes'/><range start='8080' exclude='yes'/>"
            "</portForward>",
            [
                "203.0.113.5 8081-8084:81-84/udp",
                "203.0.113.5 8086-8090:86-90/udp",
                "203.0.113.5 53:53/udp",
            ],
        ),
        (
            forward("80", inner="<allowFrom address='10.0.0.0' prefix='8'/>"),
            ["* 80:80/tcp 10.0.0.0/8"],
        ),
        (forward("80", "dev='eth0'"), ["eth0 80:80/tcp"]),
        ("<publicIp address='203.0.113.7'/>", ["203.0.113.7 0-65535:0-65535/all"]),
        (
            "<publicIp address='203.0.113.7'/>" + forward("80"),
            ["203.0.113.7 80:80/tcp"],
        ),
    ],
)
def test_what_it_says(inner: str, expected: list[str]) -> None:
    """libvirt's words mean what they mean for passt, and ours what forwards.yaml
    means."""
    assert says(inner) == expected


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (forward("80a"), "line 3, range: '80a' is not a port or a range of ports"),
        (forward("0"), "line 3, range: 0: ports are 1 to 65535"),
        (
            "<portForward proto='tcp'><range start='9' end='8'/></portForward>",
            "line 3, range: range 9-8 is reversed; write 8-9",
        ),
        (
            "<portForward proto='tcp'><range start='8' end='9' to='65535'/>"
            "</portForward>",
            "line 3, range: to=65535 leads behind port 65535",
        ),
        (
            "<portForward proto='tcp'/>",
            "line 2, portForward: no range says which ports; a whole address is a "
            "publicIp",
        ),
        (
            forward("80", proto="icmp"),
            "line 2, portForward: 'icmp' is not a protocol; write tcp, udp or sctp",
        ),
        (
            forward("80", inner="<allowFrom address='10.0.0.1' prefix='8'/>"),
            "line 4, allowFrom: 10.0.0.1/8 has host bits set; write 10.0.0.0/8",
        ),
        (
            forward("80", "name='public'"),
            "line 2, portForward: no address is called public; it stands below "
            "addresses:",
        ),
        (
            forward("80", "dev='eth9'"),
            "line 2, portForward: forwards.yaml names no interface eth9; host_ip: "
            "{interface: NAME} of metadata: there does",
        ),
        (
            forward("80") + forward("80"),
            "line 6, range: host port tcp/80 is taken by web1 (line 3)",
        ),
        (
            "<publicIp address='203.0.113.7'/><publicIp address='203.0.113.8'/>",
            "line 2, publicIp: 203.0.113.7 and 203.0.113.8 are both IPv4; one a family",
        ),
        ("<publicIp/>", "line 2, publicIp: nothing, where one value is needed"),
        (
            forward("80", "adress='203.0.113.5'"),
            "line 2: Invalid attribute adress for element portForward",
        ),
        (
            forward("80", "masquerade='maybe'"),
            "line 2: Invalid attribute masquerade for element portForward",
        ),
        ("<other/>", "line 2: Did not expect element other there"),
        ("text", "line 1: Did not expect text in element forwards content"),
    ],
)
def test_what_is_wrong_with_it(inner: str, expected: str) -> None:
    """The element and its line, in the words of check or of the schema."""
    assert says(inner)[:1] == [expected]


def test_one_text_for_one_meaning() -> None:
    """However it is written; the record and libvirt's files are compared by it."""
    other = f"""<x:forwards xmlns:x="{URN}"><!-- a --><?b c?>
        <x:portForward   proto="tcp"><x:range start="80"></x:range></x:portForward>
        </x:forwards><app:y xmlns:app="urn:app"/>"""

    found = parse_domain(domain(other), "qemu").metadata

    assert found == element(forward("80"))


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<a>" * 20 + "</a>" * 20, "!the forwards are more than 8 elements deep"),
        ("<a/>" * 3000, "!the forwards have more than 2000 elements"),
        (f"<a b='{'x' * 70_000}'/>", "!the forwards are larger than 64 KiB"),
        ("<a>" * 150 + "</a>" * 150, "!the XML is more than 100 elements deep"),
        (f"<a b='{'x' * 300_000}'/>", "!the XML has a tag of more than 256 KiB"),
    ],
)
def test_more_than_anybody_needs(inner: str, expected: str) -> None:
    """It is not taken, and the guest is read all the same."""
    text = f"<v:forwards xmlns:v='{URN}'>{inner}</v:forwards>"

    found = parse_domain(domain(text), "qemu")

    assert (found.name, found.uuid, found.metadata) == ("web1", UUID, expected)


def test_the_metadata_of_others() -> None:
    """It hides no guest, however deep it is, and is nobody's mistake."""
    found = parse_domain(domain("<a>" * 150 + "</a>" * 150), "qemu")

    assert (found.name, found.metadata) == ("web1", "")


def test_a_record_and_an_event_have_it() -> None:
    """And give it back."""
    guest = replace(some_guest(), metadata=element(forward("80")))
    claims = [published("4 * tcp 80 80")]
    kept = replace(running(guest), claims=claims)

    event = parse_guest_event(GuestEvent("found", guest, 7).text())

    assert (parse_record(kept.text()), event.guest) == (kept, guest)


FILES = [
    "[]\n",
    "- 8080:80\n- 5000-5010/udp\n",
    '- "[2001:db8::5]:443:443"\n',
    "- {published: 8000, target: 80, protocol: udp, host_ip: 203.0.113.5, "
    "allow_from: [10.0.0.0/8, 2001:db8::1], over_listener: true, masquerade: false}\n",
    "- {published: 80, allow_from: [10.0.0.0/255.0.0.0, 192.0.2.0/0.0.0.255]}\n",
    "public_ip: [203.0.113.7]\noutgoing: false\n",
    'public_ip: ["2001:db8::7"]\nports:\n- 80\n',
    "- {published: 8000, target: 80, protocol: tcp, host_ip: {interface: eth0}}\n",
    "- {published: 8000, target: 80, protocol: tcp, host_ip: {name: a b}}\n",
    *(f"- {{published: 8000, target: 80, {option}: true}}\n" for option in OPTIONS),
    *(f"- {{published: 8000, target: 80, protocol: {one}}}\n" for one in PROTOCOLS),
]


@pytest.mark.parametrize("text", FILES)
def test_what_set_writes_get_shows(text: str) -> None:
    """The same in the syntax of forwards.yaml, and good by the schema."""
    tree = parse_tree(text.encode(), "x", [])
    _, problems = check_guest(tree, "web1", NOWHERE, lambda _: (), True)

    whole = in_namespace(format_part(metadata_of(tree, problems)))
    shown = format_tree(guest_tree(parse_forwards(whole), problems))

    assert (problems, find_faults(whole)) == ([], [])
    assert _values(shown) == _values(text)


def _values(text: str) -> list[Forward]:
    """What a file publishes, wherever it stands in it."""
    tree = parse_tree(text.encode(), "x", [])
    guest, problems = check_guest(tree, "web1", NOWHERE, lambda _: (), True)
    assert guest, problems
    some = [*guest.forwards, *guest.unplaced]
    return [replace(one, place=Place("x")) for one in some]


@pytest.mark.parametrize("text", ["{ports: [], public_ip: 203.0.113.7}", "{ports: []}"])
def test_no_ports_beside_an_address(text: str) -> None:
    """In metadata an address without ports has all of them: where none are meant,
    nothing is written."""
    problems: list[Problem] = []

    metadata_of(parse_tree(text.encode(), "x", []), problems)

    what = "metadata has no ports: [] beside a public_ip; forwards.yaml has it"
    assert list(map(str, problems)) == [f"x:1:9: {what}"] * ("public" in text)


def test_many_ports_to_one() -> None:
    """libvirt's words have no such range: each port has its own."""
    tree = parse_tree(b"- {published: 8000-8002, target: 80}\n", "x", [])

    found = format_part(metadata_of(tree, []))

    assert re.findall(r"<range (.*?) ?/>", found) == [
        f'start="{port}" to="80"' for port in (8000, 8001, 8002)
    ]


def compiled(directory: Path, text: str) -> Compiled:
    """This forwards.yaml in force."""
    state = fresh_state(directory)
    (directory / "forwards.yaml").write_text(text)
    problems = compile_file(directory / "forwards.yaml", state)
    found = compiled_file.load(state.path)
    assert found and not problems, problems
    return found


def planner(config: Compiled) -> Planner:
    """A planner for a host on which both guests have a reservation."""
    return Planner(config, Host(network(reservations=RESERVED)))


def web1(inner: str) -> Guest:
    """A guest with these forwards in its metadata."""
    return replace(some_guest(), metadata=element(inner))


def web2(inner: str) -> Guest:
    """Another one."""
    nics = [nic(OTHER_MAC, device="vnet1")]
    return Guest("qemu", "web2", OTHER_UUID, nics, element(inner))


def outcome(config: Compiled, inner: str) -> list[str]:
    """What of web1's metadata is in force, and why the rest is not."""
    settings = planner(config).settings(web1(inner))
    more = settings.from_metadata
    assert more
    found = [
        f"{one.host_ip} {one.first}-{one.last}"
        for one in settings.forwards
        if one.source == METADATA
    ]
    return found + [f"{s}: {why}" for _, s, why in more.refused] + more.faults


KEY = "blocked: metadata: of forwards.yaml "


@pytest.mark.parametrize(
    ("permission", "inner", "expected"),
    [
        (
            "",
            forward("80"),
            "blocked: forwards.yaml does not permit this guest's metadata (metadata:)",
        ),
        ("{guests: 'web*', ports: 80-90}", forward("80"), "* 80-80"),
        (f"{{guests: {UUID}, ports: 80}}", forward("80"), "* 80-80"),
        (
            "{guests: [db, 'Web*'], ports: 80}",
            forward("80"),
            "blocked: forwards.yaml does not permit this guest's metadata (metadata:)",
        ),
        (
            "[{guests: web1, ports: 81}, {guests: '*', ports: 80}]",
            forward("80"),
            KEY + "permits 81, not 80",
        ),
        (
            "{guests: web1, ports: [80-84, 86, 85]}",
            "<portForward proto='tcp'><range start='80' end='86'/></portForward>",
            "* 80-86",
        ),
        (
            "{guests: web1, ports: [80-84, 86]}",
            "<portForward proto='tcp'><range start='80' end='86'/></portForward>",
            KEY + "permits 80-84, 86, not 80-86",
        ),
        (
            "{guests: web1, ports: 80, host_ip: 203.0.113.5}",
            forward("80"),
            KEY + "permits 203.0.113.5, not every address",
        ),
        (
            "{guests: web1, ports: 80, host_ip: 203.0.113.5}",
            forward("80", "address='203.0.113.5'"),
            "203.0.113.5 80-80",
        ),
        (
            "{guests: web1, ports: 80, host_ip: 0.0.0.0}",
            forward("80", "address='203.0.113.5'"),
            "203.0.113.5 80-80",
        ),
        (
            "{guests: web1, ports: 80, host_ip: 0.0.0.0}",
            forward("80", "address='2001:db8::5'"),
            KEY + "permits 0.0.0.0, not 2001:db8::5",
        ),
        (
            "{guests: web1, ports: 80}",
            forward("80", "overListener='yes'"),
            KEY + "does not permit over_listener",
        ),
        (
            "{guests: web1, ports: 80, public_ip: 203.0.113.7}",
            forward("80", "address='203.0.113.7' overListener='yes'"),
            KEY + "does not permit over_listener",
        ),
        (
            f"{{guests: '{UUID[:4]}*', ports: 80}}",
            forward("80"),
            "blocked: forwards.yaml does not permit this guest's metadata (metadata:)",
        ),
        (
            "{guests: '*', ports: 80}",
            forward("80", inner="<allowFrom address='fe80::%&#10;-A X' prefix='64'/>"),
            "line 4, allowFrom: fe80::%\\n-A X/64: a source range has no zone",
        ),
        (
            "{guests: web1, ports: 80, over_listener: true}",
            forward("80", "overListener='yes'"),
            "* 80-80",
        ),
        (
            "{guests: web1, ports: 80}",
            "<publicIp address='203.0.113.7'/>",
            KEY + "permits 80, not 0-65535",
        ),
        (
            "{guests: web1, ports: 80, public_ip: 203.0.113.7}",
            "<publicIp address='203.0.113.7'/>",
            "203.0.113.7 0-65535",
        ),
        (
            "{guests: web1, ports: 80}",
            forward("80a"),
            "line 3, range: '80a' is not a port or a range of ports",
        ),
    ],
)
def test_bounds(tmp_path: Path, permission: str, inner: str, expected: str) -> None:
    """Forbidden unless said; within what is said, and no more."""
    key = f"metadata: {permission}\n" if permission else ""
    config = compiled(tmp_path, f"{key}guests: {{}}\n")

    assert outcome(config, inner) == [expected]


@pytest.mark.parametrize(
    ("written_there", "inner", "is_taken"),
    [
        ("db: [80]", forward("80"), True),
        ("db: [80-90]", forward("85"), True),
        ("db: [80]", forward("80", proto="udp"), False),
        ("db: [81]", forward("80"), False),
        ("web1: [80]", forward("80"), True),
        ("db: [80]", forward("80", "address='203.0.113.5'"), True),
        ('db: ["203.0.113.5:80:80"]', forward("80"), False),
        (
            'db: ["203.0.113.5:80:80"]',
            forward("80", "address='203.0.113.5'"),
            True,
        ),
        (
            'db: ["203.0.113.6:80:80"]',
            forward("80", "address='203.0.113.5'"),
            False,
        ),
        ('db: ["0.0.0.0:80:80"]', forward("80"), True),
        ('db: ["0.0.0.0:80:80"]', forward("80", "address='::'"), False),
        ("db: {ports: [80], when_stopped: reject}", forward("80"), True),
        (
            "db: {public_ip: 203.0.113.5, ports: [81]}",
            forward("80", "address='203.0.113.5'"),
            True,
        ),
    ],
)
def test_a_port_of_forwards_yaml(
    tmp_path: Path, written_there: str, inner: str, is_taken: bool
) -> None:
    """It stays forwards.yaml's, whether its guest runs or not; and a port on one
    address takes nothing from the file's."""
    config = compiled(tmp_path, f"{ALL}guests: {{{written_there}}}\n")

    (found,) = outcome(config, inner)

    assert found.startswith("conflict: forwards.yaml publishes ") == is_taken


def test_a_port_of_a_pattern(tmp_path: Path) -> None:
    """It is forwards.yaml's as well."""
    config = compiled(tmp_path, f"{ALL}guests: {{}}\npatterns: {{db-*: [80]}}\n")

    (found,) = outcome(config, forward("80"))

    assert found.startswith("conflict: forwards.yaml publishes tcp/80 for db-*")


def test_it_is_added_to_what_the_file_has(tmp_path: Path) -> None:
    """The file's forwards of the guest stay."""
    config = compiled(tmp_path, f"{ALL}guests: {{web1: [80]}}\n")

    desired = planner(config).guest(running(web1(forward("81"))))

    assert written(desired.entries) == [
        "dnat 4 * tcp 80 80 192.168.122.10 80",
        "dnat 4 * tcp 81 81 192.168.122.10 81",
        "accept 4 192.168.122.10",
    ]
    assert desired.settled().claims == [
        published("4 * tcp 81 81"),
        published("6 * tcp 81 81"),
    ]


def test_a_mistake_takes_nothing_away(tmp_path: Path) -> None:
    """Nothing of the metadata counts, and all that the file has."""
    config = compiled(tmp_path, f"{ALL}guests: {{web1: [80]}}\n")

    desired = planner(config).guest(running(web1(forward("81") + forward("x"))))

    assert written(desired.entries)[0] == "dnat 4 * tcp 80 80 192.168.122.10 80"
    assert len(desired.entries) == 2


def test_defaults_hold_for_it(tmp_path: Path) -> None:
    """Those of forwards.yaml, and the names of its addresses; but a stopped guest's
    metadata is not known, so that nothing of it stays rejected."""
    text = (
        "defaults: {host_ip: 203.0.113.5, allow_from: 10.0.0.0/8,"
        " when_stopped: reject}\naddresses: {public: 203.0.113.6}\nguests: {}\n"
    )
    config = compiled(tmp_path, ALL + text)

    settings = planner(config).settings(
        web1(forward("80") + forward("81", "name='public'"))
    )

    assert [(str(f.host), bool(f.allow), f.is_claimed) for f in settings.forwards] == [
        ("203.0.113.5", True, False),
        ("203.0.113.6", True, False),
    ]
    assert (settings.claim, config.claims()) == ("", [])


def test_of_two_guests_the_one_that_runs_longer(tmp_path: Path) -> None:
    """A full sync gives it the port, with ranges and addresses too; the other has the
    rest of its own."""
    config = compiled(tmp_path, f"{ALL}guests: {{}}\n")
    ranged = "<portForward proto='tcp'><range start='80' end='90'/></portForward>"
    first = running(web1(ranged), since=1)
    later = running(
        web2(forward("85", "address='203.0.113.5'") + forward("91")), since=2
    )

    found = planner(config).all([first, later])

    one, other = found[-2:]
    more = other.settings.from_metadata
    assert [f.first for f in one.settings.forwards] == [80]
    assert [f.first for f in other.settings.forwards] == [91]
    assert more and [(state, why) for _, state, why in more.refused] == [
        ("conflict", "taken by the metadata of qemu guest web1, which runs longer")
    ]
    assert (one.is_contested, other.is_contested) == (False, True)


def test_the_later_of_two_guests_alone(tmp_path: Path) -> None:
    """With the earlier one known it is planned as beside it, and then as without it."""
    config = compiled(tmp_path, f"{ALL}guests: {{}}\n")
    (earlier,) = settled(config, web1(forward("80")))
    later = running(web2(forward("80") + forward("91")))
    plan, found = planner(config), []

    for some in ([earlier], []):
        plan.know_earlier(some)
        found.append([f.first for f in plan.guest(later).settings.forwards])

    assert found == [[91], [80, 91]]


def settled(config: Compiled, *guests: Guest) -> list[Record]:
    """The records after each guest was planned alone."""
    return [planner(config).guest(running(one)).settled() for one in guests]


def test_a_partial_sync_that_is_not_enough(tmp_path: Path) -> None:
    """Another guest's metadata publishes the port, or rules are missing."""
    config = compiled(tmp_path, f"{ALL}guests: {{}}\n")
    allow = "<allowFrom address='10.0.0.0' prefix='8'/>"
    one, other = settled(config, web1(forward("80", inner=allow)), web2(forward("80")))

    with pytest.raises(NeedsFullSync, match="web1 and web2 publish one port"):
        look_for_conflicts([one], [one, other])
    with pytest.raises(NeedsFullSync, match="web1 needs rules of its own"):
        look_for_rules([one], config, {})
    look_for_conflicts([one], [one])
    look_for_rules([other], config, {})


def test_rules_that_only_metadata_needs(tmp_path: Path) -> None:
    """The base rulesets have them while a guest needs them, beside forwards.yaml's; the
    base says which they are."""
    text = "guests: {db: [{published: 1, allow_from: 192.0.2.0/24}]}\n"
    config = compiled(tmp_path, ALL + text)
    allow = "<allowFrom address='10.0.0.0' prefix='8'/>"
    guest = web1(forward("80", "masquerade='yes'", allow))
    plan, base = planner(config), {"metadata": "former"}
    desired = plan.guest(running(guest))

    rulesets = plan.base_rulesets([desired], base)

    record = desired.settled()
    (chain,) = re.findall(r"guard 4 \* tcp 80 80 (\w+)", record.text())
    assert base["metadata"].split(" ") == [chain, "masquerade"]
    assert "10.0.0.0/8" in rulesets["own"] and "192.0.2.0/24" in rulesets["own"]
    assert "masq4" in rulesets["own"]
    look_for_rules([record], config, base)
    assert plan.base_rulesets([], base) == config.base_rulesets() and base == {}


def test_the_example_of_the_manual() -> None:
    """It is good by the schema, and by the reader."""
    page = (CHECKOUT / "docs/metadata.md").read_text()
    (text,) = re.findall(r"(?s)<metadata>\n(.*?)</metadata>", page)

    found = parse_domain(domain(text), "qemu").metadata

    assert find_faults(found) == []
    assert read_metadata(found, "web1", NOWHERE, lambda _: None)[1] == []


def test_what_guests_without_metadata_cost() -> None:
    """No module about metadata is loaded for them, in a hook or in the service."""
    found = loaded(
        "import vfwhooks.service.daemon, vfwhooks.libvirt.xml as x; "
        "import vfwhooks.service.hook_without_service; "
        "x.parse_domain(b'<domain><name>a</name><metadata/></domain>', 'qemu')"
    )

    assert [one for one in found if "metadata" in one or "forwards_el" in one] == []
