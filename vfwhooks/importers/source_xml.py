"""XML of other tools: elements with their place in the source. Pure."""

from __future__ import annotations

import re

from ..libvirt.xml import Element, read_lines, read_xml
from ..values.errors import VfwError
from .imported import Origin, unreadable

_AT = re.compile(r"line (\d+), column (\d+)")


class SourceXml:
    """A document; `root` is its first element.

    Raises VfwError, with line and column, for what is no XML.
    """

    def __init__(self, text: str, name: str) -> None:
        data = text.encode("utf-8", "surrogateescape")
        try:
            self.root: Element = read_xml(data)
        except VfwError as error:
            at = _AT.search(error.message)
            where = f"{name}:{at[1]}:{max(int(at[2]), 1)}" if at else name
            raise unreadable(where, error.message) from None
        self._name = name
        self._text = text.split("\n")
        lines = read_lines(data)
        self._line = {id(one): line for one, line in zip(self.root.iter(), lines)}

    def origin(self, element: Element) -> Origin:
        """Where an element stands, and its tag."""
        line = self._line.get(id(element), 0)
        written = "".join(self._text[line - 1 : line]) if line else ""
        tag = element.tag.rpartition("}")[2]
        begin = re.search(rf"<(?:[\w.-]+:)?{re.escape(tag)}\b", written)
        column = begin.start() + 1 if begin else 1
        said = "".join(f' {name}="{value}"' for name, value in element.attrib.items())
        where = f"{self._name}:{line}:{column}" if line else self._name
        return Origin(where, f"<{tag}{said}>")
