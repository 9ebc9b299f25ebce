"""A host whose libvirt changes its firewall backend under a running guest."""

from __future__ import annotations

import re

import pytest
from lab.box import wait_until
from lab.host import Host
from product import put_in, ruleset, status

FORWARDS = """
guests:
  web1:
    - 8080:80
    - {host_ip: 198.51.100.1, published: 8081, target: 80, return_path: true}
"""


@pytest.mark.parametrize(
    ("old", "new"), [("iptables", "nftables"), ("nftables", "iptables")]
)
def test_backend_switched(old: str, new: str) -> None:
    """After libvirtd's restart the old backend holds nothing of ours, the new one
    everything, and answers take the way that they took."""
    with Host.debian13(old) as host:
        put_in(host, FORWARDS)
        host.start_libvirtd()
        host.start_network()
        outside = host.outside()
        second = host.outside("198.51.100.2/24", name="second")
        second.ip("addr add 192.0.2.50/32 dev lo")
        second.ip("route add 198.51.100.1/32 dev eth0 src 192.0.2.50")
        host.net.ip("route add default via 198.51.100.2 table 100")
        host.net.ip("rule add from 198.51.100.1 lookup 100")
        guest = host.define_guest("web1").start(wait=True)
        before = status(host)["backend"]

        host.stop_libvirtd()
        conf = host.read("/etc/libvirt/network.conf")
        host.write("/etc/libvirt/network.conf", conf.replace(old, new))
        host.start_libvirtd()
        wait_until(lambda: status(host)["backend"] == new, "the switch")
        wait_until(
            lambda: outside.http("http://203.0.113.1:8080/", timeout=1).answered,
            "the guest",
        )
        rules = ruleset(host)
        far = second.http("http://198.51.100.1:8081/").body
        guest.destroy()
        left = host.run(["ip", "rule"])

    ours = {"nftables": "table inet vfwhooks", "iptables": "VFW-"}
    assert (far, "/0xf000000" in left) == ("web1 80 192.0.2.50", False)
    assert (before, ours[old] in rules, ours[new] in rules) == (old, False, True)
    assert not (old == "nftables" and re.search("chain vfwhooks", rules))
