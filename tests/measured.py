"""A pytest plugin: figures that tests measure and never judge, printed at the end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_FIGURE = "figure"


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, float], None]:
    """A function that takes down what was measured, and in which unit.

    The figures travel in the test's report, so that they arrive from other processes.
    """

    def take_down(what: str, figure: float) -> None:
        shown = f"{figure:,.0f}" if figure >= 1000 else f"{figure:.3g}"
        line = f"{request.node.name}: {what}: {shown}"
        request.node.user_properties.append((_FIGURE, line))

    return take_down


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures."""
    lines = [
        line
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, line in report.user_properties
        if name == _FIGURE
    ]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.line(line)
