"""benchmarks: what is made of the figures; the runs themselves need root and time."""

from __future__ import annotations

import re
from xml.etree.ElementTree import fromstring

import pytest

from benchmarks.bed import IPT, LEGACY, NFT
from benchmarks.counting import Counts, parse
from benchmarks.guests import Guest, forwards_yaml, network_xml, others
from benchmarks.life import COUNTS, WIKI, ours, section_of
from benchmarks.measure import Series, in_turn
from benchmarks.plot import render
from benchmarks.report import Section, Table, Verdict, replace_measured, verdicts
from unit.builders import addresses
from vfwhooks.libvirt.xml import parse_domain, parse_networks

SVG = "{http://www.w3.org/2000/svg}"


def test_contenders_run_in_turn() -> None:
    """A B A B: what disturbs the machine for a while disturbs both."""
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = in_turn({"a": lambda: run("a"), "b": lambda: run("b")}, 2)

    assert (order, found) == (
        ["a", "b", "a", "b"],
        {"a": Series((1.0, 3.0)), "b": Series((2.0, 4.0))},
    )


def test_the_ratio_is_that_of_pairs() -> None:
    """Not that of the medians: a slow minute is slow for both of its runs."""
    a, b = Series((1.0, 10.0, 3.0)), Series((2.0, 20.0, 3.0))

    found = a.ratio(b), a.median, a.show(1000, 0)

    assert found == (0.5, 3.0, "3,000 (1,000–10,000)")


def test_a_table() -> None:
    """Markdown, whose source reads as a table too."""
    table = Table(("event", "ms"), [("started", "12.5"), ("stopped", "9")])

    assert table.markdown() == (
        "| event   | ms   |\n"
        "|---------|------|\n"
        "| started | 12.5 |\n"
        "| stopped | 9    |\n"
    )


def test_verdicts_of_all_topics() -> None:
    """One row a target; what is missed stands out."""
    section = Section("t", "a", verdicts=[Verdict("≤ 1", "2", False)])

    found = verdicts([section, Section("u", "b", verdicts=[Verdict("≤ 3", "2", True)])])

    assert found.rows == [("≤ 1", "2", "**missed**"), ("≤ 3", "2", "met")]


def test_only_what_was_measured_is_replaced() -> None:
    """What is written by hand stays, before and behind."""
    page = "# Head\n<!-- measured -->\nold\n<!-- /measured -->\ntail\n"

    found = replace_measured(page, "new\n")

    expected = "# Head\n<!-- measured -->\nnew\n<!-- /measured -->\ntail\n"
    assert found == expected


def test_the_targets_of_a_life() -> None:
    """Each is a ratio, and none a time: where all take as long as the wiki's script, we
    meet those above 1 alone."""
    backends = NFT, IPT, LEGACY
    names = [
        ours(backend, is_served, to_the_end)
        for backend in backends
        for is_served in (True, False)
        for to_the_end in (True, False)
    ]
    names += [f"{WIKI}, nft variant", f"{WIKI}, legacy", "peer"]
    found = {count: dict.fromkeys(names, Series((0.1,))) for count in COUNTS}

    verdicts = section_of(found, ["peer"]).verdicts

    met = [verdict.target for verdict in verdicts if verdict.is_met]
    assert (len(verdicts), met) == (
        13,
        [
            "life with 1 forwards, iptables-legacy ≤ 3.2 × libvirt's wiki's",
            "life with 1 forwards, nftables, to the end ≤ 1.4 × libvirt's wiki's",
            "life with 1 forwards, iptables-nft, to the end ≤ 1.4 × libvirt's wiki's",
        ],
    )


def test_a_plot() -> None:
    """SVG that is XML, a line a contender, a point a measurement, names escaped."""
    svg = render("T", "x", "y", {"a & b": [(1, 10), (100, 20)], "c": [(10, 1000)]})

    root = fromstring(svg)
    circles = root.findall(f"{SVG}circle")
    texts = [text.text for text in root.findall(f"{SVG}text")]
    lines = len(root.findall(f"{SVG}polyline"))
    assert (lines, len(circles), "a & b" in texts) == (2, 3, True)
    assert all(0 <= float(c.get("cx", "-1")) <= 640 for c in circles)
    assert all(0 <= float(c.get("cy", "-1")) <= 400 for c in circles)


def test_a_trace() -> None:
    """Programs that were found, calls, our modules, bytes read, transactions."""
    text = (
        '7     execve("/bin/x", ["x"], 0x1) = -1 ENOENT (No such file)\n'
        '7     execve("/usr/bin/x", ["x"], 0x1) = 0\n'
        '7     openat(AT_FDCWD, "/lib/vfwhooks/__pycache__/a.pyc", O_RDONLY) = 3\n'
        '7     read(3, "abc"..., 10)    = 3\n'
        "8     pread64(3,  <unfinished ...>\n"
        '8     <... pread64 resumed>"d", 1, 0) = 1\n'
        "7     sendto(4, [{nlmsg_type=NFNL_MSG_BATCH_BEGIN}], 1, 0) = 1\n"
        "7     +++ exited with 0 +++\n"
    )

    assert parse(text) == Counts(1, 6, 1, 4, 1)


@pytest.mark.parametrize("number", [0, 1, 100, 299])
def test_guests_are_told_apart(number: int) -> None:
    """What libvirt would say of the guest is of that guest, in every event."""
    guest = Guest(number)

    domain = parse_domain(guest.xml("qemu-started").encode(), "qemu")
    port = guest.xml("network-port-created").partition("<networkport>")[2]
    network = parse_networks(network_xml("nftables", 300).encode())[0]

    mac = domain.nics[0].mac
    (owner,) = re.findall(r"<owner>\s*<name>(.*)</name>\s*<uuid>(.*)</uuid>", port)
    assert (domain.name, domain.uuid) == owner
    assert (network.reservations[mac], network.backend) == (
        addresses(guest.address),
        "nftables",
    )


def test_others_forwards() -> None:
    """A tenth is guarded, one is a range, and no port is published twice."""
    found = others(3, 100)

    lines = [line for forwards in found.values() for line in forwards]
    counts = len(lines), sum("allow_from" in x for x in lines), len(set(lines))
    assert (counts, forwards_yaml({"a": ["1:2"]})) == (
        (300, 30, 300),
        "guests:\n  a:\n    - 1:2\n",
    )
