"""Every recorded host, one of each a module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .recorded import RECORDINGS, VARIANTS, RecordedHost, recorded_host

# What does not depend on the variant of iptables is asked with one of them.
# VFWHOOKS_ALL_KINDS=1 (and tests/run --long) asks both.
_ON_ONE = {"test_needs_nothing", "test_old_files", "test_public_addresses"}
_ON_ONE |= {"test_replay"}
if "VFWHOOKS_ALL_KINDS" in os.environ:
    _ON_ONE = set()


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Leave out the variant that tells nothing new."""
    name = metafunc.module.__name__.rpartition(".")[2]
    if "recorded" in metafunc.fixturenames and name in _ON_ONE:
        hosts = [(recording, VARIANTS[0]) for recording in RECORDINGS]
        mark = pytest.mark.parametrize("recorded", hosts, indirect=True, ids="-".join)
        metafunc.definition.add_marker(mark)


@pytest.fixture(
    scope="module", params=[(r, v) for r in RECORDINGS for v in VARIANTS], ids="-".join
)
def recorded(request: pytest.FixtureRequest) -> Iterator[RecordedHost]:
    """A recorded host on which nothing has happened yet, or all has been undone."""
    with recorded_host(*request.param) as host:
        yield host
