"""A host whose libvirt changes its firewall backend under a running guest."""

from __future__ import annotations

import re

import pytest
from lab.box import wait_until
from lab.host import Host
from product import put_in, ruleset, status


@pytest.mark.parametrize(
    ("old", "new"), [("iptables", "nftables"), ("nftables", "iptables")]
)
def test_backend_switched(old: str, new: str) -> None:
    """After libvirtd's restart the old backend holds nothing of ours, the new one
    everything."""
    with Host.debian13(old) as host:
        put_in(host, "guests:\n  web1: [8080:80]\n")
        host.start_libvirtd()
        host.start_network()
        outside = host.outside()
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
        guest.destroy()

    ours = {"nftables": "table inet vfwhooks", "iptables": "VFW-"}
    assert (before, ours[old] in rules, ours[new] in rules) == (old, False, True)
    assert not (old == "nftables" and re.search("chain vfwhooks", rules))
