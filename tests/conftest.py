"""Puts tests/ and the checkout on the path, and tells which tests belong together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
sys.path[:0] = [str(TESTS), str(TESTS.parent)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one module that share a host are run by one process, in their order."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        kind = callspec.params.get("host", "") if callspec else ""
        group = f"{item.path.relative_to(TESTS)}-{kind}"
        item.add_marker(pytest.mark.xdist_group(group))
