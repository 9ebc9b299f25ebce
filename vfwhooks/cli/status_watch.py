"""`vfwhooks status --watch`: looks again when something has changed, and not before.

On a terminal the screen is drawn over; elsewhere each changed overview is written below
the last one. It ends with Ctrl-C, or when nobody reads any more.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ..config.compiled_file import stamps_in_force
from ..config.last_good import known_broken
from ..config.source_stamps import digest_of, is_current
from ..diagnosis.overview import Overview
from ..installation.service_process import find_service
from ..store import files
from ..store.state import State

_QUIET = 0.2  # seconds: one change is several pieces of news
_LONGEST = 3.0  # seconds to wait for the end of a change
_WORKING = 0.05  # seconds until another look whether a sync has ended
_SIGNALS = signal.SIGTERM, signal.SIGHUP
_REDRAWN = signal.SIGWINCH, signal.SIGCONT  # after these the screen is drawn again


class News(Protocol):
    """Descriptors for poll, and whether there was news."""

    def register(self, poll: select.poll) -> None:
        """Have the descriptors polled."""

    def read(self) -> bool:
        """Whether anything has changed since the last call."""


class StatusWatch:
    """Gets overviews by `look`, and shows each whose `essence` differs."""

    def __init__(
        self,
        news: News,
        state: str,
        main: str,
        look: Callable[[], Overview],
        essence: Callable[[Overview], object],
    ) -> None:
        self._news = news
        self._state = state
        self._main = main
        self._look = look
        self._essence = essence
        self._waker = -1
        self._is_resized = False
        self._poll = select.poll()
        news.register(self._poll)
        # Only errors: the reader has ended, or the terminal is gone. A write to nobody
        # has another file there (see standard_streams).
        self._reader = os.dup(sys.stdout.fileno())
        self._poll.register(self._reader, 0)

    def run(self, show: Callable[[Overview], None], is_live: bool) -> None:
        """Show the overview, and each change of it, until the reader ends. With
        `is_live` each look is shown, and again where the terminal has changed."""
        gc.enable()  # this process lives on
        with _waking() as self._waker:
            self._poll.register(self._waker, select.POLLIN)
            overview = self._settled()
            show(overview)
            while True:
                self._is_resized = False
                if self._wait(None) and self._news.read():
                    before, overview = self._essence(overview), self._settled()
                    if is_live or self._essence(overview) != before:
                        show(overview)
                elif is_live and self._is_resized:
                    show(overview)

    def _settled(self) -> Overview:
        """An overview during which nothing has changed, as far as that can be had."""
        until = time.monotonic() + _LONGEST
        while True:
            while self._wait(_QUIET) and time.monotonic() < until:
                self._news.read()
            while self._is_between() and time.monotonic() < until:
                time.sleep(_WORKING)
            self._news.read()
            overview = self._look()
            if time.monotonic() > until or not (self._wait(0) and self._news.read()):
                return overview

    def _is_between(self) -> bool:
        """Whether a sync goes on, or has to follow: another configuration is in force
        than the one by which guests were planned, or the service has a new one before
        it."""
        if files.exists(f"{self._state}/working"):
            return True
        planned = State(self._state).base().get("config")
        stamps = stamps_in_force(self._state)
        if planned not in (None, digest_of(stamps)):
            return True
        if not stamps or is_current(stamps, self._main) or not find_service():
            return False
        taken, broken = known_broken(State(self._state))
        return not broken or (bool(taken) and not is_current(taken, self._main))

    def _wait(self, seconds: float | None) -> bool:
        """Whether there may be news within so many seconds (None: without end); also
        ends when the screen must be drawn again. Raises BrokenPipeError if nobody reads
        any more."""
        ready = self._poll.poll(None if seconds is None else seconds * 1000)
        found = {fd for fd, _ in ready}
        if self._reader in found:
            raise BrokenPipeError
        if self._waker in found:
            os.read(self._waker, 1 << 10)
            self._is_resized = True
        return bool(found - {self._waker})


@contextmanager
def _waking() -> Iterator[int]:
    """A descriptor that can be read when the screen must be drawn again. Signals that
    end a process end it by SystemExit, so that it can tidy up."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = {one: signal.signal(one, end) for one in _SIGNALS}
    for one in _REDRAWN:
        before[one] = signal.signal(one, lambda *_: None)
    was = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(was)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
