"""A bridge of the host's own with a second address, whose subnet is inside the first
one's: keepalived gives one with /32."""

from __future__ import annotations

import pytest
from oracle import expected
from standin import BACKENDS, Guest, StandIn, alone, ipv4, kernel, run

from faults.scenes import published

WEB0 = Guest("web0", 10)
FORWARDS = """guests:
  web0: [8000:80]
  inner: {ports: [8001:80], bridge: br-nat, address: [10.9.0.51, "fd00:9::51"]}
"""


class Inner(Guest):
    """A guest on that bridge."""

    def xml(self) -> str:
        """Of type bridge."""
        there = "<source network='default' bridge='virbr0'/>"
        xml = super().xml().replace(there, "<source bridge='br-nat'/>")
        return xml.replace("type='network'", "type='bridge'")


INNER = Inner("inner", 51)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_subnet_inside_another(backend: str) -> None:
    """All guests are forwarded to, by an event as by a full sync."""
    host = StandIn(backend, FORWARDS)
    host.network(WEB0)
    run("ip", "link", "add", "br-nat", "type", "bridge")
    for address in ("10.9.0.1/24", "10.9.0.254/32", "fd00:9::1/64", "fd00:9::53/128"):
        run("ip", "addr", "add", address, "dev", "br-nat")
    run("ip", "link", "set", "br-nat", "up")

    host.apply()
    for guest in (WEB0, INNER):
        host.event("qemu", guest.name, "started", guest.xml())

    ports, found = published(backend), kernel(backend)
    status = host.apply(WEB0, INNER)
    addresses = {"web0": [ipv4(WEB0)], "inner": ["10.9.0.51", "fd00:9::51"]}
    assert (ports, status) == (expected(FORWARDS, addresses), 0)
    assert kernel(backend) == found
