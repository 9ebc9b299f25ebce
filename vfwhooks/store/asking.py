"""Who is asking libvirtd, and which guests stop meanwhile: the answer may still name
them, and is taken in later.
"""

import os

from .records import Key
from .state import State, member_name

_PLACE = "asking"


def begin(state: State) -> None:
    """Somebody is about to ask libvirtd."""
    state.write(f"{_PLACE}/{os.getpid()}", "")


def end(state: State) -> None:
    """The answer has been taken in; askers that were killed count as answered."""
    state.remove(f"{_PLACE}/{os.getpid()}")
    state.sweep(_PLACE)
    if not state.names(_PLACE):
        for name in state.names("gone"):
            state.remove(f"gone/{name}")


def note_stopped(state: State, key: Key, stamp: int) -> None:
    """The guest has stopped: noted while somebody is asking."""
    if state.names(_PLACE):
        state.write(f"gone/{member_name(key)}", f"{stamp}")


def stopped_at(state: State, key: Key) -> int:
    """When the guest stopped, if it was while somebody was asking; else 0."""
    try:
        return int(state.read(f"gone/{member_name(key)}") or 0)
    except ValueError:
        return 0
