"""background_jobs: what the service has a child do. Children are made up where what
they do is no matter, and real where it is."""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock, patch

import pytest

from unit.builders import fresh_state
from unit.test_last_good import edit, names
from vfwhooks.config.last_good import is_in_force, refresh
from vfwhooks.service import background_jobs
from vfwhooks.service.background_jobs import (
    ASK,
    COMPILE,
    SURVEY,
    WITHDRAW,
    BackgroundJobs,
    Surveyor,
)
from vfwhooks.service.children import Children, Ended
from vfwhooks.service.log import Log
from vfwhooks.service.schedule import Schedule
from vfwhooks.store.lock import Lock
from vfwhooks.store.state import State

LONG = 50.0


class Made(Children):
    """Children that do nothing; each ends when it is told to."""

    def __init__(self) -> None:
        super().__init__(select.poll())
        self.started: list[tuple[str, list[str]]] = []
        self.at: dict[str, Callable[[Ended], None]] = {}
        self.error: OSError | None = None

    def is_at(self, name: str) -> bool:
        return name in self.at

    def start(
        self,
        name: str,
        argv: list[str],
        on_end: Callable[[Ended], None],
        seconds: float = 0,
    ) -> None:
        del seconds
        if self.error:
            raise self.error
        self.started.append((name, argv))
        self.at[name] = on_end

    def end(self, name: str, status: int = 0, said: str = "") -> None:
        """It ends so."""
        self.at.pop(name)(Ended(status, said))

    def names(self) -> list[str]:
        """All that were started, in order."""
        return [name for name, _ in self.started]


class House:
    """Errands of a state directory, and what they say and have to be done."""

    def __init__(self, root: Path, children: Children | None = None) -> None:
        self.state: State = fresh_state(root)
        self.main = f"{root}/forwards.yaml"
        self.children = Made()
        self.schedule = Schedule()
        self.reader = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.reader.bind(f"{root}/log")
        self.reader.setblocking(False)
        self.errands = BackgroundJobs(
            self.state,
            self.main,
            children or self.children,
            self.schedule,
            Log(select.poll(), f"{root}/log"),
        )

    def said(self) -> list[str]:
        """What is in the log."""
        found = []
        while True:
            try:
                found.append(self.reader.recv(1 << 16).decode().split("]: ", 1)[1])
            except BlockingIOError:
                return found

    def due(self) -> set[str]:
        """What is due, after a while."""
        time.sleep(max(0.0, min(self.schedule.next() - time.monotonic(), 0.5)))
        return self.schedule.take()


@pytest.fixture
def house(tmp_path: Path) -> House:
    """With children that do nothing."""
    return House(tmp_path)


def test_a_compilation(house: House) -> None:
    """When its child has ended, what is compiled is looked at."""
    house.errands.compile()
    before = house.schedule.take()

    house.children.end(COMPILE)

    found = house.children.names(), before, house.due(), house.said()
    assert found == ([COMPILE], set(), {"compiled"}, [])


@pytest.mark.parametrize("news", ["config", "routing"])
def test_a_compilation_asked_for_while_it_runs(house: House, news: str) -> None:
    """The files may have been edited since it read them, or an address of the host may
    have moved: that is looked at again, and it is no second child meanwhile, whoever
    asks however often."""
    errands = house.errands
    for _ in range(3):
        (errands.compile if news == "routing" else errands.compile_edited)()

    house.children.end(COMPILE)

    assert (house.children.names(), house.due()) == ([COMPILE], {"compiled", news})


def test_one_asked_for_when_it_has_ended(house: House) -> None:
    """It is another child, and nothing is due but that."""
    house.errands.compile()
    house.children.end(COMPILE)
    house.due()

    house.errands.compile()
    house.children.end(COMPILE)

    assert (house.children.names(), house.due()) == ([COMPILE] * 2, {"compiled"})


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [
        (1, "python3: no yaml\nat line 7\n", "python3: no yaml"),
        (2, "", "exit status 2"),
        (-9, "", "ended by signal 9"),
    ],
)
def test_a_compilation_that_fails(
    house: House, status: int, said: str, why: str
) -> None:
    """The reason is kept beside the last good configuration, with the file's name."""
    house.errands.compile()

    house.children.end(COMPILE, status, said)

    problem = house.state.read("broken").partition("\n\n")[2]
    assert problem == f"{house.main}: {sys.executable}: {why}"
    assert house.due() == {"compiled"}


def fails(house: House, root: Path, *statuses: int) -> bool:
    """Whether an edit whose compilation has ended so counts as looked at."""
    edit(root, "guests: {}\n")
    for status in statuses:
        house.errands.compile()
        house.children.end(COMPILE, status, "failed")
    return is_in_force(house.state, house.main)


@pytest.mark.parametrize(
    ("statuses", "is_known"), [((1,), False), ((1, 1), True), ((-9, -9, -9), False)]
)
def test_when_it_is_left_alone(
    house: House, tmp_path: Path, statuses: tuple[int, ...], is_known: bool
) -> None:
    """A child that refused twice would do so again, until the files change; one that
    was ended (no memory, no time) is tried again."""
    assert fails(house, tmp_path, *statuses) is is_known


def test_a_compilation_by_a_real_child(tmp_path: Path) -> None:
    """What the files say is in force then."""
    poll = select.poll()
    children = Children(poll)
    house = House(tmp_path, children)
    edit(tmp_path, "guests: {web1: [80]}\n")

    house.errands.compile()
    while children.is_at(COMPILE):
        for fd, _ in poll.poll(LONG * 1000):
            children.hear(fd)

    found = refresh(house.state, house.main, None)
    assert (names(found), house.due(), house.said()) == (["web1"], {"compiled"}, [])


def test_a_compilation_while_the_disk_is_busy(tmp_path: Path) -> None:
    """Its end is heard at once: nobody waits until what is in force is kept over a
    boot, and whoever does that does not hold the child's output open."""
    poll = select.poll()
    children = Children(poll)
    house = House(tmp_path, children)
    edit(tmp_path, "guests: {web1: [80]}\n")
    Path(house.state.kept).mkdir()
    busy = Lock(f"{house.state.kept}/lock")

    house.errands.compile()
    while children.is_at(COMPILE) and (ready := poll.poll(LONG * 1000)):
        for fd, _ in ready:
            children.hear(fd)

    busy.close()
    assert not children.is_at(COMPILE)


def test_what_cannot_be_started(house: House) -> None:
    """No memory, no room for a process: it is said, and may be asked for again."""
    house.children.error = OSError(12, "Cannot allocate memory")

    house.errands.compile()
    house.errands.ask_libvirtd()

    why = "[Errno 12] Cannot allocate memory"
    assert house.said() == [f"compile: {why}", f"ask: {why}"]
    assert not house.children.is_at(COMPILE)


def test_libvirtd_is_asked(house: House) -> None:
    """By `apply`, isolated from the environment; a success is no news."""
    house.errands.ask_libvirtd()

    house.children.end(ASK, 0, "web1: applied\n")

    ((_, argv),) = house.children.started
    assert argv[1] == "-IXutf8"
    assert house.said() == []


def test_libvirtd_is_asked_once_more(house: House) -> None:
    """Who asks while it is asked may know of something newer: one more time, however
    many have asked."""
    for _ in range(3):
        house.errands.ask_libvirtd()

    house.children.end(ASK)
    house.children.end(ASK)

    assert house.children.names() == [ASK, ASK]


@pytest.mark.parametrize(
    ("status", "said", "why"),
    [(1, "one\ntwo\nthree\n", "one two"), (3, "", "exit status 3")],
)
def test_an_answer_that_does_not_come(
    house: House, status: int, said: str, why: str
) -> None:
    """It is said, in two lines' words at most."""
    house.errands.ask_libvirtd()

    house.children.end(ASK, status, said)

    assert house.said() == [f"{sys.executable}: {why}"]


@pytest.mark.parametrize(("status", "is_asked"), [(0, False), (1, False), (-9, True)])
def test_libvirtd_that_hangs(tmp_path: Path, status: int, is_asked: bool) -> None:
    """It is asked again, since nothing tells when it answers; what says no is not."""
    house = House(tmp_path)
    clock = [0.0]
    house.errands._schedule = schedule = Schedule(lambda: clock[0])
    house.errands.ask_libvirtd()

    house.children.end(ASK, status)

    first = schedule.take()
    clock[0] = 60.0
    assert (first, schedule.take()) == ({"asked"}, {"daemon"} if is_asked else set())


@pytest.mark.parametrize(
    ("is_enforcing", "is_on_noexec", "names"),
    [(False, False, []), (True, False, [WITHDRAW]), (False, True, [WITHDRAW])],
)
def test_when_hooks_are_looked_at(
    house: House, is_enforcing: bool, is_on_noexec: bool, names: list[str]
) -> None:
    """Where SELinux refuses or the mount does; else no child is needed to tell."""
    with (
        patch.object(background_jobs, "is_enforcing", return_value=is_enforcing),
        patch.object(background_jobs, "is_on_noexec", return_value=is_on_noexec),
    ):
        house.errands.withdraw_hooks()

    assert house.children.names() == names


def test_hooks_that_are_taken_away(house: House) -> None:
    """Each line of that is news, though the child has done well."""
    with patch.object(background_jobs, "is_enforcing", return_value=True):
        house.errands.withdraw_hooks()

    house.children.end(WITHDRAW, 0, "qemu: withdrawn\nlxc: withdrawn\n")

    assert house.said() == ["qemu: withdrawn", "lxc: withdrawn"]


def test_rules_of_others_are_read_by_one_at_a_time(house: House) -> None:
    """Who asks meanwhile is told to come again, and no second look is noted."""
    found = [house.errands.survey(), house.errands.survey()]
    house.children.end(SURVEY)

    assert (found, house.children.names()) == ([True, False], [SURVEY])


def surveyor(house: House, has_foreign: bool = True) -> Surveyor:
    """Of a host on which others have rules, or have not."""
    rulesets = Mock(may_have_foreign=has_foreign)
    rulesets.has_foreign.return_value = has_foreign
    return Surveyor(house.errands, house.schedule, rulesets)


@pytest.mark.parametrize(
    ("ready", "has_foreign", "names"),
    [
        ({"foreign"}, True, [SURVEY]),
        ({"foreign"}, False, []),
        ({"taken"}, False, [SURVEY]),
        ({"rules"}, True, []),
    ],
)
def test_when_rules_of_others_are_read(
    house: House, ready: set[str], has_foreign: bool, names: list[str]
) -> None:
    """When there may be some that count; and what is due for others stays."""
    left = set(ready)

    surveyor(house, has_foreign).work(left)

    assert (house.children.names(), left) == (names, ready & {"rules"})


def test_rules_that_change_all_the_time(house: House) -> None:
    """They are read now and then, not each time."""
    one = surveyor(house)
    before = time.monotonic()
    for _ in range(3):
        one.work({"foreign"})
        if house.children.is_at(SURVEY):
            house.children.end(SURVEY)

    later = house.schedule.next() - before
    assert (house.children.names(), later > 1) == ([SURVEY], True)


@pytest.mark.parametrize(("has_foreign", "is_due"), [(True, True), (False, False)])
def test_news_of_rules(house: House, has_foreign: bool, is_due: bool) -> None:
    """Only where others may have rules that count is there something to wait for."""
    surveyor(house, has_foreign).hear()

    assert (house.schedule.next() < float("inf")) is is_due
