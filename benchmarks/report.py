"""What was measured, as text for a terminal and as docs/benchmarks.md. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Rows of cells under a head; the first column is a name."""

    head: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def markdown(self) -> str:
        """The table in Markdown, its columns aligned."""
        lines = [self.head, *self.rows]
        widths = [max(len(line[n]) for line in lines) for n in range(len(self.head))]
        shown = [
            "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |"
            for line in lines
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([shown[0], rule, *shown[1:]]) + "\n"


@dataclass(frozen=True)
class Verdict:
    """A target, what was measured for it, and whether it is met."""

    target: str
    figure: str
    is_met: bool


@dataclass
class Section:
    """One topic: what is compared, its tables, its plot and its targets."""

    title: str
    about: str
    tables: list[Table] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    plots: dict[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """The topic as a part of docs/benchmarks.md."""
        parts = [f"## {self.title}\n", self.about + "\n"]
        parts += [table.markdown() for table in self.tables]
        parts += [f"![{self.title}]({name})\n" for name in self.plots]
        return "\n".join(parts)


def verdicts(sections: list[Section]) -> Table:
    """All targets in one table."""
    table = Table(("target", "measured", ""))
    for section in sections:
        for one in section.verdicts:
            met = "met" if one.is_met else "**missed**"
            table.rows.append((one.target, one.figure, met))
    return table


def replace_measured(text: str, measured: str) -> str:
    """The page with the part between its two marks made anew; the rest is written by
    hand."""
    begin, end = "<!-- measured -->\n", "<!-- /measured -->\n"
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return head + begin + measured + end + tail
