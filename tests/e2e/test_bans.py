"""docs/recipes.md, fail2ban: a ban that reaches what is forwarded. fail2ban is real."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from product import HERE, configure

from e2e.cures import cures, in_checkout

URL = "http://203.0.113.1:8080/"
RECIPES = (HERE / "docs/recipes.md").read_text()
BLOCKS = re.findall(r"```ini\n# (\S+)\n(.*?)```", RECIPES, re.DOTALL)
# What a distribution has switched on, whose log the lab does not have.
DEFAULTS = "[DEFAULT]\nbackend = polling\n\n[sshd]\nenabled = true\n"


@contextmanager
def fail2ban(host: Host, tool: str, has_recipe: bool) -> Iterator[None]:
    """fail2ban at work with a jail for sshd, by nftables or iptables."""
    (path, text), *_ = [block for block in BLOCKS if f"banaction = {tool}" in block[1]]
    host.write("/var/log/auth.log", "")
    host.run(["sh", "-c", "rm -f /etc/fail2ban/jail.d/*"])
    host.write("/etc/fail2ban/jail.d/lab.conf", DEFAULTS)
    banaction = next(line for line in text.splitlines() if "banaction" in line)
    host.write(path, text if has_recipe else f"[sshd]\n{banaction}\n")
    host.run(["mkdir", "-p", "/run/fail2ban", "/var/lib/fail2ban"])
    host.run(["fail2ban-client", "start"])
    try:
        yield
    finally:
        host.run(["fail2ban-client", "stop"])
        gone = ["fail2ban-client", "ping"]
        wait_until(lambda: host.call(gone).status != 0, "fail2ban has ended")


def ban(host: Host, what: str) -> None:
    """Ban the client, or let it in again."""
    host.run(["fail2ban-client", "set", "sshd", what, "203.0.113.2"])


@cures("bans-miss-guests")
def test_who_is_banned(host: Host, outside: Net) -> None:
    """As it is delivered, who is banned reaches the guest, and doctor says so; by the
    recipe nobody does, and there is nothing to say. A ban that is over is over."""
    configure(host, "guests:\n  web1: [8080:80]\n")
    host.call(["virsh", "undefine", "web1"])
    web1 = host.define_guest("web1", mac=mac_for(38))
    web1.start(wait=True)
    doctor = in_checkout(host)

    with ExitStack() as stack:
        delivered = seen(host, outside, stack, has_recipe=False)
        with doctor.until_gone("bans-miss-guests"):
            stack.close()
            by_recipe = seen(host, outside, stack, has_recipe=True)
    web1.destroy()

    assert delivered == [True, True, True, True]
    assert by_recipe == [True, False, False, True]


def seen(host: Host, outside: Net, stack: ExitStack, has_recipe: bool) -> list[bool]:
    """Whether the client is answered: before it is banned, then, on a connection that
    it had, and when the ban is over. fail2ban stays as long as the stack."""
    tool = "nftables" if host.firewall_backend == "nftables" else "iptables"
    stack.enter_context(fail2ban(host, tool, has_recipe))
    found = [outside.http(URL).answered]
    connection = outside.connect("203.0.113.1", 8080)
    ban(host, "banip")
    found += [outside.http(URL).answered, outside.ask(connection).answered]
    ban(host, "unbanip")
    found.append(outside.http(URL).answered)
    connection.close()
    return found
