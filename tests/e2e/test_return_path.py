"""A second way out: who comes in by it and is not answered is not called active."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from lab.service import serving
from product import configure, status, vfwhooks

FAR = "192.0.2.50"  # whoever is far away, behind either way out
ADDRESS = "198.51.100.1"
FORWARDS = f"""
guests:
  web1: ["{ADDRESS}:8080:80", "203.0.113.1:8081:80", "0.0.0.0:8082:80"]
"""
RULE = f"from {ADDRESS} lookup 100"


@pytest.fixture(scope="module")
def second(host: Host, outside: Net) -> Iterator[Net]:
    """Somebody far away behind a second uplink, which has a table of its own; the guest
    runs."""
    del outside  # the first uplink, by which the default route leads
    net = host.outside("198.51.100.2/24", name="second")
    net.ip(f"addr add {FAR}/32 dev lo")
    net.ip(f"route add {ADDRESS}/32 dev eth0 src {FAR}")
    host.net.ip("route replace default via 203.0.113.2")
    host.net.ip("route replace default via 198.51.100.2 table 100")
    configure(host, FORWARDS)
    web1 = host.define_guest("web1", mac=mac_for(39))
    web1.start(wait=True)
    vfwhooks(host, "apply").check()
    yield net
    web1.destroy()


def rp_filter(host: Host, value: int) -> None:
    """Of every interface."""
    loop = f"for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo {value} >$f; done"
    host.run(["sh", "-c", loop])


def row(host: Host, address: str = ADDRESS) -> tuple[str, str]:
    """The state and the reason of the forward on an address."""
    [found] = [one for one in status(host)["forwards"] if one["host_ip"] == address]
    return found["state"], found["reason"]


@pytest.mark.parametrize("value", [0, 2])
def test_a_rule_that_serves_the_host_alone(host: Host, second: Net, value: int) -> None:
    """The host's own service answers there, and the guest does not: it is blocked, and
    the command that status names cures it. The forward on the other uplink is active,
    and so is one on every address, which says where it is not answered."""
    rp_filter(host, value)
    host.net.ip(f"rule add {RULE}")

    urls = [f"http://{ADDRESS}:{port}/" for port in (9000, 8080)]
    with serving(host, "own", 9000):
        seen = [second.http(url).answered for url in urls]
    before = row(host), row(host, "203.0.113.1"), row(host, "0.0.0.0")
    cure = before[0][1].rpartition("run: ")[2]
    host.run(cure.split())
    cured = second.http(urls[1]).answered, row(host)
    host.run(cure.replace("add", "del").split())
    host.net.ip(f"rule del {RULE}")

    guest = "192.168.122.39"
    what = f"answers of {guest} leave by outside, and those of {ADDRESS} by second"
    assert (seen, before) == (
        [True, False],
        (
            (
                "blocked",
                f"{what}; run: ip rule add iif virbr0 from {guest} lookup 100",
            ),
            ("active", ""),
            ("active", f"not answered on {ADDRESS}: {before[0][1]}"),
        ),
    )
    assert cured == (True, ("active", ""))


def test_strict_rp_filter(host: Host, second: Net) -> None:
    """What comes in by the second uplink and would be answered by the first is dropped
    by the kernel before anybody sees it; loose, it is let in, and the answer leaves."""
    rp_filter(host, 1)

    seen = second.http(f"http://{ADDRESS}:8080/").answered
    state, reason = row(host)
    host.run(reason.rpartition("run: ")[2].split())
    host.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
    after = row(host)[0]

    what = "second drops what is answered by outside (rp_filter 1)"
    cure = "run: sysctl -w net.ipv4.conf.second.rp_filter=2"
    assert (seen, state, reason) == (False, "blocked", f"{what}; {cure}")
    assert after == "active"
