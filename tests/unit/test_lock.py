"""The lock: one holder, whatever becomes of its file, and no wait without an end."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from vfwhooks.store.lock import Lock
from vfwhooks.values.errors import OutOfTime


def test_one_holder(tmp_path: Path) -> None:
    """Whoever waits until a moment that has passed is told at once."""
    lock = Lock(f"{tmp_path}/lock")

    with pytest.raises(OutOfTime):
        Lock(f"{tmp_path}/lock", 0)

    lock.close()
    Lock(f"{tmp_path}/lock", 0).close()


def test_a_wait_that_is_over_before_it_begins(tmp_path: Path) -> None:
    """The alarm is not lost: these ended, all of them."""
    lock = Lock(f"{tmp_path}/lock")

    for _ in range(300):
        with pytest.raises(OutOfTime):
            Lock(f"{tmp_path}/lock", time.monotonic() + 0.00001)

    lock.close()


def test_a_file_that_was_made_anew(tmp_path: Path) -> None:
    """Who waited for the file before has the lock of the file that is there now."""
    path = tmp_path / "state" / "lock"
    path.parent.mkdir()
    first = Lock(str(path))
    second: list[Lock] = []
    waits = threading.Thread(target=lambda: second.append(Lock(str(path))))
    waits.start()
    time.sleep(0.2)  # it waits, or is about to: both serve

    shutil.rmtree(path.parent)
    path.parent.mkdir()
    first.close()
    waits.join()

    with pytest.raises(OutOfTime):
        Lock(str(path), 0)
    second[0].close()
