"""What is said of a ruleset: who made each rule, what it does, why, what is lost.

tests/cases/explain has rulesets recorded on other hosts, and what has to be said of
them, written by hand; tests/cases/rulesets what the lab's tools list.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import CHECKOUT, PROPERTY
from unit.test_rulesets import LINES
from vfwhooks.rulesets.context import Context, Names
from vfwhooks.rulesets.makers import DEFAULT, HAND, LIBVIRT, OURS, XEN, find_maker
from vfwhooks.rulesets.packet import Packet
from vfwhooks.rulesets.report import tell
from vfwhooks.rulesets.ruleset import HOOKS
from vfwhooks.rulesets.ruleset_reader import load_ruleset, read_ruleset
from vfwhooks.rulesets.walk import pass_hook
from vfwhooks.values.errors import VfwError

CASES = CHECKOUT / "tests/cases"
HOSTS = sorted(path.name for path in (CASES / "explain").iterdir())
GUEST = "6b33ec13-96d6-4581-bc2f-38dee79d5ae5"
NAMES = Names({"virbr0": "default"}, {GUEST: "web1"})
NOBODY = Names()
BUILT_IN = {"ACCEPT", "DROP", "REJECT", "RETURN", "LOG"}
VIRBR0 = "the network of virbr0"


def save(*rules: str, table: str = "filter", chain: str = "FORWARD") -> str:
    """An iptables-save with these rules in one chain, and chains for their targets."""
    lines = [f"-A {chain} {rule}" for rule in rules]
    others = {rule.rpartition("-j ")[2] for rule in rules} - BUILT_IN
    heads = [f":{name} - [0:0]" for name in sorted(others) if " " not in name]
    head = f":{chain} ACCEPT [0:0]" if chain.isupper() else f":{chain} - [0:0]"
    return "\n".join([f"*{table}", head, *heads, *lines, "COMMIT", ""])


def makers(text: str, names: Names = NOBODY) -> list[tuple[str, str]]:
    """Who made each rule, and for whom."""
    ruleset = read_ruleset(text, "it")
    known = Context(ruleset, names)
    return [tuple(find_maker(known, *one)) for one in ruleset.rules()]  # type: ignore[misc]  # pairs


def said(text: str, what: str, names: Names = NOBODY) -> list[str]:
    """The lines of one kind (does, why, if lost, note) about a ruleset."""
    lines = tell(read_ruleset(text, "it"), names)
    return [
        line.partition(": ")[2].strip()
        for line in lines
        if line.startswith(f"    {what}:")
    ]


@pytest.mark.parametrize("name", HOSTS)
def test_a_recorded_host(name: str) -> None:
    """Every rule of it is named; the whole text is as it was written by hand."""
    lines = tell(load_ruleset(CASES / "explain" / name / "ruleset"), Names())

    assert list(lines) == (CASES / "explain" / name / "told").read_text().splitlines()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (save("-j LIBVIRT_FWI"), (LIBVIRT, "all of its networks")),
        (
            save("-o virbr7 -j REJECT", chain="LIBVIRT_FWI"),
            (LIBVIRT, "the network of virbr7"),
        ),
        (save("-i virbr0 -o virbr0 -j ACCEPT"), (LIBVIRT, VIRBR0)),
        (
            save("-i virbr0 -p udp --dport 67 -j ACCEPT", chain="INPUT"),
            (LIBVIRT, VIRBR0),
        ),
        (save("-i virbr0 -p tcp --dport 22 -j ACCEPT", chain="INPUT"), (HAND, "")),
        (save("-i virbr0 -p tcp --dport 22 -j ACCEPT"), (HAND, "")),
        (save("-j DOCKER-USER"), ("Docker", "")),
        (save("-i docker0 -j ACCEPT"), ("Docker", "")),
        (save("-i br-0123456789ab -j ACCEPT"), ("Docker", "")),
        (save("-j ACCEPT", chain="ufw-user-input"), ("ufw", "")),
        (save("-j ACCEPT", chain="ufw6-user-input"), ("ufw", "")),
        (save("-p tcp -j f2b-sshd", chain="INPUT"), ("fail2ban", "")),
        (save("-j INPUT_direct", chain="INPUT"), ("firewalld", "")),
        (save("-j KUBE-FORWARD"), ("Kubernetes", "")),
        (
            save("-m physdev --physdev-in vif3.1 -j ACCEPT"),
            (XEN, "the interface vif3.1 of domain 3"),
        ),
        (
            save("-m physdev --physdev-out vif3.1 --physdev-is-bridged -j ACCEPT"),
            (XEN, "the interface vif3.1 of domain 3"),
        ),
        (save("-j REJECT --reject-with icmp-host-prohibited"), (DEFAULT, "")),
        (save("-i eth0 -j REJECT --reject-with icmp-host-prohibited"), (HAND, "")),
        (save("-j RH-Firewall-1-INPUT"), (DEFAULT, "")),
        (save("-j VFW-FORWARD"), (OURS, "all of its guests")),
        (
            save(f"-m comment --comment {GUEST} -j VFW-A-azPsE5bWRYG8Lzje551a5Q"),
            (OURS, f"the guest with the UUID {GUEST}"),
        ),
        (save("-s 10.0.0.1 -j DROP"), (HAND, "")),
        (
            "table inet firewalld {\nchain x {\naccept\n}\n}\n",
            ("firewalld", ""),
        ),
        ("table inet f2b-table {\nchain x {\naccept\n}\n}\n", ("fail2ban", "")),
        (
            "table inet vfwhooks {\nchain x {\naccept\n}\n}\n",
            (OURS, "all of its guests"),
        ),
        ("table inet mine {\nchain x {\naccept\n}\n}\n", (HAND, "")),
    ],
)
def test_who_made_a_rule(text: str, made: tuple[str, str]) -> None:
    """By names, by comments, by the forms that libvirt writes."""
    assert makers(text) == [made]


def test_names_that_the_host_knows() -> None:
    """A live host knows the network of a bridge and the guest of a UUID."""
    text = save(
        "-i virbr0 -o virbr0 -j ACCEPT",
        f"-m comment --comment {GUEST} -j VFW-A-azPsE5bWRYG8Lzje551a5Q",
    )

    assert makers(text, NAMES) == [
        (LIBVIRT, "the network default (virbr0)"),
        (OURS, "the guest web1"),
    ]


def test_the_distributions_ruleset() -> None:
    """INPUT of Fedora and RHEL: what stands before its REJECT in the known forms. What
    somebody has put between is his."""
    text = save(
        "-m state --state RELATED,ESTABLISHED -j ACCEPT",
        "-p icmp -j ACCEPT",
        "-i lo -j ACCEPT",
        "-p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT",
        "-p tcp -m state --state NEW -m tcp --dport 80 -j ACCEPT",
        "-j REJECT --reject-with icmp-host-prohibited",
        chain="INPUT",
    )

    found = [program for program, _ in makers(text)]

    assert found == [DEFAULT] * 4 + [HAND] + [DEFAULT]


@pytest.mark.parametrize(
    "file",
    ["nftables.nft", "nftables.json", "iptables.save", "docker.save", "ufw.save"],
)
def test_no_rule_of_a_program_is_somebodys(file: str) -> None:
    """On hosts of the lab nobody has made a rule by hand."""
    ruleset = load_ruleset(CASES / "rulesets" / file)
    known = Context(ruleset, Names())

    by_hand = [
        f"{chain.name} {rule.text}"
        for table, chain, rule in ruleset.rules()
        if find_maker(known, table, chain, rule).program == HAND
    ]

    assert by_hand == []


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("-j ACCEPT", "Every packet is accepted."),
        ("-j RETURN", "Every packet meets the policy of the chain (ACCEPT)."),
        (
            "-i eth0 -j DROP",
            "A packet that comes in by eth0 is dropped without an answer.",
        ),
        (
            "-p tcp -m multiport --dports 22,80:90 -j ACCEPT",
            "A packet that is for TCP ports 22 or 80-90 is accepted.",
        ),
        (
            "! -s 10.0.0.0/8 -m state --state NEW -j LOG",
            "A packet that is not from 10.0.0.0/8 and begins a connection is written "
            "to the log and goes on.",
        ),
        (
            "-p tcp --tcp-flags SYN SYN -j DROP",
            "A packet that is TCP and meets `--tcp-flags SYN SYN` is dropped without "
            "an answer.",
        ),
        (
            "-j REJECT --reject-with tcp-reset",
            "Every packet is rejected with a TCP reset.",
        ),
        ("-p udp", "A packet that is UDP is counted and goes on."),
        ("-j TTL --ttl-set 9", "Every packet is given to `TTL --ttl-set 9`."),
    ],
)
def test_what_a_rule_does(rule: str, sentence: str) -> None:
    """One plain sentence, about a packet."""
    assert said(save(rule), "does") == [sentence]


def test_a_rule_that_no_packet_gets_to() -> None:
    """One that stands behind a rule for all of its packets is told so."""
    text = save(
        "-i eth0 -j REJECT",
        "-i eth0 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-i eth1 -p tcp -m tcp --dport 80 -j ACCEPT",
        "-m limit --limit 1/s -j DROP",
        "-j ACCEPT",
        "-j DROP",
    )

    assert said(text, "note") == [
        "No packet gets here: line 3 takes all of them.",
        "No packet gets here: line 7 takes all of them.",
    ]


@pytest.mark.parametrize(
    ("rules", "lost"),
    [
        (
            ["-i eth0 -j ACCEPT"],
            "Nothing today: no other rule and no policy refuses the packets. Under a "
            "stricter firewall: the packets are refused.",
        ),
        (
            ["-i eth0 -j ACCEPT", "-j DROP"],
            "The packets are refused: line 4 of the chain FORWARD drops the packets.",
        ),
        (["-j DROP"], "The packets get through."),
        (
            ["-i eth0 -j DROP", "-j REJECT"],
            "Nothing today: line 4 of the chain FORWARD rejects the packets as well.",
        ),
        (["-j SOMETHING"], "The rules of the chain SOMETHING are not asked."),
    ],
)
def test_what_is_lost_with_a_rule(rules: list[str], lost: str) -> None:
    """By what would become of its packets then."""
    assert said(save(*rules), "if lost")[0] == lost


def test_escapes_are_shown_and_never_sent() -> None:
    """Neither a comment, nor a name, nor a line that cannot be read gets to the
    terminal as it is."""
    bad = "a\x1b[2Jb"
    text = f"*filter\n:{bad} - [0:0]\n{bad}\n" + save(
        f'-i {bad} -m comment --comment "{bad}" -j ACCEPT', f"-j {bad}", chain=bad
    )

    told = "\n".join(tell(read_ruleset(text, "it"), Names()))

    assert ("\x1b" in told, told.count("a\\x1b[2Jb") > 5) == (False, True)


def test_chains_stand_in_the_order_in_which_a_packet_meets_them() -> None:
    """By hook and priority, each chain of a program behind the one that leads to it."""
    lines = tell(load_ruleset(CASES / "rulesets/nftables.nft"), NAMES)

    heads = [
        line.partition(" (")[0] for line in lines if "chain" in line and line[0] != " "
    ]

    assert [head for head in heads if "ip6" not in head and "6" not in head] == [
        "inet vfwhooks, chain raw",
        "inet vfwhooks, chain prerouting",
        "inet vfwhooks, chain publish4",
        "inet vfwhooks, chain input",
        "inet vfwhooks, chain refuse4",
        "inet vfwhooks, chain refuse",
        "ip libvirt_network, chain forward",
        "ip libvirt_network, chain vfwhooks",
        "ip libvirt_network, chain guest_cross",
        "ip libvirt_network, chain guest_input",
        "ip libvirt_network, chain guest_output",
        "inet vfwhooks, chain output",
        "inet vfwhooks, chain postrouting",
        "ip libvirt_network, chain guest_nat",
    ]


@PROPERTY
@given(LINES, st.sampled_from(["*filter", "table ip t {", '{"nftables": [', ""]))
def test_whatever_can_be_read_can_be_told(lines: list[str], head: str) -> None:
    """Every rule is named, and a packet's way ends somehow; a page is a page."""
    try:
        ruleset = read_ruleset("\n".join([head, *lines]), "it")
    except VfwError:
        return
    told = list(tell(ruleset, NOBODY))
    ends = {
        pass_hook(ruleset, hook, Packet("ip", "tcp", "10.0.0.1", 80)).end
        for hook in HOOKS
    }

    made = [line for line in told if line.startswith("    made by: ")]
    assert len(made) == sum(1 for _ in ruleset.rules())
    assert ends <= {"accept", "drop", "reject", "depends"}
    assert all(line.isprintable() for line in told)


def calls(count: int) -> int:
    """How many calls it takes to read and to tell so many rules."""
    seen = 0

    def note(_: FrameType, event: str, __: Any) -> None:
        nonlocal seen
        seen += event == "call"

    bans = (
        f"-s 10.{n >> 8}.{n & 255}.1/32 -p tcp --dport 22 -j DROP" for n in range(count)
    )
    text = save(*bans, chain="INPUT")
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        told = sum(1 for _ in tell(read_ruleset(text, "it"), Names()))
    finally:
        sys.setprofile(before)
    assert told > 5 * count
    return seen


def test_the_work_grows_with_the_rules() -> None:
    """Ten times the rules are ten times the work, and not a hundred times."""
    assert calls(5000) < 11 * calls(500)


def test_a_chain_that_a_map_leads_to() -> None:
    """It stands behind the rule that looks up in that map, and says by which hooks a
    packet gets there."""
    lines = list(tell(load_ruleset(CASES / "rulesets/nftables.nft"), NAMES))

    (head,) = [line for line in lines if "inet vfwhooks, chain allow_" in line]
    assert head.endswith(" (by prerouting, output)")
