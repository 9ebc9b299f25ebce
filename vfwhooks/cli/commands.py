"""Commands as the parser has them, for the manual pages and for completions: summary,
description, examples, options and arguments."""

from __future__ import annotations

import argparse


def find_commands(parser: argparse.ArgumentParser) -> dict[str, Command]:
    """The commands for users, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return {
                one.dest: Command(one.help or "", action.choices[one.dest])
                for one in action._get_subactions()
            }
    return {}


class Command:
    """A command's summary, and its parser."""

    def __init__(self, summary: str, parser: argparse.ArgumentParser) -> None:
        self.summary = summary
        self.parser = parser

    @property
    def about(self) -> str:
        """The description of the command, in paragraphs."""
        return self.parser.description or ""

    @property
    def examples(self) -> list[str]:
        """Command lines to try."""
        return [line.strip() for line in (self.parser.epilog or "").splitlines()[1:]]

    @property
    def options(self) -> list[argparse.Action]:
        """The options, `--help` among them."""
        return [one for one in self.parser._actions if one.option_strings]

    @property
    def arguments(self) -> list[argparse.Action]:
        """The arguments that are no options."""
        return [one for one in self.parser._actions if not one.option_strings]
