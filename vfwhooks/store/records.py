"""Records of guests and of events as text, and back. Text in, values out.

vfw1 5d41402a                               the format, and the sum of what follows
1203344455 1203344455                       since, stamp; of an event OPERATION STAMP
guest qemu web1 6b33ec13-96d6-4581-bc2f-38dee79d5ae5
nic 52:54:00:00:00:10 network default virbr0 vnet0
on default
hairpin vnet0 virbr0 17
returned
yields 4 * tcp 22 22
seen 4 * udp 51820 51820 28115 1203344455
ousted 192.168.122.10 52:54:00:00:00:11
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
# A port of a bridge that is to be in hairpin mode: device, bridge, and the kernel's
# number of the device where it is for us to set it back, else 0.
Hairpin = tuple[str, str, int]
_FORMAT = "vfw1"
_ENTRY = "entry "
_UUID = 36  # letters
_NO_DASHES = {ord("-"): None, ord("_"): None}


@dataclass(frozen=True)
class Seen:
    """A socket on a port that is published, by its inode."""

    port: Published
    inode: int


@dataclass(frozen=True)
class Ousted:
    """An address of a guest's own, and the MAC of whom had it before and still runs."""

    address: Address
    mac: str


@dataclass
class Record:
    """A running guest, every entry the kernel may hold for it, and what it needs of
    networks. `since` is when it started, `stamp` when libvirt last said something of it
    (monotonic ns). One that `is_waiting` has forwards and no address for them; one that
    `is_off` has stopped, but its entries could not be taken out; one that `is_followed`
    was found by itself: no hook has spoken of it since it started. What it `yields`
    would be published if no listener of the host had it, port by port; `seen` are
    sockets on ports that it has, with when they were met (see port_conflicts);
    `hairpins` are its ports of bridges that are to be in hairpin mode (see
    hairpin_mode); `ousted` are clones with one lease, who believe to be there still.
    Networks in use are recorded as guests of the driver `network`. One that
    `is_returned` has forwards whose answers leave by the host's own way, which is the
    kernel's to change.
    """

    guest: Guest
    since: int
    stamp: int
    entries: list[Entry]
    networks: list[Need]
    is_off: bool = False
    is_followed: bool = False
    is_returned: bool = False
    is_waiting: bool = False
    yields: list[Published] = field(default_factory=list)
    seen: dict[Seen, int] = field(default_factory=dict)
    ousted: list[Ousted] = field(default_factory=list)
    hairpins: list[Hairpin] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """Driver and name, as a hook is told them."""
        return self.guest.driver, self.guest.name

    @property
    def owner(self) -> str:
        """What the kernel's comment says of the entries: names may be too long. It gets
        among the words of rules, so what is no UUID, nor a bridge, is not it."""
        uuid = self.guest.uuid
        is_plain = uuid.isascii() and uuid.translate(_NO_DASHES).isalnum()
        return uuid if is_plain and len(uuid) <= _UUID else self.guest.driver

    def with_entries(
        self, more: list[Entry], hairpins: Sequence[Hairpin] = ()
    ) -> Record:
        """The same with more that the kernel may hold: entries, and ports that are to
        be in hairpin mode."""
        entries = self.entries
        if more != entries:
            known = set(entries)
            entries = entries + [entry for entry in more if entry not in known]
        both = [port for port in hairpins if port not in self.hairpins]
        return replace(self, entries=entries, hairpins=both + self.hairpins)

    def text(self) -> str:
        """The record as it is kept."""
        networks = "".join(f"on {quote(need.name)}\n" for need in self.networks)
        entries = "".join(f"entry {one}\n" for one in map(format_entry, self.entries))
        flags = "off\n" * self.is_off + "waiting\n" * self.is_waiting
        flags += "followed\n" * self.is_followed + "returned\n" * self.is_returned
        for device, bridge, number in self.hairpins:
            flags += f"hairpin {quote(device)} {quote(bridge)} {number}\n"
        for port in self.yields:
            flags += f"yields {format_published(port)}\n"
        for seen, met in self.seen.items():
            flags += f"seen {format_published(seen.port)} {seen.inode} {met}\n"
        flags += "".join(f"ousted {o.address} {o.mac}\n" for o in self.ousted)
        head = f"{self.since} {self.stamp}\n{_guest_text(self.guest)}{flags}"
        return seal(head + networks + entries)


@dataclass(eq=False)
class GuestEvent:
    """What happened to which guest or network, when, and what its XML said of it.

    The operations: started, reconnected, stopped; found (no hook told that it runs as
    it does); moved (its address is news); network (the guest is a network, and it
    started, stopped or changed).
    """

    operation: str
    guest: Guest
    stamp: int

    def text(self) -> str:
        """The event as it is kept."""
        head = f"{self.operation} {self.stamp}\n"
        return seal(head + _guest_text(self.guest))


def parse_record(text: str, has_entries: bool = True) -> Record:
    """The record that was kept; without its entries, which may be tens of thousands,
    for who asks of the guest alone. Raises ValueError for anything else."""
    first, _, rest = unseal(text).partition("\n")
    since, stamp = map(int, first.split(" "))
    lines = rest.split("\n")
    record = Record(_guest(lines), since, stamp, [], [])
    for line in lines[1:]:
        if has_entries or not line.startswith(_ENTRY):
            _read(record, *line.partition(" ")[::2])
    return record


def _read(record: Record, word: str, rest: str) -> None:
    """Take one line of it in."""
    if word == "entry":
        record.entries.append(parse_entry(rest))
    elif word == "on":
        record.networks.append(parse_need(unquote(rest)))
    elif word in ("off", "followed", "returned", "waiting"):
        setattr(record, f"is_{word}", True)
    elif word == "yields":
        record.yields.append(parse_published(rest))
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
    """The event that was kept. Raises ValueError for anything else."""
    first, _, rest = unseal(text).partition("\n")
    operation, stamp = first.split(" ")
    return GuestEvent(operation, _guest(rest.split("\n")), int(stamp))


def seal(text: str) -> str:
    """The text behind a line with the format and its sum."""
    return f"{_FORMAT} {_sum(text)}\n{text}"


def unseal(text: str) -> str:
    """What was sealed. Raises ValueError for another format, or what is not whole."""
    head, _, rest = text.partition("\n")
    if head != f"{_FORMAT} {_sum(rest)}":
        raise ValueError(f"{head[:40]!r} is not the head of a whole record")
    return rest


def _sum(text: str) -> str:
    return f"{crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def _guest_text(guest: Guest) -> str:
    """A guest's lines in a record or an event."""
    lines = [f"guest {guest.driver} {quote(guest.name)} {quote(guest.uuid)}\n"]
    for nic in guest.nics:
        words = nic.mac, nic.kind, nic.network, nic.bridge, nic.device
        lines.append(f"nic {' '.join(map(quote, words))}\n")
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
    return guest
