"""vfwhooks import: the command, what it refuses, and that nothing is lost."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import PROPERTY, refusal
from unit.test_cli import vfwhooks
from unit.test_import_cases import known
from vfwhooks.cli.import_arguments import KINDS
from vfwhooks.config.schema import read_forwards
from vfwhooks.importers.forwards_file import make_file
from vfwhooks.importers.ruleset_forwards import read_rules
from vfwhooks.importers.settled_forwards import Known
from vfwhooks.importers.source_kinds import READERS, read_source

HOOKS = (
    '{"web1": {"private_ip": "192.168.122.50", "port_map": {"tcp": [[8080, 80]]}}}\n'
)
MADE = """\
# Made by vfwhooks import from FILE (hooks-json).
# Without a public_ip the hook took the address of the default route; here such a port \
is on every IPv4 address of the host (0.0.0.0).
guests:
  web1:
    ports:
      - 0.0.0.0:8080:80  # FILE:1:64
    address: 192.168.122.50
"""
WIKI = 'if [ "$1" = web1 ]; then\niptables -t nat -I PREROUTING '


def save(*rules: str) -> str:
    """A saved nat table with these rules in PREROUTING."""
    lines = [f"-A PREROUTING {rule}" for rule in rules]
    head = ["*nat", ":PREROUTING ACCEPT [0:0]", ":SIDE - [0:0]"]
    return "\n".join([*head, *lines, "COMMIT", ""])


def left(text: str, kind: str = "") -> list[str]:
    """Why parts of a source are not carried over."""
    _, found = read_source(text, "it", kind)
    made = make_file(found, known(), "it")
    return [f"{one.origin.where}: {one.why}" for one in made.left]


def entries(text: str, known_here: Known | None = None) -> list[str]:
    """The entries that are made of a source."""
    _, found = read_source(text, "it")
    made = make_file(found, known_here or known(), "it").text
    return re.findall(r"(?m)^ +- (.*?)  #", made)


def test_kinds_of_the_parser() -> None:
    """--from takes every kind that there is a reader for."""
    assert sorted(READERS) == sorted(KINDS)


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("", "", "it: no kind of source that is known (--from compose|domain|firewall"),
        ("hello\n", "", "it: no kind of source that is known (--from compose|"),
        ("a\0b", "", "it is no text"),
        ('{"a": \n  nonsense}', "", "it:2:3: no JSON: expecting value"),
        ("[1]", "hooks-json", "it:1:1: hooks.json is an object with a key a guest"),
        ("services:\n  a: *b\n", "", "it:2:6: aliases (*name) are not supported; wri"),
        ("services:\n\ta: 1\n", "", "it:2:1: not YAML: found character that cannot st"),
        ("services: []\n", "", "it:1:1: it has no services: (is it a Compose file)"),
        ("ports: []\n", "incus", "it:1:1: it has no listen_address:"),
        ("<domain>\n<a></b></domain>", "", "it:2:8: the XML is malformed: Opening an"),
        ("<domain/>", "", "it: the XML describes no domain"),
        ("<zone>", "firewalld", "it:1:6: the XML is malformed: no element found: "),
        ("<domain/>", "firewalld", "it: <domain> is no zone of firewalld"),
        ("hello\n", "nft", "it holds no ruleset (it takes iptables-save, ip6tables-"),
        ("#!/bin/sh\nls\n", "", "it: it is in none of the forms of the wiki's scrip"),
    ],
)
def test_unreadable(text: str, kind: str, said: str) -> None:
    """A source that cannot be read names its place, and what to do."""
    found = refusal(read_source, text, "it", kind)

    assert found[: len(said)] == said


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("-p icmp -j DNAT --to 192.168.122.50", "icmp cannot be forwarded by ports"),
        ("-p tcp -j DNAT --to 192.168.122.50", "it names no port of the host"),
        (
            "-d 203.0.113.0/24 -p tcp --dport 80 -j DNAT --to 192.168.122.50",
            "203.0.113.0/24 is no single address of this host",
        ),
        (
            "-i eth+ -p tcp --dport 80 -j DNAT --to 192.168.122.50",
            "eth* may be several interfaces",
        ),
        (
            "-i eth9 -p tcp --dport 80 -j DNAT --to 192.168.122.50",
            "eth9: its addresses are not known (--interface eth9=ADDRESS says it, "
            "--interface eth9=* every one)",
        ),
        (
            "-p tcp --dport 80 -j DNAT --to 192.168.122.99:1",
            "no guest is known to have 192.168.122.99 (--guest 192.168.122.99=NAME "
            "says it)",
        ),
        (
            "-p tcp --dport 0 -j DNAT --to 192.168.122.50",
            "no port",
        ),
        (
            "-p tcp --dport 80 -m conntrack --ctstate ESTABLISHED -j DNAT --to "
            "192.168.122.50",
            "it is not for new connections (--ctstate ESTABLISHED)",
        ),
        (
            "-p tcp --sport 80 --dport 80 -j DNAT --to 192.168.122.50",
            "forwards.yaml has no such condition (--sport 80)",
        ),
        (
            "-d 203.0.113.9 -j NETMAP --to 192.168.122.0/24",
            "it translates whole networks",
        ),
        ("-p tcp --dport 80 -j DNAT --to x", "it leads to x, not to one guest"),
    ],
)
def test_rules_that_are_left(rule: str, why: str) -> None:
    """Nothing wrong is written: what forwards.yaml cannot say is a comment."""
    assert left(save(rule)) == [f"it:4:1: {why}"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            '{"a": {"private_ip": "192.168.122.300", "port_map": {"tcp": [1]}}}',
            "it:1:62: 192.168.122.300 is no address of a guest",
        ),
        (
            '{"a": {"private_ip": "192.0.2.1", "port_map": {"tcp": ["x"]}}}',
            "it:1:56: x is no port",
        ),
        (
            "<zone><forward-port port='1' protocol='tcp' "
            "to-addr='192.168.122.50'/></zone>",
            "it:1:7: it: its addresses are not known (--interface it=ADDRESS says it, "
            "--interface it=* every one)",
        ),
        (
            "<zone><source ipset='s'/><forward-port port='1' protocol='tcp' "
            "to-addr='192.168.122.50'/></zone>",
            "it:1:26: the zone is for a set or for MACs, not for addresses",
        ),
        (
            "services: {web1: {ports: [{target: 80, published: 80, tls: true}]}}",
            "it:1:27: tls is no key of a port",
        ),
        (
            "listen_address: 203.0.113.9\nports:\n- {listen_port: '1-3', "
            "target_port: '1,2', target_address: 192.168.122.50, protocol: tcp}\n",
            "it:3:3: 3 ports cannot lead to 2",
        ),
        (
            '{"a": {"private_ip": "192.168.122.50", "source_ip": ["198.51.100.7"], '
            '"port_map": {"tcp": [1]}}}',
            "it:1:7: a has more than one address as its source_ip",
        ),
        (
            "services: {web1: {ports: ['80:80']}}\nnetworks: {default: {driver_opts: "
            "{com.docker.network.bridge.host_binding_ipv4: 127.0.0.1}}}",
            "it:1:27: the network default may publish it on 127.0.0.1 alone; name the "
            "address at the port",
        ),
        (
            "services: {web1: {network_mode: host, ports: ['80:80']}}",
            "it:1:47: with network_mode: host Docker publishes no port of the service",
        ),
        (
            "services: {web1: {profiles: [test], ports: ['80:80']}}",
            "it:1:45: the service is for the profile test alone",
        ),
        (
            "services: {web1: {scale: 0, ports: ['80:80']}}",
            "it:1:37: no container of the service runs",
        ),
        (
            "services: {web1: {networks: [a, b], ports: ['80:80']}}\n"
            "networks: {a: {internal: true}, b: {driver: macvlan}}\n",
            "it:1:45: Docker publishes no port on the network a, b",
        ),
        (
            "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name>"
            "<q:commandline><q:arg value='{&quot;hostfwd&quot;: []}'/></q:commandline>"
            "</domain>",
            "it:1:91: it is JSON; write user,hostfwd=PROTOCOL:ADDRESS:PORT-GUEST:PORT",
        ),
        (
            "include: [db.yaml]\nservices: {web1: {ports: ['80:80']}}\n",
            "it:1:10: include: is not followed; docker compose config writes it out, "
            "with variables and aliases in place",
        ),
    ],
)
def test_parts_that_are_left(text: str, why: str) -> None:
    """The same of what rules are not."""
    assert left(text) == [why]


def test_default_beside_ports() -> None:
    """Ports that cannot be carried over do not become another guest's by the default
    target."""
    ports = "ports: [{listen_port: '1-3', target_port: '1,2', protocol: tcp, "
    ports += "target_address: 192.168.122.50}]\n"
    text = "listen_address: 203.0.113.9\nconfig: {target_address: 192.168.122.51}\n"

    found = left(text + ports)

    why = "all other ports of an address cannot be said beside single ones"
    assert [one.partition(";")[0] for one in found] == [
        f"it:2:26: {why}",
        "it:3:9: 3 ports cannot lead to 2",
    ]


def zones(*some: str) -> str:
    """What firewall-cmd --list-all-zones prints of zones with port 80 each."""
    port = "  forward-ports: \n\tport=80:proto=tcp:toport=:toaddr=192.168.122."
    return "\n".join(
        f"z{n} (active)\n{zone}\n{port}{n}\n" for n, zone in enumerate(some, 50)
    )


def test_zone_of_a_source_goes_first() -> None:
    """Whatever the order in which zones are printed: whom firewalld would lead to the
    one guest is not led to the other."""
    of_eth0, of_source = "  interfaces: eth0", "  sources: 198.51.100.0/24"

    found = left(zones(of_eth0, of_source)), left(zones(of_source, of_eth0))

    ahead = "takes these connections first"
    assert found == ([f"it:4:2: it:9:2 {ahead}"], [f"it:9:2: it:4:2 {ahead}"])


@pytest.mark.parametrize(
    "text",
    [
        zones(
            '  interfaces: eth0\n  rich rules: \n\trule family="ipv4" destination '
            'address="203.0.113.5" forward-port port="81" protocol="tcp" '
            'to-addr="192.168.122.50"'
        ),
        "<domain><name>web1</name><devices><interface type='user'><portForward "
        "proto='tcp' address='203.0.113.5' dev='eth0'><range start='81'/></portForward>"
        "</interface></devices></domain>",
    ],
)
def test_interface_beside_an_address(text: str) -> None:
    """What an address takes the place of is told."""
    _, found = read_source(text, "it")

    notes = [one.notes for one in found.forwards if one.published == "81"]
    assert notes == [("the rule was for what comes in by eth0 alone",)]


def test_several_guests_have_the_address() -> None:
    """Nobody is picked."""
    two = Known(lambda _: ["a", "b"], lambda _: [])
    found = read_rules(save("-p tcp --dport 80 -j DNAT --to 192.0.2.1"), "it")

    (one,) = make_file(found, two, "it").left

    said = "a and b have 192.0.2.1 (--guest 192.0.2.1=NAME says whose)"
    assert one.why == said


FOR_SOME = "-s 198.51.100.0/24 -d 203.0.113.5 -p tcp --dport 80"
TO_WEB1, TO_MAIL = (f" -j DNAT --to 192.168.122.{number}" for number in (50, 51))
REFUSING = "it:4:1: it:5:1 serves all others there, and forwards.yaml would refuse them"
AHEAD = "it:5:1: it:4:1 takes these connections first"


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ([FOR_SOME + TO_WEB1, f"-p tcp --dport 80{TO_MAIL}"], [REFUSING]),
        ([FOR_SOME + TO_WEB1, f"-p tcp --dport 80{TO_WEB1}"], [REFUSING]),
        ([f"-p tcp --dport 80{TO_WEB1}", FOR_SOME + TO_WEB1], [AHEAD]),
        (
            [f"-s 198.51.100.7 -d 203.0.113.5{TO_WEB1}", f"-p udp --dport 5{TO_MAIL}"],
            [REFUSING],
        ),
        ([f"-p udp --dport 5{TO_MAIL}", f"-d 203.0.113.5{TO_WEB1}"], [AHEAD]),
        ([FOR_SOME + TO_WEB1, f"-p tcp --dport 81{TO_MAIL}"], []),
        (
            [FOR_SOME + TO_WEB1, f"-s 198.51.100.0/24 -p tcp --dport 80{TO_MAIL}"],
            [],
        ),
        (
            [
                f"-d 203.0.113.5 -p tcp --dport 80{TO_WEB1}",
                f"-p tcp --dport 80{TO_MAIL}",
            ],
            [],
        ),
    ],
)
def test_for_some_before_everybody(rules: Sequence[str], why: list[str]) -> None:
    """A forward on one address, for some clients, refuses all others there; where the
    source serves these by a rule for every address, it is a comment."""
    assert left(save(*rules)) == why


TO_80 = "-p tcp --dport 80"
TAKEN = "it:5:1: it:4:1, ahead of it, takes some of its packets"


@pytest.mark.parametrize(
    ("ahead", "rule", "is_carried"),
    [
        (f"{TO_80} -j REDIRECT --to-ports 3128", TO_80 + TO_WEB1, False),
        (f"! -s 10.0.0.0/8 {TO_80}{TO_MAIL}", TO_80 + TO_WEB1, False),
        (f"{TO_80} -m statistic --mode random{TO_MAIL}", TO_80 + TO_WEB1, False),
        (f"{TO_80} -m statistic --mode random{TO_WEB1}", TO_80 + TO_WEB1, True),
        ("-p tcp --dport 70:90 -j REDIRECT", TO_80 + TO_WEB1, False),
        (
            f"{TO_80} -j REDIRECT",
            f"-p tcp -m multiport --dports 80,81{TO_WEB1}",
            False,
        ),
        ("-p tcp -m multiport --dports 80,81 -j REDIRECT", TO_80 + TO_WEB1, False),
        ("-j NETMAP --to 192.168.123.0/24", TO_80 + TO_WEB1, False),
        ("-p tcp --dport 81 -j REDIRECT", TO_80 + TO_WEB1, True),
        ("-p udp --dport 80 -j REDIRECT", TO_80 + TO_WEB1, True),
        (f"{TO_80} -m state --state ESTABLISHED{TO_MAIL}", TO_80 + TO_WEB1, True),
        (f"-i virbr0 {TO_80} -j REDIRECT", TO_80 + TO_WEB1, False),
        (f"-i virbr0 {TO_80} -j REDIRECT", f"-i eth0 {TO_80}{TO_WEB1}", True),
        (f"-d 203.0.113.5 {TO_80} -j REDIRECT", TO_80 + TO_WEB1, True),
        (
            f"-d 203.0.113.5 {TO_80} -j REDIRECT",
            f"-d 203.0.113.5 {TO_80}{TO_WEB1}",
            False,
        ),
    ],
)
def test_behind_a_rule_that_is_left(ahead: str, rule: str, is_carried: bool) -> None:
    """What a rule before it leads elsewhere never gets to a rule; as a forward it
    would."""
    found = left(save(ahead, rule))

    assert found[1:] == ([] if is_carried else [TAKEN])


def test_behind_a_rule_of_the_other_family() -> None:
    """It is for other packets."""
    text = listed_by_nft("tcp dport 80 redirect", "ip6") + listed_by_nft(
        "meta nfproto ipv6 tcp dport 80 redirect\n\t\t"
        "tcp dport 80 dnat ip6 to numgen inc mod 2 map { 0 : fd00::2, 1 : fd00::3 }\n"
        "\t\ttcp dport 80 dnat ip to 192.168.122.50",
        "inet",
    )

    assert entries(text) == ["0.0.0.0:80:80"]


@pytest.mark.parametrize("chains", ["@services", "{ 80 : jump web }"])
def test_behind_a_map_of_chains(chains: str) -> None:
    """Rules to which only a map leads are told of, the map of the table too; a rule
    after it is carried over."""
    web = "\tchain web {\n\t\tdnat to 192.168.122.51:80\n\t}\n"
    some = "\tmap services {\n\t\ttype inet_service : verdict\n"
    some += "\t\telements = { 80 : jump web, 81 : goto web }\n\t}\n"
    jump = f"tcp dport vmap {chains}"
    text = listed_by_nft(f"{jump}\n\t\ttcp dport 90 dnat to 192.168.122.50", "ip")
    text = text.replace("{\n", f"{{\n{some}{web}", 1)

    found = left(text)

    assert found == [f"it:7:3: forwards.yaml has no such condition ({jump})"]
    assert entries(text) == ["0.0.0.0:90:90"]


def listed_by_nft(rules: str, family: str) -> str:
    """A table of nft's with these rules for new connections."""
    head = "type nat hook prerouting priority dstnat; policy accept;"
    chain = f"\tchain prerouting {{\n\t\t{head}\n\t\t{rules}\n\t}}\n"
    return f"table {family} nat {{\n{chain}}}\n"


def test_interface_everywhere() -> None:
    """An administrator may say that an interface does not matter."""
    everywhere = Known(lambda one: [one], lambda _: ["*"])
    rule = "-i wan -p tcp --dport 80 -j DNAT --to 192.0.2.1"

    assert entries(save(rule), everywhere) == ["0.0.0.0:80:80"]


def test_conditions_of_both_chains_count() -> None:
    """A rule of a side chain is for what the jump to it is for."""
    text = save("-d 203.0.113.5 -p tcp -s 198.51.100.7 -j SIDE").replace(
        "COMMIT", "-A SIDE -p tcp --dport 80 -j DNAT --to 192.168.122.50:81\nCOMMIT"
    )

    long = "{published: 80, target: 81, host_ip: 203.0.113.5, allow_from: 198.51.100.7}"
    assert entries(text) == [long]


def test_ours_are_left_out() -> None:
    """Rules of vfwhooks itself are no other tool's."""
    text = save("-j VFW-P", "-p tcp --dport 80 -j DNAT --to 192.168.122.50").replace(
        "COMMIT", "-A VFW-P -p tcp --dport 81 -j DNAT --to 192.168.122.50\nCOMMIT"
    )

    assert (entries(text), left(text)) == (["0.0.0.0:80:80"], [])


def test_not_run() -> None:
    """A script is read, and no command in it is run."""
    mark = Path("/tmp/vfwhooks-import-was-run")
    port = f"$(touch {mark}; echo 80)"
    text = f"#!/bin/sh\n{WIKI}-p tcp --dport {port} -j DNAT --to 192.168.122.50\n"

    found = left(text)

    assert (len(found), mark.exists()) == (1, False)


RULE = "iptables -t nat -A PREROUTING -p tcp --dport 80 -j DNAT --to 192.168.122.50"
IS_WEB1 = '[ "$1" = "web1" ]'


@pytest.mark.parametrize(
    ("condition", "is_carried"),
    [
        (IS_WEB1, True),
        (f'{IS_WEB1} && [ "$2" = "start" ]', True),
        (f'{IS_WEB1} && ([ "$2" = start ] || [ "$2" = reconnect ])', True),
        ("[[ $1 == web1 && ${2} == start ]]", True),
        ("[ $1 = web1 -a $2 = start -a $3 = begin ]", True),
        ('[ "$2" != "stopped" ]', True),
        ("[ $2 = start -o $2 = reconnect ]", True),
        (f'[ "$1" = "mail" ] || {IS_WEB1}', False),
        (f"{IS_WEB1} && [ -e /etc/maintenance ]", False),
        (f"! {IS_WEB1}", False),
        (f'{IS_WEB1} && [ "$2" = start ] || [ "$2" = reconnect ]', False),
        (f"{IS_WEB1} && ping -c 1 192.168.122.50", False),
        ('[ "$2" = "start" ] && [ -e /etc/maintenance ]', False),
        ('[ "$2" = "start" ] || (ls)', False),
        ("[[ $1 == web* ]]", False),
        ('[ "$1" = "web1 ]', False),
    ],
)
def test_conditions(condition: str, is_carried: bool) -> None:
    """A rule of a script is carried over where all of its condition is one guest and
    the event; else it is a comment that says the condition."""
    text = f"#!/bin/sh\nif {condition}; then\n{RULE}\nfi\n"

    why = [] if is_carried else [f"it:3:1: it stands under a condition: {condition}"]
    assert (entries(text), left(text)) == (["0.0.0.0:80:80"] * is_carried, why)


PASS = "-A FORWARD -d 192.168.122.50/32 "
ONE_PASSES = f"{PASS}-s 198.51.100.7 -j ACCEPT"


@pytest.mark.parametrize(
    ("source", "accepts", "is_carried"),
    [
        ("", [], True),
        ("", [f"{PASS}-p tcp --dport 80 -j ACCEPT"], True),
        ("", [f"{PASS}-i eth0 -o virbr0 -m conntrack --ctstate NEW -j ACCEPT"], True),
        ("", [f"{PASS}-s 198.51.100.0/24 -p tcp --dport 80 -j ACCEPT"], False),
        ("", [f"{PASS}-m set --match-set lan src -j ACCEPT"], False),
        ("", [f"{PASS}-s 198.51.100.0/24 -p tcp --dport 22 -j ACCEPT"], True),
        ("", [f"{PASS}-s 198.51.100.0/24 -p udp -j ACCEPT"], True),
        ("", [f"{PASS}-s 198.51.100.0/24 -j DROP"], True),
        ("-s 198.51.100.0/24", [f"{PASS}-s 198.51.100.0/24 -j ACCEPT"], True),
        ("-s 203.0.113.0/24", [f"{PASS}-s 198.51.100.0/24 -j ACCEPT"], False),
        ("", ["-A FORWARD -d 192.168.122.0/24 -s 198.51.100.7 -j ACCEPT"], False),
        ("", ["-A FORWARD -d 192.168.123.0/24 -s 198.51.100.7 -j ACCEPT"], True),
        ("", ["-A FORWARD -d 192.168.122.0/24 -s 192.168.122.0/24 -j ACCEPT"], True),
        ("", ["-A FORWARD -d 192.168.122.0/24 -o virbr0 -j ACCEPT"], True),
        ("", [ONE_PASSES, f"{PASS}-j ACCEPT"], True),
        ("", [ONE_PASSES, "-A FORWARD -d 192.168.122.0/24 -j ACCEPT"], True),
        ("", [ONE_PASSES, "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT"], True),
        (
            "",
            [
                ONE_PASSES,
                "-A FORWARD -i virbr0 -o virbr0 -j ACCEPT",
                "-A FORWARD -s 192.168.122.0/24 -i virbr0 -j ACCEPT",
                f"{PASS}-m state --state RELATED,ESTABLISHED -j ACCEPT",
            ],
            False,
        ),
    ],
)
def test_who_may_pass(source: str, accepts: Sequence[str], is_carried: bool) -> None:
    """A forward whose clients a forward chain of the source narrows is a comment: our
    accept would let all pass."""
    rule = f"{source} -p tcp --dport 80{TO_WEB1}"
    chain = ["*filter", ":FORWARD DROP [0:0]", *accepts, "COMMIT", ""]
    lines = [f"iptables {one}" for one in (f"-t nat -A PREROUTING {rule}", *accepts)]
    script = "\n".join(["#!/bin/sh", *lines])

    found = left(save(rule) + "\n".join(chain)), left(script)

    why = "lets only some pass to 192.168.122.50; allow_from says who may connect"
    lost = [f"it:4:1: it:8:1 {why}"], [f"it:2:1: it:3:1 {why}"]
    assert found == (([], []) if is_carried else lost)


@pytest.mark.parametrize(
    "flags", ["flags timeout", "flags dynamic,timeout", "timeout 1h"]
)
def test_clients_for_a_while(flags: str) -> None:
    """Who is in a set that forgets him, after a knock say, is not let in for good."""
    head = "type nat hook prerouting priority dstnat; policy accept;"
    text = f"""\
table ip nat {{
	set knocked {{
		type ipv4_addr
		{flags}
		elements = {{ 198.51.100.7 timeout 1h expires 50m }}
	}}
	chain prerouting {{
		{head}
		ip saddr @knocked tcp dport 22 dnat to 192.168.122.50
	}}
}}
"""
    one = {"family": "ip", "table": "nat"}
    to = {"dnat": {"addr": "192.168.122.50"}}
    rule = [matching("ip", "saddr", "@knocked"), matching("tcp", "dport", 22), to]
    base = {"type": "nat", "hook": "prerouting", "prio": -100, "policy": "accept"}
    told = [word for word in re.findall(r"\w+", flags) if word not in ("flags", "1h")]
    more = {"timeout": 3600} if "flags" not in flags else {"flags": told}
    objects = [
        {"table": {"family": "ip", "name": "nat"}},
        {"set": {**one, "name": "knocked", "elem": ["198.51.100.7"], **more}},
        {"chain": {**one, "name": "prerouting", **base}},
        {"rule": {**one, "chain": "prerouting", "handle": 4, "expr": rule}},
    ]

    found = left(text) + left(json.dumps({"nftables": objects}))

    why = "what is in the set knocked comes and goes by itself"
    assert found == [f"it:9:3: {why}", f"it: ip nat prerouting handle 4: {why}"]


def matching(protocol: str, field: str, right: object) -> dict[str, object]:
    """A condition as nft writes it in JSON."""
    left_side = {"payload": {"protocol": protocol, "field": field}}
    return {"match": {"op": "==", "left": left_side, "right": right}}


def test_one_family() -> None:
    """A rule of one family opens nothing in the other, where the guest may have an
    address as well; what is there for both is one entry."""
    four, six = "192.168.122.50", "fd00:122::50"
    of_six = save(f"-p tcp --dport 25 -j DNAT --to {six}")
    here = Known(lambda _: ["web1"], lambda _: [])
    qemu = "<domain xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'><name>a</name>"
    qemu += "<q:commandline><q:arg value='user,hostfwd=tcp::22-:22'/></q:commandline>"

    found = [
        entries(save(f"-p tcp --dport 80 -j DNAT --to {four}"), here),
        entries(save(f"-s 198.51.100.7 -p tcp --dport 80 -j DNAT --to {four}"), here),
        entries(of_six, here),
        entries(save(*(f"-p tcp --dport 80 -j DNAT --to {a}" for a in (four, six)))),
        entries(f"{qemu}</domain>"),
    ]

    only = "{published: 80, target: 80, host_ip: 0.0.0.0, allow_from: 198.51.100.7}"
    assert found == [
        ["0.0.0.0:80:80"],
        [only],
        ['"[::]:25:25"'],
        ["80"],
        ["0.0.0.0:22:22"],
    ]


OTHER_FORM = "it is in none of the forms of the wiki's script, and nothing is run"
UNDER = "it stands under a condition: [ -e /x ]"
OTHER_RULE = RULE.replace("80", "81")
ENDED = "the script has ended before it, by exit"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["if [ -e /x ]", "then", RULE, "fi"], [f"4:1: {UNDER}"]),
        (["if [ -e /x ]; then", "exit 0", "fi", RULE], [f"3:1: {UNDER}"]),
        (
            ["if [ -e /x ]; then", f"elif {IS_WEB1}; then", RULE, "fi"],
            [f"4:1: {UNDER}"],
        ),
        (
            ["while read port; do", RULE, "done < /x"],
            [f"3:1: it stands in a while: {OTHER_FORM}"],
        ),
        (
            ["if [ -e /x ]; then", "while ls; do", "break", "done", RULE, "fi"],
            [f"4:1: {OTHER_FORM}", f"6:1: {UNDER}"],
        ),
        ([f"if [ -e /x ]; then {RULE}; fi", RULE], [f"2:1: {OTHER_FORM}"]),
        ([f"{RULE}1 && {RULE}", RULE], [f"2:1: {OTHER_FORM}"]),
        ([f"sleep 5; {RULE}1", RULE], [f"2:1: {OTHER_FORM}"]),
        (
            [f"{IS_WEB1} || [ $1 = mail ] || exit 0", RULE],
            [f"2:1: {OTHER_FORM}"],
        ),
        (["exit 0", RULE], [f"3:1: {ENDED}"]),
        ([f"if {IS_WEB1}; then", "exit", RULE, "fi", OTHER_RULE], [f"4:1: {ENDED}"]),
        (
            [f"if {IS_WEB1}; then exit;fi", RULE],
            [f"2:1: {OTHER_FORM}"],
        ),
        (
            [": <<'OFF'", RULE, "OFF", OTHER_RULE],
            [f"2:1: {OTHER_FORM}", f"3:1: it is text for a command (<<): {OTHER_FORM}"],
        ),
        (
            ['cat >"/x" <<-OFF', RULE, "\tOFF", OTHER_RULE],
            [f"2:1: {OTHER_FORM}", f"3:1: it is text for a command (<<): {OTHER_FORM}"],
        ),
        (["echo $((1 << x)) <<<x '<<x'", RULE], []),
        (
            ["open() {", RULE, "exit", "}", OTHER_RULE],
            [
                f"3:1: it stands in a function: {OTHER_FORM}",
                f"4:1: it stands in a function: {OTHER_FORM}",
            ],
        ),
        (
            ["case $1 in", "web1)", "P=80", ";;", "esac", RULE.replace("80", "$P")],
            ["7:1: $P is not set to plain text"],
        ),
        (
            ["P=80", f"if {IS_WEB1}; then", "P=81", "fi", RULE.replace("80", "$P")],
            ["6:1: $P is not set to plain text"],
        ),
        (
            ["for p in $(seq 1 2000); do", RULE.replace("80", "$p"), "done"],
            ["3:1: 1 to 2000 are more than 1000"],
        ),
        (
            ["N=", "for p in $(seq $N); do", RULE, "done"],
            ["4:1: seq  would have to be run"],
        ),
        (
            ["for p in $(seq ² ³); do", RULE, "done"],
            ["3:1: ² to ³ are no numbers"],
        ),
        (
            [
                "for p in {1..40}; do",
                "for q in {1..40}; do",
                RULE.replace("80", "$p$q"),
                "done",
                "done",
            ],
            ["4:1: more than 1000 rounds of loops"],
        ),
    ],
)
def test_blocks(lines: Sequence[str], why: Sequence[str]) -> None:
    """What decides over a rule from another line, or beside it, is never lost."""
    assert left("\n".join(["#!/bin/sh", *lines])) == [f"it:{one}" for one in why]


@pytest.mark.parametrize(
    "words", ["-w", "-w 5", "-w5", "--wait 5", "--wait=5 -W 1000", "--wait-interval 9"]
)
def test_waits_for_the_lock(words: str) -> None:
    """How long iptables waits is no part of the rule, however it is written."""
    found = entries(f"#!/bin/sh\n{RULE.replace('-t', f'{words} -t', 1)}\n")

    assert found == ["0.0.0.0:80:80"]


def test_steps() -> None:
    """seq with an increment is fewer ports than all from the first to the last."""
    loop = f"for p in $(seq 8000 10 8020); do\n{RULE.replace('80', '$p')}\ndone\n"

    found = entries(f"#!/bin/sh\n{loop}")

    assert found == [f"0.0.0.0:{port}:{port}" for port in (8000, 8010, 8020)]


def test_terminal_escapes() -> None:
    """What a source holds is shown, never sent to a terminal."""
    text = save("-p tcp --dport 1 -m x --y \x1b[31m\u2028 -j DNAT --to 192.168.122.50")
    _, found = read_source(text, "it")

    made = make_file(found, known(), "it\x1b").text

    assert all(line.isprintable() for line in made.splitlines())


RULES = st.lists(
    st.builds(
        " ".join,
        st.tuples(
            st.sampled_from(["", "-d 203.0.113.5", "-d 203.0.113.6", "-i eth0"]),
            st.sampled_from(["-p tcp", "-p udp", "-p sctp"]),
            st.sampled_from(["", "-s 198.51.100.0/24", "! -s 198.51.100.0/24"]),
            st.sampled_from(["--dport 80", "--dport 79:81", "--dport 81", ""]),
            st.sampled_from(
                [f"-j DNAT --to 192.168.122.{n}" for n in ("50", "51:80", "52:79-81")]
                + ["-j RETURN", "-j DNAT --to 192.168.122.99"]
            ),
        ),
    ),
    max_size=12,
)


@PROPERTY
@given(RULES)
def test_clean_and_nothing_lost(rules: Sequence[str]) -> None:
    """Whatever claims what: our checker has nothing against the file, and every DNAT
    rule stands in it, as an entry or as a comment, with its place."""
    found = read_rules(save(*rules), "it")

    text = make_file(found, known(), "it").text
    path = Path("/dev/null/forwards.yaml")
    _, problems = read_forwards(path, {path: text.encode()})

    places = [f"it:{n}:1" for n, rule in enumerate(rules, 4) if "DNAT" in rule]
    lost = [place for place in places if not re.search(rf"{place}\b", text)]
    assert (problems, lost) == ([], [])


def test_command(tmp_path: Path) -> None:
    """The file is printed, or written where none was; exit 0 says that nothing of it
    was left."""
    source, new = tmp_path / "hooks.json", tmp_path / "new.yaml"
    source.write_text(HOOKS)
    made = MADE.replace("FILE", str(source))

    printed = vfwhooks(tmp_path, "import", str(source))
    written = vfwhooks(tmp_path, "import", str(source), "-o", str(new))
    again = vfwhooks(tmp_path, "import", str(source), "-o", str(new))

    said = "1 forward for 1 guest\n"
    refused = f"vfwhooks: {new} is there already, and is not overwritten\n"
    assert printed == (0, made, said)
    assert written == (0, "", f"{new}: {said}")
    assert again == (1, "", f"{refused}  name another file with -o\n")
    assert (new.read_text(), stat.S_IMODE(new.stat().st_mode)) == (made, 0o644)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hooks.json", "new.yaml"]


def test_what_is_left_is_told(tmp_path: Path) -> None:
    """Exit 1 where something is only a comment, and how much."""
    source = tmp_path / "saved"
    source.write_text(
        save(
            "-p tcp --dport 80 -j DNAT --to 192.0.2.1",
            "-p tcp --dport 81 -j DNAT --to 192.0.2.2",
        )
    )

    status, _, said = vfwhooks(
        tmp_path, "import", str(source), "--guest", "192.0.2.1=web1"
    )

    assert (status, said) == (
        1,
        "1 forward for 1 guest; 1 not carried over, see its end\n",
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no"], "vfwhooks: no: no such file\n"),
        (["--guest", "x"], "vfwhooks: x: write it as LEFT=RIGHT\n"),
        (["--interface", "a=b"], "vfwhooks: --interface a=b: b is no address\n"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: list[str], said: str) -> None:
    """They are told, and nothing is read."""
    found = vfwhooks(tmp_path, "import", *arguments)

    assert found == (1, "", said)


def test_said_twice(tmp_path: Path) -> None:
    """Who is said twice to have an address is one guest."""
    source = tmp_path / "rules.v4"
    source.write_text(save("-p tcp --dport 80 -j DNAT --to 192.168.122.99:80"))
    guest = "--guest", "192.168.122.99=web9"

    status, made, said = vfwhooks(tmp_path, "import", str(source), *guest, *guest)

    assert (status, "  web9:\n" in made) == (0, True), said
