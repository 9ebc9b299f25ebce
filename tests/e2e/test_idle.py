"""The watch beside somebody who changes rules all day.

VFWHOOKS_IDLE_SECONDS says for how long (60 is the figure in the documentation).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from lab.host import Host
from lab.network import mac_for
from product import configure, rested, start_watch, stop_watch, watch_cpu_seconds

SECONDS = float(os.environ.get("VFWHOOKS_IDLE_SECONDS", "10"))
CHANGES = 1000
NOISE = """
nft add table ip noise
nft add set ip noise pods '{ type ipv4_addr; }'
iptables -N DOCKER
for n in $(seq 250); do
	nft add element ip noise pods "{ 10.0.0.$n }"
	nft add chain ip noise c$n
	iptables -A DOCKER -d 10.0.0.$n -j ACCEPT
	iptables -I FORWARD -i docker0 -s 10.0.0.$n -j ACCEPT
	sleep PAUSE
done
"""


def test_foreign_changes_cost_next_to_nothing(
    host: Host, measured: Callable[[str, float], None]
) -> None:
    """A thousand changes of rules that are not ours leave ours alone: the same handles,
    and hardly any processor time."""
    configure(host, "guests:\n  web1: ['0.0.0.0:8080:80']\n")  # IPv6 comes any time
    guest = host.define_guest("web1", mac=mac_for(50))
    guest.start(wait=True)
    start_watch(host)
    rested(host)  # from what the start of the guest and of the watch have set off
    before, used = handles(host), watch_cpu_seconds(host)

    start = time.monotonic()
    host.run(["sh", "-c", NOISE.replace("PAUSE", str(SECONDS / 250))], timeout=300)
    took = time.monotonic() - start
    used = watch_cpu_seconds(host) - used
    measured("foreign changes", CHANGES)
    measured("seconds", took)
    measured("per cent of a core used by the watch", 100 * used / took)
    after = handles(host)
    stop_watch(host)
    guest.destroy()

    assert after == before


def handles(host: Host) -> list[str]:
    """Every rule and chain of ours with its handle."""
    listing = host.run(["nft", "-a", "list", "ruleset"]).split("\n")
    table, found = "", []
    for line in listing:
        table = line if line.startswith("table") else table
        is_ours = "VFW" in line or "vfwhooks" in line or "inet vfwhooks" in table
        if is_ours and "# handle" in line:
            found.append(line.partition("counter packets")[0] + line.rpartition("#")[2])
    return found
