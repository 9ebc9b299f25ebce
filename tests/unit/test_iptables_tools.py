"""iptables_tools: what the tools of iptables say of themselves."""

from __future__ import annotations

import pytest

from vfwhooks.firewall.iptables_tools import own_variant


@pytest.mark.parametrize(
    ("said", "variant"),
    [
        ("iptables v1.8.11 (nf_tables)\n", "nft"),
        ("iptables v1.8.9 (legacy)\n", "legacy"),
        ("iptables v1.6.1\n", "legacy"),
    ],
)
def test_which_variant_iptables_is(said: str, variant: str) -> None:
    """By the names that its tools have (iptables-nft, iptables-legacy), whatever it
    calls itself."""
    assert own_variant(lambda argv: said * (argv[0] == "iptables")) == variant
