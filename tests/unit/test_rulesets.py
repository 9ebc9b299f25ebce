"""The readers of rulesets: iptables-save of any age, nft's text, nft's JSON.

tests/cases/rulesets has what the tools print on a host of the lab.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import CHECKOUT, PROPERTY, refusal
from vfwhooks.rulesets.ruleset import Element, Match, Problem, Rule, Ruleset, Verdict
from vfwhooks.rulesets.ruleset_reader import MOST_BYTES, load_ruleset, read_ruleset
from vfwhooks.values.errors import VfwError

CASES = CHECKOUT / "tests/cases/rulesets"
NET = "192.168.122.0/24"
Bare = tuple[tuple[tuple[str, tuple[str, ...], bool], ...], Verdict, str]


def save(*rules: str, table: str = "filter", chain: str = "FORWARD") -> str:
    """An iptables-save with these rules in one chain."""
    lines = [f"-A {chain} {rule}" for rule in rules]
    return "\n".join([f"*{table}", f":{chain} ACCEPT [0:0]", *lines, "COMMIT", ""])


def listed(*rules: str) -> str:
    """What `nft list ruleset` prints of these rules in one chain."""
    head = "type filter hook forward priority filter; policy accept;"
    lines = "".join(f"\t\t{rule}\n" for rule in (head, *rules))
    return f"table inet site {{\n\tchain routed {{\n{lines}\t}}\n}}\n"


def rules(text: str) -> list[Rule]:
    """The rules of a text."""
    return [rule for _, _, rule in read_ruleset(text, "it").rules()]


def bare(rule: Rule) -> Bare:
    """What a rule means, however it is spelled."""
    matches = tuple((one.field, one.values, one.is_not) for one in rule.matches)
    return matches, rule.verdict, rule.comment


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (f"-s {NET} -d ! {NET}", f"-s {NET} ! -d {NET}"),
        ("-d 192.168.122.0/255.255.255.0", f"-d {NET}"),
        ("-d 203.0.113.1/255.255.255.255", "-d 203.0.113.1/32"),
        ("-m state --state NEW", "-m conntrack --ctstate NEW"),
        ("-p 6 -m tcp --destination-port 22", "-p tcp -m tcp --dport 22"),
        ("-p tcp -m tcp --dport ! 22", "-p tcp -m tcp ! --dport 22"),
        ("-i ! eth0", "! -i eth0"),
        ("-i + -p all -s 0.0.0.0/0 -o eth0", "-o eth0"),
    ],
)
def test_old_spellings(old: str, new: str) -> None:
    """What iptables wrote before 1.4 means what it writes now."""
    found = [bare(rule) for rule in rules(save(f"{old} -j ACCEPT"))]

    assert found == [bare(rule) for rule in rules(save(f"{new} -j ACCEPT"))]


@pytest.mark.parametrize(
    ("iptables", "nft"),
    [
        ("-i eth+ -o virbr0 -j DROP", 'iifname "eth*" oifname "virbr0" drop'),
        (f"! -s {NET} -j ACCEPT", f"ip saddr != {NET} accept"),
        ("-p tcp -m tcp --dport 1:99 -j RETURN", "tcp dport 1-99 return"),
        (
            "-p udp -m multiport --dports 53,67:69 -j ACCEPT",
            "udp dport { 53, 67-69 } accept",
        ),
        (
            "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "ct state related,established accept",
        ),
        (
            "-m conntrack --ctstate DNAT --ctdir ORIGINAL -j ACCEPT",
            "ct status dnat ct direction original accept",
        ),
        (
            "-m addrtype --dst-type LOCAL -j REJECT --reject-with tcp-reset",
            "fib daddr type local counter packets 1 bytes 2 reject with tcp reset",
        ),
        ("-j REJECT --reject-with icmp-port-unreachable", "reject"),
        (
            "-p tcp -m tcp --dport 80 -j DNAT --to-destination 10.0.0.1:80",
            "tcp dport 80 dnat ip to 10.0.0.1:80",
        ),
        (
            '-p icmp -m comment --comment "a \\"b\\" -j X" -j ACCEPT',
            'meta l4proto icmp accept comment "a \\"b\\" -j X"',
        ),
    ],
)
def test_both_languages_say_the_same(iptables: str, nft: str) -> None:
    """A condition is one value, whichever tool has listed it."""
    (one,), (other,) = rules(save(iptables)), rules(listed(nft))

    assert bare(one)[:2] == bare(other)[:2]


def test_nothing_is_guessed_of_what_is_not_known() -> None:
    """A condition that is not known keeps its text, up to what is known again."""
    texts = [
        [match.text for match in rule.matches if not match.field]
        for rule in rules(
            save(
                "-m limit --limit 5/min --limit-burst 9 -i eth0 -j ACCEPT",
                "-p tcp -m tcp --tcp-flags SYN,RST SYN -j DROP",
                "-m socket -j ACCEPT",
                "-m set ! --match-set bad src -j DROP",
                "-s guest.example -j DROP",
            )
        )
        + rules(
            listed(
                "limit rate 5/minute burst 9 packets iifname eth0 accept",
                "tcp flags & (syn | rst) == syn drop",
                "ct mark & 0x1 == 0x1 accept",
                "meta mark & 0xff == 0x1 ct mark & 3 vmap { 1 : goto x }",
                "fib saddr . mark . iif oif missing drop",
                "tcp dport 80 socket transparent 1 accept",
                "ct original ip daddr 10.0.0.1 ip daddr 10.0.0.2 accept",
                "ct reply ip6 saddr fd00::1 ct original proto-dst 80 accept",
                "ipsec in spnum 1 ip saddr 10.0.0.1 tcp dport 80 drop",
                "vxlan tcp dport 80 tcp dport 81 drop",
                "tcp dport 80 add @s { ip saddr ct count over 5 } drop",
                "add @s { ip saddr } drop",
            )
        )
    ]

    assert texts == [
        ["-m limit --limit 5/min --limit-burst 9"],
        ["--tcp-flags SYN,RST SYN"],
        ["-m socket"],
        ["-m set ! --match-set bad src"],
        ["-s guest.example"],
        ["limit rate 5/minute burst 9 packets"],
        ["tcp flags & (syn | rst) == syn"],
        ["ct mark & 0x1 == 0x1"],
        ["meta mark & 0xff == 0x1", "ct mark & 3"],
        ["fib saddr . mark . iif oif missing"],
        ["socket transparent 1"],
        ["ct original ip daddr 10.0.0.1"],
        ["ct reply ip6 saddr fd00::1", "ct original proto-dst 80"],
        ["ipsec in spnum 1 ip saddr 10.0.0.1"],
        ["vxlan tcp dport 80"],
        ["add @s { ip saddr ct count over 5 }"],
        [],
    ]


def test_several_saves_in_one_file() -> None:
    """IPv4's and IPv6's may follow one another: by their heads, by what is in them, and
    where both say nothing, the second is IPv6's."""
    empty = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
    text = (
        f"# Generated by iptables-save v1.4.7\n{save('-j DROP')}"
        f"# Generated by ip6tables-save v1.4.7\n{save('-j DROP')}"
    )
    plain = f"{empty}{empty}{save('-s fe80::/10 -j DROP')}{save('-p icmp -j DROP')}"

    found = [
        [str(one) for one in read_ruleset(part, "it").tables] for part in (text, plain)
    ]

    assert found == [
        ["ip filter", "ip6 filter"],
        ["ip nat", "ip6 nat", "ip6 filter", "ip filter"],
    ]


@pytest.mark.parametrize("variant", ["", "-nft", "-legacy"])
def test_a_save_of_each_variant(variant: str) -> None:
    """Each names itself as it was called."""
    head = f"# Generated by ip6tables{variant}-save v1.8.9 (nf_tables) on Mon Nov 30"

    found = read_ruleset(f"{head}\n{save('-p tcp --dport 80 -j DROP')}", "it")

    assert [str(one) for one in found.tables] == ["ip6 filter"]


def test_the_chain_of_a_bridge_for_output() -> None:
    """nft has a word of its own for its priority, which ebtables' table nat has."""
    base = "\t\ttype filter hook output priority out%s; policy accept;"
    text = "".join(
        f"table bridge {name} {{\n\tchain OUTPUT {{\n{base % more}\n\t}}\n}}\n"
        for name, more in (("nat", ""), ("site", " + 5"))
    )

    found = read_ruleset(text, "it")

    chains = [one for table in found.tables for one in table.chains.values()]
    assert ([one.priority for one in chains], found.problems) == ([100, 105], [])


def test_listings_of_several_tools_in_one_file() -> None:
    """As explain --save writes them: what iptables-save says of a table counts, and not
    what nft shows of it; a rule has its number in the chain there."""
    shown = "table ip filter {\n\tchain FORWARD {\n%s\n\t\taccept\n\t}\n}\n"
    base = "\t\ttype filter hook forward priority filter; policy accept;"
    mark = "# vfwhooks explain: iptables"
    text = "".join(
        [
            listed("drop"),
            shown % base,
            f"{mark}\n# Generated by iptables-save\n{save('-j DROP', '-j RETURN')}",
            f"{mark}-legacy\n# Generated by iptables-save\n{save('-j ACCEPT')}",
        ]
    )

    found = read_ruleset(text, "it")

    rules = [
        (table.tool, str(table), rule.place, rule.verdict.kind)
        for table, _, rule in found.rules()
    ]
    assert (rules, found.problems) == (
        [
            ("nft", "inet site", "line 4", "drop"),
            ("iptables", "ip filter", "rule 1", "drop"),
            ("iptables", "ip filter", "rule 2", "return"),
            ("iptables-legacy", "ip filter", "rule 1", "accept"),
        ],
        [],
    )


BROKEN = [
    (save("-i"), []),
    (save("-j"), [(3, "-j needs a target")]),
    (save("! "), [(3, "nothing follows !")]),
    (save('-m comment --comment "a -j DROP'), [(3, "a quote has no end")]),
    (save("word -j DROP"), [(3, "word is out of place")]),
    (save('"" -j DROP'), [(3, "an empty word is out of place")]),
    ("*filter\n-A\n-A \n?\n", [(2, "it is neither a chain nor a rule")]),
    ("*filter\nCOMMIT\n-A INPUT -j DROP\n", [(3, "it stands in no table")]),
]


@pytest.mark.parametrize("text", [save("-i eth0 -j DROP"), listed("drop")])
@pytest.mark.parametrize("junk", ["?", "-Z FORWARD", '-A FORWARD "x', "} x", "\x1b[2J"])
def test_a_line_that_cannot_be_read_is_named(text: str, junk: str) -> None:
    """The reader goes on with the rest, or has the rest as it was."""
    lines = text.split("\n")
    for at in range(1, len(lines)):
        more = "\n".join([*lines[:at], junk, *lines[at:]])

        found = read_ruleset(more, "it")

        kept = [rule.verdict.kind for _, _, rule in found.rules()]
        assert (kept, [one.line for one in found.problems]) == (["drop"], [at + 1])


@pytest.mark.parametrize(("text", "problems"), BROKEN)
def test_what_is_wrong_with_a_line(text: str, problems: list[tuple[int, str]]) -> None:
    """Its number, and why."""
    found = [(one.line, one.why) for one in read_ruleset(text, "it").problems]

    assert found[: len(problems)] == problems


def test_a_broken_object_of_json_is_named() -> None:
    """The next one is looked for, whatever the broken one has in it."""
    about = '"family": "ip", "table": "t", "chain": "c", "expr": [{"accept": null}]'
    good = [f'{{"rule": {{"handle": {n}, {about}}}}}' for n in (1, 2)]
    text = f'{{"nftables": [\n{good[0]},\n{{"rule": {{"family": [}},\n{good[1]}'

    found = read_ruleset(text, "it")

    places = [rule.place for _, _, rule in found.rules()]
    lines = [one.line for one in found.problems]
    assert (places, lines) == (["handle 1", "handle 2"], [3])


@pytest.mark.parametrize("text", ["hello\n", "\0*filter\n", "guests:\n  web1: 80\n"])
def test_what_is_no_ruleset_is_refused(text: str) -> None:
    """With what may be given."""
    with pytest.raises(VfwError) as caught:
        read_ruleset(text, "it")

    assert caught.value.hint == (
        "it takes iptables-save, ip6tables-save, nft list ruleset, nft -j list ruleset"
    )


@pytest.mark.parametrize("text", ["", "\n# nothing\n", '{"nftables": []}'])
def test_an_empty_ruleset_is_one(text: str) -> None:
    """A host without a rule."""
    assert rules(text) == []


def test_a_file_has_a_bound(tmp_path: Path) -> None:
    """Memory is bounded by it; nothing is read of what is larger."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(MOST_BYTES + 1)

    said = [refusal(load_ruleset, path) for path in (large, tmp_path / "none")]

    assert said == [
        f"{large} has more than 64 MiB (split it by table)",
        f"{tmp_path}/none: no such file",
    ]


def meanings(found: Ruleset) -> dict[tuple[str, str, str], Bare]:
    """Every rule by its table, chain and place."""
    return {
        (str(table), chain.name, rule.place): bare(rule)
        for table, chain, rule in found.rules()
    }


def bases(found: Ruleset) -> list[tuple[str, str, str, int, str, str]]:
    """Every chain."""
    return sorted(
        (str(table), one.name, one.hook, one.priority, one.policy, one.kind)
        for table in found.tables
        for one in table.chains.values()
    )


def elements(found: Ruleset) -> dict[tuple[str, str], list[Element]]:
    """What is in the sets and maps."""
    return {
        (str(table), one.name): sorted(one.elements())
        for table in found.tables
        for one in table.sets.values()
    }


def test_nfts_text_and_json_are_one_ruleset() -> None:
    """A host's whole ruleset, listed both ways: every rule, chain and element."""
    text, as_json = (
        load_ruleset(CASES / f"nftables.{kind}") for kind in ("nft", "json")
    )

    assert (meanings(text), bases(text)) == (meanings(as_json), bases(as_json))
    assert elements(text) == elements(as_json)
    assert text.problems == as_json.problems == []


PORT = {"payload": {"protocol": "tcp", "field": "dport"}}
WRITTEN: list[tuple[list[object], str, str]] = [
    # a rule's expressions, the rule as nft writes it, its verdict
    ([{"ct helper": "ftp"}], 'ct helper set "ftp"', "other"),
    (
        [{"set": {"op": "add", "elem": PORT, "set": "@s"}}, {"accept": None}],
        "add @s { tcp dport } accept",
        "accept",
    ),
    (
        [
            {
                "set": {
                    "op": "add",
                    "elem": PORT,
                    "set": "@s",
                    "stmt": [{"limit": {"rate": 50, "per": "second"}}],
                }
            },
            {"drop": None},
        ],
        "add @s { tcp dport limit rate 50 per second } drop",
        "drop",
    ),
    (
        [
            {
                "match": {
                    "op": "==",
                    "left": {
                        "payload": {
                            "tunnel": "vxlan",
                            "protocol": "ip",
                            "field": "saddr",
                        }
                    },
                    "right": "10.0.0.1",
                }
            }
        ],
        "vxlan ip saddr 10.0.0.1",
        "",
    ),
    ([{"log": {"prefix": "drop it"}}], 'log prefix "drop it"', "log"),
    ([{"limit": "l"}, {"accept": None}], 'limit name "l" accept', "accept"),
    ([{"quota": "q"}, {"drop": None}], 'quota name "q" drop', "drop"),
    (
        [{"match": {"op": "!=", "left": {"meta": {"key": "iif"}}, "right": "drop"}}],
        'iif != "drop"',
        "",
    ),
    ([{"match": {"op": "==", "left": {"osf": None}, "right": 1}}], "osf null 1", ""),
    ([], "", ""),
]


@pytest.mark.parametrize(("expressions", "text", "kind"), WRITTEN)
def test_a_rule_of_json_is_written_as_nft_does(
    expressions: list[object], text: str, kind: str
) -> None:
    """No name in it is taken for a word of the language."""
    rule = {"family": "ip", "table": "t", "chain": "c", "expr": expressions}
    (found,) = rules(json.dumps({"nftables": [{"rule": rule}]}))

    assert (found.text, found.verdict.kind) == (text, kind)


@pytest.mark.parametrize(
    "text", ["meta skuid . tcp dport @s", "fib daddr . iif type local", "{ } 5"]
)
def test_what_is_not_known_ends_where_it_ends(text: str) -> None:
    """What is joined with it belongs to it, and what stands behind it does not."""
    (found,) = rules(listed(f"{text} udp dport 5 drop"))

    fields = [(one.field, one.text) for one in found.matches]
    assert fields == [
        ("", text),
        ("proto", "meta l4proto udp"),
        ("dport", "udp dport 5"),
    ]


def test_elements_of_a_map() -> None:
    """Their counters are dropped, their comments kept, ranges told from single ones."""
    (table,) = [
        one
        for one in load_ruleset(CASES / "nftables.nft").tables
        if one.family == "inet"
    ]
    guest = "6b33ec13-96d6-4581-bc2f-38dee79d5ae5"

    found = (
        table.sets["dnat4_any"].exact["tcp", "8080"],
        table.sets["dnat4_range"].ranges,
    )

    assert found == (
        Element(("tcp", "8080"), "192.168.122.10 . 80", guest),
        [Element(("203.0.113.1", "udp", "5000-5010"), "192.168.122.10", guest)],
    )


def test_a_rule_on_several_lines() -> None:
    """nft breaks long sets; the rule has the number of its first line."""
    text = listed("tcp dport { 1, 2,\n\t\t\t     3 } drop")

    assert rules(text) == [
        Rule(
            "line 4",
            "tcp dport { 1, 2, 3 } drop",
            (
                Match("proto", ("tcp",), False, "meta l4proto tcp"),
                Match("dport", ("1", "2", "3"), False, "tcp dport { 1, 2, 3 }"),
            ),
            Verdict("drop"),
        )
    ]


NATIVE = {
    # what iptables-save shows, nft's list, the rule that counts
    "a set": ("-j DROP", "ip saddr { 192.0.2.1, 192.0.2.2 } drop", True),
    "a range": (
        "-s 1.1.1.9/32 -j DROP",
        "ip saddr 1.1.1.1-1.1.1.9 drop",
        True,
    ),
    "a map": ("", "ip saddr vmap { 192.0.2.1 : drop }", True),
    "what iptables does not know": (
        "-p tcp -j DROP",
        "tcp window 5 drop",
        True,
    ),
    "iptables' own ports": (
        "-p tcp -m multiport --dports 80,90 -j ACCEPT",
        "meta l4proto tcp tcp dport { 80, 90 } counter packets 0 bytes 0 accept",
        False,
    ),
    "iptables' own marks": (
        "-m mark --mark 0x4/0xff -j DROP",
        "meta mark & 0x000000ff == 0x00000004 counter packets 0 bytes 0 drop",
        False,
    ),
    "what nft does not know": (
        "-m helper --helper ftp -j ACCEPT",
        "ip saddr 192.0.2.1 # xt_helper counter packets 0 bytes 0 accept",
        False,
    ),
}


@pytest.mark.parametrize("what", NATIVE)
def test_a_rule_counts_as_the_tool_says_that_shows_all_of_it(what: str) -> None:
    """A rule of nft in a table of iptables is read as nft lists it: iptables-save
    leaves out sets and more, and `-j DROP` alone would be told as every packet."""
    saved, native, is_nfts = NATIVE[what]
    listed_by_nft = listed(native).replace("inet site", "ip filter")

    found = rules(listed_by_nft.replace("routed", "FORWARD") + save(saved))

    assert [rule.text for rule in found] == [native if is_nfts else saved]


def test_a_listing_of_iptables_rules_by_nft_is_told() -> None:
    """nft leaves conditions of iptables-nft's rules out, and turns some round."""
    head = "type filter hook FORWARD priority filter; policy accept;".lower()
    text = f"table ip filter {{\nchain FORWARD {{\n{head}\naccept\n}}\n}}\n"

    found = read_ruleset(text, "it").problems

    why = "nft does not show all that iptables-nft has put there"
    assert found == [Problem(0, "table ip filter", why)]


VOCABULARY = """table ip inet t chain c { } set map elements = , type filter hook
forward drop priority policy accept ; ! -A -s -d -m -j -i FORWARD *filter :FORWARD
COMMIT [0:0] 10.0.0.0/8 saddr != == @s vmap 1 : 2 ct state new jump x tcp dport 80 .
counter limit rate comment "a" " ' dnat to & | mark fib # xt_
{"nftables": [{"rule": {"expr": [] "family" "table" "chain" """
# Texts at which a careless expression would take hours.
SLOW = [
    f"table ip t {{\nx{' ' * 200_000}x\n",
    f'table ip t {{\nchain c {{\n{" # " * 100_000}"\n',
    f"table ip t {{\nchain c {{\nip saddr {{ {'1, ' * 100_000}\n",
    f"*filter\n-A INPUT {'! ' * 100_000}-j DROP\n",
    f"*filter\n-A INPUT -m comment --comment {chr(34) * 100_001}\n",
    '{"nftables": [' + '{"rule": ' * 20_000,
]


@pytest.mark.parametrize("text", SLOW, ids=range(len(SLOW)))
def test_no_line_takes_long(text: str) -> None:
    """The time grows with the file, whatever is in it."""
    assert read_ruleset(text, "it").problems


WORDS = st.sampled_from(VOCABULARY.split())
LINES = st.lists(st.lists(WORDS, max_size=12).map(" ".join), max_size=12)


@PROPERTY
@given(LINES, st.sampled_from(["*filter", "table ip t {", '{"nftables": [', ""]))
def test_no_text_is_too_bad(lines: list[str], head: str) -> None:
    """Whatever is read: rules, problems, or one refusal."""
    text = "\n".join([head, *lines])
    try:
        found = read_ruleset(text, "it")
    except VfwError:
        return
    assert all(0 <= one.line <= len(lines) + 1 for one in found.problems)


PORTS = st.integers(0, 65535)
ADDRESSES = st.ip_addresses(v=4).map(str)
NETS = st.tuples(ADDRESSES, st.integers(1, 32)).map(lambda one: f"{one[0]}/{one[1]}")
CONDITIONS = st.fixed_dictionaries(
    {},
    optional={
        "-s": NETS,
        "-d": NETS,
        "-i": st.sampled_from(["eth0", "virbr0", "lo", "eth+"]),
        "-o": st.sampled_from(["eth0", "virbr1"]),
        "--ctstate": st.sampled_from(["NEW", "RELATED,ESTABLISHED", "DNAT"]),
        "--dport": PORTS.map(str),
    },
)
NFT = {
    "-s": "ip saddr",
    "-d": "ip daddr",
    "-i": "iifname",
    "-o": "oifname",
    "--ctstate": "ct state",
    "--dport": "tcp dport",
}


@PROPERTY
@given(CONDITIONS, st.sets(st.sampled_from(sorted(NFT))), st.booleans())
def test_any_rule_in_any_spelling(
    conditions: dict[str, str], negated: set[str], is_old: bool
) -> None:
    """iptables-save's, as it was and as it is, and nft's mean the same."""
    words, statements = [], []
    for option, value in conditions.items():
        is_not = option in negated
        words += {"--dport": ["-p tcp -m tcp"], "--ctstate": ["-m conntrack"]}.get(
            option, []
        )
        sign = ["!"] if is_not else []
        words += [option, *sign, value] if is_old else [*sign, option, value]
        field = NFT[option] if value != "DNAT" else "ct status"
        plain = value.lower().replace("+", "*")
        several = f"{{ {plain} }}" if is_not and "," in plain else plain
        statements.append(f"{field} {'!= ' if is_not else ''}{several}")

    one = rules(save(" ".join([*words, "-j ACCEPT"])))
    other = rules(listed(" ".join([*statements, "accept"])))

    assert sorted(bare(one[0])[0]) == sorted(bare(other[0])[0])
