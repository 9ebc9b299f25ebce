"""Records of guests and of events as text, and back. Pure.

vfw1 5d41402a                               format, checksum of the lines below
1203344455 1203344455                       since, stamp; of an event OPERATION STAMP
guest qemu web1 6b33ec13-96d6-4581-bc2f-38dee79d5ae5
nic 52:54:00:00:00:10 network default virbr0 vnet0
metadata %3Cvfwhooks:forwards…              the forwards in the guest's metadata
claims 4 * tcp 8080 8080                    what these publish
public 203.0.113.7
own 203.0.113.1
on default
hairpin vnet0 virbr0 17
returned
yields 4 * tcp 22 22
seen 4 * udp 51820 51820 28115 1203344455
shares 4 * udp 5000 5010
ousted 192.168.122.10 52:54:00:00:00:11
left dnat 4 * tcp 8443 8443 192.168.122.10 443
entry dnat 4 * tcp 8080 8080 192.168.122.10 80
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..values.entries import Entry
from ..values.guests import Guest, Nic
from ..values.needs import Need, parse_need
from ..values.published import Address, Published, parse_address
from .entry_text import format_entry, format_published, parse_entry, parse_published
from .files import quote, unquote

Key = tuple[str, str]
Pair = tuple["Record | None", "Record | None"]  # before and after a change
# A bridge port that should be in hairpin mode: device, bridge, and the device's
# interface index if we are to set it back, else 0.
Hairpin = tuple[str, str, int]
_FORMAT = "vfw1"
_ENTRY = "entry "
_FLAGS = "off", "waiting", "followed", "returned", "shared", "away"
_UUID = 36  # letters
_NO_DASHES = {ord("-"): None, ord("_"): None}


@dataclass(frozen=True)
class Seen:
    """A socket on a published port, by its inode."""

    port: Published
    inode: int


@dataclass(frozen=True)
class Ousted:
    """An address of the guest, and the MAC of a guest that had it before and still
    runs."""

    address: Address
    mac: str


@dataclass
class Record:
    """A running guest, every entry that the kernel may hold for it, and its needs of
    networks. `since` is the guest's start, `stamp` libvirt's last word about it (both
    monotonic ns).

    The flags: `is_waiting`: the guest has forwards, and no address for them, or none of
    a family of its networks; `is_off`: it has stopped, but its entries could not be
    removed; `is_followed`: no hook has reported it since its start; `is_returned`:
    answers of its forwards leave by the host's own way, which the kernel may change;
    `is_shared`: another guest may want its ports, too; `is_away`: the guest is being
    migrated and does not run here, not yet or not any more.

    The lists: `yields` are the published ports that listeners of the host keep, one by
    one; `seen` are sockets on published ports, with the time when each was first seen
    (see port_conflicts); `hairpins` are the guest's bridge ports that should be in
    hairpin mode (see hairpin_mode); `ousted` are clones with the same lease, which
    still use the address; `left` are the entries that a guest had before it went away,
    whose connections are not cut before it has stopped; `claims` are the ports that the
    guest's metadata publishes; `shares` are the ranges that another guest may want,
    whole, of which this guest has ports; `public` are addresses for this guest alone,
    and whether the host's routing makes them the host's own, so that the guest has
    nothing there. Networks in use have records, too, with the driver `network`.
    """

    guest: Guest
    since: int
    stamp: int
    entries: list[Entry]
    needs: list[Need]
    is_off: bool = False
    is_followed: bool = False
    is_returned: bool = False
    is_waiting: bool = False
    is_shared: bool = False
    is_away: bool = False
    yields: list[Published] = field(default_factory=list)
    seen: dict[Seen, int] = field(default_factory=dict)
    ousted: list[Ousted] = field(default_factory=list)
    hairpins: list[Hairpin] = field(default_factory=list)
    left: list[Entry] = field(default_factory=list)
    claims: list[Published] = field(default_factory=list)
    shares: list[Published] = field(default_factory=list)
    public: dict[Address, bool] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """Driver and name, as a hook gets them."""
        return self.guest.driver, self.guest.name

    @property
    def owner(self) -> str:
        """The owner in the kernel's comments of the entries: the UUID, since names may
        be too long. The text becomes a word in rules: if it is neither a UUID nor the
        name of a bridge, the driver takes its place."""
        uuid = self.guest.uuid
        is_plain = uuid.isascii() and uuid.translate(_NO_DASHES).isalnum()
        return uuid if is_plain and len(uuid) <= _UUID else self.guest.driver

    def with_entries(
        self, more: list[Entry], hairpins: Sequence[Hairpin] = ()
    ) -> Record:
        """The record with more that the kernel may hold: entries and hairpin ports."""
        entries = self.entries
        if more != entries:
            known = set(entries)
            entries = entries + [entry for entry in more if entry not in known]
        both = [port for port in hairpins if port not in self.hairpins]
        return replace(self, entries=entries, hairpins=both + self.hairpins)

    def text(self) -> str:
        """The text of the record file."""
        needs = "".join(f"on {quote(need.name)}\n" for need in self.needs)
        entries = "".join(f"entry {one}\n" for one in map(format_entry, self.entries))
        flags = "".join(f"{one}\n" for one in _FLAGS if getattr(self, f"is_{one}"))
        for device, bridge, number in self.hairpins:
            flags += f"hairpin {quote(device)} {quote(bridge)} {number}\n"
        for port in self.yields:
            flags += f"yields {format_published(port)}\n"
        for seen, met in self.seen.items():
            flags += f"seen {format_published(seen.port)} {seen.inode} {met}\n"
        for word, ports in (("claims", self.claims), ("shares", self.shares)):
            flags += "".join(f"{word} {format_published(one)}\n" for one in ports)
        for address, is_own in self.public.items():
            flags += f"{'own' if is_own else 'public'} {address}\n"
        flags += "".join(f"ousted {o.address} {o.mac}\n" for o in self.ousted)
        flags += "".join(f"left {one}\n" for one in map(format_entry, self.left))
        head = f"{self.since} {self.stamp}\n{_guest_text(self.guest)}{flags}"
        return seal(head + needs + entries)


@dataclass(eq=False)
class GuestEvent:
    """An event of a guest or a network: operation, guest with what its XML said, time.

    The operations: starting (from libvirt without `started`, or once before it),
    started, reconnected, stopped; found (the guest runs, and no hook
    reported this state); away (it is being migrated and does not run here); moved (the
    guest's address is news); network (the guest is a network that started, stopped or
    changed).
    """

    operation: str
    guest: Guest
    stamp: int

    def text(self) -> str:
        """The text of the event file."""
        head = f"{self.operation} {self.stamp}\n"
        return seal(head + _guest_text(self.guest))


def parse_record(text: str, has_entries: bool = True) -> Record:
    """The record in a text. Without `has_entries` the entries, which may be tens of
    thousands, are left out. Raises ValueError for any other text."""
    first, _, rest = unseal(text).partition("\n")
    since, stamp = map(int, first.split(" "))
    lines = rest.split("\n")
    record = Record(_guest(lines), since, stamp, [], [])
    for line in lines[1:]:
        if has_entries or not line.startswith(_ENTRY):
            _read(record, *line.partition(" ")[::2])
    return record


def _read(record: Record, word: str, rest: str) -> None:
    """Add one line to the record."""
    if word == "entry":
        record.entries.append(parse_entry(rest))
    elif word == "left":
        record.left.append(parse_entry(rest))
    elif word == "on":
        record.needs.append(parse_need(unquote(rest)))
    elif word in _FLAGS:
        setattr(record, f"is_{word}", True)
    elif word in ("yields", "claims", "shares"):
        getattr(record, word).append(parse_published(rest))
    elif word in ("public", "own"):
        record.public[parse_address(rest)] = word == "own"
    elif word == "ousted":
        address, mac = rest.split(" ")
        record.ousted.append(Ousted(parse_address(address), mac))
    elif word == "hairpin":
        device, bridge, number = rest.split(" ")
        record.hairpins.append((unquote(device), unquote(bridge), int(number)))
    elif word == "seen":
        port, inode, met = rest.rsplit(" ", 2)
        record.seen[Seen(parse_published(port), int(inode))] = int(met)


def parse_guest_event(text: str) -> GuestEvent:
    """The event in a text. Raises ValueError for any other text."""
    first, _, rest = unseal(text).partition("\n")
    operation, stamp = first.split(" ")
    return GuestEvent(operation, _guest(rest.split("\n")), int(stamp))


def seal(text: str) -> str:
    """The text behind a line with the format and the text's checksum."""
    return f"{_FORMAT} {_sum(text)}\n{text}"


def unseal(text: str) -> str:
    """The text that was sealed. Raises ValueError for another format or a wrong
    checksum."""
    head, _, rest = text.partition("\n")
    if head != f"{_FORMAT} {_sum(rest)}":
        raise ValueError(f"{head[:40]!r} is not the head of a whole record")
    return rest


def _sum(text: str) -> str:
    return f"{crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def _guest_text(guest: Guest) -> str:
    """The lines of a guest in a record or an event."""
    lines = [f"guest {guest.driver} {quote(guest.name)} {quote(guest.uuid)}\n"]
    for nic in guest.nics:
        words = nic.mac, nic.kind, nic.network, nic.bridge, nic.device
        lines.append(f"nic {' '.join(map(quote, words))}\n")
    if guest.metadata:
        lines.append(f"metadata {quote(guest.metadata)}\n")
    return "".join(lines)


def _guest(lines: list[str]) -> Guest:
    word, driver, name, uuid = lines[0].split(" ")
    if word != "guest":
        raise ValueError(f"no guest in {lines[0]!r}")
    guest = Guest(driver, unquote(name), unquote(uuid), [])
    for line in lines[1:]:
        if line.startswith("nic "):
            mac, kind, network, bridge, device = map(unquote, line.split(" ")[1:])
            guest.nics.append(Nic(mac, kind, network, bridge, device))
        elif line.startswith("metadata "):
            guest.metadata = unquote(line.partition(" ")[2])
    return guest
