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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which hosts a module asks."""
    if "recorded" in metafunc.fixturenames:
        name = metafunc.module.__name__.rpartition(".")[2]
        asked = VARIANTS[:1] if name in _ON_ONE else VARIANTS
        hosts = [(recording, variant) for recording in RECORDINGS for variant in asked]
        metafunc.parametrize(
            "recorded", hosts, indirect=True, ids="-".join, scope="module"
        )


@pytest.fixture(scope="module")
def recorded(request: pytest.FixtureRequest) -> Iterator[RecordedHost]:
    """A recorded host on which nothing has happened yet, or all has been undone."""
    with recorded_host(*request.param) as host:
        yield host
