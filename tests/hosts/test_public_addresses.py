"""What the owners of those hosts wanted: one public address for many guests, split by
port, and one public address for each guest."""

from __future__ import annotations

from contextlib import ExitStack

from product import states

from .recorded import PUBLIC, RecordedHost, add_address


def test_one_address_split_by_port(recorded: RecordedHost) -> None:
    """80 and 443 lead to one guest, 25 and 143 to another, 22 stays the host's."""
    recorded.configure("guests:\n  web1: [80, 443]\n  mail: [25, 143]\n")
    web1, mail = recorded.guests["web1"], recorded.guests["mail"]
    with ExitStack() as servers:
        for guest, port in ((web1, 443), (mail, 25), (mail, 143)):
            servers.enter_context(guest.net.serve_tcp(port))
        servers.enter_context(recorded.host.net.serve_tcp(22))

        recorded.start("web1")
        recorded.start("mail")
        seen = {port: recorded.ask(port) for port in (80, 443, 25, 143, 22)}
        recorded.stop("web1")
        recorded.stop("mail")

    assert seen == {
        80: f"{web1.device} 80 203.0.113.2",
        443: f"{web1.device} 443 203.0.113.2",
        25: f"{mail.device} 25 203.0.113.2",
        143: f"{mail.device} 143 203.0.113.2",
        22: f"{recorded.host.name} 22 203.0.113.2",
    }


def test_one_address_for_each_guest(recorded: RecordedHost) -> None:
    """The same port leads elsewhere on each address, and nowhere on the host's own."""
    addresses = "203.0.113.11", "203.0.113.12"
    for address in addresses:
        add_address(recorded.host, address)
    recorded.configure(
        """
guests:
  web1: ["203.0.113.11:80:80"]
  mail: ["203.0.113.12:80:80"]
""",
    )

    recorded.start("web1")
    recorded.start("mail")
    seen = [recorded.ask(80, address) for address in (*addresses, PUBLIC)]
    known = states(recorded.host)
    recorded.stop("web1")
    seen += [recorded.ask(80, address) for address in addresses]
    recorded.stop("mail")

    web1, mail = (recorded.guests[name].body for name in ("web1", "mail"))
    assert seen == [web1, mail, "refused", "refused", mail]
    assert known == {"web1 80/tcp": "active", "mail 80/tcp": "active"}


def test_a_whole_address_for_each_guest(recorded: RecordedHost) -> None:
    """Every port of an address leads to its guest, which goes out by it; libvirt that
    puts its MASQUERADE on top anew does not take that away."""
    addresses = "203.0.113.21", "203.0.113.22"
    for address in addresses:
        add_address(recorded.host, address)
    recorded.configure(
        f"""
guests:
  web1: {{public_ip: {addresses[0]}}}
  mail: {{public_ip: {addresses[1]}}}
"""
    )

    recorded.start("web1")
    recorded.start("mail")
    recorded.libvirt.reload_rules()
    recorded.start("lan1", "br0")
    seen = [recorded.ask(80, address) for address in (*addresses, PUBLIC)]
    seen += [recorded.ask_out(name) for name in ("web1", "mail")]
    recorded.stop("web1")
    recorded.stop("mail")
    seen += [recorded.ask_out("web1")]

    web1, mail = (recorded.guests[name].body for name in ("web1", "mail"))
    out = [f"outside 7 {address}" for address in (*addresses, PUBLIC)]
    assert seen == [web1, mail, "refused", *out]
