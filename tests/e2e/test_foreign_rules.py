"""The rules of tests/cases/dnats, given to a real kernel and read there by what status
reads them with: the same is found as in the recorded listings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.host import Host
from unit.builders import CHECKOUT
from unit.test_dnat_rules import CASES

READ = """
import sys
sys.path[:0] = ["/srv/vfwhooks", "/srv/vfwhooks/tests"]
from vfwhooks.foreign.reader import read_foreign
from vfwhooks.libvirt.inventory import Inventory
from vfwhooks.host.netlink import Netlink
from vfwhooks.host.run import Run
found = read_foreign({}, Inventory("/run/nowhere/networks"), Netlink(), Run())
for one in found.claims:
    ports = f"{one.first}" + (f"-{one.last}" if one.last > one.first else "")
    print(one.family, one.host or "*", one.protocol, ports, one.whose)
for one in found.doubts:
    ports = f"{one.first}" + (f"-{one.last}" if one.last > one.first else "")
    print("?", one.families, ",".join(one.protocols), ports, one.where)
"""


@pytest.fixture(scope="module", params=["debian12", "debian13"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with either release's tools, 203.0.113.1, .5 and 2001:db8::1."""
    with getattr(Host, request.param)() as host:
        host.outside()
        host.net.ip("addr add 203.0.113.5/24 dev outside")
        yield host


def put_in(host: Host, text: str, variant: str) -> None:
    """Rules of a case, and no others."""
    host.run(["nft", "flush", "ruleset"])
    for one in ("nft", "legacy"):
        if text.startswith("*nat"):
            rules = text if one == variant else "*nat\nCOMMIT\n"
            host.run([f"iptables-{one}-restore"], input=rules)
    if not text.startswith("*nat"):
        host.run(["nft", "-f", "-"], input=text)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_read_from_the_kernel(host: Host, case: str, variant: str) -> None:
    """Every recorded ruleset, of iptables in both of its variants."""
    directory = CHECKOUT / "tests/cases/dnats" / case
    text = (directory / "rules").read_text()
    put_in(host, text, variant)

    found = host.run(["python3", "-c", READ])

    put_in(host, "*nat\nCOMMIT\n", variant)
    expected = (directory / "found").read_text()
    if variant == "legacy" and text.startswith("*nat"):
        expected = expected.replace("iptables nat", "iptables-legacy nat")
    assert found == expected


DOCKER = """*nat
:PREROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""
CLAIM = "4 * tcp 8080 Docker (iptables nat DOCKER) by DNAT\n"
DOUBT = "? 4 tcp 8080 iptables nat\n"
NATIVE = {
    "add rule ip nat PREROUTING tcp dport 9090 dnat to 10.0.0.1": (
        f"4 * tcp 9090 iptables nat PREROUTING by DNAT\n{DOUBT}"
    ),
    "insert rule ip nat PREROUTING ip saddr { 192.0.2.1, 192.0.2.2 } return": CLAIM,
    "insert rule ip nat DOCKER tcp dport { 80, 8080 } return": "",
    "insert rule ip nat PREROUTING ip length 40 return": DOUBT,
    "add chain ip nat more { type nat hook prerouting priority 0; }; "
    "add rule ip nat more tcp dport 9000 dnat to 10.0.0.1": (
        f"{CLAIM}4 * tcp 9000 table ip nat, chain more by DNAT\n"
    ),
}


@pytest.mark.parametrize("native", NATIVE)
def test_a_rule_of_nft_beside_dockers(host: Host, native: str) -> None:
    """In the same table: neither hides the other."""
    put_in(host, DOCKER, "nft")
    host.run(["nft", native])

    found = host.run(["python3", "-c", READ])

    put_in(host, "*nat\nCOMMIT\n", "nft")
    assert found == NATIVE[native]
