"""Two guests with one lease, since they were cloned with one machine-id: it is told,
and the forwards do not go to and fro between them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.guest import Guest
from lab.host import Host
from product import configure, ruleset, start_watch, status, stop_watch, vfwhooks

MACS = "52:54:00:aa:00:21", "52:54:00:aa:00:22"
ASK = "udhcpc -n -q -i eth0 -s /bin/leased -x 0x3d:ff5612345600020000ab11"


@pytest.fixture(scope="module")
def clones(host: Host) -> Iterator[list[Guest]]:
    """Both of them, running, without an address so far."""
    configure(host, "guests:\n  first: [8080:80]\n  second: [8081:80]\n")
    found = [
        host.define_guest(name, mac=mac, options=["vfw.eth0=none"])
        for name, mac in zip(("first", "second"), MACS)
    ]
    for guest in found:
        guest.start()
    for guest in found:
        guest.wait_until_up()
        guest.run("ip link set eth0 up")
    yield found
    for guest in found:
        guest.destroy()
        guest.undefine()


def said(host: Host) -> list[tuple[str, str, str]]:
    """Guest, state, and the reason without what is said of IPv6."""
    rows = status(host)["forwards"]
    return [
        (row["guest"], row["state"], row["reason"].partition("; ")[0])
        for row in rows
        if ":" not in row["address"]
    ]


def speak(host: Host, guest: Guest, address: str, mac: str) -> None:
    """Have the guest ask the host for something, until the host has it there."""

    def is_there() -> bool:
        guest.run("ip neigh flush dev eth0; ping -c1 -W1 192.168.122.1 || :")
        return mac in host.run(["ip", "neigh", "show", address, "dev", "virbr0"])

    wait_until(is_there, f"{mac} at {address}", 20)


def test_two_guests_on_one_lease(host: Host, clones: list[Guest]) -> None:
    """The one who has it is named to the other. Once the other is seen there, it has
    it for good, however often both are: neither the service nor apply changes it."""
    first, second = clones
    first.run(ASK)
    address = first.run("ip -4 -o addr show eth0").split()[3].partition("/")[0]
    speak(host, first, address, MACS[0])
    vfwhooks(host, "apply")
    second.run(ASK)
    speak(host, first, address, MACS[0])
    at_first = said(host)

    start_watch(host)
    speak(host, second, address, MACS[1])
    wait_until(lambda: said(host)[1][1] == "active", "the second", 30)
    rules, after, changes = ruleset(host), [said(host)], []
    for guest, mac in 3 * [(first, MACS[0]), (second, MACS[1])]:
        speak(host, guest, address, mac)
        changes.append(vfwhooks(host, "apply").stdout)
        after.append(said(host))

    clone = "same machine-id?"
    waits = f"lease {address} is answered by first: {clone}"
    assert at_first == [("first", "active", ""), ("second", "pending", waits)]
    lost = ("pending", f"lease {address} is answered by second: {clone}")
    taken = ("conflict", f"{address} is the address of second: {clone}")
    assert {one[0][1:] for one in after} == {lost, taken}
    assert {one[1] for one in after} == {("second", "active", "")}
    assert (changes, ruleset(host) == rules) == ([""] * 6, True)


def test_the_other_comes_back_when_it_is_alone(host: Host, clones: list[Guest]) -> None:
    """When the guest that has the lease stops, the other one has it again."""
    first, second = clones
    address = first.run("ip -4 -o addr show eth0").split()[3].partition("/")[0]

    second.destroy()
    speak(host, first, address, MACS[0])

    wait_until(lambda: said(host)[0] == ("first", "active", ""), "the first", 30)
    stop_watch(host)
    second.start()
