"""The processes that are asking libvirtd, and the guests that stop meanwhile:
libvirtd's answer may still name such a guest, and is taken in later."""

import os

from .records import Key
from .state import State, member_name

_PLACE = "asking"


def begin(state: State) -> None:
    """Note that this process is about to ask libvirtd."""
    state.write(f"{_PLACE}/{os.getpid()}", "")


def withdraw(state: State) -> None:
    """This process asks no more, whatever became of the answer."""
    state.remove(f"{_PLACE}/{os.getpid()}")


def end(state: State) -> None:
    """The answer has been taken in; a process that was killed asks no more."""
    withdraw(state)
    state.sweep(_PLACE)
    if not state.names(_PLACE):
        for name in state.names("gone"):
            state.remove(f"gone/{name}")


def note_stopped(state: State, key: Key, stamp: int) -> None:
    """Note that the guest has stopped, while a process is asking."""
    if state.names(_PLACE):
        state.write(f"gone/{member_name(key)}", f"{stamp}")


def stopped_at(state: State, key: Key) -> int:
    """When the guest stopped (monotonic ns), if a process was asking then; else 0."""
    try:
        return int(state.read(f"gone/{member_name(key)}") or 0)
    except ValueError:
        return 0
