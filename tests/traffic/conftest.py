"""Both backends are asked the same; each in a file, and so a process, of its own."""

from __future__ import annotations

import pytest
from lab.host import Host

from .cells import asked_cells
from .play import Found, play


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    """libvirt's firewall backend, as the module names it."""
    name: str = request.module.BACKEND
    return name


@pytest.fixture(scope="module")
def found(backend: str) -> Found:
    """All that was found on a host with that backend."""
    return play(Host.debian13(backend), backend)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for every cell of the module's backend."""
    if "cell" in metafunc.fixturenames:
        mine = [c for c in asked_cells() if c.backend == metafunc.module.BACKEND]
        metafunc.parametrize("cell", mine, ids=str)
