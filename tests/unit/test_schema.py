"""schema: what forwards.yaml means. What is wrong with one: tests/cases/check."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from unit.builders import forward, place, working_in
from vfwhooks.config.forwards import Forward, GuestForwards
from vfwhooks.config.schema import read_forwards
from vfwhooks.config.value_syntax import PortRange
from vfwhooks.config.yaml_nodes import Problem


def read(tmp_path: Path, **files: str) -> tuple[list[GuestForwards], list[Problem]]:
    """What forwards.yaml (`main`) and forwards.d (the others) mean together."""
    (tmp_path / "forwards.d").mkdir()
    for name, text in files.items():
        path = "forwards.yaml" if name == "main" else f"forwards.d/{name}.yaml"
        (tmp_path / path).write_text(text)
    with working_in(tmp_path):
        return read_forwards(Path("forwards.yaml"))


def forwards(tmp_path: Path, text: str) -> list[Forward]:
    """The forwards of a file's only guest, all at one place."""
    guests, problems = read(tmp_path, main=text)
    assert problems == []
    return [
        Forward(
            one.host_ip,
            one.protocol,
            one.published,
            one.target,
            one.allow_from,
            NOWHERE,
        )
        for one in guests[0].forwards
    ]


NOWHERE = place()


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ("[8080:80]", [forward("8080", "80")]),
        ("[443]", [forward("443")]),
        ("443", [forward("443")]),
        ("[22:22]", [forward("22")]),
        ("{ports: [80]}", [forward("80")]),
        ("{ports: 80}", [forward("80")]),
        ("[]", []),
        ("[53/udp]", [forward("53", protocol="udp")]),
        ("[5000-5010:5000-5010/udp]", [forward("5000-5010", protocol="udp")]),
        ("[8000-8010:9000-9010]", [forward("8000-8010", "9000-9010")]),
        ("[8000-8010:80]", [forward("8000-8010", "80")]),
        ("['203.0.113.5:80:80']", [forward("80", host_ip=ip_address("203.0.113.5"))]),
        ("['[::]:80:80']", [forward("80", host_ip=ip_address("::"))]),
        ("[{published: 8443, target: 443}]", [forward("8443", "443")]),
        ("[{published: 8443}]", [forward("8443")]),
        ("[{target: 443}]", [forward("443")]),
        ("[{published: 80-81, target: 90-91}]", [forward("80-81", "90-91")]),
        ("[{target: 1, protocol: udp}]", [forward("1", protocol="udp")]),
        (
            "[{target: 1, protocol: [tcp, udp]}]",
            [forward("1"), forward("1", protocol="udp")],
        ),
        ("[{target: 1, protocol: [tcp, tcp]}]", [forward("1")]),
        (
            "[{target: 1, host_ip: [203.0.113.5, '::']}]",
            [
                forward("1", host_ip=ip_address("203.0.113.5")),
                forward("1", host_ip=ip_address("::")),
            ],
        ),
        (
            "[{target: 1, allow_from: [198.51.100.0/24, 10.0.0.1]}]",
            [
                forward(
                    "1",
                    allow_from=(ip_network("198.51.100.0/24"), ip_network("10.0.0.1")),
                )
            ],
        ),
        (
            "[{published: 5000-5010, allow_from: 10.0.0.0/8}]",
            [forward("5000-5010", allow_from=(ip_network("10.0.0.0/8"),))],
        ),
    ],
)
def test_a_port(tmp_path: Path, ports: str, expected: list[Forward]) -> None:
    """Compose's short and long syntax; what is not said is the same on both sides."""
    found = forwards(tmp_path, f"guests: {{web1: {ports}}}\n")

    assert found == expected


def test_host_ip_and_protocol_multiply(tmp_path: Path) -> None:
    """Every protocol on every address, in the order they are written."""
    ports = "[{target: 1, host_ip: [0.0.0.0, '::'], protocol: [udp, tcp]}]"

    found = forwards(tmp_path, f"guests: {{web1: {ports}}}\n")

    shown = [f"{one.host_ip} {one.protocol}" for one in found]
    assert shown == ["0.0.0.0 udp", "0.0.0.0 tcp", ":: udp", ":: tcp"]


def test_a_guest_in_full(tmp_path: Path) -> None:
    """Addresses, network and ports, and the place of each."""
    text = """\
guests:
  web1:
    ports: [80, {target: 81}]
    address: [192.168.122.50, "fd00:122::50"]
    network: isolated
"""

    guests, problems = read(tmp_path, main=text)

    ports = forward("80", at=place(3, 13)), forward("81", at=place(3, 17))
    addresses = ip_address("192.168.122.50"), ip_address("fd00:122::50")
    web1 = GuestForwards("web1", place(2, 3), ports, addresses, "isolated")
    assert (guests, problems) == ([web1], [])


def test_one_address(tmp_path: Path) -> None:
    """A single address needs no list."""
    text = "guests: {web1: {ports: [], address: 192.168.122.50}}\n"

    guests, _ = read(tmp_path, main=text)

    assert guests[0].addresses == (ip_address("192.168.122.50"),)


@pytest.mark.parametrize("name", ["on", "007", "1e3", "null", "~", "12:30", "0x10"])
def test_names_are_read_as_written(tmp_path: Path, name: str) -> None:
    """A guest may be called what YAML takes for something else."""
    guests, problems = read(tmp_path, main=f"guests: {{{name}: [80]}}\n")

    assert ([guest.name for guest in guests], problems) == ([name], [])


def test_defaults_hold_for_what_says_nothing_else(tmp_path: Path) -> None:
    """host_ip and allow_from of the defaults, wherever they stand in the file."""
    text = """\
guests:
  web1: [80, "[::]:81:81", {target: 82, allow_from: "::/0", host_ip: "fd00::1"}]
defaults: {host_ip: 203.0.113.5, allow_from: [10.0.0.0/8, fd00::/8]}
"""

    found = forwards(tmp_path, text)

    lan = ip_network("10.0.0.0/8"), ip_network("fd00::/8")
    assert found == [
        forward("80", host_ip=ip_address("203.0.113.5"), allow_from=lan),
        forward("81", host_ip=ip_address("::"), allow_from=lan),
        forward("82", host_ip=ip_address("fd00::1"), allow_from=(ip_network("::/0"),)),
    ]


def test_defaults_let_the_host_itself_connect(tmp_path: Path) -> None:
    """Who may connect from elsewhere has no meaning for an address of loopback."""
    text = """\
defaults: {allow_from: 10.0.0.0/8}
guests: {web1: [{target: 80, host_ip: [127.0.0.1, 203.0.113.5]}]}
"""

    found = forwards(tmp_path, text)

    lan = (ip_network("10.0.0.0/8"),)
    assert found == [
        forward("80", host_ip=ip_address("127.0.0.1")),
        forward("80", host_ip=ip_address("203.0.113.5"), allow_from=lan),
    ]


def test_a_whole_address(tmp_path: Path) -> None:
    """Without ports everything is forwarded, to whom allow_from of the guest names."""
    text = """\
defaults: {host_ip: 203.0.113.5}
guests:
  mail:
    public_ip: [203.0.113.7, "2001:db8::7"]
    allow_from: [10.0.0.0/8, fd00::/8]
"""

    (guest,), problems = read(tmp_path, main=text)

    lan = ip_network("10.0.0.0/8"), ip_network("fd00::/8")
    whole = PortRange(0, 65535)
    at = guest.public_place
    assert (guest.is_one_to_one, guest.is_egress, guest.is_hosts_own) == (
        True,
        True,
        False,
    )
    assert (list(guest.forwards), problems) == (
        [
            Forward(ip_address(a), "all", whole, whole, lan, at)
            for a in ("203.0.113.7", "2001:db8::7")
        ],
        [],
    )


@pytest.mark.parametrize("what", ["garbage", "127.0.0.1", "[]", "''", "{}"])
def test_a_whole_address_that_is_none(tmp_path: Path, what: str) -> None:
    """Nothing is forwarded in its place, least of all everything everywhere."""
    text = f"guests: {{mail: {{public_ip: {what}}}}}"

    (guest,), problems = read(tmp_path, main=text)

    assert (guest.forwards, len(problems)) == ((), 1)


def test_ports_of_a_guest_with_an_address_of_its_own(tmp_path: Path) -> None:
    """They are published there unless they say otherwise; the next guest's are not."""
    text = """\
guests:
  mail: {public_ip: 203.0.113.7, outgoing: false, ports: [25, "203.0.113.5:26:26"]}
  web1: [80]
"""

    guests, problems = read(tmp_path, main=text)

    found = [(str(f.host_ip), f.published.first) for g in guests for f in g.forwards]
    assert (found, problems) == (
        [("203.0.113.7", 25), ("203.0.113.5", 26), ("None", 80)],
        [],
    )
    assert (guests[0].is_one_to_one, guests[0].is_egress) == (False, False)


def test_allow_from_of_a_guest(tmp_path: Path) -> None:
    """It holds for its ports in place of the defaults', and for no other guest's."""
    text = """\
defaults: {allow_from: 10.0.0.0/8}
guests:
  web1: {ports: [80, {target: 81, allow_from: 10.1.0.0/16}], allow_from: 10.2.0.0/16}
  web2: [82]
"""

    guests, _ = read(tmp_path, main=text)

    found = [one for guest in guests for one in guest.forwards]
    assert [str(one.allow_from[0]) for one in found] == [
        "10.2.0.0/16",
        "10.1.0.0/16",
        "10.0.0.0/8",
    ]


def test_defaults_reach_the_drop_ins(tmp_path: Path) -> None:
    """forwards.d holds more of the same: the defaults of forwards.yaml hold there."""
    guests, _ = read(
        tmp_path,
        main="defaults: {host_ip: 0.0.0.0, allow_from: 10.0.0.0/8}\nguests: {}\n",
        a="defaults: {host_ip: 203.0.113.5}\nguests: {a: [80]}\n",
        b="guests: {b: [81]}\n",
    )

    lan = (ip_network("10.0.0.0/8"),)
    found = [(f.host_ip, f.allow_from) for guest in guests for f in guest.forwards]
    assert found == [(ip_address("203.0.113.5"), lan), (ip_address("0.0.0.0"), lan)]


def test_defaults_of_a_drop_in_are_its_own(tmp_path: Path) -> None:
    """Whatever a drop-in is called, its defaults end with it."""
    guests, _ = read(
        tmp_path,
        main="guests: {}\n",
        forwards="defaults: {host_ip: 203.0.113.5}\nguests: {a: [80]}\n",
        later="guests: {b: [81]}\n",
    )

    found = [f.host_ip for guest in guests for f in guest.forwards]
    assert found == [ip_address("203.0.113.5"), None]


def test_a_broken_drop_in_hides_nothing(tmp_path: Path) -> None:
    """Each file is read for itself; problems are in the order of the files."""
    guests, problems = read(
        tmp_path, b="guests: {x: [80]}\n", a="guests: [\n", main="guests: {y: [0]}\n"
    )

    said = [str(problem).split(" ")[0] for problem in problems]
    assert ([guest.name for guest in guests], said) == (
        ["y", "x"],
        ["forwards.yaml:1:14:", "forwards.d/a.yaml:1:9:"],
    )


def test_a_claim_is_said_once(tmp_path: Path) -> None:
    """A port that is taken on both families is one problem."""
    _, problems = read(tmp_path, main="guests: {a: [80], b: [80], c: [79-81]}\n")

    assert list(map(str, problems)) == [
        "forwards.yaml:1:23: host port tcp/80 is taken by a (forwards.yaml:1:14)",
        "forwards.yaml:1:32: host port tcp/80 is taken by a (forwards.yaml:1:14)",
    ]


def test_no_files_at_all(tmp_path: Path) -> None:
    """No file means no forwards, and no problem."""
    found = read(tmp_path)

    assert found == ([], [])


def test_over_a_listener(tmp_path: Path) -> None:
    """For all forwards of a guest, for one, and not for one of all."""
    ports = "[1, {target: 2}, {target: 3, over_listener: false}]"
    web1 = f"{{over_listener: true, ports: {ports}}}"
    text = f"guests:\n  web1: {web1}\n  web2: [4, {{target: 5, over_listener: true}}]\n"

    guests, problems = read(tmp_path, main=text)

    found = {
        f.target.first: f.options.over_listener for g in guests for f in g.forwards
    }
    assert (found, problems) == ({1: True, 2: True, 3: False, 4: False, 5: True}, [])


@pytest.mark.parametrize("key", ["return_path", "masquerade"])
def test_which_way_answers_take(tmp_path: Path, key: str) -> None:
    """Of a port, else of its guest, else by default; nothing on loopback, where it is
    no mistake of a default's or a guest's."""
    ports = f"[1, {{target: 2, {key}: false}}, 127.0.0.1:3:3]"
    text = f"""
defaults: {{{key}: true}}
guests:
  web1: {ports}
  web2: {{{key}: false, ports: [4, {{target: 5, {key}: true}}]}}
  web3: {{public_ip: 203.0.113.7}}
"""

    guests, problems = read(tmp_path, main=text)

    found = {
        f.target.first: getattr(f.options, key) for g in guests for f in g.forwards
    }
    assert (found, problems) == (
        {1: True, 2: False, 3: False, 4: False, 5: True, 0: True},
        [],
    )


def test_hairpin(tmp_path: Path) -> None:
    """A guest's own value wins over the defaults', `false` as well; those of a drop-in
    are its own. It is known where it stands."""
    main = """\
guests:
  web1: [1]
  web2: {ports: [2], hairpin: false}
  web3: {ports: [3], hairpin: true}
defaults: {hairpin: true}
"""
    off = "defaults: {hairpin: false}\nguests: {web4: [4]}\n"

    guests, problems = read(tmp_path, main=main, a=off, b="guests: {web5: [5]}\n")

    found = {guest.name: str(guest.hairpin) for guest in guests}
    below, own = "forwards.yaml:5:21", "forwards.yaml:4:31"
    assert (problems, found) == (
        [],
        {"web1": below, "web2": "None", "web3": own, "web4": "None", "web5": below},
    )


def test_protocols_in_capitals(tmp_path: Path) -> None:
    """They are known by small letters from then on, and each of them counts once."""
    text = "guests: {web1: [53/UDP, {target: 80, protocol: [TCP, tcp, Sctp]}]}\n"

    found = forwards(tmp_path, text)

    assert [one.protocol for one in found] == ["udp", "tcp", "sctp"]


def test_a_bridge(tmp_path: Path) -> None:
    """Its name, and where it stands."""
    [web1], problems = read(
        tmp_path, main="guests:\n  web1: {ports: [80], bridge: br-nat}\n"
    )

    found = web1.bridge, web1.bridge_place, web1.network, problems
    assert found == ("br-nat", place(2, 31), "", [])


@pytest.mark.parametrize(
    ("bridge", "said"),
    [
        (
            '"br nat"',
            "br nat is not the name of a bridge; ip -br link show type bridge lists "
            "those of this host",
        ),
        (
            "a-name-of-16-let",
            "a-name-of-16-let is not the name of a bridge; ip -br link show type "
            "bridge lists those of this host",
        ),
        (
            '"br\\0"',
            "br\\x00 is not the name of a bridge; ip -br link show type bridge lists "
            "those of this host",
        ),
        ("[br0]", "a list, where one value is needed"),
        (
            "br0, network: default",
            "bridge: and network: both say which interface is meant; write bridge: for "
            "a bridge of the host's own, network: for libvirt's",
        ),
    ],
)
def test_no_bridge(tmp_path: Path, bridge: str, said: str) -> None:
    """What no interface is called, and two answers to one question."""
    text = f"guests:\n  web1: {{ports: [80], bridge: {bridge}}}\n"

    _, problems = read(tmp_path, main=text)

    assert problems == [Problem(place(2, 31), said)]
