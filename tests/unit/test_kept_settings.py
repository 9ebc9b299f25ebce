"""Kept settings: bridges that let loopback addresses through, and what they were
before."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from unit.builders import fresh_state
from vfwhooks.reconcile.kept_settings import (
    LOCALNET,
    KeptSetting,
    is_localnet_enabled,
)


def kernel(root: Path, **bridges: str) -> Path:
    """A kernel's settings below a directory: route_localnet by bridge."""
    for bridge, value in bridges.items():
        directory = root / "proc/sys/net/ipv4/conf" / bridge
        directory.mkdir(parents=True)
        (directory / "route_localnet").write_text(value)
    return root


def values(root: Path) -> dict[str, str]:
    """What the settings are."""
    found = (root / "proc/sys/net/ipv4/conf").iterdir()
    return {one.name: (one / "route_localnet").read_text().strip() for one in found}


def test_open_and_closed(tmp_path: Path) -> None:
    """Only the bridge that is named, for as long as it is needed."""
    state, root = fresh_state(tmp_path), str(kernel(tmp_path, virbr0="0\n", eth0="0\n"))

    KeptSetting(LOCALNET, state, root).enable({"virbr0"})
    while_open = (
        values(tmp_path),
        is_localnet_enabled("virbr0", root),
        state.names("localnet"),
    )
    KeptSetting(LOCALNET, state, root).restore({"virbr0", "virbr9"})

    assert while_open == ({"virbr0": "1", "eth0": "0"}, True, ["virbr0"])
    assert (
        values(tmp_path),
        is_localnet_enabled("virbr0", root),
        state.names("localnet"),
    ) == (
        {"virbr0": "0", "eth0": "0"},
        False,
        [],
    )


@pytest.mark.parametrize("before", ["0", "1", "2"])
def test_what_was_before_comes_back(tmp_path: Path, before: str) -> None:
    """Also after it was opened twice, as whoever takes over from the killed does."""
    state, root = fresh_state(tmp_path), str(kernel(tmp_path, virbr0=before))

    KeptSetting(LOCALNET, state, root).enable({"virbr0"})
    KeptSetting(LOCALNET, state, root).enable({"virbr0"})
    KeptSetting(LOCALNET, state, root).restore({"virbr0"})

    assert values(tmp_path) == {"virbr0": before}


def test_a_setting_that_cannot_be_changed(tmp_path: Path) -> None:
    """Which setting, and the kernel's own word; what it was is remembered by then, so
    that a kill at any point loses nothing, until it could be given back."""
    state, root = fresh_state(tmp_path), kernel(tmp_path, virbr0="0")

    opening = KeptSetting(LOCALNET, state, str(root), read_only).enable({"virbr0"})
    kept = state.read("localnet/virbr0")
    closing = KeptSetting(LOCALNET, state, str(root), read_only).restore({"virbr0"})
    still_kept = state.read("localnet/virbr0")
    KeptSetting(LOCALNET, state, str(root)).restore({"virbr0"})

    setting = "net.ipv4.conf.virbr0.route_localnet"
    said = [f"{setting} cannot be set: Read-only file system"]
    assert (opening, kept, closing, still_kept) == (said, "0", said, "0")
    assert state.names("localnet") == []


def read_only(_: str, __: bytes) -> None:
    """A kernel's file in a container."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_bridge_that_is_gone(tmp_path: Path) -> None:
    """Its network was stopped: nothing to set, and nothing to remember."""
    state, root = fresh_state(tmp_path), kernel(tmp_path, virbr0="0", virbr1="0")
    KeptSetting(LOCALNET, state, str(root)).enable({"virbr0", "virbr1"})
    (root / "proc/sys/net/ipv4/conf/virbr1/route_localnet").unlink()
    (root / "proc/sys/net/ipv4/conf/virbr1").rmdir()

    KeptSetting(LOCALNET, state, str(root)).enable({"virbr7"})
    KeptSetting(LOCALNET, state, str(root)).restore_others({"virbr0"})

    assert (values(root), state.names("localnet")) == ({"virbr0": "1"}, ["virbr0"])
