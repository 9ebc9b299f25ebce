"""The page in Cockpit where install.sh has put vfwhooks where sudo does not look, as on
RHEL 9: a real browser, a real Cockpit."""

from __future__ import annotations

from lab.browser import browse
from lab.cockpit import ADMIN, start_cockpit
from lab.host import Host

from .cockpit_page import Page

SECURE = 'Defaults secure_path="/sbin:/bin:/usr/sbin:/usr/bin"\n'


def test_a_command_that_sudo_does_not_find() -> None:
    """The page names it by its path."""
    with Host.debian13(name="host") as host:
        host.write("/etc/sudoers.d/as-on-rhel", SECURE, 0o440)
        host.run([f"{Host.CHECKOUT}/install.sh"], env={"PREFIX": "/usr/local"})
        outside, url = host.outside(), start_cockpit(host)
        with browse(outside) as browser:
            page = Page(browser, url)
            page.log_in(ADMIN)
            page.become_administrator()
            page.wait(
                lambda: "Look again" in page.text(),
                "the forwards, or that there are none",
            )
            seen = page.text("h1")

    assert seen == "Port forwards"
