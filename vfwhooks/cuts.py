"""Changes of entries, and what connections may have to be cut for, which is noted with
a change and read later. Pure."""

from .records import seal, unseal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from .records import Record


class Change:
    """One owner's entries: what the kernel may hold of them, what it should hold."""

    __slots__ = ("new", "old", "owner")

    def __init__(self, owner: str, old: list[str], new: list[str]) -> None:
        self.owner = owner
        self.old = old
        self.new = new

    def removed(self) -> list[str]:
        """The entries to take out."""
        new = set(self.new)
        return [entry for entry in self.old if entry not in new]

    def added(self) -> list[str]:
        """The entries to put in."""
        old = set(self.old)
        return [entry for entry in self.new if entry not in old]


class Synced:
    """What a full comparison changed, and what it could not do."""

    __slots__ = ("added", "problems", "removed")

    def __init__(
        self, removed: list[str], added: list[str], problems: list[str]
    ) -> None:
        self.removed = removed
        self.added = added
        self.problems = problems


def changes_of(old: "Record | None", new: "Record | None") -> list[Change]:
    """What changes for a guest, as it was and as it will be."""
    if old and new and old.owner == new.owner:
        return [Change(new.owner, old.entries, new.entries)]
    changes = [Change(old.owner, old.entries, [])] if old else []
    return changes + ([Change(new.owner, [], new.entries)] if new else [])


def may_cut(removed: list[str], added: list[str]) -> bool:
    """Whether connections may have to be cut for these entries."""
    verbs = "dnat ", "reject ", "snat "
    return any(entry.startswith(("dnat ", "snat ")) for entry in removed) or any(
        entry.startswith(verbs) and " tcp " not in entry and " sctp " not in entry
        for entry in added
    )


def beside(removed: list[str], held: "Collection[str]") -> list[str]:
    """Those of the entries that are held now which lead to a guest that removed ones
    lead to: what they forward in the same way stays forwarded. An entry that is among
    both has come to another guest."""
    dnats = [entry for entry in removed if entry.startswith("dnat ")]
    guests = {entry.split(" ")[6] for entry in dnats}
    gone = set(dnats) if guests else set()
    return [
        entry
        for entry in (held if guests else ())
        if entry.startswith("dnat ")
        and entry.split(" ", 7)[6] in guests
        and entry not in gone
    ]


def cut_text(removed: list[str], added: list[str], stay: list[str]) -> str:
    """Entries whose connections are to be cut, and those beside them, as they are
    kept."""
    signed = [("-", e) for e in removed] + [("+", e) for e in added]
    signed += [("=", e) for e in stay]
    return seal("".join(f"{sign} {e}\n" for sign, e in signed))


def parse_cut(text: str) -> tuple[list[str], list[str], list[str]]:
    """The removed entries that were kept, the added ones, and those that stay. Raises
    ValueError for what is not whole."""
    lines = unseal(text).split("\n")
    removed, added, stay = (
        [line[2:] for line in lines if line.startswith(sign)]
        for sign in ("- ", "+ ", "= ")
    )
    return removed, added, stay


def opened_bridges(entries: list[str]) -> set[str]:
    """The bridges that are to pass packets with loopback addresses."""
    return {entry[11:] for entry in entries if entry.startswith("localnet ")}
