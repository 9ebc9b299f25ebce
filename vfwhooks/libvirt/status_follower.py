"""What libvirt's own files say of guests and networks, made into events for the
reconciler.

The service follows libvirt by them: where no hook may run they are all it has, and
where hooks run it finds what no hook tells (a guest whose hook was not called, an
interface that was plugged in). The files are read and never kept open; libvirtd is
not asked: a connection would keep a modular daemon from ending when it is idle.
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
from .domain_status import parse_domain_status
from .status_directories import GUESTS, NETWORKS, OLD_NETWORKS
from .xml import parse_networks

_SUFFIX = ".xml"
# libvirt writes a network's file when its hook has ended, which takes a few seconds
# at most: until then the hook's word counts.
_HOOK_SECONDS = 10
# A process may have 1024 files open as a rule, and there are others to be opened.
_MOST_PROCESSES = 800


class Follower:
    """Compares what changed with what is recorded; `problems` are files that could not
    be read, until somebody has said so. Its descriptor has news when a guest's process
    has ended: with libvirtd away, nobody else tells."""

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
        """Hear no more."""
        for fd in self._processes:
            os.close(fd)
        self._epoll.close()

    def hear(self, paths: Iterable[str]) -> bool:
        """Files have changed; whether one of them is a status file."""
        found = {path for path in paths if path.endswith(_SUFFIX)}
        self._changed |= found
        return bool(found)

    def hear_processes(self, wait: float = 0) -> None:
        """Processes of guests have ended, or do within so many seconds."""
        for fd, _ in self._epoll.poll(wait):
            path, _ = self._processes[fd]
            self._epoll.unregister(fd)  # it would be news for ever; it is kept as proof
            self._changed.add(path)

    def look(self, directory: str) -> None:
        """Look at all that is in a directory, and at what is recorded and not there."""
        names = {n for n in files.names(self._root + directory) if n.endswith(_SUFFIX)}
        if directory == NETWORKS:
            names |= {f"{name}{_SUFFIX}" for name in self._noted_networks()}
        else:
            records = self._state.records(GUESTS[directory], has_entries=False)
            names |= {f"{record.guest.name}{_SUFFIX}" for record in records}
        self._changed |= {f"{directory}/{name}" for name in names}

    def note(self) -> bool:
        """Write down as events what has happened; whether anything has."""
        changed, self._changed = self._changed, set()
        found, is_news = [], False
        for path in sorted(changed):
            try:
                event = self._event(path)
            except (OSError, VfwError) as error:
                self.problems.append(f"{path}: {error}")
                continue
            if event and event[0] == "stopped":
                # At once: many files take long, and a hook may tell of its next start
                # meanwhile. And one that has come under another name has gone first.
                self._note(*event)
                is_news = True
            elif event:
                found.append(event)
        for event in found:
            self._note(*event)
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
            return ("stopped", Guest(driver, name, "", [])) if is_running else None
        guest = status.guest
        guest.name = name  # as hooks are told it
        if record and is_running and record.guest == guest:
            return None
        return None if status.is_starting else ("found", guest)

    def _network_event(self, name: str) -> tuple[str, Guest] | None:
        """What is noted of a network, by its hook or by us, is what is in force."""
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
        """Whether it means anything that a guest has no file. libvirt ends its process
        first: as long as that is there, or where the whole directory is not, somebody
        else has taken the file away."""
        processes = [fd for fd, known in self._processes.items() if known[0] == path]
        if processes:
            return any(_is_over(fd) for fd in processes)
        return files.exists(self._root + path.rpartition("/")[0])

    def _forget(self, path: str) -> None:
        """Close what is open of the guest's process."""
        for fd, known in list(self._processes.items()):
            if known[0] == path:
                os.close(fd)  # which takes it out of epoll as well
                del self._processes[fd]

    def _has_ended(self, path: str, pid: int) -> bool:
        """Whether the guest's process has; its end will be news.

        Numbers are believed only where libvirt's own has been seen: the service, or
        libvirt, may be in a container with numbers of its own, and the process that has
        the number here is somebody else's then.
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


def _network(data: bytes) -> object:
    """What of a network is of interest here. libvirt's file names the backend as well,
    and the hook is not told it."""
    network: Network | None = next(iter(parse_networks(data)), None) if data else None
    return network and (
        network.bridge,
        network.mode,
        network.subnets,
        network.reservations,
    )


def _is_over(process: int) -> bool:
    """Whether the process of a descriptor has, be it waited for or not."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(0))


def _exists(pid: int) -> bool:
    """Whether there is such a process; one that is not ours to signal is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
