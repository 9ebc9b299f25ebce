"""Puts tests/ and the checkout on the path, wherever pytest is started from; leaves out
what only `tests/run --long` runs."""

import os
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Without VFWHOOKS_LONG a test that is marked long is not even collected."""
    if os.environ.get("VFWHOOKS_LONG"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("long")]
