"""What vfwhooks import makes of a source is served: the same ports of the same guest, a
real one of libvirt's, by real connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from product import configure, vfwhooks

OUTSIDE = "203.0.113.1"
SOURCE = "/root/source"
# In two tools' words: a port of the host leads to port 80 of the guest at ADDRESS. All
# kinds are in test_import_served.
HOOKS = """\
{
    // a comment
    "web1": {"interface": "virbr0", "private_ip": "ADDRESS",
             "port_map": {"tcp": [[8001, 80]]}},
}
"""
ZONE = """\
<?xml version="1.0" encoding="utf-8"?>
<zone>
  <interface name="outside"/>
  <forward-port port="8002" protocol="tcp" to-port="80" to-addr="ADDRESS"/>
</zone>
"""
SOURCES = {"hooks-json": (HOOKS, 8001), "firewalld": (ZONE, 8002)}
NFT = """\
table ip site {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "outside" tcp dport 8008 dnat to ADDRESS:80
	}
}
"""


@pytest.fixture(scope="module")
def web1(host: Host) -> Iterator[Guest]:
    """A running guest, with a lease that libvirt knows."""
    guest = host.define_guest("web1").start(wait=True)
    yield guest
    guest.destroy()


def apply(host: Host, text: str) -> None:
    """Put such a forwards.yaml in force."""
    configure(host, text)
    done = vfwhooks(host, "apply")
    assert done.status == 0, done.stderr


def is_served(outside: Net, port: int) -> bool:
    """Whether somebody outside is answered by the guest."""
    return outside.http(f"http://{OUTSIDE}:{port}/").answered


@pytest.mark.parametrize("kind", SOURCES)
def test_source(host: Host, outside: Net, web1: Guest, kind: str) -> None:
    """The file of another tool is read, who has the guest's address is libvirt's to
    say, and the port is served as that tool had it."""
    text, port = SOURCES[kind]
    host.write(SOURCE, text.replace("ADDRESS", web1.address))

    before = is_served(outside, port)
    made = vfwhooks(host, "import", SOURCE)
    apply(host, made.stdout)

    assert (made.status, f"({kind})" in made.stdout) == (0, True), made.stderr
    assert (before, is_served(outside, port)) == (False, True)


@pytest.mark.parametrize("kind", ["nft", "iptables"])
def test_rules_of_this_host(host: Host, outside: Net, web1: Guest, kind: str) -> None:
    """Rules in the kernel, saved and live: both give the same entries, which serve when
    the rules are gone."""
    port = {"nft": 8008, "iptables": 8009}[kind]
    match = f"PREROUTING -i outside -p tcp --dport {port}"
    rule = f"{match} -j DNAT --to {web1.address}:80"
    if kind == "nft":
        host.run(["nft", "-f", "-"], input=NFT.replace("ADDRESS", web1.address))
        host.write(SOURCE, host.run(["nft", "list", "ruleset"]))
    else:
        host.run(["iptables", "-t", "nat", "-A", *rule.split()])
        host.write(SOURCE, host.run(["iptables-save"]))

    live = vfwhooks(host, "import")
    new = f"/root/{kind}.yaml"
    saved = vfwhooks(host, "import", SOURCE, "-o", new)
    if kind == "nft":
        host.run(["nft", "delete", "table", "ip", "site"])
    else:
        host.run(["iptables", "-t", "nat", "-D", *rule.split()])

    entry = f"- {OUTSIDE}:{port}:80"
    assert (saved.status, live.status) == (0, 0), saved.stderr + live.stderr
    assert [text.count(entry) for text in (live.stdout, host.read(new))] == [1, 1]
    apply(host, host.read(new))
    assert is_served(outside, port)
