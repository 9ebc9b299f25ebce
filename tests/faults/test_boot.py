"""Boots, saved rulesets, and libvirt's part of the kernel coming and going."""

from __future__ import annotations

from pathlib import Path

import pytest
from standin import BACKENDS, QUIET, STATE, alone, run, wait_for

from faults.scenes import WEB0, WEB1, Stage


def save(backend: str) -> str:
    """What an administrator's boot script would save."""
    return run("nft", "list", "ruleset") if backend == "nftables" else _save()


def _save() -> str:
    return run("iptables-save") + "\0" + run("ip6tables-save")


def boot(stage: Stage, saved: str) -> None:
    """The machine starts: an empty /run, the saved ruleset, and then libvirt."""
    run("nft", "flush", "ruleset")
    run("rm", "-rf", str(STATE))
    if stage.backend == "nftables":
        run("nft", "-f", "-", input=saved)
        return
    for tool, text in zip(("iptables", "ip6tables"), saved.split("\0")):
        run(f"{tool}-restore", input=text)


def running(stage: Stage) -> str:
    """web0 and web1 run; what was saved then."""
    stage.learn()
    stage.host.event("qemu", "web1", "started", WEB1.xml())
    return save(stage.backend)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_saved_ruleset_of_ours(backend: str) -> None:
    """Restored at boot with an empty /run, it leads to guests that do not run: the
    first event takes out what is not so."""
    stage = Stage(backend)
    boot(stage, running(stage))

    called = stage.host.start(WEB0)

    assert (called, stage.differs((WEB0,), "boot")) == (QUIET, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_saved_ruleset_and_no_guest(backend: str) -> None:
    """Nobody starts, and `apply` takes out what is not so."""
    stage = Stage(backend)
    boot(stage, running(stage))

    status = stage.host.apply(WEB0)

    assert (status, stage.differs((WEB0,), "boot")) == (0, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_saved_ruleset_that_was_edited(backend: str) -> None:
    """Half of it, twice of it, another port: the first event makes it whole."""
    stage = Stage(backend)
    saved = running(stage)
    for old, new in (("8080", "8081"), ("443", "444"), ("192.168.122.11", "10.1.1.1")):
        saved = saved.replace(old, new)
    boot(stage, saved)

    called = [stage.host.start(WEB0), stage.host.start(WEB1)]

    assert (called, stage.differs((WEB0, WEB1), "boot")) == ([QUIET] * 2, [])


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_libvirts_rules_are_gone_and_come_back(backend: str) -> None:
    """A flush, an event, libvirtd's restart with its own rules: all is in place again
    with the events that come then."""
    stage = Stage(backend)
    running(stage)
    run("nft", "flush", "ruleset")
    called = [stage.host.call("qemu", "web0", "reconnect", WEB0.xml())]
    stage.host.libvirts_rules()
    called.append(stage.host.call("daemon", "-", "start"))

    called.append(stage.host.call("qemu", "web0", "reconnect", WEB0.xml()))

    assert (called, stage.differs((WEB0, WEB1), "all")) == ([QUIET] * 3, [])


@alone
def test_libvirts_table_is_made_anew_under_a_running_guest() -> None:
    """Deleted and made again between two events: the next stop and start go well."""
    stage = Stage("nftables")
    running(stage)
    run("nft", "delete", "table", "ip", "libvirt_network")
    run("nft", "delete", "table", "ip6", "libvirt_network")
    stage.host.libvirts_rules()

    called = [stage.host.stop(WEB1)]
    wrong = stage.differs((WEB0,), "stop")
    called.append(stage.host.start(WEB1))

    assert (called, wrong) == ([QUIET] * 2, [])
    assert stage.differs((WEB0, WEB1), "start") == []


@pytest.mark.parametrize("is_watched", [False, True])
@alone
def test_libvirts_table_comes_back_while_no_guest_runs(is_watched: bool) -> None:
    """Deleted, which somebody has noticed, and made again by virtnetworkd, which calls
    no hook: the guest that starts next is let in, and one event costs no more."""
    stage = Stage("nftables")
    running(stage)
    called = [stage.host.stop(WEB0), stage.host.stop(WEB1)]
    run("nft", "delete", "table", "ip", "libvirt_network")
    run("nft", "delete", "table", "ip6", "libvirt_network")
    stage.host.watch_looks()
    stage.host.libvirts_rules()
    if is_watched:
        stage.host.watch_looks(False)
    stage.host.syslog()

    called += [stage.host.start(WEB0), stage.host.start(WEB1)]

    assert (called, stage.differs((WEB0, WEB1), "all")) == ([QUIET] * 4, [])
    said: list[str] = []

    def has_said() -> bool:  # a hook may say it behind libvirt's back
        said.extend(line for line in stage.host.syslog() if "everything" in line)
        return bool(said) or is_watched

    wait_for(has_said)
    assert len(said) == (0 if is_watched else 1)


@pytest.mark.parametrize("backend", BACKENDS)
@alone
def test_a_network_that_stops_and_starts(backend: str) -> None:
    """libvirt puts its rules of it in anew, above all: ours come first again."""
    stage = Stage(backend)
    running(stage)
    xml = f"<hookData>{_network()}</hookData>"
    called = [stage.host.call("network", "default", "stopped", xml)]
    if backend == "nftables":
        run("nft", "insert rule ip libvirt_network forward counter jump guest_cross")
    else:
        run("iptables", "-D", "FORWARD", "-j", "LIBVIRT_FWX")
        run("iptables", "-I", "FORWARD", "-j", "LIBVIRT_FWX")
    called.append(stage.host.call("network", "default", "started", xml))
    if backend == "nftables":
        run("nft", "delete rule ip libvirt_network forward handle " + _first_handle())

    called.append(stage.host.call("qemu", "web1", "reconnect", WEB1.xml()))

    assert (called, stage.differs((WEB0, WEB1), "all")) == ([QUIET] * 3, [])


def _network() -> str:
    text = Path("/run/libvirt/network/default.xml").read_text()
    return text[text.index("<network>") : text.index("</network>")] + "</network>"


def _first_handle() -> str:
    """Of the second rule of libvirt's in its forward chain: the one put in above."""
    listing = run("nft", "-a", "list", "chain", "ip", "libvirt_network", "forward")
    crosses = [line for line in listing.split("\n") if "jump guest_cross" in line]
    return crosses[0].rpartition("handle ")[2]
