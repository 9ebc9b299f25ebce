"""What forwards.yaml says of one guest, as the lines in the compiled configuration, to
values. Text in, values out.

    address 192.168.122.50
    network default
    bridge br-nat                            a bridge of the host's own
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

"""

from __future__ import annotations

from ..store.entry_text import parse_host
from ..store.files import unquote
from ..values.published import BOTH, Published, family_of, parse_address, parse_protocol
from .port_mappings import PortMapping, Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ADDRESSES = ("public", "whole", "kept", "outgoing")
_CALLED = {"whole": "one_to_one", "outgoing": "egress"}  # in Settings
_FLAGS = ("wide", "loopback", "hairpin")


def parse_settings(lines: Iterable[str]) -> Settings:
    """What the lines say. Raises ValueError for what the compiler does not write."""
    settings = Settings()
    marked: dict[str, set[str]] = {"returned": set(), "masqueraded": set()}
    for line in lines:
        word, _, rest = line.partition(" ")
        if word in ("forward", "claimed"):
            settings.forwards.append(parse_forward(rest, word == "claimed"))
        elif word == "address":
            address = parse_address(rest)
            settings.addresses[family_of(address)] = address
        elif word in ("network", "bridge"):
            setattr(settings, word, unquote(rest))
        elif word == "over":
            settings.over.update(_over(*rest.split(" ")))
        elif word in marked:
            marked[word].add(rest)
        elif word in _ADDRESSES:
            getattr(settings, _CALLED.get(word, word)).append(parse_address(rest))
        elif word == "claim":
            settings.claim = rest
        elif word in _FLAGS:
            setattr(settings, f"is_{word}", True)
    if any(marked.values()):
        _mark(settings, **marked)
    return settings


def parse_forward(text: str, is_claimed: bool = False) -> PortMapping:
    """One forward."""
    host, protocol, first, last, target, target_last, allow = text.split(" ")
    return PortMapping(
        parse_host(host),
        parse_protocol(protocol),
        int(first),
        int(last),
        int(target),
        int(target_last),
        "" if allow == "-" else allow,
        is_claimed,
    )


def _mark(settings: Settings, returned: set[str], masqueraded: set[str]) -> None:
    """Note which way answers take."""
    settings.is_returned = bool(returned)
    for one in settings.forwards:
        which = f"{one.host_ip} {one.protocol} {one.first} {one.last}"
        one.is_returned = which in returned
        one.is_masqueraded = which in masqueraded


def _over(host: str, protocol: str, first: str, last: str) -> Iterator[Published]:
    address = parse_host(host)
    for family in BOTH if address is None else (family_of(address),):
        yield Published(
            family, address, parse_protocol(protocol), int(first), int(last)
        )
