"""docs/recipes.md, fail2ban: a ban that reaches what is forwarded. fail2ban is real."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from lab.box import wait_until
from lab.host import Host
from lab.net import Net
from lab.network import mac_for
from product import HERE, configure, vfwhooks

URL = "http://203.0.113.1:8080/"
RECIPES = (HERE / "docs/recipes.md").read_text()
BLOCKS = re.findall(r"```ini\n# (\S+)\n(.*?)```", RECIPES, re.DOTALL)
# What a distribution has switched on, whose log the lab does not have.
DEFAULTS = "[DEFAULT]\nbackend = polling\n\n[sshd]\nenabled = true\n"
ALONE = "fail2ban bans in the input hook alone"


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


def doctor(host: Host) -> list[str]:
    """What doctor says of bans."""
    lines = vfwhooks(host, "doctor").stdout.splitlines()
    return [line for line in lines if ALONE in line]


@pytest.mark.parametrize("has_recipe", [False, True], ids=["as it is", "by the recipe"])
def test_who_is_banned(host: Host, outside: Net, has_recipe: bool) -> None:
    """As it is delivered, who is banned reaches the guest, and doctor says so; by the
    recipe nobody does, and there is nothing to say. A ban that is over is over."""
    configure(host, "guests:\n  web1: [8080:80]\n")
    host.call(["virsh", "undefine", "web1"])
    web1 = host.define_guest("web1", mac=mac_for(38))
    web1.start(wait=True)
    tool = "nftables" if host.firewall_backend == "nftables" else "iptables"

    with fail2ban(host, tool, has_recipe):
        seen = [outside.http(URL).answered]
        connection = outside.connect("203.0.113.1", 8080)
        ban(host, "banip")
        seen += [outside.http(URL).answered, outside.ask(connection).answered]
        said = doctor(host)
        ban(host, "unbanip")
        seen.append(outside.http(URL).answered)
        connection.close()
    web1.destroy()

    is_let_in = not has_recipe
    assert seen == [True, is_let_in, is_let_in, True]
    assert len(said) == is_let_in
