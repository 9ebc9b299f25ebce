"""The service keeps news that it cannot act upon at once."""

from __future__ import annotations

import time
from unittest.mock import patch

from standin import CONFIG, STATE, StandIn, alone, kernel, run, wait_for

from faults.scenes import WEB1, published
from faults.watched import serving
from vfwhooks.config import last_good
from vfwhooks.service import daemon
from vfwhooks.store.state import State

FORWARDS = "guests:\n  web1: [8080:80]\n"


@alone
def test_elements_that_go_while_somebody_has_the_lock() -> None:
    """They are put back when the lock is free, though the service has given it up."""
    host = StandIn("nftables", FORWARDS)
    host.network(WEB1)
    host.start(WEB1)
    before = published("nftables")
    with patch.object(daemon, "_PATIENCE", 0.2), serving() as service:
        service.rest()
        with State(str(STATE)).lock():
            run("nft", "flush", "map", "inet", "vfwhooks", "dnat4_any")
            time.sleep(1)

        wait_for(lambda: published("nftables") == before)


BY_INTERFACE = """guests:
  web1: [{published: 8080, target: 80, host_ip: {interface: out0}}]
"""
SLOW = f"{last_good._CHILD}; import time; time.sleep(1.5)"


@alone
def test_an_address_that_moves_while_an_edit_is_compiled() -> None:
    """The child has read the former one: another child follows."""
    host = StandIn("nftables", BY_INTERFACE)
    run("ip", "link", "add", "out0", "type", "bridge")
    run("ip", "link", "set", "out0", "up")
    run("ip", "addr", "add", "203.0.113.1/24", "dev", "out0")
    host.network(WEB1)
    host.start(WEB1)
    with patch.object(last_good, "_CHILD", SLOW), serving() as service:
        service.rest()
        host.configure(f"{BY_INTERFACE}  web0: [81]\n")
        wait_for(lambda: last_good.is_in_force(State(str(STATE)), str(CONFIG)))

        run("ip", "addr", "add", "203.0.113.2/24", "dev", "out0")
        run("ip", "addr", "del", "203.0.113.1/24", "dev", "out0")
        run("ip", "addr", "replace", "203.0.113.2/24", "dev", "out0")

        wait_for(lambda: "203.0.113.2" in " ".join(kernel("nftables")))
