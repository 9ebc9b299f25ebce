"""Line plots as SVG: both axes logarithmic, a line a contender. Pure."""

from __future__ import annotations

from html import escape
from math import log10

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 170, 40, 50
COLOURS = (
    *("#0b6e4f", "#c8553d", "#3d5a80", "#8d6a9f"),
    *("#b08900", "#555555", "#1f9bcf", "#7a9e2f"),
)
Points = list[tuple[float, float]]


class Scale:
    """From values to pixels, logarithmically, whole decades."""

    def __init__(self, values: list[float], first: float, last: float) -> None:
        low, high = log10(min(values)), log10(max(values))
        self.low = int(low // 1)
        self.high = max(self.low + 1, -int(-high // 1))
        self.first, self.last = first, last

    def at(self, value: float) -> float:
        """Where the value lies."""
        part = (log10(value) - self.low) / (self.high - self.low)
        return self.first + part * (self.last - self.first)

    def ticks(self) -> list[float]:
        """The decades."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def render(title: str, x: str, y: str, lines: dict[str, Points]) -> str:
    """The plot; every line has at least one point, and all values are above 0."""
    points = [point for line in lines.values() for point in line]
    across = Scale([a for a, _ in points], LEFT, WIDTH - RIGHT)
    up = Scale([b for _, b in points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        _text(LEFT, 22, title, 'font-size="14" font-weight="bold"'),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x, 'text-anchor="middle"'),
        _text(LEFT - 8, TOP - 8, y, 'text-anchor="end"'),
    ]
    for tick in across.ticks():
        at = across.at(tick)
        parts.append(_line(at, TOP, at, HEIGHT - BOTTOM))
        label = _text(at, HEIGHT - BOTTOM + 16, _number(tick), 'text-anchor="middle"')
        parts.append(label)
    for tick in up.ticks():
        at = up.at(tick)
        parts.append(_line(LEFT, at, WIDTH - RIGHT, at))
        parts.append(_text(LEFT - 8, at + 4, _number(tick), 'text-anchor="end"'))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        corners = [(across.at(a), up.at(b)) for a, b in line]
        where = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        style = f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<polyline points="{where}" {style}/>')
        parts += [
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>'
            for a, b in corners
        ]
        y_at = TOP + 14 + 20 * number
        parts.append(_text(WIDTH - RIGHT + 14, y_at, name, f'fill="{colour}"'))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="#dddddd"/>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
