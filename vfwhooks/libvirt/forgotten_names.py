"""XML is read in a thread of its own, whose end frees the names that libxml2 keeps.

libxml2 keeps every name of an element or attribute that it has read, and lxml lets one
thread share them. Beyond some 10 MB of them it takes no new name, and may end in the
middle of a text without an error: whoever may edit a domain's metadata could fill them
in a service that runs for months.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from functools import wraps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")
    Given = TypeVar("Given")


def forgets_names(read: Callable[[Given], T]) -> Callable[[Given], T]:
    """The function in a thread of its own, as if it were called here. It may return
    nothing of lxml's."""

    @wraps(read)
    def inside(given: Given) -> T:
        found: list[T] = []
        failed: list[BaseException] = []
        running = _thread.allocate_lock()

        def run() -> None:
            try:
                found.append(read(given))
            except BaseException as error:  # noqa: BLE001 - raised below
                failed.append(error)
            finally:
                running.release()

        running.acquire()
        try:
            _thread.start_new_thread(run, ())
        except RuntimeError:  # there is no room for a thread
            return read(given)
        running.acquire()
        if failed:
            raise failed[0]
        return found[0]

    return inside
