"""The page in Cockpit: a real browser outside, a real Cockpit on a host with guests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from lab.box import wait_until
from lab.browser import browse
from lab.cockpit import ADMIN, ORDINARY, start_cockpit
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.network import default_network
from product import CONFIG, HERE, configure, start_watch, stop_watch, vfwhooks

from .cockpit_page import Page

# A comment of the administrator's stays, whatever is done on the page.
FORWARDS = """\
# ours
guests:
  web1:
    - 8080:80  # the shop
    - {published: 2222, target: 22, allow_from: [198.51.100.0/24]}
  mail: [25]
"""
PUBLISHED = {"8080/tcp", "2222/tcp", "25/tcp"}
SCRIPT = "<script>alert(1)<b>"
SHOP = "http://203.0.113.1:8080/"
SECOND = "http://203.0.113.1:8081/"
LARGEST = 150_000  # bytes of a picture in docs/
ACTIVE = "tcp everybody active"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """A host that install.sh has found Cockpit on; web1 runs, mail is off."""
    with Host.debian13("nftables", name="host") as host:
        host.start_libvirtd()
        host.start_network(default_network())
        host.run([f"{Host.CHECKOUT}/install.sh"])
        configure(host, FORWARDS)
        start_watch(host, "/usr/bin/vfwhooks")
        host.define_guest("mail")
        yield host


@pytest.fixture(scope="module")
def outside(host: Host) -> Net:
    """Somebody at 203.0.113.2."""
    return host.outside()


@pytest.fixture(scope="module")
def web1(host: Host, outside: Net) -> Guest:
    """It runs."""
    return host.define_guest("web1").start(wait=True)


@pytest.fixture(scope="module")
def browser(host: Host, web1: Guest, outside: Net) -> Iterator[Page]:
    """A browser outside."""
    url = start_cockpit(host)
    with browse(outside) as browser:
        yield Page(browser, url)


@pytest.fixture(scope="module")
def page(browser: Page) -> Page:
    """Our page, and an administrator at it."""
    browser.log_in(ADMIN)
    browser.become_administrator()
    return browser


@pytest.fixture
def forwards(host: Host, page: Page) -> Page:
    """The page, with the forwards of the beginning."""
    page.close_dialogs()
    configure(host, FORWARDS)
    page.wait(lambda: page.forwards() == PUBLISHED, "the forwards")
    page.see("active", "[data-forward='8080/tcp']")
    return page


def keep(name: str, shot: bytes) -> None:
    """Have a picture of docs/ made anew, with VFWHOOKS_WRITE."""
    if os.environ.get("VFWHOOKS_WRITE"):
        (HERE / "docs" / name).write_bytes(shot)
    assert len(shot) < LARGEST


def test_an_ordinary_user(browser: Page) -> None:
    """Sees why there is nothing, and nothing of the host."""
    browser.log_in(ORDINARY)

    text = browser.see("Administrative access is needed")
    browser.shot("ordinary")

    assert "web1" not in browser.browser.page_source
    assert text.split("\n")[-1] == "Turn on administrative access"


def test_a_running_guest(forwards: Page, web1: Guest) -> None:
    """Its forwards are active, and who may connect is said; a guest that is off has its
    reason. The picture is drawn, and doctor has nothing wrong."""
    forwards.settled()
    forwards.see("active", "[data-forward='8080/tcp']")
    keep("cockpit.png", forwards.shot("forwards"))

    rows = [forwards.row(f"{port}/tcp") for port in (8080, 2222, 25)]
    target = web1.address
    assert rows == [
        f"8080 {target}:80 {ACTIVE} 0 Change Remove",
        f"2222 {target}:22 tcp 198.51.100.0/24 active 0 Change Remove",
        "25 –:25 tcp everybody stopped the guest is not running 0 Change Remove",
    ]
    assert forwards.run("document.querySelector('.picture').naturalWidth") > 500
    assert forwards.all(".findings .red") == []


def test_add_by_keyboard(host: Host, forwards: Page, outside: Net) -> None:
    """What would change is shown while one types; then it is done, and served. No mouse
    is needed, and the button that opened the dialog has the keyboard again."""
    before = outside.http(SECOND).refused
    forwards.run("document.querySelector('[data-key=add]').focus()")

    forwards.type_keys("\ue007", "web1", "\ue004", "8081", "\ue004", "80")
    shown = forwards.see("What would change", "dialog")
    unchanged = host.read(CONFIG)
    forwards.wait(lambda: forwards.all("#go:enabled"), "it may be done")
    forwards.shot("add")
    forwards.type_keys("\ue007")
    forwards.see("active", "[data-forward='8081/tcp']")
    forwards.see("Done")

    assert (before, unchanged) == (True, FORWARDS)
    assert "+ tcp 8081 → web1" in shown
    assert outside.http(SECOND).body == "web1 80 203.0.113.2"
    assert forwards.run("document.activeElement.dataset.key") == "add"
    assert host.read(CONFIG) == FORWARDS.replace("  mail", "    - 8081:80\n  mail")


def test_a_conflict(host: Host, forwards: Page) -> None:
    """It is refused in the words of check, and the file stays as it is. Escape closes
    the dialog."""
    forwards.press("Add a forward to mail")
    forwards.fill(published="8080", target="25")

    shown = forwards.see("This is refused", "dialog")
    keep("cockpit-conflict.png", forwards.shot("conflict"))
    enabled = forwards.all("#go:enabled")
    forwards.type_keys("\ue00c")
    forwards.wait(lambda: not forwards.all("dialog"), "the dialog is closed")

    said = vfwhooks(host, "add", "mail", "8080:25").stderr
    assert said.splitlines()[0] in shown
    assert (enabled, host.read(CONFIG)) == ([], FORWARDS)


def test_change(host: Host, forwards: Page) -> None:
    """The entry is another one, in its place, with what stood beside it."""
    forwards.press("Change 8080/tcp of web1")
    forwards.fill(published="8081", allowed="198.51.100.0/24, 203.0.113.0/24")
    forwards.see("- tcp 8080 → web1", "dialog")
    forwards.press("Change", "#go")

    forwards.see("198.51.100.0/24, 203.0.113.0/24", "[data-forward='8081/tcp']")

    new = "{published: 8081, target: 80, allow_from: [198.51.100.0/24, 203.0.113.0/24]}"
    assert host.read(CONFIG) == FORWARDS.replace("8080:80", new)


def test_remove(host: Host, forwards: Page, outside: Net) -> None:
    """What goes is shown; then nobody is served any more."""
    served = outside.http(SHOP).answered
    forwards.press("Remove 8080/tcp of web1")
    shown = forwards.see("What would change", "dialog")
    forwards.shot("remove")

    forwards.press("Remove", "#go")
    forwards.wait(lambda: not forwards.row("8080/tcp"), "the row is gone")

    assert served
    wait_until(lambda: outside.http(SHOP).refused, "nobody is served")
    assert "- 8080:80  # the shop" in shown
    assert host.read(CONFIG) == FORWARDS.replace("    - 8080:80  # the shop\n", "")


def test_a_broken_file(host: Host, forwards: Page, outside: Net) -> None:
    """File, line and column of each mistake; what was in force stays so."""
    configure(host, FORWARDS.replace("8080:80", "8080:eighty"))

    shown = forwards.see("The file has mistakes", "#broken")
    forwards.shot("broken")

    said = vfwhooks(host, "check").stderr.splitlines()[0]
    assert said.startswith(f"{CONFIG}:4:7: ")
    assert said in shown
    assert ACTIVE in forwards.row("8080/tcp")
    assert outside.http(SHOP).answered


def test_a_name_is_text(host: Host, forwards: Page) -> None:
    """Whatever a guest is called, in the table, in a dialog and in what doctor says."""
    configure(host, f'{FORWARDS}  "{SCRIPT}": [9443:443]\n')

    forwards.see(SCRIPT, ".forwards")
    forwards.press(f"Remove 9443/tcp of {SCRIPT}")
    forwards.see(SCRIPT, "dialog h1")
    forwards.see("What would change", "dialog")
    forwards.shot("name")
    forwards.press("Cancel")
    forwards.see(SCRIPT, ".findings")

    assert forwards.all("main script, main b, dialog script, dialog b") == []


def test_the_service_is_down(host: Host, forwards: Page) -> None:
    """That is said with the cure; and a cure is run, if doctor still says so."""
    stop_watch(host)
    forwards.see("watch does not run", "#service")
    host.run(["nft", "delete", "table", "inet", "vfwhooks"])
    forwards.see("blocked", "[data-forward='8080/tcp']")
    forwards.press("Run the cure")
    forwards.see("vfwhooks apply", "dialog code")
    forwards.shot("cure")
    vfwhooks(host, "apply")

    forwards.press("Run it")
    refused = forwards.see("Nothing was run", "dialog")
    forwards.press("Cancel")
    host.run(["nft", "delete", "table", "inet", "vfwhooks"])
    forwards.see("blocked", "[data-forward='8080/tcp']")
    forwards.press("Run the cure")
    forwards.press("Run it")
    forwards.see("active", "[data-forward='8080/tcp']")
    start_watch(host, "/usr/bin/vfwhooks")

    forwards.wait(lambda: not forwards.all("#service"), "the service is seen")
    assert "doctor does not say so any more" in refused


def test_screens(forwards: Page) -> None:
    """Dark where the screen is, and on a phone no wider than it."""
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    forwards.emulate("setEmulatedMedia", features=dark)
    forwards.wait(lambda: forwards.all("html.dark"), "it is dark")
    forwards.shot("dark")
    forwards.emulate("setEmulatedMedia", features=[])
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    forwards.emulate("setDeviceMetricsOverride", **size)
    wide = forwards.run("document.getElementById('vfwhooks').scrollWidth")
    forwards.shot("phone")
    forwards.press("Add a forward")
    forwards.shot("phone-dialog")
    forwards.press("Cancel")
    forwards.emulate("clearDeviceMetricsOverride")

    assert wide == size["width"]


def test_nothing_is_loaded_from_elsewhere(forwards: Page) -> None:
    """And nothing that Cockpit's Content-Security-Policy would have kept away."""
    forwards.browser.refresh()
    forwards.enter()
    forwards.settled()

    loaded = forwards.loaded()
    said = forwards.said()

    begins = f"{forwards.url}/", "data:"
    assert [one for one in loaded if not one.startswith(begins)] == []
    assert f"{forwards.url}/cockpit/@localhost/vfwhooks/vfwhooks.js" in loaded
    ours = [one for one in said if "/vfwhooks/" in one or "Refused" in one]
    assert ours == []


def test_vfwhooks_is_missing(host: Host, forwards: Page) -> None:
    """That is said, and nothing else."""
    host.run(["mv", "/usr/bin/vfwhooks", "/usr/bin/other"])
    try:
        forwards.browser.refresh()
        forwards.enter()
        text = forwards.see("vfwhooks is not installed")
        forwards.shot("missing")
    finally:
        host.run(["mv", "/usr/bin/other", "/usr/bin/vfwhooks"])
    forwards.press("Look again")
    forwards.see("web1")

    assert "web1" not in text
