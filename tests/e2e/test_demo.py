"""./install.sh --demo: what it shows, on a machine that has nothing, and leaves so."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.box import Box
from lab.cache import CACHE, CHECKOUT, find_image, find_tree

DEMO = "/srv/vfwhooks/install.sh --demo"
URL = "http://203.0.113.1:8080/"
REFUSED = "curl: (7) Failed to connect to 203.0.113.1 port 8080"
# What a fresh Debian has not got; nft and iptables stay, to see what is in the kernel.
NOT_THERE = """\
rm -f /usr/bin/python3* /usr/sbin/libvirtd /usr/bin/virsh /usr/bin/qemu-system-* \
    /usr/sbin/dnsmasq /usr/bin/curl
"""
TRACES = r"""
find /etc /home /opt /run /srv /tmp /usr/bin /usr/sbin /usr/lib/python3 /var \
    \( -path /srv -o -path /var/cache/vfwhooks-lab \) -prune \
    -o -type d -printf '%p %y %m %U\n' -o -printf '%p %y %m %U %s %T@ %l\n'
ls /srv/cache | grep -v -e ^packages -e ^promtool  # tests beside this one make them
cat /proc/self/mounts
ip -o link
nft -s list ruleset
for process in /proc/[0-9]*; do tr '\0' ' ' <"$process/cmdline"; echo; done
"""


@pytest.fixture
def fresh() -> Iterator[Box]:
    """A machine without python3, libvirt and QEMU, with a ruleset of its own.

    What the tests have built is at hand, so that nothing is downloaded.
    """
    find_image()
    binds = {"/srv/vfwhooks": CHECKOUT, "/srv/cache": CACHE}
    box = Box(find_tree(), "fresh", binds)
    try:
        box.call(["sh", "-c", NOT_THERE]).check()
        box.call(["mount", "-o", "remount,bind,rw", "/srv/cache"]).check()
        box.call(
            ["nft", "add table inet mine; add set inet mine own { type mark; }"]
        ).check()
        yield box
    finally:
        box.close()


def run_demo(box: Box, command: str) -> tuple[int, str]:
    """The exit status and what was printed."""
    done = box.call(
        ["sh", "-c", f"{command} 2>&1"],
        timeout=120,
        env={"VFWHOOKS_LAB_CACHE": "/srv/cache"},
    )
    return done.status, done.stdout


def traces(box: Box) -> set[str]:
    """All that a demo could leave: files, mounts, interfaces, rules, processes."""
    return set(box.call(["sh", "-c", TRACES]).check().splitlines())


def test_demo_shows_the_main_job(fresh: Box) -> None:
    """Refused, served, refused, with what was typed; and the machine is as before."""
    before = traces(fresh)

    status, text = run_demo(fresh, DEMO)

    assert traces(fresh) ^ before == set()
    assert (status, asked(text)) == (
        0,
        [
            (f"curl -sS {URL}", REFUSED),
            ("virsh -q start web1", ""),
            (f"curl -sS {URL}", "web1 80 203.0.113.2"),
            ("virsh -q destroy web1", ""),
            (f"curl -sS {URL}", REFUSED),
        ],
    )
    assert "\n   guests:\n     web1: [8080:80]\n" in text
    assert "tcp . 8080 counter packets 1" in text


def asked(text: str) -> list[tuple[str, str]]:
    """The commands that matter, each with the beginning of its answer."""
    lines = text.splitlines()
    found = []
    for line, following in zip(lines, [*lines[1:], ""]):
        command = re.fullmatch(r"   \S+ [#$] ((?:curl|virsh) .*)", line)
        if command:
            said = "" if re.match("   \\S+ [#$] |$", following) else following.strip()
            found.append((command[1], said.partition(" after ")[0]))
    return found


@pytest.mark.parametrize(
    ("signal", "seconds"),
    [("INT", 0.3), ("INT", 2), ("INT", 4), ("TERM", 3), ("HUP", 5)],
)
def test_interrupted_demo_leaves_nothing(
    fresh: Box, signal: str, seconds: float
) -> None:
    """Ctrl-C, kill and a closed terminal end everything, at whatever step it is."""
    before = traces(fresh)

    run_demo(fresh, f"timeout --preserve-status -s {signal} {seconds} {DEMO}")

    assert traces(fresh) ^ before == set()


def test_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    """The same while the system is being built, the slow part of a first demo."""
    # On this machine: a box has no way to the package archive.
    done = subprocess.run(
        ["timeout", "-s", "INT", "4", str(CHECKOUT / "install.sh"), "--demo"],
        env={"PATH": "/usr/sbin:/usr/bin", "TMPDIR": str(tmp_path)}
        | {"VFWHOOKS_LAB_CACHE": "/nonexistent"},
        capture_output=True,
        timeout=60,
        check=False,
    )

    mounts = Path("/proc/self/mounts").read_text()
    assert (done.returncode, list(tmp_path.iterdir())) == (124, [])
    assert str(tmp_path) not in mounts
