"""Rules that nft has put into the tables of iptables, and that iptables cannot read:
guests start and stop with their rules all the same, and nothing false is said."""

from __future__ import annotations

import pytest
from standin import CONFIG, STATE, StandIn, alone, kernel, run

from faults.test_stops import FORWARDS, IPT, WEB0, WEB1, running, start, stop
from vfwhooks.diagnosis.blockers import find_blockers
from vfwhooks.diagnosis.doctor_firewall import check_firewall
from vfwhooks.diagnosis.overview import look
from vfwhooks.firewall.backend import clear_all
from vfwhooks.host.netlink import Netlink
from vfwhooks.host.run import Run
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.store.state import State
from vfwhooks.values.errors import VfwError

ACCEPT = "ip filter FORWARD ct status dnat accept"
NATIVE = {
    "an incompatible table": ACCEPT,
    "a rule beyond parsing": "ip filter FORWARD ip length 40 accept",
    "a DNAT": "ip nat PREROUTING tcp dport 9090 dnat to 10.0.0.1",
    "a set": "ip filter FORWARD ip saddr { 192.0.2.1, 192.0.2.2 } drop",
}
Rows = list[tuple[str, str, str, str]]


def insert(rule: str) -> str:
    """Puts a rule in on top; nft's words to take it out again."""
    words = rule.split(" ")
    said = run("nft", "-a", "-e", "insert", "rule", *words)
    handle = said.rpartition("handle ")[2].split()[0]
    return f"delete rule {' '.join(words[:3])} handle {handle}"


def rows() -> Rows:
    """What status says of every forward."""
    found = look(State(str(STATE)), str(CONFIG)).forwards
    return [(row.guest, row.published, row.state, row.reason) for row in found]


def change(host: StandIn) -> list[int]:
    """Starts and stops, edits, partial syncs and full ones; the status of `apply`."""
    start(host, WEB0)
    start(host, WEB1)
    run("nft", "insert", "rule", "ip", "filter", "FORWARD", "jump", "LIBVIRT_FWX")
    host.watch_looks()
    stop(host, WEB0)
    start(host, WEB0)
    host.configure(FORWARDS.replace("8000:80", "8002:80"))
    said = [host.apply(WEB0, WEB1)]
    stop(host, WEB1)
    start(host, WEB1)
    return [*said, host.apply(WEB0, WEB1)]


def play(native: str) -> tuple[list[int], Rows, list[str]]:
    """The kernel at the end without the rule of nft, and what was said with it."""
    host = running()
    undo = insert(native) if native else ""

    said = change(host)

    found = rows()
    if undo:
        run("nft", undo)
    return said, found, kernel(IPT)


@pytest.mark.parametrize("what", NATIVE)
def test_guests_start_and_stop(what: str) -> None:
    """The same rules as without it, and the same states."""
    assert alone(play)(NATIVE[what]) == alone(play)("")


def test_a_loss_is_seen_and_mended() -> None:
    """status says what is cut off, although iptables-save shows nothing of it."""

    @alone
    def play(native: str) -> tuple[Rows, Rows]:
        host = running(WEB0, WEB1)
        if native:
            insert(native)
        run("iptables", "-F", "VFW-FORWARD")
        cut_off = rows()
        host.apply(WEB0, WEB1)
        return cut_off, rows()

    assert play(ACCEPT) == play("")


@pytest.mark.parametrize("what", NATIVE)
def test_all_of_ours_goes(what: str) -> None:
    """When vfwhooks is removed, as without such a rule."""

    @alone
    def play(native: str) -> tuple[list[str], list[str]]:
        running(WEB0, WEB1)
        undo = insert(native) if native else "list tables"
        base, inventory = State(str(STATE)).base(), Inventory(f"{STATE}/networks")
        cleared = clear_all(base, Netlink(), Run(), inventory)
        run("nft", undo)
        return cleared, kernel(IPT)

    assert play(NATIVE[what]) == play("")


def test_doctor_says_what_it_cannot_read() -> None:
    """It does not say that libvirt's rules are missing."""

    @alone
    def play() -> str:
        running(WEB0)
        insert(ACCEPT)
        state = State(str(STATE))
        try:
            list(check_firewall(state.base(), Inventory(f"{STATE}/networks"), ""))
        except VfwError as error:
            return str(error)
        return ""

    where = "table ip filter"
    assert play() == (
        f"{where} has a rule that iptables cannot read (nft has put it there) "
        f"(nft -a list {where}; move it to a table of your own)"
    )


@pytest.mark.parametrize(
    ("rule", "is_open"), [(ACCEPT, True), ("ip filter FORWARD ct mark 5 drop", False)]
)
def test_a_cure_in_nfts_words(rule: str, is_open: bool) -> None:
    """In a FORWARD that drops, the cure counts also where iptables cannot find it."""

    @alone
    def play() -> bool:
        StandIn("nftables")
        run("iptables", "-P", "FORWARD", "DROP")
        insert(rule)
        return not find_blockers({}, [], Netlink(), Run())

    assert play() is is_open
