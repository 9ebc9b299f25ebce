"""bans: whose bans do not reach what is forwarded. Listings are as the tools print."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from vfwhooks.diagnosis.bans import check_bans
from vfwhooks.host.run import Run

NONE = ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
F2B = ":f2b-sshd - [0:0]\n-A {} -p tcp -m multiport --dports 22 -j f2b-sshd\n"
CROWDSEC = "-A {} -m set --match-set crowdsec-blacklists src -j DROP\n"
SAYS = "wrong  {} bans in the input hook alone: who is banned still reaches guests; {}"
JAILS = "give its jails a second action in the forward hook, see docs/recipes.md"
BOUNCER = "have its bouncer use the forward hook as well, see docs/recipes.md"


def chains(*chains: tuple[str, str, str]) -> str:
    """What nft lists of these chains: table, name, hook."""
    found = [
        {
            "chain": {
                "family": "inet",
                "table": t,
                "name": n,
                **({"hook": h} if h else {}),
            }
        }
        for t, n, h in chains
    ]
    return json.dumps({"nftables": [{"metainfo": {"version": "1.0.6"}}, *found]})


class Listing(Run):
    """A host on which the tools print this."""

    def __init__(self, nft: str = "", iptables: str = "", ip6tables: str = "") -> None:
        super().__init__()
        self._said = {
            "nft": nft or chains(),
            "iptables-save": NONE + iptables,
            "ip6tables-save": NONE + ip6tables,
        }

    def __call__(self, argv: Sequence[str], text: str = "") -> str:
        return self._said[argv[0]]


@pytest.mark.parametrize(
    ("host", "found"),
    [
        (Listing(), []),
        (
            Listing(chains(("f2b-table", "f2b-chain", "input"))),
            [SAYS.format("fail2ban", JAILS)],
        ),
        (
            Listing(
                chains(
                    ("f2b-table", "f2b-chain", "input"),
                    ("f2b-table", "f2b-forward", "forward"),
                )
            ),
            [],
        ),
        (Listing(iptables=F2B.format("INPUT")), [SAYS.format("fail2ban", JAILS)]),
        (Listing(ip6tables=F2B.format("INPUT")), [SAYS.format("fail2ban", JAILS)]),
        (Listing(iptables=F2B.format("INPUT") + F2B.format("FORWARD")), []),
        (Listing(iptables=F2B.format("INPUT") + F2B.format("DOCKER-USER")), []),
        (
            Listing(chains(("crowdsec", "crowdsec-chain-input", "input"))),
            [SAYS.format("CrowdSec", BOUNCER)],
        ),
        (
            Listing(iptables=CROWDSEC.format("INPUT")),
            [SAYS.format("CrowdSec", BOUNCER)],
        ),
        (Listing(iptables=CROWDSEC.format("FORWARD")), []),
        (Listing(chains(("filter", "input", "input"), ("f2b-table", "x", ""))), []),
    ],
    ids=[
        "nobody bans",
        "fail2ban, nftables",
        "fail2ban, both hooks",
        "fail2ban, iptables",
        "fail2ban, IPv6",
        "fail2ban, both chains",
        "fail2ban, Docker's chain",
        "CrowdSec, nftables",
        "CrowdSec, iptables",
        "CrowdSec, FORWARD",
        "others' input",
    ],
)
def test_bans(host: Listing, found: list[str]) -> None:
    """Said of who bans in the input hook, and in none that forwarded packets pass."""
    assert [str(finding) for finding in check_bans(host)] == found
