"""From what is forwarded and where the guest is, to entries. Pure, and import-light.

Lines in, as the compiler wrote them for one guest:

    address 192.168.122.50
    network default
    bridge br-nat                            a bridge of the host's own
    allow allow_0f5c 198.51.100.0/24
    claim 659a7fb2-af47-6fae-688d-711213d91dc1  the owner of what is rejected for it
    wide                                     takes ports that libvirt's bridges need
    loopback                                 has a forward on the host's loopback
    hairpin                                  its ports of bridges go into hairpin mode
    returned * tcp 8080 8080                 answers leave by the host's own way back
    masqueraded * tcp 8080 8080              the guest sees the host, not the client
    public 203.0.113.7                       an address for this guest, not the host's
    whole 203.0.113.7                        what is not published there is rejected
    kept 203.0.113.7                         the same, whether the guest runs or not
    outgoing 203.0.113.7                     its own connections leave from there
    forward * tcp 8080 8080 80 80 -          host, protocol, published, target, chain
    forward 203.0.113.7 all 0 65535 0 65535 -   everything that comes to that address
    claimed * tcp 8080 8080 80 80 -          the same of a guest with a claim
    over * tcp 8080 8080                     that one yields to no listener of the host

and entries out, as the backends take them (see elements).
"""

from .files import unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Addresses = dict[str, str]
_NONE: "Mapping[str, Collection[int]]" = {}


class Forward:
    """One forward as compiled: `host` is `*`, 0.0.0.0, :: or an address. `families` are
    those that it publishes on: "4", "6" or both. `ways` are those by which answers of
    one that `is_returned` leave: address, interface, mark (see waysback)."""

    __slots__ = (
        "_published",
        "allow",
        "families",
        "first",
        "host",
        "is_claimed",
        "is_masqueraded",
        "is_returned",
        "last",
        "protocol",
        "target",
        "target_last",
        "ways",
    )

    def __init__(self, line: str, is_claimed: bool = False) -> None:
        self.is_claimed = is_claimed
        self.is_masqueraded = self.is_returned = False
        self.ways: list[tuple[str, str, int]] = []
        (
            self.host,
            self.protocol,
            first,
            last,
            target,
            target_last,
            self.allow,
        ) = line.split(" ")
        self.first, self.last = int(first), int(last)
        self.target, self.target_last = int(target), int(target_last)
        self.families = "46" if self.host == "*" else _family(self.host)
        host = "*" if self.host in ("0.0.0.0", "::") else self.host
        self._published = f"{host} {self.protocol} {first} {last}"

    def published(self, family: str) -> str:
        """What it publishes in the family: the middle of all of its entries."""
        return f"{family} {self._published}"

    @property
    def is_loopback(self) -> bool:
        """Whether it is for the host alone."""
        return self.host.startswith("127.")

    def entries(
        self, family: str, address: str, holes: "Collection[int]" = ()
    ) -> list[str]:
        """What the kernel is to hold for it towards the guest at `address`; `holes` are
        ports of a range that stay the host's."""
        published = self._parts(family, holes)
        found = []
        if self.allow != "-":
            for part in published:
                found.append(f"guard {part} {self.allow}")
                if not self.is_claimed:
                    found.append(f"reject {part}")
        if self.ways or self.is_masqueraded:
            found += self._marking(family, published)
        if self.first == self.last:
            return [*found, f"dnat {published[0]} {address} {self.target}"]
        if self.first == self.target < self.target_last:
            targets = [part.split(" ")[3] for part in published]
            return found + [
                f"dnat {part} {address} {to}" for part, to in zip(published, targets)
            ]
        to = self.published(family).rsplit(" ", 2)[0]
        step = 1 if self.target_last > self.target else 0
        for number, port in enumerate(range(self.first, self.last + 1)):
            target = self.target + number * step
            if port not in holes:
                found.append(f"dnat {to} {port} {port} {address} {target}")
        return found

    def _marking(self, family: str, published: list[str]) -> list[str]:
        """What marks its connections, on each of the host's addresses by itself."""
        verb = "backany" if self.host in ("*", "0.0.0.0", "::") else "back"
        found = [f"masq {part}" for part in published if self.is_masqueraded]
        for host, uplink, value in self.ways:
            if _family(host) == family:
                ports = [part.split(" ", 2)[2] for part in published]
                found += [f"{verb} {family} {host} {p} {uplink} {value}" for p in ports]
        return found

    def rejected(self, family: str, holes: "Collection[int]" = ()) -> list[str]:
        """The entries by which whatever gets through to the host itself is rejected."""
        return [f"reject {part}" for part in self._parts(family, holes)]

    def _parts(self, family: str, holes: "Collection[int]") -> list[str]:
        """What it publishes, in parts where ports in between are left out."""
        if not holes:
            return [self.published(family)]
        to = self.published(family).rsplit(" ", 2)[0]
        found, first = [], self.first
        for port in [*sorted(holes), self.last + 1]:
            if first < port:
                found.append(f"{to} {first} {port - 1}")
            first = port + 1
        return found


class Settings:
    """What forwards.yaml says of one guest, as compiled; `claim` marks what stays
    rejected while it does not run, `is_wide` needs every network's entries, what
    `is_loopback` is forwarded from an address 127.x of the host's, what `is_hairpin` is
    to reach itself through the host, and of what `is_returned` some answers leave by
    the host's own way."""

    __slots__ = (
        "addresses",
        "allows",
        "bridge",
        "claim",
        "forwards",
        "is_hairpin",
        "is_loopback",
        "is_returned",
        "is_wide",
        "kept",
        "network",
        "outgoing",
        "over",
        "public",
        "whole",
    )

    def __init__(self, lines: list[str]) -> None:
        self.addresses: Addresses = {}
        self.allows: dict[str, list[str]] = {}
        self.forwards: list[Forward] = []
        self.network = self.bridge = self.claim = ""
        self.public: list[str] = []
        self.whole: list[str] = []
        self.kept: list[str] = []
        self.outgoing: list[str] = []
        self.is_wide = self.is_loopback = self.is_hairpin = self.is_returned = False
        self.over: set[str] = set()
        marked: dict[str, set[str]] = {"returned": set(), "masqueraded": set()}
        for line in lines:
            word, _, rest = line.partition(" ")
            if word in ("forward", "claimed"):
                self.forwards.append(Forward(rest, word == "claimed"))
            elif word == "address":
                self.addresses["6" if ":" in rest else "4"] = rest
            elif word in ("network", "bridge"):
                setattr(self, word, unquote(rest))
            elif word == "over":
                self.over.add(rest)
            elif word in marked:
                marked[word].add(rest)
            elif word == "allow":
                chain, _, sources = rest.partition(" ")
                self.allows[chain] = sources.split(",")
            elif word in ("public", "whole", "kept", "outgoing"):
                getattr(self, word).append(rest)
            elif word == "claim":
                self.claim = rest
            elif word in ("wide", "loopback", "hairpin"):
                setattr(self, f"is_{word}", True)
        if any(marked.values()):
            self._mark(**marked)

    def _mark(self, returned: set[str], masqueraded: set[str]) -> None:
        """Note which way answers take."""
        self.is_returned = bool(returned)
        for one in self.forwards:
            which = f"{one.host} {one.protocol} {one.first} {one.last}"
            one.is_returned, one.is_masqueraded = (
                which in returned,
                which in masqueraded,
            )

    @property
    def wanted(self) -> list[str]:
        """The families that it needs an address of, one of each."""
        found = [forward.families for forward in self.forwards]
        return found + [_family(address) for address in self.outgoing]

    def published(self, families: "Collection[str]") -> list[str]:
        """What it publishes in these families, but for what yields to no listener."""
        found = [
            forward.published(family)
            for forward in self.forwards
            for family in forward.families
            if family in families
        ]
        if self.over:
            found = [one for one in found if one[2:] not in self.over]
        hosts = [*self.whole, *self.kept]
        return found + [whole(host) for host in hosts if _family(host) in families]

    def at(self, host: str) -> list[str]:
        """What it publishes at an address of the host's, the address itself, and the
        way out by it."""
        found = [f.published(_family(host)) for f in self.forwards if f.host == host]
        return [*found, whole(host), way_out(host)]

    def entries(
        self,
        addresses: Addresses,
        without: "Collection[str]" = (),
        holes: "Mapping[str, Collection[int]]" = _NONE,
    ) -> list[str]:
        """Everything the kernel is to hold while the guest is at `addresses`, but for
        what is published and somebody else has: `without`, and in ranges `holes`."""
        found = []
        for forward in self.forwards:
            for family in forward.families:
                if family not in addresses:
                    continue
                one = forward.published(family) if without or holes else ""
                if one not in without:
                    some = holes.get(one, ())
                    found += forward.entries(family, addresses[family], some)
        for host in self.whole:
            if _family(host) in addresses and whole(host) not in without:
                found.append(f"reject {whole(host)}")
        for host in self.outgoing:
            if _family(host) in addresses and way_out(host) not in without:
                found.append(f"snat {_family(host)} {addresses[_family(host)]} {host}")
        used = {line.split(" ", 2)[1] for line in found}
        found += [f"accept {f} {addresses[f]}" for f in addresses if f in used]
        return found

    def claimed(
        self,
        without: "Collection[str]" = (),
        holes: "Mapping[str, Collection[int]]" = _NONE,
    ) -> list[str]:
        """What stays rejected whether the guest runs or not: where it is forwarded to,
        nothing of that gets through to the host."""
        found = [
            entry
            for forward in self.forwards
            if not forward.is_loopback
            for family in forward.families
            if (one := forward.published(family)) not in without
            for entry in forward.rejected(family, holes.get(one, ()))
        ]
        kept = [whole(host) for host in self.kept]
        return found + [f"reject {one}" for one in kept if one not in without]


def network_entries(subnets: list[tuple[str, str]]) -> list[str]:
    """What a network needs once: DNS and DHCP stay libvirt's, hairpins come back."""
    found = []
    for address, subnet in subnets:
        family = _family(address)
        left = _LEFT6 if family == "6" else _LEFT4
        found += [f"left {family} {address} {p} {p.split(' ')[1]}" for p in left]
        found += [f"hairpin {family} {subnet}", f"inside {family} {subnet}"]
    return list(dict.fromkeys(found))  # two of its addresses may be in one subnet


def _family(address: str) -> str:
    return "6" if ":" in address else "4"


_LEFT4 = ("tcp 53", "udp 53", "udp 67", "udp 69")
_LEFT6 = ("tcp 53", "udp 53", "udp 547")
LEFT = (53, 67, 69, 547)


def whole(host: str) -> str:
    """A whole address of the host's, as it stands in the middle of entries."""
    return f"{_family(host)} {host} all 0 65535"


def way_out(host: str) -> str:
    """The way out by an address of the host's, among what is published."""
    return f"{_family(host)} {host} out"


def key_of(entry: str) -> str:
    """What two entries cannot both have: everything but where a packet is sent."""
    if entry.startswith("snat "):
        return entry.rpartition(" ")[0]
    if entry.startswith(("dnat ", "guard ", "back")):
        return entry.rsplit(" ", 1 if entry[0] == "g" else 2)[0]
    return entry
