"""The service where forwards.yaml is a link to a file that somebody keeps elsewhere."""

from __future__ import annotations

from lab.box import wait_until
from lab.host import Host
from lab.systemd import Systemd, start_systemd
from product import CONFIG

KEPT = "/root/infra/forwards.yaml"


def in_force(systemd: Systemd) -> set[str]:
    """The published ports that status tells."""
    lines = systemd.call("vfwhooks", "status").stdout.splitlines()
    return {word for line in lines for word in line.split() if word.endswith("/tcp")}


def test_a_link_into_the_home_of_root() -> None:
    """The service reads what it leads to, and sees an edit there."""
    with Host.debian13() as host, start_systemd(host) as systemd:
        systemd.run(f"{Host.CHECKOUT}/install.sh")
        host.start_libvirtd()
        host.start_network()
        host.write(KEPT, "guests:\n  web1: [8080:80]\n")
        host.run(["ln", "-sfn", KEPT, CONFIG])
        wait_until(lambda: in_force(systemd) == {"8080/tcp"}, "the file")

        host.write(KEPT, "guests:\n  web1: [9090:80]\n")
        wait_until(lambda: in_force(systemd) == {"9090/tcp"}, "the edit")

        said = host.syslog("is gone|denied|permitted")

    assert said == []
