"""The forwards in a domain's metadata: the element as one text, and the text as parts
with their lines.

The text is the same however the element was written: one element a line, without
comments. So the record of a guest, libvirt's files and libvirtd's answer have the same
text for the same forwards. config/metadata_syntax says what the parts mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from lxml import etree  # type: ignore[import-untyped]  # it has no stubs

from ..store.files import find_templates
from ..values.guests import FORWARDS, UNREADABLE
from .forgotten_names import forgets_names

SCHEMA = f"{find_templates(__file__.rsplit('/', 2)[0])}/forwards-metadata.rng"
_LARGEST = 64 << 10
_MOST = 2000
_DEEPEST = 8
_SPACE = f"{{{FORWARDS}}}"


@dataclass(frozen=True)
class Part:
    """An element: its name without our namespace, its line, attributes and children."""

    tag: str
    line: int
    attributes: dict[str, str]
    parts: tuple[Part, ...]

    def named(self, tag: str) -> list[Part]:
        """The children of this name."""
        return [one for one in self.parts if one.tag == tag]


@dataclass(frozen=True)
class Fault:
    """Something in the text that the schema does not have, and its line."""

    line: int
    message: str


@forgets_names
def format_forwards(element: Element) -> str:
    """The element as text; the reason behind UNREADABLE for more than anybody needs."""
    reason = _too_much(element)
    if reason:
        return f"{UNREADABLE}{reason}"
    ElementTree.register_namespace("vfwhooks", FORWARDS)
    element.tail = None
    ElementTree.indent(element)
    text = ElementTree.tostring(element, "unicode")
    if len(text) > _LARGEST:
        return f"{UNREADABLE}the forwards are larger than {_LARGEST >> 10} KiB"
    try:
        _tree(text)
    except etree.XMLSyntaxError as error:  # a name with two colons, for example
        return f"{UNREADABLE}the XML is malformed: {' '.join(str(error.msg).split())}"
    return text


def format_part(part: Part) -> str:
    """The part as text. Its elements have no prefix: libvirt puts them into the
    namespace that it is told."""
    element = _element(part)
    ElementTree.indent(element)
    return ElementTree.tostring(element, "unicode")


def in_namespace(text: str) -> str:
    """A text of `format_part`, or what libvirt gives for one, as `format_forwards`
    writes it."""
    return format_forwards(_element(_part(_tree(text)), _SPACE))


def _element(part: Part, space: str = "") -> Element:
    tag = part.tag if part.tag[:1] == "{" else f"{space}{part.tag}"
    element = Element(tag, part.attributes)
    element.extend(_element(one, space) for one in part.parts)
    return element


def _too_much(element: Element) -> str:
    count, level = 0, [element]
    for _ in range(_DEEPEST):
        count += len(level)
        if count > _MOST:
            return f"the forwards have more than {_MOST} elements"
        level = [child for one in level for child in one]
        if not level:
            return ""
    return f"the forwards are more than {_DEEPEST} elements deep"


@forgets_names
def parse_forwards(text: str) -> Part:
    """The element `forwards` in a text of `format_forwards`."""
    return _part(_tree(text))


@forgets_names
def find_faults(text: str) -> list[Fault]:
    """What the RELAX NG schema has against the text."""
    schema = _schema()
    schema.validate(_tree(text))
    return [Fault(one.line, one.message) for one in schema.error_log]


@cache
def _schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(SCHEMA))


def _tree(text: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    return etree.fromstring(text, parser)


def _part(element: etree._Element) -> Part:
    tag = str(element.tag)
    return Part(
        tag[len(_SPACE) :] if tag.startswith(_SPACE) else tag,
        element.sourceline or 0,
        {str(name): str(value) for name, value in element.attrib.items()},
        tuple(_part(one) for one in element if isinstance(one.tag, str)),
    )
