"""The forwards of a domain's metadata as a tree of forwards.yaml, and such a tree as
metadata. Pure.

There is one set of rules for both: the tree goes the way of any guest of forwards.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..libvirt.forwards_element import Part
from ..values.errors import VfwError, show
from .entry_spelling import format_value
from .forwards_keys import OPTIONS
from .port_spellings import parse_entry, parse_published, parse_target
from .value_reader import kind_of
from .value_syntax import PortRange, parse_ports, parse_subnet
from .yaml_nodes import Items, Node, Pairs, Place, Problem, Text, listed, pairs

KEYS = ("ports", "public_ip", "outgoing")
_SWITCHES = {"yes": "true", "no": "false"}
_MOST = 256  # ports of a range that lead to one port
_WAY_OUT = "metadata has no ports: [] beside a public_ip; forwards.yaml has it"
_NO_RANGE = "no range says which ports; a whole address is a publicIp"


def _attribute(key: str) -> str:
    """An option's name as libvirt spells attributes: overListener."""
    first, *rest = key.split("_")
    return first + "".join(map(str.title, rest))


# An option of the kind true or false is an attribute by itself; the RELAX NG schema has
# a line for each.
_ATTRIBUTES = {key: _attribute(key) for key in OPTIONS}


def without(ports: PortRange, holes: list[PortRange]) -> Iterator[PortRange]:
    """What is left of the ports without the holes."""
    first, last = ports.first, ports.last
    for hole in sorted(holes, key=lambda one: one.first):
        if hole.last < first or hole.first > last:
            continue
        if first < hole.first:
            yield PortRange(first, hole.first - 1)
        first = max(first, hole.last + 1)
    if first <= last:
        yield PortRange(first, last)


def guest_tree(forwards: Part, problems: list[Problem]) -> Node:
    """The value of a guest in forwards.yaml that says the same. A place has an element
    and its line."""
    entries: list[Node] = []
    for one in forwards.named("portForward"):
        entries += _entries(one, problems)
    place = _place(forwards)
    publics = forwards.named("publicIp")
    if not publics:
        return Items(place, tuple(entries))
    addresses = [_text(one, "address") for one in publics]
    keys: list[tuple[Text, Node]] = [
        (Text(place, "public_ip"), Items(_place(publics[0]), tuple(addresses)))
    ]
    outgoing = {one.attributes.get("outgoing", "yes") for one in publics}
    if len(outgoing) > 1:
        what = "outgoing is the same for all of the guest's addresses"
        problems.append(Problem(_place(publics[-1]), what))
    if outgoing == {"no"}:
        keys.append((Text(place, "outgoing"), Text(place, "false")))
    if forwards.named("portForward"):
        keys.append((Text(place, "ports"), Items(place, tuple(entries))))
    return Pairs(place, tuple(keys))


def _place(part: Part) -> Place:
    return Place(part.tag, part.line)


def _text(part: Part, name: str) -> Text:
    return Text(_place(part), part.attributes.get(name, ""))


def _entries(forward: Part, problems: list[Problem]) -> Iterator[Node]:
    """One entry for each range, or for what its excluded ports leave of it."""
    common = list(_common(forward))
    ranges = forward.named("range")
    is_out = [one.attributes.get("exclude") == "yes" for one in ranges]
    if all(is_out):
        problems.append(Problem(_place(forward), _NO_RANGE))
    holes: list[PortRange] = []
    for part, is_hole in zip(ranges, is_out):
        span = _span(part, problems) if is_hole else None
        holes += [span] if span else []
    for part, is_hole in zip(ranges, is_out):
        span = None if is_hole else _span(part, problems)
        to = span and _target(part, span, problems)
        for ports in without(span, holes) if span and to else ():
            moved = to + ports.first - span.first if span and to else 0
            yield _entry(part, ports, moved, common)


def _entry(
    part: Part, ports: PortRange, to: int, common: list[tuple[Text, Node]]
) -> Node:
    place = _place(part)
    target = PortRange(to, to + ports.last - ports.first)
    keys: list[tuple[Text, Node]] = [
        (Text(place, "published"), Text(place, str(ports))),
        (Text(place, "target"), Text(place, str(target))),
    ]
    return Pairs(place, tuple(keys + common))


def _span(part: Part, problems: list[Problem]) -> PortRange | None:
    first = part.attributes.get("start", "")
    last = part.attributes.get("end")
    return _ports(part, first if last is None else f"{first}-{last}", problems)


def _target(part: Part, span: PortRange, problems: list[Problem]) -> int:
    """The target of the first port; 0, and a problem, if there is none."""
    text = part.attributes.get("to")
    if text is None:
        return span.first
    found = _ports(part, text, problems)
    if found and found.first + span.last - span.first > 65535:
        problems.append(Problem(_place(part), f"to={text} leads behind port 65535"))
        return 0
    return found.first if found else 0


def _ports(part: Part, text: str, problems: list[Problem]) -> PortRange | None:
    try:
        return parse_ports(text)
    except VfwError as error:
        problems.append(Problem(_place(part), error.message))
        return None


def _common(forward: Part) -> Iterator[tuple[Text, Node]]:
    """The keys of all entries of a portForward. What the schema refuses is left out."""
    place, given = _place(forward), forward.attributes
    if "proto" in given:
        yield Text(place, "protocol"), _text(forward, "proto")
    if "address" in given:
        yield Text(place, "host_ip"), _text(forward, "address")
    for name, key in (("dev", "interface"), ("name", "name")):
        if name in given:
            one = Pairs(place, ((Text(place, key), _text(forward, name)),))
            yield Text(place, "host_ip"), one
            break
    sources = []
    for source in forward.named("allowFrom"):
        prefix = source.attributes.get("prefix")
        address = source.attributes.get("address", "")
        text = address if prefix is None else f"{address}/{prefix}"
        sources.append(Text(_place(source), text))
    if sources:
        yield Text(place, "allow_from"), Items(sources[0].place, tuple(sources))
    for key, attribute in _ATTRIBUTES.items():
        if given.get(attribute) in _SWITCHES:
            yield Text(place, key), Text(place, _SWITCHES[given[attribute]])


def format_tree(node: Node) -> str:
    """A guest's tree as a file of its own, as `metadata get` prints it."""
    if isinstance(node, Pairs):
        keys = pairs(node)
        ports = keys.pop("ports", None)
        lines = [f"{key}: {format_value(one)}\n" for key, one in keys.items()]
        if ports:
            lines.append("ports:\n" + format_tree(ports))
        return "".join(lines)
    return "".join(f"- {format_value(one)}\n" for one in listed(node)) or "[]\n"


def metadata_of(node: Node, problems: list[Problem]) -> Part:
    """The metadata that says what a guest's tree says, which has been checked."""
    parts: list[Part] = []
    given = pairs(node)
    ports = given.get("ports") if isinstance(node, Pairs) else node
    outgoing = given.get("outgoing")
    is_quiet = isinstance(outgoing, Text) and outgoing.value.lower() == "false"
    more = {"outgoing": "no"} if is_quiet else {}
    for one in listed(given.get("public_ip")):
        parts.append(_part("publicIp", {"address": _word(one), **more}))
    for one in listed(ports):
        parts += _forwards(one, problems)
    if ports and "public_ip" in given and not listed(ports):
        problems.append(Problem(ports.place, _WAY_OUT))
    return _part("forwards", {}, parts)


def _part(
    tag: str, attributes: dict[str, str], parts: list[Part] | None = None
) -> Part:
    return Part(tag, 0, attributes, tuple(parts or ()))


def _word(node: Node) -> str:
    return node.value if isinstance(node, Text) else kind_of(node)


def _forwards(node: Node, problems: list[Problem]) -> Iterator[Part]:
    """The portForwards of one entry: one for each of its addresses and protocols."""
    hosts: list[dict[str, str]] = [{}]
    protocols, children, attributes = ["tcp"], [], {}
    if isinstance(node, Pairs):
        given = pairs(node)
        either = given.get("published") or given.get("target")
        published = parse_published(_word(either) if either else "")
        target = parse_target(_word(given.get("target") or given["published"]))
        hosts = [*map(_host, listed(given.get("host_ip")))] or hosts
        protocols = [_word(one).lower() for one in listed(given.get("protocol"))]
        children = [_source(_word(one)) for one in listed(given.get("allow_from"))]
        for key in OPTIONS:
            if key in given:
                is_on = _word(given[key]).lower() == "true"
                attributes[_ATTRIBUTES[key]] = "yes" if is_on else "no"
    else:
        short = parse_entry(_word(node))
        published, target = short.published, short.target
        hosts = [{"address": short.host_ip}] if short.host_ip else hosts
        protocols = [short.protocol.lower()] if short.protocol else protocols
    ranges = _ranges(published, target)
    if len(ranges) > _MOST:
        what = f"{published} to one port are more than {_MOST} ranges"
        problems.append(Problem(node.place, what))
        return
    for host in hosts:
        for protocol in protocols or ["tcp"]:
            given_here = {"proto": protocol, **host, **attributes}
            yield _part("portForward", given_here, ranges + children)


def _host(node: Node) -> dict[str, str]:
    if isinstance(node, Pairs):
        ((key, one),) = node.nodes
        return {"dev" if key.value == "interface" else "name": _word(one)}
    return {"address": _word(node)}


def _source(text: str) -> Part:
    network = parse_subnet(text)
    more = {"prefix": f"{network.prefixlen}"} if "/" in text else {}
    return _part("allowFrom", {"address": f"{network.network_address}", **more})


def _ranges(published: PortRange, target: PortRange) -> list[Part]:
    first, last = published.first, published.last
    if last > first and target.last == target.first:
        some = range(first, min(last, first + _MOST) + 1)
        return [_range(port, port, target.first) for port in some]
    return [_range(first, last, target.first)]


def _range(first: int, last: int, to: int) -> Part:
    given = {"start": f"{first}"}
    if last > first:
        given["end"] = f"{last}"
    if to != first:
        given["to"] = f"{to}"
    return _part("range", given)


def find_others_keys(node: Node) -> list[Problem]:
    """A problem for each key that stands in forwards.yaml alone."""
    if not isinstance(node, Pairs):
        return []
    known = ", ".join(KEYS)
    return [
        Problem(key.place, f"{show(key.value)} is not for metadata, which has {known}")
        for key, _ in node.nodes
        if key.value not in KEYS
    ]
