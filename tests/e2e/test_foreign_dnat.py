"""DNAT rules of others on published ports: whoever was first keeps the port, and the
row says so, whichever backend libvirt uses. All by real packets, with the service.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from lab import docker
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import default_network, mac_for
from product import (
    CONFIG,
    call_hook,
    domain_xml,
    edit,
    put_in,
    rows,
    start_watch,
    stop_watch,
    vfwhooks,
)

XML = domain_xml("web1", mac_for(10))
OUTSIDE, SECOND = "203.0.113.1", "203.0.113.5"
BOTH = 'address: [192.168.122.10, "fd00:122::10"]'
CONTAINER, CONTAINER6 = "172.17.0.2", "fd00:17::2"
CURE = "over_listener: true takes the port from it"
AHEAD = "it is asked before ours: take it out there, or publish another port"
TAKEN = "/run/vfwhooks/taken"
KINDS: dict[str, Callable[[], AbstractContextManager[Host]]] = {
    "libvirt-11.3-nftables": lambda: Host.debian13("nftables"),
    "libvirt-11.3-iptables": lambda: Host.debian13("iptables"),
}
if "VFWHOOKS_ALL_KINDS" in os.environ:  # libvirt itself is stopped here
    KINDS["libvirt-11.3-legacy"] = lambda: Host.debian13("iptables", legacy=True)
    KINDS["libvirt-9.0-iptables"] = Host.debian12

# What is not of one backend is asked where its rules are made.
_BOTH = ["libvirt-11.3-nftables", "libvirt-11.3-iptables"]
_IS_ALL = "VFWHOOKS_ALL_KINDS" in os.environ
ON_NFTABLES, ON_IPTABLES = (
    pytest.mark.parametrize("kind", _BOTH if _IS_ALL else [one], indirect=True)
    for one in _BOTH
)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which libvirt, with which backend."""
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def host(kind: str) -> Iterator[Host]:
    """A host with the service, and a stand-in for a guest, of whom no libvirtd knows:
    the service would ask it."""
    with KINDS[kind]() as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network(ipv6=True))
        host.stop_libvirtd()
        # It looks at the legacy variant, which tells nobody, at every beat.
        start_watch(host, WATCHDOG_USEC="2000000")
        yield host
        stop_watch(host)


@pytest.fixture(scope="module")
def web1(host: Host) -> Iterator[Net]:
    """What answers for the guest web1, on every port that is asked here."""
    net = host.standin("web1", "192.168.122.10/24", "fd00:122::10/64", mac=mac_for(10))
    net.ip("route add default via 192.168.122.1", "route add default via fd00:122::1")
    with net.serve_tcp(80), net.serve_tcp(5004), net.serve_tcp(5005):
        yield net


@pytest.fixture(scope="module")
def container(host: Host) -> Iterator[Net]:
    """What answers behind somebody else's rules."""
    net = host.outside(f"{CONTAINER}/16", f"{CONTAINER6}/64", name="docker0")
    with net.serve_tcp(80), net.serve_tcp(5005):
        yield net


@pytest.fixture(scope="module")
def outside(host: Host, web1: Net, container: Net) -> Net:
    """203.0.113.2 and 2001:db8::2; the host has two addresses of IPv4 there, the first
    in its default route."""
    outside = host.outside()
    host.net.ip(
        f"addr add {SECOND}/24 dev outside",
        "route add default via 203.0.113.2 dev outside",
    )
    return outside


def event(host: Host, operation: str) -> None:
    """Tell the hook of web1, as libvirt does."""
    call_hook(host, "qemu", "web1", operation, "begin", "-", xml=XML)


def start(host: Host, guest: str) -> list[tuple[str, str]]:
    """Publish for web1 and start it anew; state and reason of its rows."""
    event(host, "stopped")
    edit(host, f"guests:\n  web1: {guest}\n")
    event(host, "started")
    return rows(host)


def who(outside: Net, port: int, address: str = OUTSIDE) -> str:
    """Who answers: the first word of what is said."""
    at = f"[{address}]" if ":" in address else address
    return outside.http(f"http://{at}:{port}/").body.partition(" ")[0]


def is_answered_by(outside: Net, port: int, name: str, address: str = OUTSIDE) -> None:
    """Waits until it is so."""
    wait_until(lambda: who(outside, port, address) == name, f"{name}'s answer", 30)


def tool(host: Host, command: str = "iptables") -> str:
    """What reasons call it."""
    is_legacy = "legacy" in host.run([command, "--version"])
    return f"{command}-legacy" if is_legacy else command


@contextmanager
def rule(host: Host, *words: str, command: str = "iptables") -> Iterator[None]:
    """A rule by hand in nat PREROUTING; "-I" or "-A" comes first."""
    how, *rest = words
    before = host.read(TAKEN)
    host.run([command, "-t", "nat", how, "PREROUTING", *rest])
    noticed(host, before)
    before = host.read(TAKEN)
    try:
        yield
    finally:
        host.run([command, "-t", "nat", "-D", "PREROUTING", *rest])
        noticed(host, before)


@contextmanager
def published_by_docker(host: Host, port: int, to: str) -> Iterator[None]:
    """A container's published port."""
    command = "ip6tables" if to.startswith("[") else "iptables"
    before = host.read(TAKEN)
    docker.publish(host, command, port, to)
    noticed(host, before)
    before = host.read(TAKEN)
    try:
        yield
    finally:
        docker.unpublish(host, command, port, to)
        noticed(host, before)


@contextmanager
def table(host: Host, text: str, is_news: bool = True) -> Iterator[None]:
    """A table of somebody's own, ip site."""
    before = host.read(TAKEN)
    host.run(["nft", "-f", "-"], input=text)
    if is_news:
        noticed(host, before)
        before = host.read(TAKEN)
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", "ip", "site"])
        if is_news:
            noticed(host, before)


def noticed(host: Host, before: str) -> None:
    """Waits until the service has written down that something has changed."""
    wait_until(lambda: host.read(TAKEN) != before, "the service's look", 30)


def is_iptables(kind: str) -> bool:
    """Whether our rules stand beside others' in iptables' own chains."""
    return "iptables" in kind or "legacy" in kind


def cure(host: Host, kind: str, command: str = "iptables") -> str:
    """What is advised by where somebody's rule stands."""
    if not is_iptables(kind):
        return CURE
    rules = host.run([command, "-t", "nat", "-S", "PREROUTING"]).splitlines()[1:]
    return CURE if "VFW-PREROUTING" in rules[0] else AHEAD


DOCKERS = "Docker ({} nat DOCKER) takes tcp {} by DNAT"


def test_docker_was_first(
    kind: str, host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """Its container goes on answering, and the row says whose the port is; when it
    goes, the guest has the port by itself."""
    with published_by_docker(host, 8080, f"{CONTAINER}:80"):
        found = start(host, '["0.0.0.0:8080:80", "0.0.0.0:8081:80"]')
        answers = who(outside, 8080), who(outside, 8081)
        advice = cure(host, kind)
    is_answered_by(outside, 8080, "web1")
    after = rows(host)

    why = f"{DOCKERS.format(tool(host), 8080)}; {advice}"
    assert (found, answers, after) == (
        [("conflict", why), ("active", "")],
        ("docker0", "web1"),
        [("active", ""), ("active", "")],
    )


def test_docker_was_first_by_ipv6(
    kind: str, host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """In the other family as well."""
    with published_by_docker(host, 8080, f"[{CONTAINER6}]:80"):
        found = start(host, f'{{ports: ["[::]:8080:80"], {BOTH}}}')
        answer = who(outside, 8080, "2001:db8::1")
        advice = cure(host, kind, "ip6tables")
    is_answered_by(outside, 8080, "web1", "2001:db8::1")

    why = f"{DOCKERS.format(tool(host, 'ip6tables'), 8080)}; {advice}"
    assert (found, answer) == ([("conflict", why)], "docker0")


def test_the_forward_was_first(
    host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """A rule that comes behind ours takes nothing, and is named; events and a full
    check leave it at that."""
    start(host, '["0.0.0.0:8080:80"]')
    words = "-p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    with rule(host, "-A", *words.split()):
        event(host, "reconnect")
        host.write("/run/vfwhooks/full", "")
        event(host, "reconnect")
        found, answer = rows(host), who(outside, 8080)

    why = f"{tool(host)} nat PREROUTING takes tcp 8080 by DNAT; the forward was first"
    assert (found, answer) == ([("active", why)], "web1")


def test_a_rule_on_top(
    kind: str, host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """Put ahead of ours in the same chain it takes the port from a forward that was
    first, and then the row does not say active; ours on nftables is ahead of it."""
    start(host, '["0.0.0.0:8080:80"]')
    words = "-p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    with rule(host, "-I", *words.split()):
        found, answer = rows(host), who(outside, 8080)
    is_answered_by(outside, 8080, "web1")
    after = rows(host)

    why = f"{tool(host)} nat PREROUTING takes tcp 8080 by DNAT"
    expected = (
        ([("conflict", f"{why}; {AHEAD}")], "docker0")
        if is_iptables(kind)
        else ([("active", f"{why}; the forward was first")], "web1")
    )
    assert ((found, answer), after) == (expected, [("active", "")])


@pytest.mark.parametrize("kind", ["libvirt-11.3-iptables"], indirect=True)
def test_a_rule_that_iptables_cannot_read(
    kind: str, host: Host, outside: Net, web1: Net
) -> None:
    """nft has put it into iptables' table: guests start and stop all the same, also
    when everything is compared, and doctor names the table."""
    words = ["rule", "ip", "filter", "FORWARD", "ct", "mark", "0x4d", "drop"]
    handle = host.run(["nft", "-a", "-e", "insert", *words]).rpartition("handle ")[2]
    first = start(host, '["0.0.0.0:8080:80"]'), who(outside, 8080)
    host.write("/run/vfwhooks/full", "")
    event(host, "reconnect")
    second = rows(host), who(outside, 8080)
    event(host, "stopped")
    third = outside.http(f"http://{OUTSIDE}:8080/").answered
    said = vfwhooks(host, "doctor").stdout
    host.run(["nft", "delete", *words[:4], "handle", handle.split()[0]])

    served = [("active", "")], "web1"
    assert (first, second, third) == (served, served, False)
    assert "table ip filter has a rule that iptables cannot read" in said
    assert "libvirt's rules are missing" not in said


def chain(priority: int, rules: str) -> str:
    """The table ip site with one base chain."""
    hook = f"type nat hook prerouting priority {priority};"
    return f"table ip site {{\n chain pre {{\n {hook}\n {rules}\n }}\n}}\n"


TO_CONTAINER = "dnat to 172.17.0.2:80"
SITES = "table ip site, chain pre"


def test_a_chain_ahead_of_ours(
    host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """By its priority it takes the port from whoever was first, on both backends."""
    start(host, '["0.0.0.0:8080:80"]')
    seen = len(host.syslog("asked before ours"))
    with table(host, chain(-150, f"tcp dport 8080 {TO_CONTAINER}")):
        found, answer = rows(host), who(outside, 8080)
        wait_until(lambda: len(host.syslog("asked before ours")) > seen, "its line")
        logged = host.syslog("asked before ours")
    is_answered_by(outside, 8080, "web1")

    why = f"{SITES} takes tcp 8080 by DNAT; {AHEAD}"
    assert (found, answer) == ([("conflict", why)], "docker0")
    assert logged[-1].endswith(f"]: web1: {why}")


def test_over_listener(
    kind: str, host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """It takes the port where our chain can go ahead of theirs, and says so where it
    cannot."""
    words = "-p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    start(host, "[]")
    with rule(host, "-I", *words.split()):
        found = start(host, '{ports: ["0.0.0.0:8080:80"], over_listener: true}')
        answer = who(outside, 8080)
        warned = vfwhooks(host, "check").stderr

    why = f"{tool(host)} nat PREROUTING takes tcp 8080 by DNAT; {AHEAD}"
    expected = ([("active", "")], "web1"), ""
    if is_iptables(kind):
        warning = f"{CONFIG}:2:18: warning: {why}\n"
        expected = ([("conflict", why)], "docker0"), warning
    assert ((found, answer), warned) == expected


def test_a_hole_in_a_range(
    kind: str, host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """Of a range it keeps its port alone, and gives it back."""
    with published_by_docker(host, 5005, f"{CONTAINER}:5005"):
        found = start(host, '["0.0.0.0:5000-5010:5000-5010"]')
        answers = who(outside, 5004), who(outside, 5005)
        advice = cure(host, kind)
    is_answered_by(outside, 5005, "web1")
    after = rows(host)

    why = f"all but 5005: {DOCKERS.format(tool(host), 5005)}; {advice}"
    assert (found, answers, after) == (
        [("active", why)],
        ("web1", "docker0"),
        [("active", "")],
    )


BY_HAND = {
    # rules in PREROUTING of iptables, the published port, what is said to take it
    "redirect": ("-p tcp --dport 8080 -j REDIRECT --to-ports 3128", "8080", "REDIRECT"),
    "a list": (
        "-p tcp -m multiport --dports 90,8070:8090 -j DNAT --to 172.17.0.2:80",
        "8070-8090",
        "DNAT",
    ),
    "all but an address": (
        f"! -d {SECOND} -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        f"{OUTSIDE}:8080",
        "DNAT",
    ),
    "from somebody": (
        "-s 203.0.113.0/24 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "8080",
        "DNAT",
    ),
    "on an interface": (
        "-i outside -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        "8080",
        "DNAT",
    ),
    "on the host's address": (
        f"-d {OUTSIDE} -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80",
        f"{OUTSIDE}:8080",
        "DNAT",
    ),
}
LIMITS = {
    "from somebody": " from 203.0.113.0/24",
    "on an interface": " on outside",
}


@ON_IPTABLES
@pytest.mark.parametrize("what", BY_HAND)
def test_rules_by_hand(
    kind: str, host: Host, outside: Net, web1: Net, container: Net, what: str
) -> None:
    """Every form that is read: its target answers, and the row says whose it is."""
    words, taken, verb = BY_HAND[what]
    with rule(host, "-A", *words.split()), host.net.serve_tcp(3128):
        found = start(host, '["0.0.0.0:8080:80"]')
        answer, advice = who(outside, 8080), cure(host, kind)
    is_answered_by(outside, 8080, "web1")

    whose = f"{tool(host)} nat PREROUTING{LIMITS.get(what, '')}"
    why = f"{whose} takes tcp {taken} by {verb}"
    assert found == [("conflict", f"{why}; {advice}")]
    assert answer == (host.name if verb == "REDIRECT" else "docker0")


@ON_NFTABLES
def test_a_rule_for_another_address(
    host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """One that the world does not know the host by is left to it, and the forward has
    all others; when the rule goes, that one too."""
    words = f"-d {SECOND} -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    with rule(host, "-A", *words.split()):
        found = start(host, '["0.0.0.0:8080:80"]')
        answers = who(outside, 8080), who(outside, 8080, SECOND)
    is_answered_by(outside, 8080, "web1", SECOND)
    after = rows(host)

    whose = f"{tool(host)} nat PREROUTING takes tcp {SECOND}:8080 by DNAT"
    assert (found, answers, after) == (
        [("active", f"not on {SECOND}: {whose}")],
        ("web1", "docker0"),
        [("active", "")],
    )


@ON_NFTABLES
def test_a_rule_for_an_address_that_is_not_ours(
    host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """What is not for this host is nobody's business here."""
    words = "-d 10.96.0.10 -p tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80"
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *words.split()])
    found = start(host, '["0.0.0.0:8080:80"]')
    answer = who(outside, 8080)
    host.run(["iptables", "-t", "nat", "-D", "PREROUTING", *words.split()])

    assert (found, answer) == ([("active", "")], "web1")


NATIVE = {
    # a rule of nft's, what is said to take the port
    "dnat": (f"tcp dport 8080 {TO_CONTAINER}", f"{SITES} takes tcp 8080 by DNAT"),
    "redirect": (
        "tcp dport 8080 redirect to :3128",
        f"{SITES} takes tcp 8080 by REDIRECT",
    ),
    "a list": (
        f"fib daddr type local tcp dport {{ 90, 8070-8090 }} {TO_CONTAINER}",
        f"{SITES} takes tcp 8070-8090 by DNAT",
    ),
    "on an interface": (
        f'iifname "outside" ip daddr {OUTSIDE} tcp dport 8080 {TO_CONTAINER}',
        f"{SITES} on outside takes tcp {OUTSIDE}:8080 by DNAT",
    ),
}


@ON_NFTABLES
@pytest.mark.parametrize("what", NATIVE)
def test_rules_of_nft(
    kind: str, host: Host, outside: Net, web1: Net, container: Net, what: str
) -> None:
    """A table of somebody's own beside ours, asked after iptables' chains."""
    text, why = NATIVE[what]
    with table(host, chain(-90, text)), host.net.serve_tcp(3128):
        found = start(host, '["0.0.0.0:8080:80"]')
        answer = who(outside, 8080)
        told = vfwhooks(host, "explain", "web1").stdout
        looked = vfwhooks(host, "doctor").stdout
        warned = vfwhooks(host, "check").stderr
    is_answered_by(outside, 8080, "web1")

    later = "it keeps the port if it is there first, unless over_listener: true"
    assert found == [("conflict", f"{why}; {CURE}")]
    assert answer == (host.name if "redirect" in text else "docker0")
    assert warned == f"{CONFIG}:2:10: warning: {why}; {later}\n"
    assert (f"why      {why}" in told, f"note   web1: {why}; " in looked) == (
        True,
        True,
    )


@ON_NFTABLES
def test_what_apply_and_the_log_say(
    host: Host, outside: Net, web1: Net, container: Net
) -> None:
    """Both name who keeps the port."""
    with table(host, chain(-90, f"tcp dport 8080 {TO_CONTAINER}")):
        start(host, '["0.0.0.0:8080:80"]')
        said = vfwhooks(host, "apply").stdout
        # A hook is answered before its line is in the log.
        wait_until(lambda: logged(host) == LOGGED, lambda: logged(host), 30)

    assert said == f"note: web1: {SITES} takes tcp 8080 by DNAT\n"


LOGGED = f"web1: pending: {SITES} takes tcp 8080 by DNAT"


def logged(host: Host) -> str:
    """The last line of the log that names web1."""
    return host.syslog("web1")[-1].partition("]: ")[2]


UNKNOWN = {
    "a set": f"tcp dport @some {TO_CONTAINER}",
    "a map": "dnat to tcp dport map @where",
    "a verdict map": "tcp dport vmap {{ 8080 : jump more }}",
    "a mark": f"meta mark 7 tcp dport 8080 {TO_CONTAINER}",
}
PARTS = f"""table ip site {{
 set some {{ type inet_service; }}
 map where {{ type inet_service : ipv4_addr . inet_service; }}
 chain more {{ tcp dport 8080 {TO_CONTAINER}; }}
}}
"""


@ON_NFTABLES
@pytest.mark.parametrize("what", UNKNOWN)
def test_what_cannot_be_told(
    host: Host, outside: Net, web1: Net, container: Net, what: str
) -> None:
    """It is named for published ports by status and doctor, and changes no state."""
    text = PARTS + chain(-90, UNKNOWN[what].replace("{{", "{").replace("}}", "}"))
    with table(host, text, is_news=False):
        found = start(host, '["0.0.0.0:8080:80"]')
        answer = who(outside, 8080)
        looked = vfwhooks(host, "doctor").stdout

    why = "cannot tell whether table ip site takes port 8080"
    assert (found, answer) == ([("active", why)], "web1")
    assert f"note   web1: {why}\n" in looked
