"""docs/recipes.md: who comes from another hook. Real libvirt calls a hook that makes
the rules of the old one; then the recipe's commands are entered as they stand, with
connections all the time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab.host import HOOKS, Host
from lab.network import default_network, mac_for
from product import configure, start_watch

from e2e.recipes import HOST, RECIPES, Recipe, Site

ADDRESS = "192.168.122.10"
# The rules of the wiki's script, out at `stopped` and `reconnect`, in at `start` and
# `reconnect`, at the head of their chains.
WIKI = f"""#!/bin/sh
[ "$1" = web1 ] || exit 0
rules() {{
    iptables $1 FORWARD -o virbr0 -p tcp -d {ADDRESS} --dport 80 -j ACCEPT
    iptables -t nat $1 PREROUTING -p tcp --dport 8080 -j DNAT --to {ADDRESS}:80
}}
case $2 in stopped | reconnect) rules -D ;; esac
case $2 in start | reconnect) rules -I ;; esac
"""
# Those of saschpe's hook for the recipe's hooks.json: three chains for each guest, and
# jumps at the head of others'.
SASCHPE = f"""#!/bin/sh
[ "$1" = web1 ] || exit 0
jumps() {{
    iptables -t nat $1 OUTPUT -d {HOST} -j DNAT-web1
    iptables -t nat $1 PREROUTING -d {HOST} -j DNAT-web1
    iptables -t nat $1 POSTROUTING -s {ADDRESS} -d {ADDRESS} -j SNAT-web1
    iptables $1 FORWARD -d {ADDRESS} -j FWD-web1
}}
case $2 in stopped | reconnect)
    jumps -D
    for chain in DNAT-web1 SNAT-web1; do
        iptables -t nat -F $chain && iptables -t nat -X $chain
    done
    iptables -F FWD-web1 && iptables -X FWD-web1
    ;;
esac
case $2 in start | reconnect)
    iptables-restore -n <<END
*nat
:DNAT-web1 - [0:0]
:SNAT-web1 - [0:0]
-A DNAT-web1 -d {HOST} -p tcp --dport 8080 -j DNAT --to-destination {ADDRESS}:80
-A DNAT-web1 -d {HOST} -p tcp --dport 443 -j DNAT --to-destination {ADDRESS}:443
-A DNAT-web1 -d {HOST} -p udp --dport 5000:5010 -j DNAT --to {ADDRESS}:5000-5010
-A SNAT-web1 -s {ADDRESS} -d {ADDRESS} -p tcp -j MASQUERADE
COMMIT
*filter
:FWD-web1 - [0:0]
-A FWD-web1 -d {ADDRESS} -o virbr0 -p tcp -m multiport --dports 80,443 -j ACCEPT
-A FWD-web1 -d {ADDRESS} -o virbr0 -p udp --dport 5000:5010 -j ACCEPT
COMMIT
END
    jumps -I
    ;;
esac
"""
ONE, OTHER = "web1 80 203.0.113.2", "web1 443 203.0.113.2"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """libvirt with iptables, whose only hook is the wiki's script, and a guest."""
    with Host.debian13("iptables") as host:
        host.install_hooks({"qemu": WIKI})
        host.start_libvirtd()
        host.start_network(default_network())
        site = Site(host, host.outside(name="eth0"))
        site.start("web1", mac_for(10))
        site.guests["web1"].wait_for(80)
        yield site


@contextmanager
def connecting(site: Site) -> Iterator[list[str]]:
    """New connections to port 8080, one after another: what came of those that were not
    answered."""
    failed: list[str] = []
    is_over = threading.Event()

    def connect() -> None:
        while not is_over.wait(0.05):
            # Who is cut off is refused; a busy machine is slow.
            [said] = site.asks(8080, timeout=10)
            failed.extend([said] if said != ONE else [])

    thread = threading.Thread(target=connect)
    thread.start()
    try:
        yield failed
    finally:
        is_over.set()
        thread.join()


def move(site: Site, recipe: Recipe) -> list[str]:
    """Follow the recipe; what failed of new connections and of one that was open."""
    configure(site.host, recipe.forwards)
    connection = site.outside.connect(HOST, 8080)
    before = site.outside.ask(connection).body
    with connecting(site) as failed:
        site.enter(recipe.commands)
    after = site.outside.ask(connection).body
    connection.close()
    return failed + [said for said in (before, after) if said != f"{ONE} ?"]


def test_from_the_wikis_script(site: Site) -> None:
    """The port leads to the guest before and after; nobody is cut off on the way; the
    old rules are gone, and ours go with the guest."""
    recipe = RECIPES["From the wiki's script"]
    before = site.asks(8080)

    cut = move(site, recipe)
    start_watch(site.host, "/usr/bin/vfwhooks")
    rows, left = site.rows(), foreign(site.host)
    seen = [site.asks(8080)]
    site.guests["web1"].destroy()
    seen.append(site.asks(8080))

    assert (before, cut, rows, left) == ([ONE], [], recipe.rows, [])
    assert seen == [[ONE], ["refused"]]


def test_from_saschpes_hook(site: Site) -> None:
    """The same; ports, ranges and UDP."""
    recipe = RECIPES["From saschpe's hooks.json"]
    configure(site.host, "guests: {}\n")
    site.enter("vfwhooks apply >/dev/null")
    site.enter(f"cd {HOOKS}; rm qemu lxc; ln -s {HOOKS}/hooks qemu; ln -s hooks lxc")
    old = recipe.block("json")
    site.host.install_hooks({"hooks": SASCHPE, "hooks.json": old})
    site.host.install_hooks({"hooks.schema.json": "{}\n"})
    site.guests["web1"].start().wait_for(80)
    before = answers(site)

    cut = move(site, recipe)

    assert before == [ONE, OTHER, "web1 5000 203.0.113.2 ?"]
    assert (cut, answers(site)) == ([], before)
    assert (site.rows(), foreign(site.host)) == (recipe.rows, [])


def answers(site: Site) -> list[str]:
    """What comes from the ports of hooks.json."""
    return [*site.asks(8080, 443), site.outside.udp(HOST, 5000).body]


def foreign(host: Host) -> list[str]:
    """Rules for the guest that are not ours."""
    lines = host.run(["iptables-save"]).splitlines()
    return [line for line in lines if "web1" in line or "-A PREROUTING -p" in line]
