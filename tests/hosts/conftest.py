"""Every recorded host in both variants of iptables, one of each a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .recorded import RECORDINGS, VARIANTS, RecordedHost, recorded_host


@pytest.fixture(
    scope="module", params=[(r, v) for r in RECORDINGS for v in VARIANTS], ids="-".join
)
def recorded(request: pytest.FixtureRequest) -> Iterator[RecordedHost]:
    """A recorded host on which nothing has happened yet, or all has been undone."""
    with recorded_host(*request.param) as host:
        yield host
