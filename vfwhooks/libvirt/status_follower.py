"""Events for the reconciler, made from changes of libvirt's own files of guests and
networks.

Where no hook may run, the service learns of guests from these files only. Where hooks
run, the files show what no hook reports (a guest whose hook was not called, an
interface that was plugged in). The files are never kept open. libvirtd is not asked: a
connection would keep a modular daemon from ending when it is idle.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

from ..store import files
from ..store.records import GuestEvent, Key
from ..store.state import State
from ..values.errors import VfwError
from ..values.guests import Guest, Network
from .daemons import find_daemons
from .domain_status import may_be_migrating, parse_domain_status
from .status_directories import GUESTS, NETWORKS, OLD_NETWORKS
from .xml import parse_networks

_SUFFIX = ".xml"
# libvirt writes a network's file after the network's hook has ended, a few seconds
# later at most. Until then the hook's XML counts.
_HOOK_SECONDS = 10
# A process usually may have 1024 files open, and the service needs some for other
# files.
_MOST_PROCESSES = 800


class Follower:
    """Compares changed files with records. `problems` lists files that could not be
    read; the caller empties it. The descriptor is readable when a guest's process has
    ended: if libvirtd does not run, nobody else reports that."""

    def __init__(self, state: State, root: str = "") -> None:
        self.problems: list[str] = []
        self._state = state
        self._root = root
        self._changed: set[str] = set()
        self._processes: dict[int, tuple[str, int]] = {}
        self._epoll = select.epoll()
        self._has_seen_daemon = False

    def fileno(self) -> int:
        """The descriptor, for poll."""
        return self._epoll.fileno()

    def close(self) -> None:
        """Close all descriptors."""
        for fd in self._processes:
            os.close(fd)
        self._epoll.close()

    def hear(self, paths: Iterable[str]) -> bool:
        """Note changed files. Returns whether a status file is among them."""
        found = {path for path in paths if path.endswith(_SUFFIX)}
        self._changed |= found
        return bool(found)

    def hear_processes(self, wait: float = 0) -> None:
        """Note guests whose processes have ended, or end within `wait` seconds."""
        for fd, _ in self._epoll.poll(wait):
            path, _ = self._processes[fd]
            self._epoll.unregister(fd)  # it would be news for ever; it is kept as proof
            self._changed.add(path)

    def look(self, directory: str) -> None:
        """Note all files in a directory, and all recorded guests that have no file
        there."""
        names = {n for n in files.names(self._root + directory) if n.endswith(_SUFFIX)}
        if directory == NETWORKS:
            names |= {f"{name}{_SUFFIX}" for name in self._noted_networks()}
        else:
            records = self._state.records(GUESTS[directory], has_entries=False)
            names |= {f"{record.guest.name}{_SUFFIX}" for record in records}
        self._changed |= {f"{directory}/{name}" for name in names}

    def note(self) -> bool:
        """Write events for the noted changes. Returns whether there was any. Raises
        OSError if the host lacks something for a while: all stay noted."""
        found, is_news = [], False
        problems = []
        for path in sorted(self._changed):
            try:
                event = self._event(path)
            except (OSError, VfwError) as error:
                if files.is_shortage(error):
                    raise
                problems.append(f"{path}: {error}")
                continue
            if event and event[0] == "stopped":
                # This event is written at once: many files take long, and meanwhile a
                # hook may report the guest's next start. A renamed guest, too, stops
                # under its old name first.
                self._note(*event)
                is_news = True
            elif event:
                found.append(event)
        for event in found:
            self._note(*event)
        self._changed.clear()
        self.problems += problems
        return is_news or bool(found)

    def _note(self, operation: str, guest: Guest) -> None:
        self._state.note(GuestEvent(operation, guest, time.monotonic_ns()))

    def _event(self, path: str) -> tuple[str, Guest] | None:
        directory, _, name = path.rpartition("/")
        name = name[: -len(_SUFFIX)]
        if directory == NETWORKS:
            return self._network_event(name)
        return self._guest_event(path, (GUESTS[directory], name))

    def _guest_event(self, path: str, key: Key) -> tuple[str, Guest] | None:
        driver, name = key
        record = self._state.record(key, has_entries=False)
        is_running = record is not None and not record.is_off
        data = files.read(self._root + path)
        if data is None and not self._is_told_of(path):
            return None
        status = parse_domain_status(data, driver) if data else None
        # libxl's guests have no process of their own.
        pid = status.pid if status and driver != "libxl" else 0
        if status is None:
            self._forget(path)
        if status is None or (pid and self._has_ended(path, pid)):
            # libvirtd's answer to a process that asks may still name the guest.
            is_news = is_running or bool(self._state.names("asking"))
            return ("stopped", Guest(driver, name, "", [])) if is_news else None
        guest = status.guest
        guest.name = name  # as hooks are told it
        is_away = record is not None and record.is_away
        if status.is_migrating:
            return ("away", guest) if is_running and not is_away else None
        if record and is_running and record.guest == guest and not is_away:
            return None
        return None if status.is_starting else ("found", guest)

    def _network_event(self, name: str) -> tuple[str, Guest] | None:
        """The network's XML in force is the XML that the hook or this class has
        noted."""
        noted = f"networks/{files.file_name(name)}"
        data = b""
        for directory in (NETWORKS, OLD_NETWORKS):
            data = data or files.read(f"{self._root}{directory}/{name}{_SUFFIX}") or b""
        if not data and not files.exists(self._root + NETWORKS):
            return None
        before = self._state.data(noted)
        if _network(data) == _network(before):
            return None
        self._state.note_network(name, data)
        return "network", Guest("network", name, "", [])

    def _noted_networks(self) -> list[str]:
        """The networks that are noted, but for those whose hook may still run."""
        found = []
        for name in self._state.names("networks"):
            told = Path(f"{self._state.path}/networks/{name}").stat().st_mtime
            if not 0 <= time.time() - told < _HOOK_SECONDS:
                try:
                    found.append(files.unquote(name))
                except ValueError:
                    continue  # no release of ours has named it
        return found

    def _is_told_of(self, path: str) -> bool:
        """Whether a missing file means that the guest has stopped. libvirt ends the
        process first: if the process still runs, or the whole directory is missing,
        somebody else has removed the file."""
        processes = [fd for fd, known in self._processes.items() if known[0] == path]
        if processes:
            return any(_is_over(fd) for fd in processes)
        return files.exists(self._root + path.rpartition("/")[0])

    def _forget(self, path: str) -> None:
        """Close the descriptors of the guest's process."""
        for fd, known in list(self._processes.items()):
            if known[0] == path:
                os.close(fd)  # which takes it out of epoll as well
                del self._processes[fd]

    def _has_ended(self, path: str, pid: int) -> bool:
        """Whether the guest's process has ended; if not, its end becomes an event.

        Process numbers count only after libvirt's own daemon was seen by its number:
        the service, or libvirt, may be in a container with its own numbers, and then
        the number belongs to another process here.
        """
        for fd, known in self._processes.items():
            if known == (path, pid) and not _is_over(fd):
                return False
        has_ended = (path, pid) in self._processes.values()
        self._forget(path)
        self._has_seen_daemon = self._has_seen_daemon or bool(find_daemons(self._root))
        if has_ended or not self._has_seen_daemon:
            return has_ended
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        except (OSError, AttributeError):
            return not _exists(pid)  # before 5.3
        has_ended = _is_over(fd)
        if has_ended or len(self._processes) >= _MOST_PROCESSES:
            os.close(fd)
            return has_ended
        self._processes[fd] = path, pid
        self._epoll.register(fd, select.EPOLLIN)
        return False


def is_migrating(guest: Guest, root: str = "") -> bool:
    """Whether libvirt's file says that the guest does not run here because of a
    migration; False if the file says nothing."""
    for directory, driver in GUESTS.items():
        path = f"{root}{directory}/{guest.name}{_SUFFIX}"
        data = files.read(path) if driver == guest.driver else None
        if data and may_be_migrating(data):
            try:
                return parse_domain_status(data, driver).is_migrating
            except VfwError:
                return False
    return False


def _network(data: bytes) -> object:
    """The parts of a network that matter here. The backend is left out: libvirt's file
    has it, and the hook's XML does not."""
    network: Network | None = next(iter(parse_networks(data)), None) if data else None
    return network and (
        network.bridge,
        network.mode,
        network.subnets,
        network.reservations,
    )


def _is_over(process: int) -> bool:
    """Whether the descriptor's process has ended, whether waited for or not."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def _exists(pid: int) -> bool:
    """Whether the process exists, also if we may not signal it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
