"""What forwards in metadata need beyond their own entries: chains of source ranges and
rules of marks in the base rulesets, and ports that no other guest's metadata has.

A partial sync changes entries alone, and plans one guest. Where that is not enough, it
ends here, and a full sync follows.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..config.allow_from import by_family
from ..config.compiled_file import Compiled
from ..config.port_mappings import FromMetadata
from ..config.value_syntax import parse_subnet
from ..store.records import Record
from ..values.entries import Masquerade, ReturnMark, SourceRanges
from ..values.errors import NeedsFullSync, show

_RETURN, _MASQUERADE = "return_path", "masquerade"


def look_for_rules(
    news: Iterable[Record], compiled: Compiled, base: dict[str, str]
) -> None:
    """Check that the base rulesets have what the records' entries refer to. Raises
    NeedsFullSync."""
    noted = set(base.get("metadata", "").split(" "))
    for record in news:
        needs: set[str] = set()
        for entry in record.entries:
            if isinstance(entry, SourceRanges):
                needs.add(entry.chain)
            elif isinstance(entry, (Masquerade, ReturnMark)):
                needs.add(_MASQUERADE if isinstance(entry, Masquerade) else _RETURN)
        needs -= noted
        if needs and needs - _known(compiled.base_rulesets()):
            name = show(record.guest.name)
            raise NeedsFullSync(f"the metadata of {name} needs rules of its own")


def look_for_conflicts(news: Iterable[Record], records: Iterable[Record]) -> None:
    """Check that no two records publish the same port by metadata. Raises
    NeedsFullSync."""
    records = list(records)
    for record in news:
        for other in records:
            if other.key != record.key and any(
                one.takes_from(its) or its.takes_from(one)
                for one in record.claims
                for its in other.claims
            ):
                both = f"{show(record.guest.name)} and {show(other.guest.name)}"
                raise NeedsFullSync(f"the metadata of {both} publish one port")


def _known(texts: dict[str, str]) -> set[str]:
    """The chains and marks that forwards.yaml itself needs."""
    lists = [line.partition(" ")[0] for line in texts["lists"].split("\n")]
    return {*lists, *texts["marks"].split(" ")}


def extended_rulesets(
    compiled: Compiled, some: list[FromMetadata]
) -> tuple[dict[str, str], str]:
    """The base rulesets with what guests' metadata needs; and the chains and marks that
    only metadata needs, as a note for the base."""
    texts = compiled.base_rulesets()
    needs = {word for one in some for word in (*one.lists, *one.marks)}
    more = needs - _known(texts)
    if not more:
        return texts, ""
    from ..firewall.base_ruleset import Allow, Marks, render_base_rulesets

    lists = {}
    for line in filter(None, texts["lists"].split("\n")):
        name, _, subnets = line.partition(" ")
        lists[name] = tuple(map(parse_subnet, subnets.split(",")))
    for one in some:
        lists.update(one.lists)
    marks = {*texts["marks"].split(" "), *needs}
    used = Marks(_RETURN in marks, _MASQUERADE in marks)
    allows = tuple(Allow(name, by_family(lists[name])) for name in sorted(lists))
    return {**texts, **render_base_rulesets(allows, used)}, " ".join(sorted(more))
