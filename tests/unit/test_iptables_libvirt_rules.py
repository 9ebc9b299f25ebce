"""iptables_libvirt_rules: which rules in iptables' base chains are libvirt's."""

from __future__ import annotations

import pytest

from unit.builders import HERE, RECORDED, network
from vfwhooks.firewall.iptables_libvirt_rules import is_libvirts
from vfwhooks.firewall.iptables_script import FILTER, NAT, Chain, parse_save

FORWARD = FILTER, "FORWARD"
POSTROUTING = NAT, "POSTROUTING"
NET = "192.168.122.0/24"


def libvirts(chain: Chain, rule: str) -> bool:
    """Whether libvirt wrote the rule for its default network."""
    return is_libvirts(chain, rule, [network("other", "virbr9", subnets=[]), network()])


@pytest.mark.parametrize("chain", ["INPUT", "FORWARD", "OUTPUT"])
def test_base_chains_of_libvirt_9(chain: str) -> None:
    """Since 5.1 libvirt jumps to chains of its own, and nothing else."""
    saved = parse_save((RECORDED / "libvirt-9.0/ruleset.iptables").read_text())

    found = [libvirts((FILTER, chain), rule) for _, rule in saved[FILTER, chain]]

    assert found and all(found)


def test_masquerading_of_libvirt_9() -> None:
    """Our jump in POSTROUTING is placed by libvirt's there."""
    saved = parse_save((RECORDED / "libvirt-9.0/ruleset.iptables").read_text())

    found = [libvirts(POSTROUTING, rule) for _, rule in saved[POSTROUTING]]

    assert found == [True]


def test_a_host_from_before_5_1() -> None:
    """Plain rules in FORWARD and POSTROUTING, with the bridge and the subnet."""
    saved = parse_save((HERE / "rulesets/kvm-fedora13.rules").read_text())

    found = [
        libvirts(chain, rule)
        for chain in (FORWARD, POSTROUTING)
        for _, rule in saved[chain]
    ]

    assert found == [True] * 6


def test_a_xen_host() -> None:
    """The vif script's own rule is not libvirt's; the REJECT groups are."""
    saved = parse_save((HERE / "rulesets/xen-vm-running.rules").read_text())
    rules = [rule for _, rule in saved[FORWARD] if "/255.255.255.0" not in rule]

    found = [libvirts(FORWARD, rule) for rule in rules]

    assert found == [True, True, True, False]


@pytest.mark.parametrize(
    "rule",
    [
        "-j LIBVIRT_FWX",
        f"-d {NET} -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"-d {NET} -o virbr0 -m state --state RELATED,ESTABLISHED -j ACCEPT",
        f"-d {NET} -o virbr0 -j ACCEPT",
        f"-s {NET} -i virbr0 -j ACCEPT",
        "-i virbr0 -o virbr0 -j ACCEPT",
        "-o virbr0 -j REJECT --reject-with icmp-port-unreachable",
        "-i virbr0 -j REJECT --reject-with icmp6-port-unreachable",
    ],
)
def test_libvirts_forms_in_forward(rule: str) -> None:
    """The fixed forms that libvirt writes."""
    assert libvirts(FORWARD, rule)


@pytest.mark.parametrize(
    "rule",
    [
        "-j DROP",
        "-o eth0 -j REJECT --reject-with icmp-port-unreachable",
        "-o virbr01 -j REJECT --reject-with icmp-port-unreachable",
        "-o virbr0 -j DROP",
        "-o virbr0 -p tcp -j REJECT --reject-with tcp-reset",
        f"-s {NET} -i eth0 -j ACCEPT",
        "-s 10.0.0.0/8 -i virbr0 -j ACCEPT",
        f"-s {NET} -i virbr0 -p tcp -j ACCEPT",
        f"-d {NET} -o virbr0 -p tcp -m tcp --dport 80 -j ACCEPT",
        f"-d {NET} -o virbr0 -j DROP",
        "-i virbr0 -o eth0 -j ACCEPT",
        "-i eth0 -o virbr0 -j ACCEPT",
        "-j DOCKER-USER",
        "-m conntrack --ctstate DNAT -j VFW-FORWARD",
        '-m comment --comment "above -j LIBVIRT_FWI" -j DROP',
    ],
)
def test_an_administrators_rules_in_forward(rule: str) -> None:
    """An administrator's rule on top stays on top: it is not taken for libvirt's."""
    assert not libvirts(FORWARD, rule)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-j LIBVIRT_PRT", True),
        (f"-s {NET} ! -d {NET} -j MASQUERADE", True),
        (f"-s {NET} ! -d {NET} -p tcp -j MASQUERADE --to-ports 1024-65535", True),
        (f"-s {NET} ! -d {NET} -j SNAT --to-source 203.0.113.1", False),
        (f"-s {NET} -j MASQUERADE", False),
        ("-s 10.0.0.0/8 ! -d 10.0.0.0/8 -j MASQUERADE", False),
        ("-o eth0 -j MASQUERADE", False),
    ],
)
def test_postrouting(rule: str, expected: bool) -> None:
    """libvirt masquerades what leaves a network for anywhere else."""
    found = libvirts(POSTROUTING, rule)

    assert found is expected


@pytest.mark.parametrize("chain", ["INPUT", "OUTPUT", "PREROUTING"])
def test_forms_count_in_their_own_chain(chain: str) -> None:
    """The same text elsewhere is somebody else's."""
    found = [
        libvirts((FILTER, chain), "-o virbr0 -j REJECT"),
        libvirts((FILTER, chain), "-i virbr0 -o virbr0 -j ACCEPT"),
    ]

    assert found == [False, False]
