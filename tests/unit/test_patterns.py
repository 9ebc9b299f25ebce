"""Guests by pattern, from forwards.yaml to what is planned: which pattern counts, who
has a shared port, and what an event of such a guest reads."""

from __future__ import annotations

import posix
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unit.builders import (
    MAC,
    OTHER_MAC,
    OTHER_UUID,
    PROPERTY,
    UUID,
    Host,
    files_of,
    fresh_state,
    guest,
    keys,
    network,
    nic,
    parsed,
    record,
    working_in,
    written,
)
from vfwhooks.config import compiled_file
from vfwhooks.config.compiled_file import Compiled, Damaged
from vfwhooks.config.compiler import compile_file
from vfwhooks.config.forwards import GuestForwards
from vfwhooks.config.matched_names import find_matching
from vfwhooks.config.schema import read_forwards
from vfwhooks.host.listeners import Listener
from vfwhooks.reconcile.planner import Planner
from vfwhooks.reconcile.port_owners import (
    is_contested,
    note_contested,
    plan_beside_owners,
)
from vfwhooks.reconcile.references import References
from vfwhooks.store.entry_text import format_published
from vfwhooks.store.records import Record, parse_record
from vfwhooks.store.state import State
from vfwhooks.values.errors import NeedsFullSync
from vfwhooks.values.published import parse_address

OWN = ["forward * tcp 90 90 90 90 -"]
CI = ["pattern ci-*", "shared", "forward 0.0.0.0 tcp 80 80 80 80 -"]
ALL = ["pattern *", "shared", "forward * tcp 81 81 81 81 -"]
GUESTS = {"ci-own": OWN, UUID: [], "web1": OWN}
PATTERNS = {"ci-*": CI, "ci-1*": OWN, "*": ALL}
RESERVED = {MAC: ["192.168.122.10"], OTHER_MAC: ["192.168.122.11"]}


def opened(directory: Path, patterns: dict[str, list[str]] = PATTERNS) -> Compiled:
    """A configuration of these guests and patterns, in force."""
    data = compiled_file.build("s", {}, GUESTS, patterns)
    (directory / "compiled").write_bytes(data)
    found = compiled_file.load(str(directory))
    assert found
    return found


def test_whose_lines_a_guest_has(tmp_path: Path) -> None:
    """Its own, under its name or UUID, even if they say nothing; else those of the
    first pattern."""
    config = opened(tmp_path)
    asked = [("ci-own", ""), ("ci-1", UUID), ("ci-1", OTHER_UUID), ("db", "")]

    found = [config.lines_of(*both) for both in asked]

    assert found == [OWN, [], CI, ALL]


def test_without_a_match(tmp_path: Path) -> None:
    """A guest that nobody means has nothing, whether there are patterns or not."""
    found = [
        opened(tmp_path, patterns).lines_of("db", OTHER_UUID)
        for patterns in ({"ci-*": CI}, {})
    ]

    assert found == [[], []]


def test_patterns_come_back(tmp_path: Path) -> None:
    """In their order, beside the guests, of whom they are none."""
    config = opened(tmp_path)

    found = [*config.patterns().items()], config.guests(), config.is_empty

    assert found == ([*PATTERNS.items()], dict(sorted(GUESTS.items())), False)


def test_patterns_alone(tmp_path: Path) -> None:
    """A file without guests is no empty one."""
    data = compiled_file.build("", {}, {}, PATTERNS)
    (tmp_path / "compiled").write_bytes(data)

    config = compiled_file.load(str(tmp_path))

    assert config and (config.is_empty, config.lines_of("ci-1", "")) == (False, CI)


@PROPERTY
@given(st.lists(st.text(max_size=9), max_size=6, unique=True), st.text(max_size=5))
def test_any_patterns_come_back(
    tmp_path_factory: pytest.TempPathFactory, patterns: list[str], line: str
) -> None:
    """Whatever letters they have."""
    line = line.replace("\n", " ")
    wanted = {f"{one}*": [line, "x"] for one in patterns}

    found = opened(tmp_path_factory.getbasetemp(), wanted).patterns()

    assert found == wanted


def test_a_named_guest_reads_no_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its start costs the same beside hundreds of them; a guest that is not named reads
    the patterns, and the lines of one."""
    patterns = {f"ci-{n}-*": ["forward * tcp 80 80 80 80 -"] * 20 for n in range(300)}
    config = opened(tmp_path, patterns)
    pread, sizes = posix.pread, []

    def counting(fd: int, size: int, at: int) -> bytes:
        sizes.append(len(pread(fd, size, at)))
        return pread(fd, size, at)

    monkeypatch.setattr(posix, "pread", counting)
    config.lines_of("web1", OTHER_UUID)
    named = sum(sizes)
    sizes.clear()
    config.lines_of("ci-299-1", OTHER_UUID)

    assert (named < 300, sum(sizes) < 8000) == (True, True)


@pytest.mark.parametrize("spoilt", [b" ci[*\n", b" ci%*\n", b"0ci-*\n"])
def test_damaged_patterns(tmp_path: Path, spoilt: bytes) -> None:
    """They are told as damage, which is compiled anew."""
    opened(tmp_path)
    path = tmp_path / "compiled"
    data = path.read_bytes()
    path.write_bytes(data.replace(b" ci-*\n", spoilt))
    config = compiled_file.load(str(tmp_path))
    assert config

    with pytest.raises(Damaged):
        config.lines_of("ci[x", "")


def read(tmp_path: Path, **files: str) -> list[GuestForwards]:
    """The guests and patterns of forwards.yaml (`main`) and of forwards.d."""
    (tmp_path / "forwards.d").mkdir()
    for name, text in files.items():
        path = "forwards.yaml" if name == "main" else f"forwards.d/{name}.yaml"
        (tmp_path / path).write_text(text)
    with working_in(tmp_path):
        guests, problems = read_forwards(Path("forwards.yaml"))
    assert [one for one in problems if not one.is_warning] == []
    return guests


def test_the_order_of_files(tmp_path: Path) -> None:
    """Patterns count in the order of the file, and files in the order of their names:
    forwards.yaml comes first. A named guest has no pattern, wherever it stands."""
    guests = read(
        tmp_path,
        main="guests: {}\npatterns: {web-1*: [81], web-*: [80]}\n",
        b="patterns: {'*': [83]}\n",
        a="guests: {web-7: []}\npatterns: {'*-db': [82]}\n",
    )

    found = [
        one and one.name
        for name in ("web-12", "web-2", "web-db", "my-db", "other", "web-7")
        for one in [find_matching(guests, name)]
    ]

    assert found == ["web-1*", "web-*", "web-*", "*-db", "*", None]


def test_a_uuid_is_no_name_for_a_pattern(tmp_path: Path) -> None:
    """A pattern means the guest's name alone; an entry by UUID is the guest's own."""
    guests = read(tmp_path, main=f"guests: {{{UUID}: []}}\npatterns: {{'6*': [80]}}\n")

    found = [find_matching(guests, "web", UUID), find_matching(guests, "web", "6b")]

    assert found == [None, None]


def test_defaults(tmp_path: Path) -> None:
    """Those for ports hold for patterns; when_stopped does not: nobody is stopped."""
    defaults = "{host_ip: 127.0.0.1, when_stopped: reject, hairpin: true}"
    (found,) = read(tmp_path, main=f"defaults: {defaults}\npatterns: {{a*: [80]}}\n")

    (forward,) = found.forwards
    assert (str(forward.host_ip), found.is_claimed, found.hairpin is not None) == (
        "127.0.0.1",
        False,
        True,
    )


def test_who_shares_ports(tmp_path: Path) -> None:
    """Each pattern, and the guests that have a port of one."""
    guests = read(
        tmp_path,
        main="guests: {a: [80, 81], b: [82], c: ['203.0.113.5:80:80']}\n"
        "patterns: {x*: [80], y*: [83]}\n",
    )

    assert [one.name for one in guests if one.is_shared] == ["a", "x*", "y*"]


def compiled(tmp_path: Path, text: str) -> Planner:
    """A planner for two guests of a host with this forwards.yaml."""
    (tmp_path / "forwards.yaml").write_text(text)
    state = fresh_state(tmp_path)
    problems = compile_file(tmp_path / "forwards.yaml", state)
    assert [one for one in problems if not one.is_warning] == []
    config = compiled_file.load(state.path)
    assert config
    return Planner(config, Host(network(reservations=RESERVED)))


def first(name: str = "ci-1", since: int = 1) -> Record:
    """A running guest."""
    found = record(guest(name, UUID, [nic(MAC)]))
    return replace(found, since=since)


def second(name: str = "ci-2", since: int = 2) -> Record:
    """Another one."""
    found = record(guest(name, OTHER_UUID, [nic(OTHER_MAC)]))
    return replace(found, since=since)


SHARED = "guests: {}\npatterns: {ci-*: ['0.0.0.0:80:80', '0.0.0.0:81:81/udp']}\n"
ONE_BY_PATTERN = [
    "dnat 4 * tcp 80 80 192.168.122.10 80",
    "dnat 4 * udp 81 81 192.168.122.10 81",
    "accept 4 192.168.122.10",
]
TAKEN = {
    "dnat 4 * tcp 80 80": "taken by qemu guest ci-1",
    "dnat 4 * udp 81 81": "taken by qemu guest ci-1",
}


def test_the_first_has_them(tmp_path: Path) -> None:
    """Of two running guests; the other one is told."""
    plan = compiled(tmp_path, SHARED)

    *_, one, two = plan.all([first(), second()])

    assert (written(one.entries), written(two.entries), keys(two.conflicts)) == (
        ONE_BY_PATTERN,
        ["accept 4 192.168.122.11"],
        TAKEN,
    )


@pytest.mark.parametrize("has_list", [True, False])
def test_a_list_of_clients_goes_with_its_port(tmp_path: Path, has_list: bool) -> None:
    """A guest that does not have the port does not say either who may come to it."""
    lists = ["", ", allow_from: 198.51.100.0/24"]
    one, other = lists if has_list else lists[::-1]
    port = "{published: 80, host_ip: 0.0.0.0%s}"
    text = f"patterns: {{ci-1: [{port % one}], ci-2: [{port % other}]}}\n"
    plan = compiled(tmp_path, text.replace("ci-1", "'ci-[1]'").replace("ci-2", "ci-?"))

    *_, _, two = plan.all([first(), second()])

    assert written(two.entries) == ["accept 4 192.168.122.11"]


def settled(state: State, plan: Planner, of: Record) -> Record:
    """The guest's record once it is in force, noted as an event does it."""
    new = plan.guest(of).settled()
    References(state).change([(None, new)], plan)
    state.keep(new)
    return new


def test_a_later_guest_yields(tmp_path: Path) -> None:
    """An event of it reads the owner's record, plans what a full sync would, and notes
    what it waits for."""
    plan, state, base = compiled(tmp_path, SHARED), fresh_state(tmp_path), {"x": ""}
    owner = settled(state, plan, first())
    *_, full = plan.all([owner, second()])

    found = plan_beside_owners(plan, second(), state, base)

    mine = keys(found.conflicts), written(found.entries)
    assert mine == (TAKEN, written(full.entries))
    assert base == {"x": "", "contested": ""}
    assert state.read("contested") == "port 4 * tcp 80 80\nport 4 * udp 81 81"


def test_an_owner_does_not_yield_to_itself(tmp_path: Path) -> None:
    """Another event of it, a new address say."""
    plan, state = compiled(tmp_path, SHARED), fresh_state(tmp_path)
    owner = settled(state, plan, first())

    found = plan_beside_owners(plan, owner, state, {})

    assert (written(found.entries), found.conflicts) == (ONE_BY_PATTERN, {})


def test_a_guest_that_runs_longer(tmp_path: Path) -> None:
    """It has the port, which it could not have before: without an address, say. All
    guests are planned."""
    plan, state = compiled(tmp_path, SHARED), fresh_state(tmp_path)
    settled(state, plan, first(since=5))

    with pytest.raises(NeedsFullSync, match="another guest may be waiting for this"):
        plan_beside_owners(plan, second(since=4), state, {})


def test_two_that_start_together(tmp_path: Path) -> None:
    """Neither has the port yet when both are planned: all guests are planned."""
    plan, state = compiled(tmp_path, SHARED), fresh_state(tmp_path)
    pairs = [(None, plan.guest(one).settled()) for one in (first(), second())]

    with pytest.raises(NeedsFullSync, match="another guest is at the same port"):
        References(state).change([*pairs], plan)


def test_who_has_which_port(tmp_path: Path) -> None:
    """A file for each shared port, gone with the guest; the records make it anew."""
    plan, state = compiled(tmp_path, SHARED), fresh_state(tmp_path)
    shared = References(state)
    owner = settled(state, plan, first())
    noted = files_of(Path(state.path, "addresses"))
    shared.change([(owner, None)], plan)
    after = files_of(Path(state.path, "addresses"))
    shared.note_anew([owner])

    ports = ["192.168.122.10", "4,*,tcp,80,80", "4,*,udp,81,81"]
    assert noted == dict.fromkeys(ports, "guests/qemu/ci-1")
    assert (after, files_of(Path(state.path, "addresses"))) == ({}, noted)


def test_a_record_says_that_ports_are_shared(tmp_path: Path) -> None:
    """The kernel's entries alone do not."""
    found = compiled(tmp_path, SHARED).guest(first()).settled()

    assert (found.is_shared, parse_record(found.text()).is_shared) == (True, True)


RANGE = "guests: {}\npatterns: {ci-*: ['0.0.0.0:70-75:70-75', '0.0.0.0:80:80']}\n"


def test_two_that_have_other_parts_of_a_range(tmp_path: Path) -> None:
    """A service of the host has come, or gone, between their starts: the second one
    does not have what the kernel would take beside the first one's."""
    plan, state = compiled(tmp_path, RANGE), fresh_state(tmp_path)
    owner = settled(state, plan, first())
    listeners = [Listener("tcp", "46", None, 72)]
    there = Host(network(reservations=RESERVED), listeners=listeners)
    later = Planner(plan.compiled, there).guest(replace(second(), since=3))
    later.entries = [one for one in later.entries if "80 80" not in written([one])[0]]

    with pytest.raises(NeedsFullSync, match="another guest is at the same port"):
        References(state).change([(None, later.settled())], plan)

    found = parse_record(owner.text()).shares
    assert [format_published(one) for one in found] == ["4 * tcp 70 75"]


def test_a_port_that_a_later_guest_leaves_to_a_service(tmp_path: Path) -> None:
    """It has the service's port on its bridge's address from the guest that has all
    others; who has none of it leaves nothing either."""
    plan = compiled(tmp_path, SHARED)
    bridge = parse_address("192.168.122.1")
    there = Host(
        network(reservations=RESERVED), listeners=[Listener("tcp", "4", bridge, 80)]
    )
    since = replace(first(), entries=parsed(*ONE_BY_PATTERN))

    *_, one, two = Planner(plan.compiled, there).all([since, second()])

    assert (written(one.entries), written(two.entries)) == (
        ONE_BY_PATTERN,
        ["accept 4 192.168.122.11"],
    )


@pytest.mark.parametrize(
    ("name", "found"),
    [("ci-1", True), ("web-1", False), ("range-1", True)],
)
def test_whose_stop_frees_a_port(tmp_path: Path, name: str, found: bool) -> None:
    """A full sync follows the stop of a guest that has what another one waits for, and
    of no other."""
    ranges = "range-*: ['0.0.0.0:70-75:60-65'], web-*: ['0.0.0.0:82:82']"
    plan = compiled(tmp_path, SHARED.replace("{ci", f"{{{ranges}, ci"))
    state = fresh_state(tmp_path)
    base: dict[str, str] = {}
    for pair in ([first(), second()], [first("range-1"), second("range-2")]):
        note_contested(state, base, plan.all(pair))

    gone = plan.guest(first(name)).entries

    assert is_contested(state, base, gone) == found
    assert not is_contested(state, {}, gone)
