"""The patterns below `patterns:` in forwards.yaml, each of which stands there once."""

from __future__ import annotations

from ..values.errors import VfwError, show
from .name_patterns import MOST, parse_pattern
from .value_reader import Values
from .yaml_nodes import Place, Text


class PatternNames:
    """The patterns of all files read so far."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}

    def take(self, read: Values, key: Text) -> bool:
        """Note a pattern; False, and a problem, if it cannot count."""
        pattern, before = key.value, len(read.problems)
        if pattern in self._places:
            at = self._places[pattern]
            read.wrong(key.place, f"{show(pattern)} stands in {at} already")
            return False
        self._places[pattern] = key.place
        if len(self._places) > MOST:
            if len(self._places) == MOST + 1:
                cure = "write guests below guests:, which costs nothing"
                read.wrong(key.place, f"more than {MOST} patterns; {cure}")
            return False
        try:
            parse_pattern(pattern)
        except VfwError as error:
            read.wrong(key.place, error.message)
        return len(read.problems) == before
