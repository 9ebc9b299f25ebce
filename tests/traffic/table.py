"""The table that the matrix is made of: what is asked for, and what everybody sees.

A row is a piece of forwards.yaml and the questions that every origin asks while it is
in force. What an origin sees is said in one word, and spelled out in `expect`:

    served      the guest answers, and sees who asks as it should
    refused     rejected at once          silence     no answer
    host        the host's own service answers    closed   the old connection is cut
    untouched   who was asked answers, as if nothing were forwarded
    public      the same, and sees the guest's public address
    nowhere     there is no way to that address
    taken       whoever has the port by another's rule answers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

ORIGINS = (
    "outside",
    "elsewhere",
    "host",
    "guest",
    "neighbour",
    "stranger",
    "attacker",
)
OLDER = "iptables-9.0"
BACKENDS = ("nftables", "iptables", OLDER)
FAMILIES = ("4", "6")
ON_LOOPBACK = "published on 127.0.0.1"
STRICT = "a second uplink and strict rp_filter"
Sees = Mapping[str, str]
SERVED: Sees = {}
BY_HOST: Sees = {"other": "host"}
# Another firewall drops what is forwarded, where no rule of its own table accepts it.
DROPPED: Sees = {
    f"nftables {origin}": "silence"
    for origin in ("outside", "elsewhere", "guest", "neighbour", "stranger", "attacker")
}
SILENCE: Sees = {"other": "silence"}
SILENCE_FAR: Sees = {"elsewhere": "silence"}
NOWHERE: Sees = {"other": "nowhere"}
REFUSED: Sees = {"other": "refused"}
CLOSED: Sees = {"other": "closed"}
_NOT_HERE = ("beyond", "loopback", "resolver")


@dataclass(frozen=True)
class Ask:
    """One question: a port at a place, and the word for what each origin sees.

    `at` is "host" (the host's address next to who asks), another address of the host
    ("first", "other" by the cable `elsewhere`, "second", "later", "bridge", "loopback",
    "resolver", or the guest's whose name it is), "absent" (one that it does not have),
    "guest" (straight at it), "beyond" (somebody past the host) or "dns" (the network's
    own dnsmasq).
    `was` is what was seen before the row's forwards; `kept` asks on the same flow.
    """

    protocol: str
    port: int
    target: int = 0
    at: str = "host"
    guest: str = ""
    sees: Sees = field(default_factory=dict)
    other: str = "served"
    was: str = ""
    was_guest: str = ""
    kept: bool = False
    by: tuple[str, ...] = ORIGINS

    def word(self, origin: str, backend: str) -> str:
        """What that origin sees; one with a backend's name before it is that one's."""
        ours = self.sees.get(f"{backend.partition('-')[0]} {origin}", "")
        return ours or self.sees.get(origin, self.other)


@dataclass(frozen=True)
class Row:
    """One line of the matrix.

    `why` is in the reason that status gives for a forward of the row that does not
    answer somebody outside, whom it is for. `straight` is what becomes of who routes
    straight at the guest: "refused", "served" by libvirt's own rules, or "dropped" by
    another firewall, where that comes first.
    `before` are the forwards that were in force until these took their place; `stops`
    and `starts` are guests that come and go with them. `standing` are services that the
    host had before, "everywhere" or on the addresses named; its others start
    afterwards.
    """

    name: str
    forwards: str
    asks: tuple[Ask, ...]
    guest: str = "web1"
    note: str = ""
    stage: str = "plain"
    why: str = ""
    straight: str = "refused"
    before: str | None = None
    stops: str = ""
    starts: str = ""
    standing: tuple[Ask, ...] = ()

    @property
    def is_far(self) -> bool:
        """Whether who is elsewhere is no neighbour of the host's, but far away."""
        return self.stage.startswith(("uplink", "vpn"))

    def asked_by(self, origin: str) -> tuple[Ask, ...]:
        """What that origin asks; who attacks tries the guest's own address instead."""
        asks = [ask for ask in self.asks if origin in ask.by]
        if origin != "attacker":
            return tuple(asks)
        tried: dict[tuple[str, int, str], Ask] = {}
        for ask in asks:
            if ask.at in _NOT_HERE:
                tried[ask.protocol, ask.port, ask.at] = ask
            elif ask.target:
                straight = Ask(ask.protocol, ask.target, ask.target, "guest")
                was = self.straight if self.before is not None else ""
                if self.straight == "dropped":
                    straight = replace(straight, sees=DROPPED, other="refused")
                else:
                    straight = replace(straight, other=self.straight, was=was)
                tried[ask.protocol, ask.target, "guest"] = straight
        return tuple(tried.values())


def tcp(port: int, target: int = 0, at: str = "host", sees: Sees = SERVED) -> Ask:
    """A TCP connection to a published port: served but where `sees` differs."""
    return _published("tcp", port, target, at, sees)


def udp(port: int, target: int = 0, at: str = "host", sees: Sees = SERVED) -> Ask:
    """The same with a datagram."""
    return _published("udp", port, target, at, sees)


def sctp(port: int, target: int = 0, at: str = "host", sees: Sees = SERVED) -> Ask:
    """The same with an INIT of SCTP."""
    return _published("sctp", port, target, at, sees)


def _published(protocol: str, port: int, target: int, at: str, sees: Sees) -> Ask:
    other = sees.get("other", "served")
    return Ask(protocol, port, target or port, at, sees=sees, other=other)


ONLY_ELSEWHERE: Sees = {"other": "refused", "elsewhere": "served"}
HOST_ALONE: Sees = {"host": "served"}
ONLY_INSIDE: Sees = {"other": "refused", "guest": "served", "neighbour": "served"}
STRAIGHT: Sees = {
    "other": "refused",
    "host": "served",
    "guest": "served",
    "neighbour": "served",
}


def straight(protocol: str, port: int) -> Ask:
    """Somebody who has a route asks the guest at its own address."""
    return Ask(protocol, port, port, "guest", sees=STRAIGHT, other="refused")


def beyond(protocol: str, port: int, **sees: str) -> Ask:
    """A connection through the host to that port number of somebody else."""
    return Ask(protocol, port, 0, "beyond", sees=sees, other="untouched")


def local(protocol: str, port: int, at: str) -> Ask:
    """The host asks itself, by a loopback address; from others a frame gets there."""
    return Ask(protocol, port, 0, at, sees={"host": "untouched"}, other="silence")


def dns(protocol: str) -> Ask:
    """A query to the dnsmasq of one's own network, and the host's to the guest's."""
    inside = ("host", "guest", "neighbour", "stranger")
    return Ask(f"dns/{protocol}", 53, 0, "dns", other="untouched", by=inside)


_REACHED = (
    Row("one TCP port", "web1: [8080:80]", (tcp(8080, 80),)),
    Row("one UDP port", "web1: [5353/udp]", (udp(5353),)),
    Row("one SCTP port", "web1: [9000/sctp]", (sctp(9000),)),
    Row(
        "several ports",
        "web1: [8443:443, 2222:22, 2525, 5354:53/udp]",
        (tcp(8443, 443), tcp(2222, 22), tcp(2525), udp(5354, 53)),
    ),
    Row(
        "TCP and UDP in one entry",
        "web1:\n  - {published: 5060, protocol: [tcp, udp]}",
        (tcp(5060), udp(5060)),
    ),
    Row(
        "a range of 10,000 ports that keeps its numbers",
        "web1: [20000-29999:20000-29999]",
        (tcp(20000), tcp(25000), tcp(29999)),
    ),
    Row(
        "a range of UDP ports",
        "web1: [5000-5010:5000-5010/udp]",
        (udp(5000), udp(5007), udp(5010)),
    ),
    Row(
        "a range that is shifted",
        "web1: [9100-9110:9000-9010, 9100-9102:9000-9002/udp]",
        (tcp(9100, 9000), tcp(9105, 9005), tcp(9110, 9010), udp(9102, 9002)),
    ),
    Row(
        "several ports to one",
        "web1:\n  - {published: 9200-9204, target: 80}",
        (tcp(9200, 80), tcp(9202, 80), tcp(9204, 80)),
    ),
    Row(
        "bound to one address of the host",
        "web1:\n  - 203.0.113.5:8081:80\n  - '[2001:db8:1::5]:8081:80'",
        (tcp(8081, 80, "second"), tcp(8081, 80, sees=BY_HOST)),
        note="On other addresses of the host, the host's own service answers there.",
    ),
    Row(
        "bound to one address, beside the same port on every address",
        "web1:\n  - 203.0.113.5:8082:80\n  - '[2001:db8:1::5]:8082:80'\n"
        "mail: [8082:80]",
        (tcp(8082, 80, "second"), replace(tcp(8082, 80), guest="mail")),
    ),
    Row(
        "every local address, also one that comes later",
        "web1: [8083:80, 8083:53/udp]",
        (
            tcp(8083, 80),
            tcp(8083, 80, "second"),
            tcp(8083, 80, "bridge"),
            tcp(8083, 80, "later"),
            udp(8083, 53, "later"),
        ),
    ),
    Row(
        "a guest of a second NAT network, on another bridge",
        "app: [8070:80, 8070:53/udp]",
        (tcp(8070, 80), udp(8070, 53)),
        guest="app",
    ),
    Row(
        "a guest with several cards, reached on the one that is named",
        "cards:\n  network: second\n  ports: [8071:80, 8071:53/udp]",
        (tcp(8071, 80), udp(8071, 53)),
        guest="cards",
    ),
    Row(
        "a guest of an isolated network",
        "vault: [8060:80, 8060:53/udp]",
        (tcp(8060, 80), udp(8060, 53)),
        guest="vault",
        note="The guest needs a route back; libvirt's DHCP gives none on such a"
        " network.",
    ),
    Row(
        "a guest of a routed network",
        "router: [8061:80, 8061:53/udp]",
        (tcp(8061, 80), udp(8061, 53)),
        guest="router",
        straight="served",
        note="libvirt's rules leave guests of this network open to all who have a"
        " route.",
    ),
    Row(
        "a guest of a network with mode='open'",
        "wing: [8062:80, 8062:53/udp]",
        (tcp(8062, 80), udp(8062, 53)),
        guest="wing",
        straight="served",
        note="libvirt has no rules for this network, so its guests are open to all who"
        " have a route.",
    ),
    Row(
        "a guest by its UUID",
        "00000000-0000-4000-8000-000000000016: [8063:80]",
        (tcp(8063, 80),),
        guest="numbered",
    ),
    Row(
        "a guest with quotes in its name",
        '"we\\"b \'two\'": [8064:80]',
        (tcp(8064, 80),),
        guest="quotes",
    ),
    Row(
        "a guest whose name begins with a space",
        "' leading space': [8065:80]",
        (tcp(8065, 80),),
        guest="space",
    ),
    Row(
        "a guest with a name of 200 characters",
        f"{'n' * 200}: [8066:80]",
        (tcp(8066, 80),),
        guest="long",
    ),
    Row(
        "a guest with a name of 80 three-byte characters",
        f"{'名' * 80}: [8067:80]",
        (tcp(8067, 80),),
        guest="wide",
    ),
    Row(
        "a host with no default route",
        "web1: [8068:80, 8068:53/udp]",
        (tcp(8068, 80), udp(8068, 53)),
        note="All rows but the next one have no default route.",
    ),
    Row(
        "a host with several default routes",
        "web1: [8069:80, 8069:53/udp]",
        (tcp(8069, 80), udp(8069, 53)),
        stage="routes",
    ),
    Row(
        "hairpin and all with br_netfilter on",
        "web1: [8072:80, 8073-8074:9001-9002, 8072:53/udp]",
        (tcp(8072, 80), tcp(8074, 9002), udp(8072, 53)),
        stage="bridge-nf",
        note="With br_netfilter, the guest reaches itself only if its bridge port is in"
        " hairpin mode (`bridge link set dev vnetN hairpin on`).",
    ),
)
_SHUT = (
    Row(
        "straight at the guest's address",
        "web1: [8085:80]",
        (
            *(straight("tcp", port) for port in (80, 22, 8085)),
            straight("udp", 53),
        ),
    ),
    Row(
        "straight at a guest of an isolated network",
        "vault: [8086:80]",
        (straight("tcp", 80), straight("tcp", 22), straight("udp", 53)),
        guest="vault",
    ),
    Row(
        "sources outside allow_from, on single ports",
        "web1:\n  - {published: 8444, target: 443, protocol: [tcp, udp],\n"
        "     allow_from: [198.51.100.0/24, '2001:db8:2::/64']}",
        (tcp(8444, 443, sees=ONLY_ELSEWHERE), udp(8444, 443, sees=ONLY_ELSEWHERE)),
        note="The host has a service of its own there, which nobody gets to.",
    ),
    Row(
        "sources outside allow_from, on a range",
        "web1:\n  - {published: 8450-8460, protocol: [tcp, udp],\n"
        "     allow_from: [198.51.100.0/24, '2001:db8:2::/64']}",
        (
            tcp(8450, sees=ONLY_ELSEWHERE),
            tcp(8455, sees=ONLY_ELSEWHERE),
            udp(8460, sees=ONLY_ELSEWHERE),
        ),
    ),
    Row(
        "sources outside allow_from never get to another guest",
        "web1:\n  - {published: 8446, target: 80, host_ip: [203.0.113.5,"
        " '2001:db8:1::5'],\n     allow_from: [198.51.100.0/24, '2001:db8:2::/64']}\n"
        "mail: [8446:80]",
        (
            tcp(8446, 80, "second", sees=ONLY_ELSEWHERE),
            replace(tcp(8446, 80), guest="mail"),
        ),
    ),
    Row(
        "allow_from names the guests' own network",
        "web1:\n  - {published: 8447, target: 80,\n"
        "     allow_from: [192.168.122.0/24, 'fd00:122::/64']}",
        (tcp(8447, 80, sees=ONLY_INSIDE),),
    ),
)
_UNTOUCHED = (
    Row(
        "that port number elsewhere: transit, and guests' own connections",
        "web1: [8087, 8087/udp]",
        (beyond("tcp", 8087), beyond("udp", 8087)),
    ),
    Row(
        "no other way out of an isolated network",
        "vault: [8088, 8088/udp]",
        (
            beyond("tcp", 8088, guest="refused", neighbour="refused"),
            beyond("udp", 8088, guest="refused", neighbour="refused"),
        ),
        guest="vault",
    ),
    Row(
        "a network's own DNS, with port 53 published",
        "web1: [53, 53/udp]",
        (dns("tcp"), dns("udp"), tcp(53), udp(53)),
    ),
    Row(
        "the host's resolver on 127.0.0.53, with port 53 published",
        "web1: [53, 53/udp]",
        (local("tcp", 53, "resolver"), local("udp", 53, "resolver")),
    ),
    Row(
        "the host's own service on 127.0.0.1:8080, with 8080 published",
        "web1: [8080:80]",
        (local("tcp", 8080, "loopback"),),
        note="The service was there before the forward.",
        standing=(local("tcp", 8080, "loopback"),),
    ),
    Row(
        "the host's own service on 127.0.0.1 that starts later",
        "web1: [8089:80, 8089:53/udp]",
        (local("tcp", 8089, "loopback"), local("udp", 8089, "loopback")),
    ),
)
_LISTENERS = (
    Row(
        "a service of the host keeps its port from a forward",
        "web1: [8091:80, 8091:53/udp]",
        (tcp(8091, 80, sees=BY_HOST), udp(8091, 53, sees=BY_HOST)),
        standing=(tcp(8091, at="everywhere"), udp(8091, at="everywhere")),
        note="The forward is a conflict, and `status` and `check` name the service.",
        why="the host listens on",
    ),
    Row(
        "a forward with over_listener takes the port from the host's service",
        "web1:\n  - {published: 8092, target: 80, over_listener: true}",
        (tcp(8092, 80),),
        standing=(tcp(8092, at="everywhere"),),
    ),
    Row(
        "a service on one address of the host, a forward on another",
        "web1:\n  - 203.0.113.5:8093:80\n  - '[2001:db8:1::5]:8093:80'",
        (tcp(8093, 80, "second"), tcp(8093, 80, sees=BY_HOST)),
        standing=(tcp(8093, at="host"),),
    ),
    Row(
        "a service on every address, a forward on a second one",
        "web1:\n  - 203.0.113.5:22:22\n  - '[2001:db8:1::5]:22:22'",
        (tcp(22, at="second"), tcp(22, sees=BY_HOST)),
        stage="routes",
        standing=(tcp(22, at="everywhere"),),
        note="That address is not the source of a default route, so sshd is no"
        " conflict.",
    ),
    Row(
        "a service on every address, a forward on the default route's",
        "web1:\n  - 203.0.113.1:8094:80\n  - '[2001:db8:1::1]:8094:80'",
        (tcp(8094, 80, "first", sees=BY_HOST),),
        stage="routes",
        standing=(tcp(8094, at="everywhere"),),
        note="Others know the host by this address: a conflict, as on every address.",
        why="the host listens on",
    ),
    Row(
        "a service on a libvirt bridge keeps its port there, and is no conflict",
        "web1: [8096:80, 8096:53/udp]",
        (
            *(tcp(8096, 80, "first"), udp(8096, 53, "first")),
            tcp(8096, 80, "bridge", sees=BY_HOST),
            udp(8096, 53, "bridge", sees=BY_HOST),
        ),
        standing=(tcp(8096, at="bridge"), udp(8096, at="bridge")),
    ),
)
_PUBLIC = (
    Row(
        "public_ip: a whole address for one guest, in and out",
        "whole:\n  public_ip: [203.0.113.7, '2001:db8:1::7']",
        (
            tcp(80, at="whole"),
            tcp(22, at="whole"),
            udp(53, at="whole"),
            sctp(9001, at="whole"),
            beyond("tcp", 8110, guest="public"),
            beyond("udp", 8110, guest="public"),
        ),
        guest="whole",
    ),
    Row(
        "public_ip with ports: those alone come in",
        "part:\n  public_ip: [203.0.113.8, '2001:db8:1::8']\n  ports: [22, 2526:25]",
        (
            tcp(22, at="part"),
            tcp(2526, 25, "part"),
            tcp(80, at="part", sees=REFUSED),
            udp(5355, at="part", sees=REFUSED),
            beyond("tcp", 8111, guest="public"),
        ),
        guest="part",
    ),
    Row(
        "public_ip with allow_from and without the way out",
        "inward:\n  public_ip: [203.0.113.9, '2001:db8:1::9']\n  outgoing: false\n"
        "  allow_from: [198.51.100.0/24, '2001:db8:2::/64']",
        (
            tcp(80, at="inward", sees=ONLY_ELSEWHERE),
            udp(5356, at="inward", sees=ONLY_ELSEWHERE),
            beyond("tcp", 8112),
        ),
        guest="inward",
    ),
)
_LOOPBACK = (
    Row(
        ON_LOOPBACK,
        "web1: [127.0.0.1:8105:80, 127.0.0.1:8105:53/udp]",
        (
            Ask("tcp", 8105, 80, "loopback", sees=HOST_ALONE, other="silence"),
            Ask("udp", 8105, 53, "loopback", sees=HOST_ALONE, other="silence"),
            tcp(8105, 80, sees=BY_HOST),
        ),
        note="For the host alone; the guest sees the address of its bridge. On other"
        " addresses of the host, the host's own service answers.",
    ),
    Row(
        "the host's other services on 127.0.0.1 beside that",
        "web1: [127.0.0.1:8105:80]",
        (local("tcp", 8106, "loopback"), local("udp", 8106, "loopback")),
        standing=(local("tcp", 8106, "loopback"), local("udp", 8106, "loopback")),
        note="The bridge has route_localnet then, and a guard at priority -300 (raw).",
    ),
)
_STOPPED = (
    Row(
        "a guest that is off, its ports being the host's",
        "idle:\n  ports: [8097:80, 8097:53/udp]",
        (tcp(8097, 80, sees=BY_HOST), udp(8097, 53, sees=BY_HOST)),
        guest="idle",
        why="the guest is not running",
    ),
    Row(
        "when_stopped: reject, of a guest that never ran",
        "missing:\n  ports: [8098:80, 8098:53/udp]\n  when_stopped: reject",
        (tcp(8098, 80, sees=REFUSED), udp(8098, 53, sees=REFUSED)),
        note="The host has a service of its own there, which nobody gets to.",
        why="the guest is not running; its ports are rejected",
    ),
)


def _changed(ask: Ask, was: str, was_guest: str = "", kept: bool = True) -> Ask:
    return replace(ask, was=was, was_guest=was_guest, kept=kept)


_BRIEF = "brief:\n  ports: [7010:80, 7010:53/udp]\n  when_stopped: reject"
_REUSED = (
    "old:\n  address: [192.168.122.17, 'fd00:122::17']\n  ports: [7006/udp]\n"
    "new:\n  address: [192.168.122.17, 'fd00:122::17']\n  ports: [7007/udp]"
)
_CHANGES = (
    Row(
        "a UDP flow that is older than the forward",
        "web1: [7001/udp]",
        (_changed(udp(7001), "refused"),),
        stage="changes",
        before="",
    ),
    Row(
        "a UDP flow whose forward moves to another guest",
        "mail: [7002/udp]",
        (_changed(udp(7002), "served", "web1"),),
        guest="mail",
        stage="changes",
        before="web1: [7002/udp]",
    ),
    Row(
        "a UDP flow whose forward is removed",
        "",
        (_changed(udp(7003, sees=BY_HOST), "served"),),
        stage="changes",
        before="web1: [7003/udp]",
    ),
    Row(
        "an open TCP connection whose forward is removed",
        "",
        (
            _changed(tcp(7004, 80, sees=CLOSED), "served"),
            _changed(tcp(7004, 80, sees=BY_HOST), "served", kept=False),
        ),
        stage="changes",
        before="web1: [7004:80]",
    ),
    Row(
        "an open TCP connection whose forward moves to another guest",
        "mail: [7005:80]",
        (
            _changed(tcp(7005, 80, sees=CLOSED), "served", "web1"),
            _changed(tcp(7005, 80), "served", "web1", kept=False),
        ),
        guest="mail",
        stage="changes",
        before="web1: [7005:80]",
    ),
    Row(
        "a guest's address that another guest has now",
        _REUSED,
        (
            _changed(udp(7006, sees=BY_HOST), "served", "old"),
            _changed(udp(7007), "refused"),
        ),
        guest="new",
        stage="changes",
        before=_REUSED,
        stops="old",
        starts="new",
        why="the guest is not running",
    ),
    Row(
        "when_stopped: reject, of a guest that stops",
        _BRIEF,
        (
            _changed(tcp(7010, 80, sees=CLOSED), "served"),
            _changed(udp(7010, 53, sees=REFUSED), "served"),
            _changed(tcp(7010, 80, sees=REFUSED), "served", kept=False),
        ),
        guest="brief",
        stage="changes",
        before=_BRIEF,
        stops="brief",
        why="the guest is not running; its ports are rejected",
    ),
    Row(
        "connections of others while a forward to that port goes",
        "web1: [7009:80]",
        (
            _changed(beyond("tcp", 7008), "untouched"),
            _changed(beyond("udp", 7008), "untouched"),
            _changed(tcp(7009, 80), "served"),
            _changed(Ask("tcp", 7008, at="host", other="host"), "host"),
        ),
        stage="changes",
        before="web1: [7009:80, '203.0.113.5:7008:80', '[2001:db8:1::5]:7008:80',"
        " '203.0.113.5:7008:53/udp', '[2001:db8:1::5]:7008:53/udp']",
        note="An administrator's session to this port of another address goes on, too.",
        standing=(tcp(7008),),
    ),
)
_BESIDE = (
    Row(
        "beside Docker, whose FORWARD drops",
        "web1: [8100:80, 8100:53/udp]",
        (tcp(8100, 80, sees=DROPPED), udp(8100, 53, sees=DROPPED)),
        stage="docker",
        straight="dropped",
        note="Every base chain has to accept a packet. With nftables our accept is not"
        " in Docker's chain: the forward is `blocked`, and `status` names the cure.",
        why="Docker drops forwarded packets",
    ),
    Row(
        "beside Docker, with the cure that status names",
        "web1: [8101:80, 8101:53/udp]",
        (tcp(8101, 80), udp(8101, 53)),
        stage="docker, cured",
        straight="dropped",
    ),
    Row(
        "beside ufw, which drops what is forwarded",
        "web1: [8102:80, 8102:53/udp]",
        (tcp(8102, 80, sees=DROPPED), udp(8102, 53, sees=DROPPED)),
        stage="ufw",
        straight="dropped",
        why="ufw drops forwarded packets",
    ),
    Row(
        "beside ufw, with the cure that status names",
        "web1: [8103:80, 8103:53/udp]",
        (tcp(8103, 80), udp(8103, 53)),
        stage="ufw, cured",
    ),
    Row(
        "beside firewalld",
        "web1: [8104:80, 8104:53/udp]",
        (tcp(8104, 80), udp(8104, 53)),
        stage="firewalld",
    ),
)
_LEAVES = "leave by {}, and those of"
_OF_THE_GUEST = "unanswered: default route or firewall in the guest?"
_ALL_BUT_ITS_NETWORK = tuple(one for one in ORIGINS if one != "neighbour")


def _far(port: int, target: int, at: str = "other") -> Ask:
    """A port of the second cable's address, asked by who is far away behind it."""
    return replace(tcp(port, target, at), by=("elsewhere",))


_UNANSWERED = (
    Row(
        "an address that the host does not have",
        "web1:\n  - 54.210.1.2:8120:80\n  - '[2001:db8:7::2]:8120:80'",
        (tcp(8120, 80, "absent", sees=NOWHERE),),
        why="this host has no address",
        note="Like an elastic IP behind a provider's NAT: the forward is `pending`.",
    ),
    Row(
        "a second uplink with a rule for the host's address on it",
        "web1: [8122:80, 8122:53/udp, '198.51.100.1:8123:80',"
        " '[2001:db8:2::1]:8123:80']",
        (
            tcp(8122, 80, sees=SILENCE_FAR),
            udp(8122, 53, sees=SILENCE_FAR),
            replace(_far(8123, 80), sees=SILENCE_FAR),
        ),
        stage="uplink",
        why=_LEAVES.format("outside"),
        note="`ip rule from ADDRESS lookup TABLE` applies only to the host's own"
        " packets.",
    ),
    Row(
        "a second uplink, with the cure that status names",
        "web1: ['198.51.100.1:8124:80', '[2001:db8:2::1]:8124:80']",
        (tcp(8124, 80, "other"),),
        stage="uplink, cured",
    ),
    Row(
        STRICT,
        "web1: [8125:80, 8125:53/udp, '198.51.100.1:8126:80']",
        (
            tcp(8125, 80, sees=SILENCE_FAR),
            udp(8125, 53, sees=SILENCE_FAR),
            replace(_far(8126, 80), sees=SILENCE_FAR),
        ),
        stage="uplink, strict",
        why="elsewhere drops what is answered by outside (rp_filter 1)",
    ),
    Row(
        "a VPN that takes all, with a rule for the host's address on its uplink",
        "web1: [8127:80, 8127:53/udp, '198.51.100.1:8128:80',"
        " '[2001:db8:2::1]:8128:80']",
        (
            tcp(8127, 80, sees=SILENCE_FAR),
            udp(8127, 53, sees=SILENCE_FAR),
            replace(_far(8128, 80), sees=SILENCE_FAR),
        ),
        stage="vpn",
        why=_LEAVES.format("vpn"),
        note="The rules are those of wg-quick.",
    ),
    Row(
        "a VPN that takes all, with the cure that status names",
        "web1: ['198.51.100.1:8129:80', '[2001:db8:2::1]:8129:80']",
        (tcp(8129, 80, "other"),),
        stage="vpn, cured",
    ),
    Row(
        "a guest whose firewall drops",
        "web1: [8130:80, 8130:53/udp]",
        (tcp(8130, 80, sees=SILENCE), udp(8130, 53, sees=SILENCE)),
        stage="guest's firewall",
        why=_OF_THE_GUEST,
        note="The forward stays `active`; `status` counts the unanswered connections.",
    ),
    Row(
        "a guest whose default route leads elsewhere",
        "web1: [8131:80, 8132:80]",
        (
            replace(tcp(8131, 80, sees=SILENCE), by=_ALL_BUT_ITS_NETWORK),
            replace(tcp(8132, 80), by=("neighbour", "attacker")),
        ),
        stage="guest's VPN",
        why=_OF_THE_GUEST,
        note="A VPN in the guest takes all answers but those to its own network. A"
        " neighbour gets answers, so `status` then has no reason for that port.",
    ),
)
_TAKEN = (
    Row(
        "beside a DNAT rule of somebody else's, which is asked first",
        "web1: [8130:8131]",
        (tcp(8130, 8131, sees={"other": "taken", "host": "served"}),),
        stage="taken",
        why="table inet foreign, chain pre takes tcp 8130 by DNAT",
        note="That rule does not apply to the host's own connections.",
        standing=(tcp(8131, at="everywhere"),),
    ),
)
ROWS = (
    *_REACHED,
    *_SHUT,
    *_UNTOUCHED,
    *_LISTENERS,
    *_PUBLIC,
    *_LOOPBACK,
    *_STOPPED,
    *_CHANGES,
    *_UNANSWERED,
    *_TAKEN,
    *_BESIDE,
)
