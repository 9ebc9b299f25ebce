"""shared: who is at an address, and who needs a network's entries."""

from __future__ import annotations

from pathlib import Path

from unit.builders import files_of, fresh_state, record
from vfwhooks.shared import Shared

WEB, LXC = ("qemu", "web1"), ("lxc", "web1")


def test_an_address_is_one_guests(tmp_path: Path) -> None:
    """The first to claim it has it, also when it claims it again."""
    shared = Shared(fresh_state(tmp_path))

    found = [shared.claim("fd00::1", key) for key in (WEB, LXC, WEB)]

    assert found == [True, False, True]


def test_an_address_that_was_released(tmp_path: Path) -> None:
    """It is free for others; nobody releases another one's."""
    shared = Shared(fresh_state(tmp_path))
    shared.claim("10.0.0.1", WEB)
    shared.release("10.0.0.1", LXC)
    first = shared.claim("10.0.0.1", LXC)

    shared.release("10.0.0.1", WEB)

    assert (first, shared.claim("10.0.0.1", LXC)) == (False, True)


def test_the_last_to_leave_a_network(tmp_path: Path) -> None:
    """Who leaves hears whether somebody else still needs its entries."""
    shared = Shared(fresh_state(tmp_path))
    for key in (WEB, LXC, WEB):
        shared.join("my net", key)

    found = [shared.leave("my net", key) for key in (WEB, WEB, LXC, LXC)]

    assert found == [False, False, True, True]


def test_all_of_it_from_the_records(tmp_path: Path) -> None:
    """Who is where and who needs what, whatever was noted before."""
    state = fresh_state(tmp_path)
    shared = Shared(state)
    shared.claim("10.0.0.9", LXC)
    shared.claim("192.168.122.10", LXC)
    shared.join("gone", LXC)
    shared.join("default", LXC)
    entries = ["accept 6 fd00::10", "dnat 4 * tcp 80 80 192.168.122.10 80"]
    entries.append("accept 4 192.168.122.10")

    shared.note_anew([record(entries=entries, networks=["default", "my net"])])

    assert files_of(Path(state.path)) == {
        "addresses/192.168.122.10": "guests/qemu/web1",
        "addresses/fd00::10": "guests/qemu/web1",
        "members/default/qemu.web1": "",
        "members/my%20net/qemu.web1": "",
    }
