"""explain on a real host: every live rule is named, and what is computed for a
published port is what a real connection meets."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.docker import install_rules
from lab.host import Host
from lab.net import Net
from product import configure, vfwhooks

from e2e.test_blockers import outside_and_guest, prepare

FORWARDS = """guests:
  web1:
    ports:
      - 8080:80
      - {published: 8081, target: 80, allow_from: [198.51.100.0/24]}
      - {published: 8082, target: 80, allow_from: [0.0.0.0/0]}
    address: [192.168.122.10, "fd00:122::10"]
"""
CORNER = "chain ip libvirt_network vfwhooks"
JUMP = "FORWARD -m conntrack --ctstate DNAT -j VFW-FORWARD"
# What takes out the rule that lets forwards in, and what puts it back.
LETTING_IN = {
    "nftables": (
        f"nft -s list {CORNER} > /root/corner; nft flush {CORNER}",
        "nft -f /root/corner",
    ),
    "iptables": (f"iptables -D {JUMP}", f"iptables -I {JUMP}"),
}
SITE = """nft -f - <<'.'
table inet site {{
chain c {{
type filter hook forward priority 10; policy accept;
{}
}}
}}
."""
ELSEWHERE = "PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.168.122.99"


@pytest.fixture(scope="module", params=["nftables", "iptables"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """libvirtd with either backend, and our hooks."""
    with Host.debian13(request.param) as host:
        prepare(host)
        configure(host, FORWARDS)
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Iterator[Net]:
    """Somebody outside, and a guest's stand-in that serves port 80."""
    with outside_and_guest(host) as outside:
        yield outside


def explain(host: Host, *arguments: str) -> list[str]:
    """The lines."""
    done = vfwhooks(host, "explain", *arguments)
    assert (done.status in (0, 1), done.stderr) == (True, "")
    return done.stdout.splitlines()


def live_rules(host: Host) -> int:
    """How many rules the kernel has: nft's own, and both iptables'."""
    items = json.loads(host.run(["nft", "-j", "list", "ruleset"]))["nftables"]
    ours = [one["rule"] for one in items if "rule" in one]
    names = "filter", "nat", "mangle", "raw"
    native = [rule for rule in ours if rule["table"] not in names]
    saves = [host.run([f"{tool}-save"]) for tool in ("iptables", "ip6tables")]
    return len(native) + sum(text.count("\n-A ") for text in saves)


def test_every_live_rule_is_named(host: Host, outside: Net) -> None:
    """Each has its maker, and nobody has made one by hand; Docker's stand beside
    libvirt's and ours."""
    install_rules(host, "iptables")
    try:
        lines = explain(host)
        count = live_rules(host)
    finally:
        docker_gone(host)

    made = [line[13:] for line in lines if line.startswith("    made by: ")]
    programs = {one.partition(",")[0] for one in made}
    assert (len(made), programs) == (count, {"libvirt", "vfwhooks", "Docker"})


def docker_gone(host: Host) -> None:
    """Take its rules out again; libvirt's and ours stay."""
    host.run(["iptables", "-P", "FORWARD", "ACCEPT"])
    for jump in ("DOCKER-USER", "DOCKER-FORWARD"):
        host.run(["iptables", "-D", "FORWARD", "-j", jump])
    names = host.run(["sh", "-c", "iptables -S | sed -n 's/^-N DOCKER/DOCKER/p'"])
    for command in ("-F", "-X"):
        for name in names.split():
            host.run(["iptables", command, name])


def verdicts(host: Host) -> dict[str, str]:
    """What explain says of a connection by IPv4 to each published port at last."""
    found: dict[str, str] = {}
    port = ""
    for line in explain(host):
        if not line:
            break
        if ": a connection to " in line:
            port = line.split()[8] if "203.0.113.1" in line else ""
        elif port and "without vfwhooks" not in line and "led to" not in line:
            found[port] = line.split(" by ")[0].strip()
    return found


MEANS = {
    "answered": "let in",
    "timed out": "dropped",
    "refused": "rejected",
    "unreachable": "rejected",
}


@pytest.mark.parametrize(
    ("command", "undo", "expected"),
    [
        ("true", "true", "let in"),
        ("iptables -P FORWARD DROP", "iptables -P FORWARD ACCEPT", None),
        (
            "iptables -I FORWARD -o virbr0 -p tcp --dport 80 -j DROP",
            "iptables -D FORWARD -o virbr0 -p tcp --dport 80 -j DROP",
            "dropped",
        ),
        (
            "iptables -I FORWARD ! -s 10.0.0.0/8 -i outside -j REJECT",
            "iptables -D FORWARD ! -s 10.0.0.0/8 -i outside -j REJECT",
            "rejected",
        ),
        (
            SITE.format("ct status dnat tcp dport 80 reject"),
            "nft delete table inet site",
            "rejected",
        ),
        (
            SITE.format("ip daddr 192.168.122.0/24 tcp dport vmap { 1-1023 : drop }"),
            "nft delete table inet site",
            "dropped",
        ),
        (
            SITE.replace("chain", "flags dormant; chain").format("drop"),
            "nft delete table inet site",
            "let in",
        ),
        (
            f"iptables -t nat -I {ELSEWHERE}",
            f"iptables -t nat -D {ELSEWHERE}",
            None,
        ),
    ],
)
def test_a_verdict_is_what_a_connection_meets(
    host: Host, outside: Net, command: str, undo: str, expected: str | None
) -> None:
    """For what is open to all, for a source range that the client is not in, and for
    one that he is in, beside somebody's rules; the computed verdict of 8080 is that of
    the kernel, whatever it is."""
    host.run(["sh", "-c", command])
    try:
        said = verdicts(host)
        met = {
            str(port): outside.http(f"http://203.0.113.1:{port}/").outcome
            for port in (8080, 8081, 8082)
        }
    finally:
        host.run(["sh", "-c", undo])

    assert {port: said[port] for port in met} == {
        port: MEANS[outcome.value] for port, outcome in met.items()
    }
    assert expected in (None, said["8080"])


def test_what_would_have_rejected_it(
    host: Host, outside: Net, request: pytest.FixtureRequest
) -> None:
    """Without the rule that lets a port in, the connection is rejected, as was said."""
    out, back = LETTING_IN[request.node.callspec.params["host"]]
    before = explain(host)
    host.run(["sh", "-c", out])

    met = outside.http("http://203.0.113.1:8080/").outcome.value
    after = verdicts(host)["8080"]
    host.run(["sh", "-c", back])

    told = [line for line in before if line.startswith("    without vfwhooks: ")]
    assert (met, after, told[0].split()[2]) == ("refused", "rejected", "rejected")
    assert verdicts(host)["8080"] == "let in"


def test_the_way_of_a_connection(host: Host, outside: Net) -> None:
    """Hop by hop, to the guest's address; another source goes another way."""
    ways = [
        explain(host, "--trace", "tcp/8081", "--from", source, "--wait", "0")
        for source in ("198.51.100.7", "203.0.113.2")
    ]

    heads = [[line for line in way if line[0] != " "] for way in ways]
    to = "203.0.113.1 port 8081, by outside: computed, nothing is sent"
    hops = ["prerouting", "routing: to 192.168.122.10, by virbr0", "forward"]
    assert [way for way in heads[0] if way != "postrouting"] == [
        *(f"tcp from 198.51.100.7 to {to}", *hops),
        "it gets there",
    ]
    assert (heads[1][0], heads[1][-1]) == (
        f"tcp from 203.0.113.2 to {to}",
        "it is rejected",
    )


def tracing(host: Host, seconds: int) -> str:
    """Start a trace of port 8080 that writes to /root/way; its process, when the kernel
    has its table."""
    env = f"PYTHONPATH={Host.CHECKOUT} exec /usr/bin/python3 -m vfwhooks"
    command = f"{env} explain --trace tcp/8080 --wait {seconds} > /root/way 2>&1"
    pid = host.run(["sh", "-c", f"({command}) </dev/null & echo $!"]).strip()
    wait_until(lambda: "nftrace" in trace_table(host), "the table", 20)
    return pid


def trace_table(host: Host) -> str:
    """The table that asks for a trace; '' where there is none."""
    return host.call(["nft", "list", "table", "inet", "vfwhooks_trace"]).stdout


def test_the_real_way_of_a_connection(host: Host, outside: Net) -> None:
    """The kernel's own trace of one connection meets the chains that were computed,
    in that order; the table that asks for it goes with the process."""
    pid = tracing(host, 20)
    for _ in range(2):
        outside.http("http://203.0.113.1:8080/", timeout=1)
    wait_until(lambda: host.call(["kill", "-0", pid]).status, "the trace's end", 30)

    assert trace_table(host) == ""
    lines = host.read("/root/way").splitlines()
    told, real = lines[: lines.index("")], lines[lines.index("") :]
    assert (chains(real), len(chains(real)) > 4) == (chains(told), True)


def chains(lines: list[str]) -> list[str]:
    """The chains of the rules that these lines are about."""
    found = [re.match(r"  \w+ \d+ of (.*?, chain \S+):", line) for line in lines]
    return [one.group(1) for one in found if one]


def test_a_killed_trace_leaves_nothing(host: Host, outside: Net) -> None:
    """kill -9: the kernel drops the table, and neither nft goes on."""
    pid = tracing(host, 20)

    host.run(["kill", "-9", pid])

    wait_until(lambda: not trace_table(host), "the table's end", 10)
    wait_until(lambda: "nft" not in host.run(["ps", "-eo", "comm"]), "nft's end", 10)


def test_what_has_changed_since(host: Host, outside: Net) -> None:
    """A saved ruleset is this host's until somebody changes a rule; connections in
    between count, and are no change."""
    explain(host, "--save", "/root/before")
    outside.http("http://203.0.113.1:8080/", timeout=1)
    same = explain(host, "--diff", "/root/before")
    host.run(["iptables", "-A", "FORWARD", "-i", "outside", "-j", "DROP"])
    try:
        found = explain(host, "--diff", "/root/before")
        explain(host, "--save", "/root/after")
        files = explain(host, "--diff", "/root/before", "/root/after")
    finally:
        host.run(["iptables", "-D", "FORWARD", "-i", "outside", "-j", "DROP"])

    does = "A packet that comes in by outside is dropped without an answer."
    who = "somebody by hand, or a script without a mark"
    rules = [line.partition(": ") for line in found if "-i outside" in line]
    assert same == ["nothing has changed"]
    assert [rule for _, _, rule in rules] == ["-i outside -j DROP"]
    assert (f"    {does} (made by {who})" in found, files == found) == (True, True)
    assert oct(host.path("/root/before").stat().st_mode & 0o777) == "0o600"
