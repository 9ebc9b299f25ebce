"""add, remove and edit: what they write is in force, and a mistake is not written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab.guest import Guest
from lab.host import Host
from lab.net import Net
from lab.service import serving
from product import CONFIG, configure, vfwhooks

BEFORE = "# ours\nguests:\n  mail: [2525:25]  # Ümlaut\n"
SERVED = "http://203.0.113.1:8080/"


@pytest.fixture(scope="module")
def web1(host: Host) -> Iterator[Guest]:
    """A running guest that nothing is forwarded to, and one that is off."""
    host.define_guest("mail", mac="52:54:00:aa:00:02")
    guest = host.define_guest("web1").start(wait=True)
    yield guest
    guest.destroy()


def test_add_and_remove(host: Host, outside: Net, web1: Guest) -> None:
    """An entry that is added is served at once, and the guest's address is named, by
    --dry-run as well; one that is removed is refused, and the file is as it was."""
    configure(host, BEFORE)

    shown = vfwhooks(host, "add", "web1", "8080:80", "--dry-run")
    added = vfwhooks(host, "add", "web1", "8080:80")
    written = host.read(CONFIG)
    served = outside.http(SERVED).answered
    removed = vfwhooks(host, "remove", "web1", "8080")
    refused = outside.http(SERVED).refused

    line = f"{CONFIG}:4: + web1: [8080:80]"
    rule = f"tcp 8080 → web1 {web1.address}:80"
    assert (added.status, added.stdout.splitlines(), added.stderr) == (
        0,
        [line, f"+ {rule}", f"web1 is at {web1.address}"],
        "",
    )
    assert (shown.status, shown.stdout, shown.stderr) == (0, added.stdout, "")
    assert (removed.status, removed.stdout.splitlines()) == (
        0,
        [line.replace("+ web1", "- web1"), f"- {rule}"],
    )
    assert (written, host.read(CONFIG)) == (f"{BEFORE}  web1: [8080:80]\n", BEFORE)
    assert (served, refused) == (True, True)


def test_add_a_port_of_a_service(host: Host, web1: Guest) -> None:
    """The last line says what status says of it: nobody takes it for served."""
    configure(host, BEFORE)

    with serving(host, "sshd", 22, "0.0.0.0"):
        done = vfwhooks(host, "add", "web1", "22")
        row = vfwhooks(host, "status").stdout

    assert done.status == 0
    assert done.stdout.splitlines()[-1] == f"web1 is at {web1.address}"
    said, _, why = done.stderr.splitlines()[-1].partition(": 22/tcp is not in force: ")
    assert (said, f" {why}\n" in row) == ("vfwhooks", True)


def test_taken_port(host: Host, web1: Guest) -> None:
    """A port that another guest has is refused as check does; nothing is written."""
    configure(host, BEFORE)

    done = vfwhooks(host, "add", "web1", "2525:80")

    said = f"{CONFIG}:4:10: host port tcp/2525 is taken by mail ({CONFIG}:3:10)"
    assert (done.status, done.stderr.splitlines()[0]) == (2, said)
    assert host.read(CONFIG) == BEFORE


def test_stranger(host: Host, web1: Guest) -> None:
    """A guest that libvirt does not know is written, and who may be meant is said."""
    configure(host, BEFORE)

    done = vfwhooks(host, "add", "wbe1", "8080:80")

    said = "warning: libvirt has no guest wbe1; did you mean web1\n"
    assert (done.status, done.stderr) == (0, said)


def test_edit(host: Host, outside: Net, web1: Guest) -> None:
    """What an editor has made is served; a mistake is not written, and the text that
    nobody could be asked about is kept where it is said to be."""
    configure(host, BEFORE)
    host.write("/tmp/good", 'echo "  web1: [8080:80]" >> "$1"\n')
    host.write("/tmp/bad", 'echo "  web1: [x]" >> "$1"\n')

    good = edited(host, "/tmp/good")
    served = outside.http(SERVED).answered
    bad, said = edited(host, "/tmp/bad")
    copy = said.rpartition(" kept in ")[2].strip()

    written = f"{BEFORE}  web1: [8080:80]\n"
    assert (good, served, bad) == ((0, ""), True, 2)
    assert host.read(CONFIG) == written
    assert host.read(copy) == f"{written}  web1: [x]\n"
    assert said.startswith(f"{CONFIG}:5:3: web1: it stands in line 4 already")


def edited(host: Host, script: str) -> tuple[int, str]:
    """`vfwhooks edit` with an editor, and nobody to ask: exit status and errors."""
    command = ["/usr/bin/python3", "-m", "vfwhooks", "edit"]
    env = {"PYTHONPATH": Host.CHECKOUT, "VISUAL": f"sh {script}"}
    done = host.call(command, env=env, input="")
    return done.status, done.stderr
