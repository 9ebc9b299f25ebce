"""Our tables as another release has made them, or as somebody saved and restored
them, under a running guest or none."""

from __future__ import annotations

import re

import pytest
from standin import QUIET, STATE, Guest, StandIn, alone, kernel, run

from faults.scenes import add_uplink

WEB0 = Guest("web0", 10)
FORWARDS = "guests:\n  web0: [8000:80, '5000-5003:5000-5003/udp']\n"
LIST = "nft", "list", "table", "inet", "vfwhooks"


def made() -> StandIn:
    """A host with a guest that is forwarded to."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB0)
    assert host.start(WEB0) == QUIET
    return host


def put_in_place(text: str) -> None:
    """Put this table in place of ours."""
    run("nft", "-f", "-", input=f"delete table inet vfwhooks\n{text}")


@alone
def test_chains_with_another_priority() -> None:
    """They are made anew and no element is: its counter goes on. So there is no moment
    in which a connection finds no forward."""
    host, before = made(), kernel("nftables")
    text, chains = re.subn(
        r"priority (-111|dstnat - 11);", "priority -100;", run(*LIST)
    )
    put_in_place(text.replace("counter packets 0 bytes 0", "counter packets 7 bytes 9"))

    host.apply(WEB0)

    counted = run(*LIST).count("packets 7 bytes 9")
    assert (kernel("nftables"), chains, counted) == (before, 2, 2)


@alone
def test_a_map_of_another_type() -> None:
    """The whole table is made anew, with all its elements."""
    host, before = made(), kernel("nftables")
    elements = r"\n\t\telements = \{ tcp[^}]*\}"
    other = r"(map dnat4_any \{\n\t\ttype inet_proto . inet_service : ipv4_addr) .*"
    text = re.sub(other, r"\1", re.sub(elements, "", run(*LIST)))
    text = re.sub(r"\n.*(?<!@)map @dnat4_any\n", "\n", text)
    put_in_place(text)

    host.apply(WEB0)

    assert kernel("nftables") == before


SPECIAL = {
    "raw": "guests:\n  web0: ['127.0.0.1:8000:80', 8001]\n",
    "mangle": "guests:\n  web0: {ports: [8001], return_path: true}\n",
}


@pytest.mark.parametrize("table", SPECIAL)
@alone
def test_saved_rules_that_are_restored_at_boot(table: str) -> None:
    """As netfilter-persistent does, before any guest runs: chains that no guest needs
    yet go with the jumps that lead there, and come back with the guest."""
    host = StandIn("iptables", SPECIAL[table])
    host.network(WEB0)
    add_uplink()
    host.apply(WEB0)
    saved, running = run("iptables-save"), kernel("iptables")
    run("find", str(STATE), "-mindepth", "1", "-delete")
    run("iptables-restore", input=saved)

    found = [host.apply()]

    rest = run("iptables-save", "-t", table)
    found.append(host.apply(WEB0))
    assert (found, "VFW" in saved, "VFW" in rest) == ([0, 0], True, False)
    assert kernel("iptables") == running
