"""What vfwhooks import makes of each kind of source is served: the same ports of the
same guest, by real connections."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from product import configure, vfwhooks

OUTSIDE = "203.0.113.1"
SOURCE = "/root/source"
# In the words of each tool: port 800N of the host, N the number of the row here, leads
# to port 80 of the guest at ADDRESS.
SOURCES = {
    "hooks-json": """\
{
    // a comment
    "web1": {"interface": "virbr0", "private_ip": "ADDRESS",
             "port_map": {"tcp": [[8001, 80]]}},
}
""",
    "wiki": """\
#!/bin/bash
if [ "${1}" = "web1" ]; then
   GUEST_IP=ADDRESS
   GUEST_PORT=80
   HOST_PORT=8002
   if [ "${2}" = "stopped" ] || [ "${2}" = "reconnect" ]; then
    /sbin/iptables -D FORWARD -o virbr0 -d $GUEST_IP -j ACCEPT
    /sbin/iptables -t nat -D PREROUTING -p tcp --dport $HOST_PORT -j DNAT \\
        --to $GUEST_IP:$GUEST_PORT
   fi
   if [ "${2}" = "start" ] || [ "${2}" = "reconnect" ]; then
    /sbin/iptables -I FORWARD -o virbr0 -d $GUEST_IP -j ACCEPT
    /sbin/iptables -t nat -I PREROUTING -p tcp --dport $HOST_PORT -j DNAT \\
        --to $GUEST_IP:$GUEST_PORT
   fi
fi
""",
    "compose": """\
services:
  web1:
    image: nginx
    ports:
      - "8003:80"
""",
    "domain": """\
<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>web1</name>
  <devices>
    <interface type='user'>
      <backend type='passt'/>
      <portForward proto='tcp'><range start='8004' to='80'/></portForward>
    </interface>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-netdev'/>
    <qemu:arg value='user,id=n,hostfwd=tcp::8443-:443'/>
  </qemu:commandline>
</domain>
""",
    "firewalld": """\
<?xml version="1.0" encoding="utf-8"?>
<zone>
  <interface name="outside"/>
  <forward-port port="8005" protocol="tcp" to-port="80" to-addr="ADDRESS"/>
</zone>
""",
    "ufw": """\
# rules.before
*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -i outside -p tcp --dport 8006 -j DNAT --to-destination ADDRESS:80
COMMIT
""",
    "incus": """\
description: ""
config: {}
ports:
- description: ""
  protocol: tcp
  listen_port: "8007"
  target_port: "80"
  target_address: ADDRESS
listen_address: 203.0.113.1
""",
}
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
    host.write(SOURCE, SOURCES[kind].replace("ADDRESS", web1.address))

    number = list(SOURCES).index(kind)
    before = is_served(outside, 8001 + number)

    made = vfwhooks(host, "import", SOURCE)
    apply(host, made.stdout)

    assert (made.status, f"({kind})" in made.stdout) == (0, True), made.stderr
    assert (before, is_served(outside, 8001 + number)) == (False, True)


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
