"""Hooks that ring and have no answer yet: the service's side of the doorbell (see
hook). It never waits."""

from __future__ import annotations

import os
import select
import socket

from ..store import files
from .hook import BELL, DEAF, NO, YES
from .log import WARNING, Log

_KIND = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
_LONGEST = 200
_BACKLOG = 4096
_MOST = 100


class RingingHooks:
    """The ringing hooks, by the descriptors of their connections."""

    def __init__(self, state: str, poll: select.poll) -> None:
        self._state = state
        self._poll = poll
        self._socket: socket.socket | None = None
        self._at = 0, 0
        self._silent: dict[int, socket.socket] = {}
        self._rung: list[tuple[str, socket.socket]] = []

    def open(self) -> None:
        """Open the doorbell, in the place of one that may be there. Raises OSError."""
        self.close()
        bell = socket.socket(socket.AF_UNIX, _KIND)
        try:
            files.remove(f"{self._state}/{BELL}")
            bell.bind(f"{self._state}/{BELL}")
            bell.listen(_BACKLOG)
        except BaseException:
            bell.close()
            raise
        self._socket, self._at = bell, _place(self._state)
        self._poll.register(bell, select.POLLIN)
        files.remove(f"{self._state}/{DEAF}")

    def close(self) -> None:
        """Close the doorbell; hooks that wait go on without the service."""
        for link in [*self._silent.values(), *([self._socket] if self._socket else [])]:
            self._poll.unregister(link)
            link.close()
        for _, link in self._rung:
            link.close()
        self._socket = None
        self._silent.clear()
        self._rung.clear()

    def is_there(self) -> bool:
        """Whether the doorbell that hooks find is this one."""
        return self._socket is not None and _place(self._state) == self._at

    def stay_open(self, log: Log) -> None:
        """Open the doorbell, unless it is there: a process may have removed it."""
        try:
            if not self.is_there():
                self.open()
        except OSError as error:
            what = f"hooks cannot ring here, and do their work themselves: {error}"
            log.say(what, WARNING)

    def is_full(self) -> bool:
        """Whether no more hooks are accepted before the waiting ones are answered: a
        process may usually have 1024 files open, and most of these are for guests."""
        return len(self._rung) >= _MOST

    def knows(self, fd: int) -> bool:
        """Whether the descriptor is the doorbell's, or of a hook that has not sent its
        event yet."""
        return fd in self._silent or (self._socket and self._socket.fileno()) == fd

    def hear(self, fd: int) -> None:
        """Accept hooks, or read the event of one. Raises OSError, with the doorbell
        closed, if no hook can be accepted: `poll` would tell of them for ever."""
        if fd in self._silent:
            self._listen(self._silent[fd])
            return
        while self._socket and not self.is_full():
            try:
                link, _ = self._socket.accept()
            except OSError as error:
                if files.is_shortage(error):
                    self.close()
                    raise
                break  # no more hooks, or they did not wait
            link.setblocking(False)
            self._silent[link.fileno()] = link
            self._poll.register(link, select.POLLIN)
            self._listen(link)

    def _listen(self, link: socket.socket) -> None:
        try:
            event = link.recv(_LONGEST)
        except BlockingIOError:
            return
        except OSError:
            event = b""
        del self._silent[link.fileno()]
        self._poll.unregister(link)
        if event:
            self._rung.append((event.decode("utf-8", "surrogateescape"), link))
        else:
            link.close()

    def is_rung(self) -> bool:
        """Whether a hook waits for an answer."""
        return bool(self._rung)

    def waits_for_work(self) -> bool:
        """Whether a hook waits whose event is still in the spool."""
        return any(self._is_waiting(event) for event, _ in self._rung)

    def answer(self) -> None:
        """Tell each waiting hook whether its event has been carried out."""
        for event, link in self._rung:
            try:
                link.send(NO if self._is_waiting(event) else YES)
            except OSError:
                pass  # the hook did not wait so long
            link.close()
        self._rung.clear()

    def _is_waiting(self, event: str) -> bool:
        return files.exists(f"{self._state}/{event}")


def _place(state: str) -> tuple[int, int]:
    """The device and inode of the doorbell; zeros if it is gone."""
    try:
        about = os.lstat(f"{state}/{BELL}")
    except OSError:
        return 0, 0
    return about.st_dev, about.st_ino
