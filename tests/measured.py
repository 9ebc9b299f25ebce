"""A pytest plugin: figures that tests measure and never judge, printed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

_FIGURES: list[str] = []


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Iterator[Callable[[str, float], None]]:
    """A function that takes down what was measured, and in which unit."""

    def take_down(what: str, figure: float) -> None:
        _FIGURES.append(f"{request.node.name}: {what}: {figure:.3g}")

    yield take_down


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    if _FIGURES:
        terminalreporter.section("figures")
        for line in _FIGURES:
            terminalreporter.line(line)
