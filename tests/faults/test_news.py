"""The service keeps news that it cannot act upon at once."""

from __future__ import annotations

import time
from unittest.mock import patch

from standin import STATE, StandIn, alone, run, wait_for

from faults.scenes import WEB1, published
from faults.watched import serving
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
