"""references: who is at an address, and who needs a network's entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.builders import (
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    Host,
    files_of,
    fresh_state,
    guest,
    network,
    nic,
    record,
)
from vfwhooks.config import compiled_file
from vfwhooks.reconcile.planner import Planner
from vfwhooks.reconcile.references import References, note_ousted
from vfwhooks.store.records import Ousted, Pair, Record
from vfwhooks.store.state import State
from vfwhooks.values.errors import NeedsFullSync
from vfwhooks.values.published import parse_address

WEB, LXC = ("qemu", "web1"), ("lxc", "web1")


def test_an_address_is_one_guests(tmp_path: Path) -> None:
    """The first to claim it has it, also when it claims it again."""
    shared = References(fresh_state(tmp_path))

    found = [shared.claim(parse_address("fd00::1"), key) for key in (WEB, LXC, WEB)]

    assert found == [True, False, True]


def test_an_address_that_was_released(tmp_path: Path) -> None:
    """It is free for others; nobody releases another one's."""
    shared = References(fresh_state(tmp_path))
    shared.claim(parse_address("10.0.0.1"), WEB)
    shared.release(parse_address("10.0.0.1"), LXC)
    first = shared.claim(parse_address("10.0.0.1"), LXC)

    shared.release(parse_address("10.0.0.1"), WEB)

    assert (first, shared.claim(parse_address("10.0.0.1"), LXC)) == (False, True)


def test_the_last_to_leave_a_network(tmp_path: Path) -> None:
    """Who leaves hears whether somebody else still needs its entries."""
    shared = References(fresh_state(tmp_path))
    for key in (WEB, LXC, WEB):
        shared.join("my net", key)

    found = [shared.leave("my net", key) for key in (WEB, WEB, LXC, LXC)]

    assert found == [False, False, True, True]


def test_all_of_it_from_the_records(tmp_path: Path) -> None:
    """Who is where and who needs what, whatever was noted before."""
    state = fresh_state(tmp_path)
    shared = References(state)
    shared.claim(parse_address("10.0.0.9"), LXC)
    shared.claim(parse_address("192.168.122.10"), LXC)
    shared.join("gone", LXC)
    shared.join("default", LXC)
    entries = ["accept 6 fd00::10", "dnat 4 * tcp 80 80 192.168.122.10 80"]
    entries.append("accept 4 192.168.122.10")

    shared.note_anew([record(entries=entries, needs=["default", "my net"])])

    assert files_of(Path(state.path)) == {
        "addresses/192.168.122.10": "guests/qemu/web1",
        "addresses/fd00::10": "guests/qemu/web1",
        "members/default/qemu.web1": "",
        "members/my%20net/qemu.web1": "",
    }
    assert state.names("members") == ["default", "my%20net"]


def test_what_is_noted_already_is_not_written_again(tmp_path: Path) -> None:
    """A full look notes thousands of guests anew, hardly any of whom is news."""
    state = fresh_state(tmp_path)
    shared = References(state)
    entries = ["accept 4 192.168.122.10"]
    known = [record(entries=entries, needs=["default"])]
    shared.note_anew(known)
    places = "addresses/192.168.122.10", "members/default/qemu.web1"
    before = [(Path(state.path) / place).stat().st_ino for place in places]

    shared.note_anew([*known, record(guest("web2"), needs=["default"])])

    after = [(Path(state.path) / place).stat().st_ino for place in places]
    assert (after, state.names("members/default")) == (
        before,
        ["qemu.web1", "qemu.web2"],
    )


def at(
    address: str, name: str = "web1", driver: str = "qemu", on: str = "default"
) -> Record:
    """A guest with a forward at the address."""
    entries = [f"dnat 4 * tcp 80 80 {address} 80", f"accept 4 {address}"]
    of = guest(name, driver=driver)
    return record(of, entries=entries, needs=[on])


def changed(state: State, *pairs: Pair) -> list[tuple[str, str, bool]]:
    """What changes for networks: driver, name, and whether its entries come."""
    Path(state.path, "compiled").write_bytes(compiled_file.build("", {}, {}))
    config = compiled_file.load(state.path)
    assert config
    planner = Planner(config, Host(network(), network("lab", "virbr1")))
    found = References(state).change(list(pairs), planner)
    for old, new in found:
        if new:
            state.keep(new)
        elif old:
            state.forget(old.key)
    return [(*one.key, new is one) for old, new in found if (one := new or old)]


def test_the_first_and_the_last_on_a_network(tmp_path: Path) -> None:
    """The network's entries come with the one and go with the other."""
    state = fresh_state(tmp_path)
    one, two = at("192.168.122.10"), at("192.168.122.11", "web2")

    found = [
        changed(state, pair)
        for pair in ((None, one), (None, two), (one, None), (two, None))
    ]

    network = "network", "default"
    assert found == [[(*network, True)], [], [], [(*network, False)]]
    assert [n for n in files_of(Path(state.path)) if n != "compiled"] == []


def test_two_at_once(tmp_path: Path) -> None:
    """The network's entries come once, and go once."""
    state = fresh_state(tmp_path)
    one, two = at("192.168.122.10"), at("192.168.122.11", "web2")

    found = (
        changed(state, (None, one), (None, two)),
        changed(state, (one, None), (two, None)),
    )

    assert found == ([("network", "default", True)], [("network", "default", False)])


def test_one_comes_while_the_last_goes(tmp_path: Path) -> None:
    """At the address of the one who goes, on its network: the entries stay."""
    state = fresh_state(tmp_path)
    one, two = at("192.168.122.10"), at("192.168.122.10", "web2")
    changed(state, (None, one))

    found = changed(state, (one, None), (None, two))

    assert found == []
    assert files_of(Path(state.path, "addresses")) == {
        "192.168.122.10": "guests/qemu/web2"
    }


def test_one_who_moves_to_another_network(tmp_path: Path) -> None:
    """The one's entries come and the other's go."""
    state = fresh_state(tmp_path)
    before, after = at("192.168.122.10"), at("192.168.123.10", on="lab")
    changed(state, (None, before))

    found = changed(state, (before, after))

    assert found == [("network", "lab", True), ("network", "default", False)]
    assert [*files_of(Path(state.path, "addresses"))] == ["192.168.123.10"]


def test_a_network_that_is_not_active(tmp_path: Path) -> None:
    """It needs nothing."""
    state = fresh_state(tmp_path)

    found = changed(state, (None, at("10.0.0.1", on="gone")))

    assert found == []


def test_an_address_where_another_is(tmp_path: Path) -> None:
    """Who was first is for a full sync to say."""
    state = fresh_state(tmp_path)
    changed(state, (None, at("192.168.122.10")))

    with pytest.raises(NeedsFullSync, match=r"another guest is at 192\.168\.122\.10"):
        changed(state, (None, at("192.168.122.10", "web2")))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_guest_of_another_driver_with_the_name(
    tmp_path: Path, is_known: bool
) -> None:
    """forwards.yaml means both, whether it ran before or starts at the same time."""
    state = fresh_state(tmp_path)
    lxc: Pair = (None, at("192.168.122.11", driver="lxc"))
    if is_known:
        state.keep(record(guest(driver="lxc")))

    with pytest.raises(NeedsFullSync, match="another driver has a guest web1, too"):
        changed(state, (None, at("192.168.122.10")), *([] if is_known else [lxc]))


def test_a_namesake_without_forwards(tmp_path: Path) -> None:
    """Nobody forwards to it: whoever has the name is not asked for."""
    state = fresh_state(tmp_path)
    state.keep(record(guest(driver="lxc")))

    assert changed(state, (None, record())) == []


def test_who_was_ousted() -> None:
    """Another guest that had the address and goes on running; not one that stops."""
    there = ["accept 4 192.168.122.10"]
    clone = guest("web2", OTHER_UUID, [nic(OTHER_MAC)])
    comes, again = record(clone, entries=there), record(clone, entries=there)
    leaves = record(guest(), entries=there)

    note_ousted([(leaves, record(guest())), (record(clone), comes)])
    note_ousted([(leaves, None), (record(clone), again)])

    ousted = Ousted(parse_address("192.168.122.10"), MAC)
    assert (comes.ousted, again.ousted) == ([ousted], [])
