"""Both backends are asked the same; each in a file, and so a process, of its own."""

from __future__ import annotations

import pytest
from lab.host import Host

from .cells import asked_cells
from .play import STAGES, Found, play
from .table import OLDER

pytest.register_assert_rewrite(f"{__package__}.checks")


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    """libvirt's firewall backend, as the module names it."""
    name: str = request.module.BACKEND
    return name


@pytest.fixture(scope="module")
def found(backend: str) -> Found:
    """All that was found on a host with that backend."""
    host = Host.debian12() if backend == OLDER else Host.debian13(backend)
    return play(host, backend)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for every cell of the module's backend, and for every stage."""
    if "cell" in metafunc.fixturenames:
        mine = [c for c in asked_cells() if c.backend == metafunc.module.BACKEND]
        metafunc.parametrize("cell", mine, ids=str)
    if "stage_name" in metafunc.fixturenames:
        metafunc.parametrize("stage_name", STAGES)
