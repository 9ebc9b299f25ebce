"""The tools that a full sync runs: missing, hanging, killed, lying."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from standin import BACKENDS, QUIET, STATE, StandIn, alone, run, wait_for

from faults.scenes import WEB0, WEB1, Stage, published

TOOLS = {
    "nftables": ("/usr/sbin/nft",),
    "iptables": ("/usr/sbin/xtables-nft-multi",),
}
BROKEN = {
    "fails": "#!/bin/sh\necho 'Operation not permitted' >&2; exit 1\n",
    "hangs": "#!/bin/sh\nexec sleep 100\n",
    "hangs in a child": "#!/bin/sh\ntrap '' TERM; sleep 100; true\n",
    "is killed": "#!/bin/sh\nkill -9 $$\n",
    "says a lot": "#!/bin/sh\nhead -c 3000000 /dev/zero; echo; exit 1\n",
    "is no program": "\x7fELF",
}


def replace(backend: str, text: str, mode: int = 0o755) -> None:
    """Put something else in the place of the backend's tools."""
    fake = Path("/run/fake")
    fake.write_text(text)
    fake.chmod(mode)
    for tool in TOOLS[backend]:
        run("mount", "--bind", str(fake), tool)


def restore(backend: str) -> None:
    """Have the real ones back."""
    for tool in TOOLS[backend]:
        run("umount", tool)


def play(backend: str, how: str) -> None:
    """All is to be checked, a guest starts and another stops, with a broken tool."""
    stage = Stage(backend)
    stage.learn()
    stage.host.event("qemu", "web1", "started", WEB1.xml())
    if how == "is missing":
        replace(backend, "", 0o644)
    else:
        replace(backend, BROKEN[how])
    (STATE / "full").touch()
    called = [stage.host.stop(WEB1)]
    (STATE / "full").touch()
    called.append(stage.host.call("qemu", "web0", "reconnect", WEB0.xml()))
    restore(backend)

    called.append(stage.host.call("qemu", "idle", "stopped"))

    wrong = stage.differs((WEB0,), "the tool was back")
    assert (called, wrong, stage.left_over()) == ([QUIET] * 3, [], [])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["is missing", *BROKEN])
def test_a_broken_tool(backend: str, how: str) -> None:
    """Whatever the tool does, hooks end well and in time; once it works again, the
    next event brings everything to the plan."""
    alone(play)(backend, how)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_tool_that_is_not_there_at_a_hosts_first_event(backend: str) -> None:
    """Nothing can be set up yet, and the log does not say that it was; when it can be,
    nobody has to ask for it again."""
    stage = Stage(backend)
    stage.learn()
    run("nft", "flush", "ruleset")
    run("rm", "-r", str(STATE))
    stage.host.libvirts_rules()
    replace(backend, "", 0o644)
    stage.host.syslog()
    called = [stage.host.start(WEB0), stage.host.start(WEB1)]
    said: list[str] = []

    def has_said() -> bool:  # who is let go logs behind our back
        said.extend(stage.host.syslog())
        return bool(said)

    wait_for(has_said)
    restore(backend)

    called.append(stage.host.call("qemu", "idle", "stopped"))

    wrong = stage.differs((WEB0, WEB1), "the tool was there")
    assert (called, wrong) == ([QUIET] * 3, [])
    assert not [line for line in said if "forwarded to" in line]


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_tool_that_lies(backend: str) -> None:
    """One that succeeds and does nothing leaves what `apply` finds and takes out."""
    stage = Stage(backend)
    stage.learn()
    stage.host.event("qemu", "web1", "started", WEB1.xml())
    replace(backend, "#!/bin/sh\nexit 0\n")
    (STATE / "full").touch()
    called = stage.host.stop(WEB1)
    restore(backend)

    stage.host.apply(WEB0)

    assert (called, stage.differs((WEB0,), "apply")) == (QUIET, [])


NO_IPV6 = """#!/bin/sh
case $0 in *ip6tables*-restore) exit 1 ;; esac
exec /run/real ${0##*/} "$@"
"""


@pytest.mark.parametrize("is_killed", [False, True])
@alone
def test_the_last_guest_with_ipv6(is_killed: bool) -> None:
    """ip6tables does not take its rules out when it stops, or nobody has come to note
    that there are any: the next event takes them out."""
    where = "address: [192.168.122.10, 'fd00:122::10']"
    host = StandIn("iptables", f"guests:\n  web0: {{ports: [8000:80], {where}}}\n")
    host.event("qemu", "idle", "stopped")
    before = (STATE / "base").read_text()
    called = [host.start(WEB0)]
    held = run("ip6tables-save").count("fd00:122::10")
    if is_killed:
        (STATE / "base").write_text(before)
        (STATE / "working").touch()
    else:
        shutil.copy(TOOLS["iptables"][0], "/run/real")
        replace("iptables", NO_IPV6)
    called.append(host.stop(WEB0))
    if not is_killed:
        restore("iptables")

    called.append(host.call("qemu", "idle", "stopped"))

    assert (called, held > 0) == ([QUIET] * 3, True)
    assert "fd00:122::10" not in run("ip6tables-save")


CLEARS_NOTHING = {
    "nftables": "#!/bin/sh\nexit 1\n",
    "iptables": """#!/bin/sh
case $0 in *-restore) exit 4 ;; esac
exec /run/real ${0##*/} "$@"
""",
}


@pytest.mark.parametrize("old", BACKENDS)
@alone
def test_a_host_that_changes_its_backend(old: str) -> None:
    """What is ours in the old one cannot be taken out at once: the guest is served by
    the new one, and the next full look takes it out."""
    new = BACKENDS[1 - BACKENDS.index(old)]
    host = StandIn(old, "guests:\n  web0: [8000:80]\n")
    host.network(WEB0)
    called = [host.start(WEB0)]
    for family in ("ip", "ip6") if old == "nftables" else ():
        run("nft", "delete", "table", family, "libvirt_network")
    host.backend = new
    host.libvirts_rules()
    host.network(WEB0)
    noted = f"<firewall name='fwRemoval' backend='{new}'/></networkstatus>"
    status = Path("/run/libvirt/network/default.xml")
    status.write_text(status.read_text().replace("</networkstatus>", noted))
    shutil.copy(TOOLS[old][0], "/run/real")
    replace(old, CLEARS_NOTHING[old])
    called.append(host.call("qemu", "web0", "reconnect", WEB0.xml()))
    restore(old)
    served = published(new)

    done = host.apply(WEB0)

    assert (called, done, len(served)) == ([QUIET] * 2, 0, 1)
    assert published(new) == served
    assert published(old) == set()
    assert ("VFW-" in run("iptables-save")) is (new == "iptables")


LEAVES_OUT = """#!/bin/sh
case $0 in
*-save) /run/real ${0##*/} "$@" | grep -v -- '-A POSTROUTING' ;;
*) exec /run/real ${0##*/} "$@" ;;
esac
exit 0
"""


@alone
def test_a_save_that_leaves_out_rules() -> None:
    """iptables-save ends well though the kernel has not answered all its questions:
    what it leaves out is not put in a second time."""
    stage = Stage("iptables")
    stage.learn()
    shutil.copy(TOOLS["iptables"][0], "/run/real")
    replace("iptables", LEAVES_OUT)
    (STATE / "full").touch()
    called = [stage.host.start(WEB1)]
    said = "iptables-save leaves out rules that are there"
    wait_for(lambda: said in stage.host.syslog())  # who is let go logs behind our back
    restore("iptables")

    called.append(stage.host.call("qemu", "idle", "stopped"))

    wrong = stage.differs((WEB0, WEB1), "the tool was whole")
    assert (called, wrong) == ([QUIET] * 2, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_syslog_that_nobody_reads(backend: str) -> None:
    """A journal that has stopped holds no guest: the hook ends, its work is done."""
    stage = Stage(backend)
    stage.learn()
    Path("/proc/sys/net/unix/max_dgram_qlen").write_text("0")
    stage.host.log.close()
    Path("/dev/log").unlink()
    stage.host.open_log()
    while _is_room(stage):
        pass

    called = [stage.host.start(WEB1), stage.host.call("qemu", "w" * 9, "started", "<")]

    assert (called, stage.differs((WEB0, WEB1), "both")) == ([QUIET] * 2, [])


def _is_room(stage: Stage) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect("/dev/log")
            sock.send(b"full")
        except BlockingIOError:
            return False
    return True
