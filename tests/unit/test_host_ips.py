"""host_ips: addresses of the host by a name or by an interface, and what is noted of
them beside a compiled configuration."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from unit.builders import working_in
from vfwhooks.config import source_stamps
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.config.host_ips import format_stamp, parse_stamps
from vfwhooks.config.schema import read_forwards
from vfwhooks.config.value_syntax import Address

ADDRESSES = {
    "eth0": (ip_address("203.0.113.5"), ip_address("2001:db8::5")),
    "wg0": (ip_address("10.9.0.1"),),
}
BY_INTERFACE = """\
guests:
  web1:
    - {published: 80, host_ip: {interface: eth0}%s}
"""


def read(tmp_path: Path, text: str) -> tuple[list[GuestForwards], list[str]]:
    """What a forwards.yaml means on a host with these interfaces."""
    (tmp_path / "forwards.yaml").write_text(text)
    with working_in(tmp_path):
        guests, problems = read_forwards(
            Path("forwards.yaml"), interfaces=lambda name: ADDRESSES.get(name, ())
        )
    return guests, list(map(str, problems))


def published(guest: GuestForwards) -> list[str]:
    """Where the guest's forwards are, and those that are nowhere yet."""
    hosts = [f"{one.host_ip or '*'} {one.interface}" for one in guest.forwards]
    return hosts + [f"- {one.interface}" for one in guest.unplaced]


@pytest.mark.parametrize(
    ("host_ip", "wanted"),
    [
        ("{interface: eth0}", ["203.0.113.5 eth0", "2001:db8::5 eth0"]),
        ("{interface: nowhere}", ["- nowhere"]),
        (
            "[{interface: wg0}, {interface: nowhere}, 127.0.0.1]",
            ["127.0.0.1 ", "10.9.0.1 wg0", "- nowhere"],
        ),
        ("[{interface: wg0}, 10.9.0.1]", ["10.9.0.1 "]),
        ("[203.0.113.5, {interface: eth0}]", ["203.0.113.5 ", "2001:db8::5 eth0"]),
        ("{name: both}", ["203.0.113.7 ", "2001:db8::7 "]),
        ("[{name: both}, {name: all}]", ["203.0.113.7 ", "2001:db8::7 ", "0.0.0.0 "]),
    ],
)
def test_addresses(tmp_path: Path, host_ip: str, wanted: list[str]) -> None:
    """Each address once; an interface without one never means every address."""
    names = "addresses: {both: [203.0.113.7, '2001:db8::7'], all: 0.0.0.0}\n"
    port = f"guests:\n  web1: [{{published: 80, host_ip: {host_ip}}}]\n"

    (guest,), problems = read(tmp_path, names + port)

    assert (published(guest), problems) == (wanted, [])


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        (", allow_from: 198.51.100.0/24", ["203.0.113.5 eth0"]),
        (", allow_from: '2001:db8:1::/48'", ["2001:db8::5 eth0"]),
        ("", ["203.0.113.5 eth0", "2001:db8::5 eth0"]),
    ],
)
def test_an_address_that_nobody_may_connect_to(
    tmp_path: Path, keys: str, wanted: list[str]
) -> None:
    """Which families an interface has is no mistake of the file."""
    (guest,), problems = read(tmp_path, BY_INTERFACE % keys)

    assert (published(guest), problems) == (wanted, [])


def test_a_guest_of_one_family(tmp_path: Path) -> None:
    """The interface's other address is left out."""
    guest = "  web1: {address: 192.168.122.9, ports: [{target: 80, %s}]}\n"
    text = "guests:\n" + guest % "host_ip: {interface: eth0}"

    (found,), problems = read(tmp_path, text)

    assert (published(found), problems) == (["203.0.113.5 eth0"], [])


def test_a_name_and_a_guest_of_one_family(tmp_path: Path) -> None:
    """The name's other address is left out; where it has no other, that is a
    mistake."""
    names = "addresses: {both: [203.0.113.7, '2001:db8::7'], six: '2001:db8::7'}\n"
    names += "defaults: {host_ip: {name: both}}\nguests:\n"
    guest = "  %s: {address: 192.168.122.9, ports: [%s]}\n"
    text = names + guest % ("web1", "80") + guest % ("web2", "81")
    text += guest % ("web3", "{target: 82, host_ip: {name: six}}")

    found, problems = read(tmp_path, text)

    why = "host_ip 2001:db8::7 is IPv6, but web3 is at 192.168.122.9"
    assert problems == [f"forwards.yaml:6:42: {why}"]
    assert [published(one) for one in found[:2]] == [["203.0.113.7 "]] * 2


def test_an_interface_that_the_kernel_does_not_tell_of(tmp_path: Path) -> None:
    """A problem at its place, which may pass: the file is tried again, and the last
    good one stays in force till then."""

    def refuse(_: str) -> tuple[Address, ...]:
        raise OSError(105, "No buffer space available")

    main = tmp_path / "forwards.yaml"
    main.write_text(BY_INTERFACE % "")
    _, problems = read_forwards(main, interfaces=refuse)

    what = "the kernel does not say the addresses of eth0: No buffer space available"
    assert [(str(one), one.is_passing) for one in problems] == [
        (f"{main}:3:44: {what}", True)
    ]


def test_defaults(tmp_path: Path) -> None:
    """Guests below get the interface; a port of its own address does not."""
    text = (
        "defaults: {host_ip: {interface: wg0}}\n"
        "guests:\n  web1: [80, '203.0.113.9:81:81']\n"
    )

    (guest,), problems = read(tmp_path, text)

    assert (published(guest), problems) == (["10.9.0.1 wg0", "203.0.113.9 "], [])


def test_stamps() -> None:
    """What is noted is read back; the stamps of files are left to others, whatever an
    interface is called."""
    names = ["eth0", "a b@c%", "none"]
    lines = [format_stamp(name, ADDRESSES.get(name, ())) for name in names]
    taken = "\n".join(["/etc/forwards.yaml 1 2 3 4", *lines])

    assert parse_stamps(taken) == dict(zip(names, lines))
    assert source_stamps.stamped(taken) == ["/etc/forwards.yaml"]


def test_other_addresses_are_no_edit(tmp_path: Path) -> None:
    """The files are as they were, whatever the interface has now; the mark by which
    guests are planned anew is another."""
    main = tmp_path / "forwards.yaml"
    main.write_text("guests: {}\n")
    taken = source_stamps.stamps(str(main))
    before, after = (
        f"{taken}\n{format_stamp('eth0', some)}" for some in ((), ADDRESSES["eth0"])
    )

    assert source_stamps.is_current(before, str(main))
    assert source_stamps.is_current(after, str(main))
    assert source_stamps.digest_of(before) != source_stamps.digest_of(after)
