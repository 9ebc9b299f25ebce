"""README's first forward on a real host, and pictures of this host: `explain --svg`
names what is there, and the pictures in docs/ are what the commands show.

`VFWHOOKS_WRITE=1 tests/run tests/e2e/test_pictures.py` makes those in docs/ anew.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from lab.box import Done
from lab.host import Host
from lab.network import default_network
from lab.screen import COLUMNS, draw_screen, show_on_terminal
from lxml import etree  # type: ignore[import-untyped]  # it has no stubs
from product import HERE, configure, vfwhooks

COMMAND = "/usr/bin/python3", "-m", "vfwhooks"
# The guests of README: one runs, one is off, and a port of it is for some alone.
FORWARDS = """\
guests:
  web1:
    ports:
      - 8080:80
      - {published: 2222, target: 22, allow_from: [198.51.100.0/24]}
  mail: [25, 143]
"""
REFUSING = "FORWARD -o virbr0 -p tcp --dport 443 -j DROP"
MORE = FORWARDS + '  "<b>\\e[1m&\\"": [8443:443]\n'


def first_steps() -> list[str]:
    """The commands of README's "Your first forward", without its sudo."""
    page = (HERE / "README.md").read_text()
    part = page.partition("## Your first forward\n")[2].partition("\n## ")[0]
    lines = re.findall("(?m)^    (.*?)(?: +#.*)?$", part)
    return [line.replace("sudo ", "") for line in lines]


@pytest.fixture(scope="module")
def steps() -> dict[str, Done]:
    """What each of README's commands came to."""
    return {}


@pytest.fixture(scope="module")
def host(steps: dict[str, Done]) -> Iterator[Host]:
    """A host where somebody new has done what README says; then it has README's guests:
    web1 runs and was asked once, mail is off."""
    with Host.debian13("nftables", name="demo") as host:
        host.start_libvirtd()
        host.start_network(default_network())
        outside = host.outside()
        host.define_guest("mail")
        host.define_guest("web1").start(wait=True)
        for step in first_steps():
            where = outside if step.startswith("curl ") else host
            here = f"cd {Host.CHECKOUT} && {step}"
            steps[step] = where.call(["sh", "-c", here])
        configure(host, FORWARDS)
        vfwhooks(host, "apply")
        yield host


def test_the_first_forward(host: Host, steps: dict[str, Done]) -> None:
    """Whoever types what README says has a guest that is reached from outside, and sees
    it in status."""
    said = {step.split()[0]: done.stdout for step, done in steps.items()}

    assert [step for step, done in steps.items() if done.status] == []
    assert said["curl"] == "web1 80 203.0.113.2"
    assert " web1 " in said["virsh"]
    assert re.search(r"(?m)^web1 .* 8080/tcp .* active ", said["vfwhooks"])


def svg(host: Host, *arguments: str) -> str:
    """The picture that is printed."""
    done = vfwhooks(host, "explain", *arguments, "--svg", "-")
    assert (done.status, done.stderr) == (0, "")
    return done.stdout


def texts(picture: str) -> list[str]:
    """What can be read in it."""
    found = etree.fromstring(picture.encode())
    return [one.text for one in found.iter("{http://www.w3.org/2000/svg}text")]


def same(name: str, picture: str) -> bool:
    """Whether the picture in docs/ is this one; VFWHOOKS_WRITE has it made so."""
    path = HERE / "docs" / name
    if os.environ.get("VFWHOOKS_WRITE"):
        path.write_text(picture)
    return path.exists() and path.read_text() == picture


def test_the_picture_of_status(host: Host) -> None:
    """README shows what `vfwhooks status` sends to a terminal, to the letter."""
    sent = show_on_terminal(host, *COMMAND, "status")

    picture = draw_screen("vfwhooks status, on a terminal", "vfwhooks status", sent)

    assert same("status.svg", picture)


def test_the_picture_of_the_host(host: Host) -> None:
    """The documentation shows what `explain --svg` draws, but for the time."""
    picture = re.sub(r", \d{4}-\d\d-\d\d \d\d:\d\d", "", svg(host))

    assert same("host.svg", picture)


def test_who_is_let_in_and_who_is_refused(host: Host) -> None:
    """Guests with address and network, ports, the rule that refuses; by whom."""
    guest = host.run(["virsh", "-q", "domifaddr", "web1"]).split()[-1].partition("/")[0]

    found = texts(svg(host))

    expected = [
        *("web1", "mail", "default (virbr0)", "stopped", "8080/tcp", "2222/tcp"),
        *("25/tcp", "143/tcp", f"{guest}:80", f"{guest}:22", "203.0.113.1"),
        *("only from 198.51.100.0/24", "anybody else", "rejected by vfwhooks"),
        *("192.168.122.0/24", "rejected by libvirt"),
        "without vfwhooks: rejected by libvirt",
    ]
    assert [words for words in expected if words not in found] == []


def test_somebodys_rule(host: Host) -> None:
    """What refuses a port is named; a name with signs is text, and sends nothing."""
    host.run(["iptables", "-I", *REFUSING.split()])
    configure(host, MORE)
    try:
        vfwhooks(host, "add", "web1", "9443:443")
        found = texts(svg(host))
        alone = texts(svg(host, "9443"))
    finally:
        host.run(["iptables", "-D", *REFUSING.split()])
        configure(host, FORWARDS)
        vfwhooks(host, "apply")

    assert "dropped by somebody by hand, or a" in found
    assert '<b>\\x1b[1m&"' in found
    assert ("9443/tcp" in alone, "8080/tcp" in alone) == (True, False)


def test_explain_on_a_terminal(host: Host) -> None:
    """As wide as the terminal, but for long words; the verdicts on published ports are
    the last that is seen. In a pipe they come first, and nothing is broken."""
    sent = show_on_terminal(host, *COMMAND, "explain")
    piped = vfwhooks(host, "explain").stdout

    lines = re.sub(r"\x1b\[\d*m|\r", "", sent).splitlines()
    over = [line for line in lines if len(line) > COLUMNS and len(line.split()) > 4]
    head = "published ports, asked from an address that no rule names"
    rules, _, verdicts = "\n".join(lines).partition(f"\n{head}\n")
    last, _, first = piped.partition("\n\n")
    assert (over, "8080/tcp for web1" in verdicts, "made by:" in verdicts) == (
        [],
        True,
        False,
    )
    assert (rules.split(), [*head.split(), *verdicts.split()]) == (
        first.split(),
        last.split(),
    )
    assert "\x1b[32m" in sent and "\x1b" not in piped


def test_a_full_disk_keeps_the_picture(host: Host) -> None:
    """What was drawn before is there until a new picture is whole."""
    host.run(["sh", "-c", "mkdir /mnt/few && mount -t tmpfs -o size=8k none /mnt/few"])
    host.run(["sh", "-c", "echo before > /mnt/few/host.svg"])

    full = vfwhooks(host, "explain", "--svg", "/mnt/few/host.svg")
    left = host.run(["ls", "-A", "/mnt/few"]).split()
    text = host.run(["cat", "/mnt/few/host.svg"])
    host.run(["umount", "/mnt/few"])
    made = vfwhooks(host, "explain", "--svg", "/root/host.svg")

    assert (full.status, "No space left" in full.stderr) == (1, True)
    assert (left, text) == (["host.svg"], "before\n")
    assert (made.status, made.stdout) == (0, "")
    assert host.read("/root/host.svg").startswith("<svg ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["./saved", "--svg", "-"], "./saved cannot be drawn"),
        (["saved", "--svg", "-"], "saved cannot be drawn"),
        (["nobody", "--svg", "-"], "nobody is neither a guest nor a port"),
        (["--svg", "/dev/null"], "/dev/null is no regular file"),
        (["--save", "/dev/null"], "/dev/null is no regular file"),
        (["--svg", "/nowhere/host.svg"], "No such file or directory: '/nowhere'"),
    ],
)
def test_what_cannot_be_drawn(host: Host, arguments: list[str], said: str) -> None:
    """A saved ruleset, which knows no guests; and nothing takes a device's place."""
    command = ["sh", "-c", 'cd /root; : >saved; exec "$@"', "-", *COMMAND, "explain"]

    done = host.call([*command, *arguments], env={"PYTHONPATH": Host.CHECKOUT})

    assert (done.status, done.stdout, said in done.stderr) == (1, "", True)
    assert host.path("/dev/null").is_char_device()
