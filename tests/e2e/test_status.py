"""`status` on hosts of the lab: what it says of rules of ours that somebody removed by
hand, and of one guest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from product import configure, status, vfwhooks

FORWARDS = "guests:\n  web1: [8080:80, 5353:5353/udp]\n"
GONE = "the rules are not in the kernel; run vfwhooks apply"
# By what there is: a jump or a chain of ours, flushed or deleted by hand.
REMOVED = {
    "what is published": "iptables -t nat -F VFW-PUBLISH ||"
    " nft flush chain inet vfwhooks publish4",
    "what is accepted": "iptables -F VFW-FORWARD ||"
    " nft flush chain ip libvirt_network vfwhooks",
    "the jump in nat": "iptables -t nat -D PREROUTING -m addrtype --dst-type LOCAL"
    " -j VFW-PREROUTING || nft flush chain inet vfwhooks prerouting",
    "the jump in forward": "iptables -D FORWARD -m conntrack --ctstate DNAT"
    " -j VFW-FORWARD || nft delete rule ip libvirt_network forward handle"
    " $(nft -a list chain ip libvirt_network forward |"
    " sed -n 's/.*jump vfwhooks.* handle //p')",
}
RELOAD = """
if iptables -t nat -n -L VFW-PUBLISH; then
    iptables-save >/tmp/all && iptables-restore </tmp/all
else
    nft list ruleset >/tmp/all && nft flush ruleset && nft -f /tmp/all
fi
"""


@pytest.fixture(scope="module", autouse=True)
def web1(host: Host) -> Iterator[Guest]:
    """A running guest, and no service that would put right what is removed."""
    configure(host, FORWARDS)
    guest = host.define_guest("web1").start()
    yield guest
    guest.destroy()


def said(host: Host) -> set[tuple[str, str]]:
    """The states of all forwards, with their reasons."""
    return {(row["state"], row["reason"]) for row in status(host)["forwards"]}


@pytest.mark.parametrize("what", REMOVED)
def test_rules_that_somebody_removed(host: Host, what: str) -> None:
    """Forwards that do not work are not called active; `apply` brings them back."""
    host.run(["sh", "-c", REMOVED[what]])
    seen = [said(host)]
    vfwhooks(host, "apply")
    seen.append(said(host))

    assert seen == [{("blocked", GONE)}, {("active", "")}]


def test_rules_that_were_saved_and_loaded_again(host: Host) -> None:
    """They have other handles, and work as before."""
    before = said(host)

    host.run(["sh", "-c", RELOAD])

    assert (before, said(host)) == ({("active", "")}, {("active", "")})


def test_a_name_that_is_nearly_a_guests(host: Host) -> None:
    """A stopped guest that libvirt does not have is told, if another may be meant."""
    configure(host, f"{FORWARDS}  mial: [25]\n  mail-of-another-host: [26]\n")
    vfwhooks(host, "apply")
    host.define_guest("mail")
    rows = {row["guest"]: row for row in status(host)["forwards"]}
    host.virsh("undefine", "mail")
    configure(host, FORWARDS)
    vfwhooks(host, "apply")

    found = [(rows[name]["state"], rows[name]["reason"]) for name in sorted(rows)]
    assert found[:2] == [
        ("stopped", "the guest is not running"),
        ("stopped", "libvirt has no guest mial; did you mean mail"),
    ]


def test_one_guest(host: Host) -> None:
    """By its name or UUID; for one that is not there, the name that is meant."""
    uuid = host.virsh("domuuid", "web1").strip()

    table, other = vfwhooks(host, "status", uuid), vfwhooks(host, "status", "Web1")

    rows = [line.split()[:3] for line in table.stdout.splitlines()[-2:]]
    assert (table.status, rows) == (
        0,
        [["web1", "*", "8080/tcp"], ["web1", "*", "5353/udp"]],
    )
    assert (other.status, other.stderr.splitlines()[1:]) == (1, ["  did you mean web1"])
