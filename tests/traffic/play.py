"""Plays the whole table on one host: every question of every cell, and the rulesets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.host import Host
from lab.net import Net
from product import status

from .asking import Flow
from .cells import Cell, is_left_out
from .expect import asked_address, expected, find_guest, own_address
from .frames import Frame
from .places import CABLES, GUESTS, LANS, LOOPBACK, RESOLVER, Pair
from .rulesets import read_ruleset
from .servers import Servers
from .stages import settle, stage
from .table import FAMILIES, ORIGINS, ROWS, Ask, Row
from .told import Statuses, Told, find_owner, find_said
from .world import World, alone

PATIENCE, BRIEFLY = 5.0, 0.8
_AT_ONCE = 48
STAGES = tuple(dict.fromkeys(row.stage for row in ROWS))
_ELSEWHERE = ("beyond", "dns", "guest")
_OWN = {"loopback": LOOPBACK, "resolver": RESOLVER}


@dataclass(frozen=True)
class Found:
    """What was seen in every cell, what status then said of each packet that came from
    outside to a forward, and the ruleset of every row, alone in force."""

    seen: dict[Cell, tuple[str, ...]]
    told: dict[str, list[Told]]
    rulesets: dict[str, list[str]]


@dataclass
class Question:
    """One question of a cell, with the flow it is asked on."""

    row: Row
    cell: Cell
    ask: Ask
    flow: Flow | Frame
    wanted: list[str]
    heard: list[str]

    def put(self) -> None:
        """Ask once, and take down what came."""
        wanted = self.wanted[len(self.heard)]
        patience = BRIEFLY if wanted == "timed out" else PATIENCE
        self.heard.append(self.flow.ask(patience))
        if not self.ask.kept:
            self.flow.close()

    def told(self, forwards: Statuses) -> Iterator[Told]:
        """What status says of the forward that the question was for, if it was."""
        owner = find_owner(self.row, self.ask, self.cell)
        if owner:
            said = find_said(forwards, owner, self.ask, self.cell.family)
            is_answered = self.heard[-1].startswith(f"{owner.guest} ")
            port = f"{self.ask.protocol} {self.ask.port}"
            yield Told(self.cell, port, is_answered, said)


def play(host: Host, backend: str) -> Found:
    """Everything, on a host that has not been started yet."""
    with World(host) as world:
        _serve(world)
        for key in GUESTS:
            if not GUESTS[key].off:
                world.started(key)
        seen: dict[Cell, tuple[str, ...]] = {}
        told: dict[str, list[Told]] = {}
        for name in STAGES:
            rows = [row for row in ROWS if row.stage == name]
            answers, told[name] = _play_stage(world, backend, name, rows)
            seen.update(answers)
        return Found(seen, told, _rulesets(world, backend))


def _play_stage(
    world: World, backend: str, name: str, rows: list[Row]
) -> tuple[dict[Cell, tuple[str, ...]], list[Told]]:
    questions = [
        question for row in rows for question in _questions(world, backend, row)
    ]
    with stage(world, name), Servers() as standing, Servers() as later:
        _standing_services(world, rows, standing)
        if any(row.before is not None for row in rows):
            world.put_in_force(rows, is_before=True)
            _put(q for q in questions if len(q.wanted) > 1)
        for row in rows:
            if row.stops:
                world.stopped(row.stops)
        world.put_in_force(rows)
        for row in rows:
            if row.starts:
                world.started(row.starts)
        world.late_addresses(True)
        _own_services(world, rows, later)
        settle(world, name)
        _put(questions)
        forwards = status(world.host)["forwards"]
        world.late_addresses(False)
    heard: dict[Cell, list[list[str]]] = {}
    for question in questions:
        heard.setdefault(question.cell, []).append(question.heard)
    seen = {cell: _in_order(answers) for cell, answers in heard.items()}
    return seen, [told for question in questions for told in question.told(forwards)]


def _in_order(answers: list[list[str]]) -> tuple[str, ...]:
    """What was heard before, question by question, and then what was heard now."""
    rounds = len(answers[0])
    return tuple(one[number] for number in range(rounds) for one in answers)


def _questions(world: World, backend: str, row: Row) -> list[Question]:
    found, macs = [], world.macs()
    for origin in ORIGINS:
        for index, family in enumerate(FAMILIES):
            cell = Cell(row.name, origin, backend, family)
            if is_left_out(cell):
                continue
            wanted = expected(row, cell)
            asks = row.asked_by(origin)
            for number, ask in enumerate(asks):
                address = asked_address(row, ask, origin)[index]
                net = world.nets[find_guest(row, origin) or origin]
                flow: Flow | Frame = Flow(net, ask.protocol, address, ask.port)
                if ask.at in _OWN and origin != "host":
                    mac = macs[_next_to(row, origin)]
                    own = own_address(row, origin)[index]
                    flow = Frame(net, ask.protocol, mac, own, address, ask.port)
                mine = list(wanted[number :: len(asks)])
                found.append(Question(row, cell, ask, flow, mine, []))
    return found


def _next_to(row: Row, origin: str) -> str:
    """The host's interface on the origin's side."""
    guest = find_guest(row, origin)
    return LANS[GUESTS[guest].lan].network.bridge if guest else origin


def _put(questions: Iterable[Question]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(Question.put, questions))


def _serve(world: World) -> None:
    """Servers on the guests and beyond the host, for every port that is asked."""
    wanted = set()
    for row in ROWS:
        for ask in row.asks:
            if ask.at == "beyond":
                wanted |= {(who, ask.protocol, ask.port) for who in CABLES}
            elif ask.target:
                guests = {ask.guest or row.guest, ask.was_guest} - {""}
                wanted |= {(guest, ask.protocol, ask.target) for guest in guests}
    for who, protocol, port in sorted(wanted):
        for family in FAMILIES:
            world.servers.put_up(world.nets[who], who, protocol, port, family)


def _own_services(world: World, rows: list[Row], servers: Servers) -> None:
    """The host's own service on every port that is asked of it, on every address, or on
    the loopback address that a question names."""
    standing = {(a.protocol, a.port) for row in rows for a in row.standing}
    asks = [a for row in rows for a in row.asks if a.at not in _ELSEWHERE]
    asks.sort(key=lambda ask: ask.at in _OWN and not ask.target)
    services = {(a.protocol, a.port): a for a in asks}
    for key, ask in services.items():
        if key not in standing:
            where = ("", "") if ask.target else _OWN.get(ask.at, ("", ""))
            _put_up(servers, world.host.net, ask, [where])


def _standing_services(world: World, rows: list[Row], servers: Servers) -> None:
    """What the host serves on some of its addresses, whatever is forwarded."""
    for row in rows:
        for ask in row.standing:
            where = {
                "host": list(CABLES.values()),
                "bridge": [LANS[GUESTS[row.guest].lan].bridge_address],
            }
            at = [_OWN[ask.at]] if ask.at in _OWN else where.get(ask.at, [("", "")])
            _put_up(servers, world.host.net, ask, at)


def _put_up(servers: Servers, net: Net, ask: Ask, addresses: list[Pair]) -> None:
    name = ask.at if ask.at in _OWN and not ask.target else "host"
    for pair in addresses:
        for family, address in zip(FAMILIES, pair):
            servers.put_up(net, name, ask.protocol, ask.port, family, address)


def _rulesets(world: World, backend: str) -> dict[str, list[str]]:
    """What we hold in the kernel for each row, alone in force."""
    found = {}
    for row in ROWS:
        world.host.write("/etc/vfwhooks/forwards.yaml", alone(row.forwards))
        world.meet()
        world.started("web1")
        found[row.name] = read_ruleset(world.host, backend)
    return found
