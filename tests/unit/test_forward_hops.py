"""forward_hops: one forward, hop by hop, to the first that is broken.

e2e/test_forward_path.py has real hosts.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unit.builders import fresh_state
from unit.test_cli import configured, vfwhooks
from unit.test_unanswered import row
from vfwhooks.diagnosis.forward_hops import Hops, ask_guest
from vfwhooks.diagnosis.status_rows import ForwardStatus
from vfwhooks.diagnosis.unanswered import _WHY

LOCAL = "127.0.0.1"  # is published for the host alone: no packet's way is computed
FOUND = "ok     written: {}/forwards.yaml"
RUNS = "ok     guest: web1 runs"
AT = "ok     address: 192.168.122.10"
RULES = "ok     rules: ours are in the kernel"
LOOK = "look in the guest: ss -lntu, nft list ruleset"
PORT = "tcp port 80 of 192.168.122.10"


def hops(directory: Path, one: ForwardStatus, said: str = "") -> list[str]:
    """How the hops stand where the guest says this."""
    main = f"{directory}/forwards.yaml"
    found = Hops(fresh_state(directory), main, lambda *_: said).of(one)
    return [str(hop) for hop in found]


def local(
    state: str = "active", reason: str = "", protocol: str = "tcp"
) -> ForwardStatus:
    """A forward on 127.0.0.1."""
    address = "192.168.122.10"
    return row(LOCAL, "8080", "80", protocol, address, state, reason)


@pytest.mark.parametrize(
    ("said", "last"),
    [
        ("", f"ok     answer: {PORT} answers"),
        (
            "refused",
            f"wrong  answer: {PORT} refuses: nobody listens there in the guest; {LOOK}",
        ),
        (
            "timed out",
            f"wrong  answer: {PORT} does not answer this host (timed out); {LOOK}",
        ),
    ],
)
def test_the_whole_way(tmp_path: Path, said: str, last: str) -> None:
    """All is well as far as the guest, and what the guest says is told."""
    found = hops(tmp_path, local(), said)

    assert found == [FOUND.format(tmp_path), RUNS, AT, RULES, last]


@pytest.mark.parametrize(
    ("one", "last"),
    [
        (
            row(LOCAL, address="", state="pending", reason="no lease"),
            ["wrong  address: no lease"],
        ),
        (
            row(LOCAL, address="", state="conflict", reason="web2 has it"),
            ["wrong  address: web2 has it"],
        ),
        (local("conflict", "nginx listens"), [AT, "wrong  rules: nginx listens"]),
        (
            local("conflict", "sshd (pid 812) listens on tcp 0.0.0.0:22; so"),
            [
                AT,
                "wrong  rules: sshd (pid 812) listens on tcp 0.0.0.0:22; so; careful: "
                "whoever comes to this host by ssh is locked out by that",
            ],
        ),
        (
            local("blocked", "not in the kernel; run vfwhooks apply"),
            [AT, "wrong  rules: not in the kernel; run: vfwhooks apply"],
        ),
        (
            local("blocked", "table ip x is missing: restart libvirtd"),
            [
                AT,
                "wrong  rules: table ip x is missing; run: systemctl restart libvirtd",
            ],
        ),
    ],
    ids=["no address", "not its address", "taken", "ssh", "no rules", "no table"],
)
def test_broken_hops(tmp_path: Path, one: ForwardStatus, last: list[str]) -> None:
    """Nothing is said of what comes behind it, and the guest is not asked."""
    assert hops(tmp_path, one) == [FOUND.format(tmp_path), RUNS, *last]


def test_a_family_that_allow_from_does_not_have(tmp_path: Path) -> None:
    """Nothing is broken: clients come by the other one. The way of those who may not
    come is not told."""
    entry = "{published: 8080, target: 80, allow_from: [198.51.100.0/24]}"
    configured(tmp_path, f"guests: {{web1: [{entry}]}}\n")
    one = row(address="fd00:122::10")
    found = hops(tmp_path, replace(one, allow_from=("198.51.100.0/24",)))

    said = [line[:7] + line[7:].partition(";")[0] for line in found[4:]]
    assert said[:2] == [
        "note   clients: only from 198.51.100.0/24, so nobody by IPv6",
        "ok     way back: answers leave as the host's own do",
    ]


def test_a_guest_that_has_answered_nobody(tmp_path: Path) -> None:
    """The kernel's table is believed before anybody is asked."""
    found = hops(tmp_path, local(reason=f"3 of 3 {_WHY}"))

    assert found[-1].startswith(f"wrong  web1: {LOCAL} 8080/tcp to 192.168.122.10: 3 ")


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    """UDP has no answer that says somebody is there."""
    found = hops(tmp_path, local(protocol="udp"))

    assert found[-1] == "note   answer: unknown, since nobody is asked by udp"


def test_a_guest_that_is_off(tmp_path: Path) -> None:
    """Where it is written, and that it does not run; a port both ways round."""
    configured(tmp_path, "guests: {web1: [8080:80]}\n")

    found = [
        vfwhooks(tmp_path, "doctor", about)[:2]
        for about in ("web1", "tcp/8080", "8080")
    ]

    said = (
        "8080/tcp → web1:80\n"
        f"  ok     written: {tmp_path}/forwards.yaml:1:17\n"
        "  wrong  guest: the guest is not running; run: virsh start web1\n"
    )
    assert found == [(1, said)] * 3


@pytest.mark.parametrize(
    ("about", "said"),
    [
        (
            "web",
            "web\n  wrong  {}/forwards.yaml has no forward for web; "
            "did you mean web1\n",
        ),
        ("81", "81\n  wrong  {}/forwards.yaml has no forward for 81\n"),
        ("strange", ""),
    ],
)
def test_what_is_not_forwarded(tmp_path: Path, about: str, said: str) -> None:
    """A misspelt guest, a port of nobody's, and what is neither."""
    configured(tmp_path, "guests: {web1: [8080:80]}\n")

    assert vfwhooks(tmp_path, "doctor", about)[:2] == (1, said.format(tmp_path))


def test_what_is_not_in_force(tmp_path: Path) -> None:
    """It is written, and nobody has put it in force yet."""
    configured(tmp_path, "guests: {}\n")
    (tmp_path / "forwards.yaml").write_text("guests: {web1: [8080:80]}\n")

    what = f"{tmp_path}/forwards.yaml names web1, and nothing for it is in force"
    assert vfwhooks(tmp_path, "doctor", "web1")[:2] == (
        1,
        f"web1\n  wrong  {what}; run: vfwhooks apply\n",
    )


def test_a_port_that_is_not_in_force(tmp_path: Path) -> None:
    """One that was written since is told beside the others of its guest, and one that
    was taken out is still in force. What a broken file says counts for neither."""
    configured(tmp_path, "guests: {web1: [8080:80]}\n")
    path = tmp_path / "forwards.yaml"
    path.write_text("guests: {web1: [81]}\n")
    found = [vfwhooks(tmp_path, "doctor", about)[1] for about in ("tcp/81", "8080")]
    both = vfwhooks(tmp_path, "doctor", "web1")[:2]
    path.write_text("guests: {web1: [81, }\n")
    broken = vfwhooks(tmp_path, "doctor", "81")[1]

    cure = "run: vfwhooks apply\n"
    new = f"81/tcp → web1:81\n  wrong  written: {path}:1:17, and not in force; {cure}"
    gone = f"not any more in {path}, and still in force; {cure}"
    old = f"8080/tcp → web1:80\n  wrong  written: {gone}"
    assert (found, both) == ([new, old], (1, old + new))
    assert broken == f"81\n  wrong  {path} has a problem; run: vfwhooks check\n"


def test_nobody_listens() -> None:
    """The kernel's own answer is told apart from silence."""
    assert ask_guest("127.0.0.1", 1) == "refused"
