"""libvirt at its rules between our look at them and our change."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standin import BACKENDS, QUIET, alone, run, wait_for

from faults.scenes import WEB0, Stage
from faults.test_tools import TOOLS, replace, restore

TIMES = Path("/run/times")
OURS = {"nftables": "vfwhooks", "iptables": "VFW-FORWARD"}
ALWAYS = "all the time"
# Before rules of ours are taken, libvirt puts one of its jumps on top of the chain.
COMES_BETWEEN = """#!/bin/sh
tool=${0##*/}
case "$tool $*" in
'nft -f -'|*-restore*)
	read -r times </run/times
	if [ "$times" -gt 0 ]; then
		echo $((times - 1)) >/run/times
		%s
	fi ;;
esac
exec /run/real %s"$@"
"""
JUMPS = {
    "nftables": (
        "/run/real insert rule ip libvirt_network forward jump guest_input",
        "",
    ),
    "iptables": ("/run/real iptables -I FORWARD -j LIBVIRT_FWI", "$tool "),
}


def come_between(backend: str, times: int) -> None:
    """Have the next so many changes of rules preceded by a jump of libvirt's."""
    shutil.copy(TOOLS[backend][0], "/run/real")
    TIMES.write_text(f"{times}\n")
    replace(backend, COMES_BETWEEN % JUMPS[backend])


def jumps(backend: str) -> list[str]:
    """Where the chain leads that libvirt lets packets to guests pass or not by."""
    if backend == "nftables":
        text = run("nft", "list", "chain", "ip", "libvirt_network", "forward")
        return [line.split()[-1] for line in text.split("\n") if "jump" in line]
    text = run("iptables", "-S", "FORWARD")
    return [line.split()[-1] for line in text.split("\n") if " -j " in line]


def forget_jump(backend: str) -> None:
    """libvirt makes its chain anew, which has somebody's rule and the first of its
    jumps so far."""
    if backend == "nftables":
        table = "ip libvirt_network forward"
        rules = ("ip saddr 198.51.100.9 drop", "jump guest_output")
        lines = [f"flush chain {table}", *(f"add rule {table} {r}" for r in rules), ""]
        run("nft", "-f", "-", input="\n".join(lines))
    else:
        run("iptables", "-F", "FORWARD")
        run("iptables", "-A", "FORWARD", "-s", "198.51.100.9", "-j", "DROP")
        run("iptables", "-A", "FORWARD", "-j", "LIBVIRT_FWO")


def play(backend: str, times: int) -> tuple[list[str], list[str], list[str]]:
    """web0's daemon comes back while libvirt comes between so many times: the jumps
    then, what was logged, and the jumps when the next event has been."""
    stage = Stage(backend)
    stage.host.syslog()
    forget_jump(backend)
    come_between(backend, times)
    called = [stage.host.call("qemu", "web0", "reconnect", WEB0.xml())]
    found, said = jumps(backend), list[str]()

    def has_said() -> bool:  # it may say it behind libvirt's back
        said.extend(stage.host.syslog())
        return found[0] == OURS[backend] or any(ALWAYS in line for line in said)

    wait_for(has_said)
    TIMES.write_text("0\n")
    called.append(stage.host.call("qemu", "idle", "stopped"))
    restore(backend)
    assert called == [QUIET] * 2
    return found, said, jumps(backend)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_jump_of_libvirts_that_comes_between(backend: str) -> None:
    """Ours stands above it when the event is over."""
    found, _, _ = play(backend, 1)

    assert (found[0], found.count(OURS[backend])) == (OURS[backend], 1)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_jumps_of_libvirts_that_always_come_between(backend: str) -> None:
    """Where ours is not above them, that is not taken for well: the log says so, and
    the next event mends it."""
    found, said, later = play(backend, 99)

    is_said = any(ALWAYS in line for line in said)
    assert is_said is (found[0] != OURS[backend])
    assert (later[0], later.count(OURS[backend])) == (OURS[backend], 1)
