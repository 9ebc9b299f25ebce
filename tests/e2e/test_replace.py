"""`import --replace`: the rules that were there serve until ours do, and are gone then;
whoever is connected stays so."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from lab.box import Done, wait_until
from lab.firewalld import end_firewalld, start_firewalld
from lab.host import Host
from lab.net import Net
from product import (
    CONFIG,
    configure,
    edit,
    published,
    start_watch,
    states,
    stop_watch,
    vfwhooks,
)

from e2e.conftest import ONE_KIND, TWO_KINDS
from e2e.standins import Standin, end_libvirtd

OUTSIDE, ADDRESS = "203.0.113.1", "192.168.122.10"
DROP_IN = "/etc/vfwhooks/forwards.d/imported.yaml"
STATE = "/run/vfwhooks"
MAIN = "guests: {}\n"
SOURCE = "/etc/libvirt/hooks/old"
DNAT = f"-p tcp -m tcp --dport {{}} -j DNAT --to-destination {ADDRESS}:80"
FOREIGN = "-p tcp -m tcp --dport 8100 -j DNAT --to-destination 172.17.0.2:80"
TABLE = f"""\
table ip site {{
	chain prerouting {{
		type nat hook prerouting priority dstnat; policy accept;
		iifname "outside" tcp dport 8008 counter dnat to {ADDRESS}:80
		tcp dport 8009 counter dnat to {ADDRESS}:81
		dnat ip to tcp dport map {{ 8010 : {ADDRESS} . 80 }}
		tcp dport 8100 counter dnat to 172.17.0.2:80
	}}
}}
"""
WIKI = f"""\
#!/bin/sh
if [ "$1" = web1 ] && [ "$2" = start ]; then
	iptables -t nat -I PREROUTING -p tcp --dport 8012 -j DNAT --to {ADDRESS}:80
fi
"""


# Whether ours are asked first depends on the backend.
ON_TWO = pytest.mark.parametrize("host", TWO_KINDS, indirect=True)
ON_ONE = pytest.mark.parametrize("host", ONE_KIND, indirect=True)


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """Somebody at 203.0.113.2."""
    return host.outside()


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Iterator[Standin]:
    """A stand-in of whom no libvirtd knows, the service, and what lets old forwards
    through to guests."""
    guest = Standin(host, "web1", 10)
    end_libvirtd(host)
    start_watch(host)
    if host.firewall_backend == "nftables":
        passing = "nft insert rule ip libvirt_network forward ct status dnat accept"
    else:
        passing = "iptables -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    host.run(passing.split())
    guest.start()
    with guest.net.serve_tcp(80):
        yield guest
    stop_watch(host)


@pytest.fixture(autouse=True)
def anew(host: Host, web1: Standin) -> Iterator[None]:
    """No forward of ours, and no rule of anybody's."""
    yield
    host.call(["nft", "delete", "table", "ip", "site"])
    for port in (8011, 8012):
        host.call(["iptables", "-t", "nat", "-D", "PREROUTING", *dnat(port)])
    host.call(["iptables", "-t", "nat", "-D", "PREROUTING", *FOREIGN.split()])
    host.run(["rm", "-f", DROP_IN, SOURCE])
    edit(host, MAIN)
    wait_until(lambda: not published(host), "no forward of ours")


def dnat(port: int) -> list[str]:
    """A rule as iptables-save has it."""
    return DNAT.format(port).split()


def replace(host: Host, *arguments: str) -> Done:
    """The command, which is told whose address it is."""
    given = "--guest", f"{ADDRESS}=web1"
    return vfwhooks(host, "import", "--replace", *given, *arguments)


def is_served(outside: Net, port: int) -> bool:
    """Whether the guest answers somebody outside."""
    return outside.http(f"http://{OUTSIDE}:{port}/").answered


def rules(host: Host) -> str:
    """The rules of others, without counters."""
    text = host.call(["nft", "-s", "list", "table", "ip", "site"]).stdout
    text += host.run(["iptables", "-t", "nat", "-S", "PREROUTING"])
    return "\n".join(line for line in text.splitlines() if "VFW-" not in line)


@contextmanager
def going_on(step: Callable[[int], bool]) -> Iterator[list[bool]]:
    """The results of a step that is done all the while, once more at the end."""
    found: list[bool] = []
    over = threading.Event()

    def run() -> None:
        while not over.wait(0.02):
            found.append(step(len(found)))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()
        found.append(step(len(found)))


@contextmanager
def download(guest: Net, client: Net, port: int) -> Iterator[list[bool]]:
    """A slow one from port 81: whether each piece has come as it was sent."""
    listener = guest.open_socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener:
        listener.bind(("", 81))
        listener.listen()
        taker = client.connect(OUTSIDE, port)
        giver, _ = listener.accept()

    def step(number: int) -> bool:
        piece = number.to_bytes(2, "big") * 4096
        giver.sendall(piece)
        try:
            return taker.recv(len(piece), socket.MSG_WAITALL) == piece
        except OSError:
            return False

    with taker, giver, going_on(step) as found:
        yield found


@ON_TWO
def test_live_rules(host: Host, outside: Net, web1: Standin) -> None:
    """A download through the old rules goes on, nobody who connects meanwhile is
    refused, and whoever connects afterwards comes by ours alone: theirs are gone, but
    for the one that leads to nobody of ours."""
    host.run(["nft", "-f", "-"], input=TABLE)
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *dnat(8011)])
    kept = "tcp dport 8100 counter dnat to 172.17.0.2:80"
    ports = (8008, 8010, 8011)

    before = [is_served(outside, port) for port in ports]
    with (
        download(web1.net, outside, 8009) as pieces,
        going_on(lambda _: is_served(outside, 8008)) as asked,
    ):
        wait_until(lambda: len(pieces) > 5, "a running download")
        done = replace(host, "--yes")
        count = len(pieces)
        wait_until(lambda: len(pieces) > count + 5, "more of the download")

    left = re.findall(r".*(?:dnat to|DNAT).*", rules(host))
    assert (done.status, before) == (1, [True] * 3), done.stdout + done.stderr
    assert [line.strip() for line in left] == [kept], done.stdout + done.stderr
    assert (set(pieces), set(asked)) == ({True}, {True})
    assert [is_served(outside, port) for port in ports] == [True] * 3
    assert set(states(host).values()) == {"active"}


@ON_ONE
def test_named_first(host: Host, outside: Net, web1: Standin) -> None:
    """Where nobody can be asked, or says no, the rules are named, and all stays as it
    was."""
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *dnat(8011)])
    before = rules(host)

    done = replace(host)
    words = f"import --replace --guest {ADDRESS}=web1"
    typed = f"PYTHONPATH={Host.CHECKOUT} /usr/bin/python3 -m vfwhooks {words}"
    asked = host.run(["script", "-qc", typed, "/dev/null"], input="n\n")

    command = f"iptables -t nat -D PREROUTING {' '.join(dnat(8011))}"
    assert (done.status, f"  {command}\n" in done.stdout) == (1, True)
    assert "vfwhooks: nobody is here to be asked" in done.stderr
    assert f"  {command}\r\ntake them out? y(es), n(o): " in asked
    assert asked.endswith("nothing is written, and no rule is taken out\r\n")
    assert (rules(host), host.read(DROP_IN)) == (before, "")


@ON_ONE
def test_rules_of_a_script(host: Host, outside: Net, web1: Standin) -> None:
    """Only those that the script has made are taken out; the script stays, and its line
    is told."""
    host.write(SOURCE, WIKI)
    for port in (8011, 8012):
        host.run(["iptables", "-t", "nat", "-I", "PREROUTING", *dnat(port)])

    done = replace(host, SOURCE, "--yes")

    told = f"  {SOURCE}:3:2: iptables -t nat -I PREROUTING -p tcp --dport 8012 "
    assert (done.status, "1 rule taken out\n" in done.stdout) == (0, True), done.stderr
    assert (told in done.stdout, host.read(SOURCE)) == (True, WIKI)
    assert re.findall(r"dport (\d+) -j DNAT", rules(host)) == ["8011"]
    assert [is_served(outside, port) for port in (8011, 8012)] == [True, True]
    assert states(host) == {"web1 8012/tcp": "active"}


@ON_TWO
def test_for_some_before_everybody(host: Host, outside: Net, web1: Standin) -> None:
    """A rule that leads some clients of one address elsewhere is not carried over, and
    the one for everybody stays with it: nobody is refused there."""
    add = ["iptables", "-t", "nat", "-A", "PREROUTING"]
    some = f"-d {OUTSIDE}/32 -s 198.51.100.0/24 {DNAT.format(8011)[:-2]}82".split()
    host.run([*add, *some])
    host.run([*add, *dnat(8011)])
    before = is_served(outside, 8011)

    done = replace(host, "--yes")

    after = is_served(outside, 8011), f"{OUTSIDE}/32" in rules(host)
    host.run([*add[:3], "-D", "PREROUTING", *some])
    assert (before, after) == (True, (True, True)), done.stdout + done.stderr
    why = "from 198.51.100.0/24 has some of its connections, and stays\n"
    assert f": iptables nat PREROUTING {why}" in done.stdout


@ON_ONE
def test_not_in_force(host: Host, outside: Net, web1: Standin) -> None:
    """A rule stays as long as ours is not in force: its guest is not known to run."""
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *dnat(8011)])
    before = rules(host)

    done = vfwhooks(host, "import", "--replace", "--guest", f"{ADDRESS}=web2", "--yes")

    said = (
        "left to you: 0.0.0.0 8011/tcp → web2:80 is stopped: the guest is not running"
    )
    assert (done.status, said in done.stderr) == (1, True), done.stderr
    assert (rules(host), is_served(outside, 8011)) == (before, True)


@ON_ONE
def test_once_more(host: Host, outside: Net, web1: Standin) -> None:
    """What was ended half-way is gone on with: what is in forwards.yaml already is not
    written again, and another's rule, which kept the port, is taken out."""
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *dnat(8011)])
    wait_until(lambda: "8011" in host.read(f"{STATE}/taken"), "the service's look")
    configure(host, "guests:\n  web1: [8011:80]\n")
    wait_until(lambda: states(host) == {"web1 8011/tcp": "conflict"}, "the conflict")

    done = replace(host, "--yes")

    assert (done.status, host.read(DROP_IN)) == (0, ""), done.stderr
    assert "DNAT" not in rules(host)
    assert states(host) == {"web1 8011/tcp": "active"}
    assert host.read(CONFIG) == "guests:\n  web1: [8011:80]\n"


@ON_ONE
def test_firewalld(host: Host, outside: Net, web1: Standin) -> None:
    """firewalld takes its own forward-port out, and what it would say for good is
    told."""
    port = f"forward-port=port=8013:proto=tcp:toport=80:toaddr={ADDRESS}"
    zone = "firewall-cmd", "--zone=public"
    start_firewalld(host)
    host.run([*zone, "--add-interface=outside"])
    host.run([*zone, f"--add-{port}"])
    host.run([*zone, "--permanent", f"--add-{port}"])
    host.write(SOURCE, host.run([*zone, "--list-all"]))

    before = is_served(outside, 8013)
    done = replace(host, SOURCE, "--yes")
    after = is_served(outside, 8013)

    is_there = host.call([*zone, f"--query-{port}"]).stdout
    end_firewalld(host)
    told = f"  firewall-cmd --permanent --zone=public --remove-{port}\n"
    assert (done.status, told in done.stdout) == (0, True), done.stdout + done.stderr
    assert (before, is_there, after) == (True, "no\n", True)
    assert states(host) == {"web1 8013/tcp": "active"}


@ON_ONE
def test_state_that_cannot_be_written(host: Host, outside: Net, web1: Standin) -> None:
    """Where ours cannot be put in force, no rule is taken out, and it is said that the
    old ones serve; the same command goes on when that is mended."""
    host.run(["iptables", "-t", "nat", "-A", "PREROUTING", *dnat(8011)])
    before = rules(host)
    stop_watch(host)
    read_only = "mount --bind {0} {0} && mount -o remount,bind,ro {0}"
    host.run(["sh", "-c", read_only.format(STATE)])

    broken = replace(host, "--yes")
    kept, is_kept = rules(host), is_served(outside, 8011)
    host.run(["umount", STATE])
    mended = replace(host, "--yes")
    is_served_still = is_served(outside, 8011)
    start_watch(host)

    said = "is written, no rule is taken out"
    assert (broken.status, said in broken.stderr) == (1, True), broken.stderr
    assert (kept, is_kept) == (before, True)
    assert mended.status == 0, mended.stderr
    assert ("DNAT" in rules(host), is_served_still) == (False, True)
