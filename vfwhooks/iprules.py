"""Entries as iptables rules, written the way iptables-save prints them. Pure.

Every guest with forwards has chains of its own, named by its UUID (22 characters of
base64 hold all of it): VFW-B-… for ports bound to an address, VFW-A-… for ports on
every address, VFW-R-… for what is rejected, VFW-C-… for what of that no port on every
address gets. Chains that all share lead there, each a part that changes, in any order,
above a tail that does not (see templates/iptables.j2):

    PREROUTING, OUTPUT > VFW-PUBLISH > VFW-BOUND > VFW-B-…, then VFW-CLAIMED > VFW-C-…,
                                       then VFW-ANY > VFW-A-…
    POSTROUTING > VFW-POSTROUTING > VFW-INSIDE for what was DNATed, or else
    POSTROUTING > VFW-OUT > VFW-SNAT
    INPUT > VFW-INPUT > VFW-REJECT > VFW-R-…;  FORWARD > VFW-FORWARD
    raw's PREROUTING > VFW-GUARD, only while the host's loopback leads to a guest
    mangle's PREROUTING > VFW-BACK, only while a forward has return_path
"""

from binascii import Error, b2a_base64, unhexlify

from .elements import MASQUERADE_BIT, RETURN_BITS, WHOLE, return_mark

FILTER, NAT, RAW, MANGLE = "filter", "nat", "raw", "mangle"
_PORTS_A_RULE = 15
_REJECTS = {"4": "icmp-port-unreachable", "6": "icmp6-port-unreachable"}
_LEADING = (((NAT, "VFW-ANY"), "A"), ((NAT, "VFW-BOUND"), "B"))
_REJECTING = (((FILTER, "VFW-REJECT"), "R"), ((NAT, "VFW-CLAIMED"), "C"))
_LENGTHS = {"4": 32, "6": 128}
_AHEAD = {"guard": 0, "masq": 1, "back": 1, "backany": 1}  # of where it leads to
Line = tuple[str, str]
Chain = tuple[str, str]
Chains = dict[Chain, list[str]]


class Rules:
    """An owner's rules of one family: chains of its own, and rules among others'."""

    __slots__ = ("own", "shared")

    def __init__(self) -> None:
        self.own: Chains = {}
        self.shared: Chains = {}


def render(owner: str, entries: list[str], family: str) -> Rules:
    """The rules that one owner's entries of one family make."""
    rules = Rules()
    mine = [f"VFW-{letter}-{short(owner)}" for letter in "ABCR"]
    for entry in sorted(entries, key=lambda one: _AHEAD.get(one.partition(" ")[0], 2)):
        for chain, rule in rules_of(owner, entry, family):
            where = rules.own if chain[1] in mine else rules.shared
            where.setdefault(chain, []).append(rule)
    for chain, jumps in _jumps(owner, entries, family).items():
        rules.shared.setdefault(chain, []).extend(jumps)
    return rules


def rules_of(owner: str, entry: str, family: str) -> list[tuple[Chain, str]]:
    """The rules that are one entry's alone; none of another family's."""
    verb, number, *words = entry.split(" ")
    if number != family or verb == "way":
        return []
    if verb in ("dnat", "guard"):
        target = _dnat(words) if verb == "dnat" else f"-j {sources_chain(words[4])}"
        chain = NAT, f"VFW-{'A' if words[0] == '*' else 'B'}-{short(owner)}"
        return [(chain, f"{_match(words, family)} {target}")]
    if verb in ("masq", "back", "backany"):
        return _marking(owner, verb, words, family)
    if verb == "reject":
        chain = FILTER, f"VFW-R-{short(owner)}"
        match, by = _match(words, family), "-j REJECT --reject-with"
        found = [(chain, f"{match} {by} {_REJECTS[family]}")]
        if words[1] == "tcp":
            found = [(chain, f"{match} {by} tcp-reset")]
        elif words[1] == WHOLE:
            found.insert(0, (chain, f"{match} -p tcp {by} tcp-reset"))
        if words[0] != "*":
            found.append(((NAT, f"VFW-C-{short(owner)}"), f"{match} -j ACCEPT"))
        return found
    return _among_others(owner, verb, words, family)


def _marking(
    owner: str, verb: str, words: list[str], family: str
) -> list[tuple[Chain, str]]:
    """What gives connections a mark before they are DNATed, and to the first packet
    what VFW-BACK gives to all others."""
    letter = "A" if verb == "backany" or words[0] == "*" else "B"
    chain, match = (NAT, f"VFW-{letter}-{short(owner)}"), _match(words, family)
    if verb == "masq":
        mark = f"{MASQUERADE_BIT:#x}/{MASQUERADE_BIT:#x}"
        return [(chain, f"{match} -j CONNMARK --set-xmark {mark}")]
    to, _, rest = match.partition(" -p ")
    match = f"{to} -i {words[4]}" + (f" -p {rest}" if rest else "")
    mark = f"{return_mark(int(words[5])):#x}/{RETURN_BITS:#x}"
    targets = f"CONNMARK --set-xmark {mark}", f"MARK --set-xmark {mark}"
    return [(chain, f"{match} -j {target}") for target in targets]


def is_marking(entry: str, family: str) -> bool:
    """Whether packets have to be given a connection's mark for it, in the table
    mangle."""
    return entry.startswith((f"back {family} ", f"backany {family} "))


def short(owner: str) -> str:
    """The owner's UUID in 22 characters: chain names have fewer than 29."""
    try:
        data = unhexlify(owner.replace("-", ""))
    except (Error, ValueError):
        data = owner.encode()
    name = b2a_base64(data, newline=False).decode().rstrip("=")
    return name.replace("+", "-").replace("/", "_")[:22]


def sources_chain(name: str) -> str:
    """The chain that checks sources, for its name in the entries (allow_…)."""
    return "VFW-S-" + name.partition("_")[2]


def _among_others(
    owner: str, verb: str, words: list[str], family: str
) -> list[tuple[Chain, str]]:
    comment = f"-m comment --comment {owner}"
    address = f"{words[0]}/{_LENGTHS[family]}"
    if verb == "localnet":
        out = f"-s 127.0.0.0/8 -o {words[0]} {comment} -j MASQUERADE"
        guard = f"-i {words[0]} {comment} -j DROP"
        return [((RAW, "VFW-GUARD"), guard), ((NAT, "VFW-POSTROUTING"), out)]
    if verb == "accept":
        match = f"-m conntrack --ctstate DNAT --ctdir ORIGINAL {comment} -j ACCEPT"
        back = f"-m conntrack --ctstate DNAT --ctdir REPLY {comment} -j ACCEPT"
        chain = FILTER, "VFW-FORWARD"
        return [(chain, f"-d {address} {match}"), (chain, f"-s {address} {back}")]
    if verb == "left":
        rule = f"{_match(words, family)} {comment} -j RETURN"
        return [((NAT, "VFW-PUBLISH"), rule), ((FILTER, "VFW-INPUT"), rule)]
    if verb == "snat":
        rule = f"-s {address} {comment} -j SNAT --to-source {words[1]}"
        return [((NAT, "VFW-SNAT"), rule)]
    chain = NAT, "VFW-POSTROUTING"
    if verb == "hairpin":
        match = f"-s {words[0]} -d {words[0]} {comment}"
        return [
            (chain, f"{match} -j MASQUERADE"),
            ((NAT, "VFW-OUT"), f"{match} -j RETURN"),
        ]
    accept = f"! -s {words[0]} -d {words[0]} {comment} -j ACCEPT"
    return [((NAT, "VFW-INSIDE"), accept)]


def _jumps(owner: str, entries: list[str], family: str) -> Chains:
    """Jumps to the owner's chains, each for at most 15 ports, which is what keeps a
    connection from walking through every guest's rules."""
    ports: dict[tuple[Chain, str, str], list[tuple[int, int]]] = {}
    found: Chains = {}
    for entry in entries:
        verb, number, host, *words = entry.split(" ")
        if number != family or verb not in ("dnat", "guard", "reject"):
            continue
        if verb == "reject":
            places = _REJECTING[: 1 if host == "*" else 2]
        else:
            places = _LEADING[:1] if host == "*" else _LEADING[1:]
        for chain, to in places:
            if words[0] == WHOLE:
                match = f"-d {host}/{_LENGTHS[family]} -m comment --comment {owner}"
                rule = f"{match} -j VFW-{to}-{short(owner)}"
                if rule not in found.setdefault(chain, []):
                    found[chain].append(rule)
                continue
            published = ports.setdefault((chain, to, words[0]), [])
            published.append((int(words[1]), int(words[2])))
    for (chain, to, protocol), published in ports.items():
        for some in _chunks(sorted(set(published))):
            match = f"-p {protocol} -m multiport --dports {some}"
            rule = f"{match} -m comment --comment {owner} -j VFW-{to}-{short(owner)}"
            found.setdefault(chain, []).append(rule)
    return found


def _chunks(published: list[tuple[int, int]]) -> list[str]:
    """The ports as multiport takes them: fifteen a rule, and a range counts for two."""
    found: list[list[str]] = []
    room = 0
    for first, last in published:
        need = 1 if first == last else 2
        if room < need:
            found.append([])
            room = _PORTS_A_RULE
        found[-1].append(f"{first}" if first == last else f"{first}:{last}")
        room -= need
    return [",".join(some) for some in found]


def _match(words: list[str], family: str) -> str:
    host, protocol, first, last = words[:4]
    if protocol == WHOLE:
        return f"-d {host}/{_LENGTHS[family]}"
    ports = first if first == last else f"{first}:{last}"
    match = f"-p {protocol} -m {protocol} --dport {ports}"
    return match if host == "*" else f"-d {host}/{_LENGTHS[family]} {match}"


def _dnat(words: list[str]) -> str:
    _, _, first, last, address, target = words
    if first != last:
        return f"-j DNAT --to-destination {address}"
    host = f"[{address}]" if ":" in address else address
    return f"-j DNAT --to-destination {host}:{target}"


def parse_save(text: str) -> dict[Chain, list[tuple[str, str]]]:
    """Every chain in iptables-save's output, or a skeleton's, with its rules: their
    counters ("[0:0]", or nothing) and their text behind the chain's name."""
    found: dict[Chain, list[tuple[str, str]]] = {}
    table = ""
    for line in text.split("\n"):
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            found[table, line[1:].split(" ")[0]] = []
        elif line.startswith(("-A ", "[")):
            counters, _, rule = line.partition("-A ")
            chain, _, rule = rule.partition(" ")
            found.setdefault((table, chain), []).append((counters.strip(), rule))
    return found


class Script:
    """What iptables-restore --noflush is given: what to let in, then nat, then what to
    shut out. Shared rules go to the head of their chain; its tail stays below them."""

    def __init__(self) -> None:
        self._declare: list[Line] = []
        self._add: list[Line] = []
        self._remove: list[Line] = []

    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self._declare or self._add or self._remove)

    def needs(self, table: str) -> bool:
        """Whether a rule goes into this table."""
        return any(line[0] == table for line in self._add)

    def change(self, old: Rules, new: Rules) -> None:
        """Bring one owner from its old rules to its new ones, counters staying."""
        for chain, rules in new.own.items():
            if chain not in old.own:
                self.fill(chain, [("", rule) for rule in rules])
            else:
                self._adjust(chain, old.own[chain], rules)
        for chain in {**old.shared, **new.shared}:
            self._adjust(chain, old.shared.get(chain, []), new.shared.get(chain, []))
        self.drop([chain for chain in old.own if chain not in new.own])

    def fill(self, chain: Chain, rules: list[tuple[str, str]]) -> None:
        """Make the chain hold these rules, with these counters, and nothing else."""
        table, name = chain
        self._declare.append((table, f":{name} - [0:0]"))
        self._add += [(table, f"{c} -A {name} {rule}".lstrip()) for c, rule in rules]

    def insert(self, chain: Chain, rule: str, position: int = 1) -> None:
        """Put a rule into a chain, at a position from 1; 0 is its end."""
        table, name = chain
        where = f"-I {name} {position}" if position else f"-A {name}"
        self._add.append((table, f"{where} {rule}"))

    def delete(self, chain: Chain, rule: str) -> None:
        """Take one rule out of a chain."""
        table, name = chain
        self._remove.append((table, f"-D {name} {rule}"))

    def delete_first(self, chain: Chain, rule: str) -> None:
        """Take one rule out of a chain before anything is put into it."""
        table, name = chain
        self._add.append((table, f"-D {name} {rule}"))

    def drop(self, chains: list[Chain]) -> None:
        """Delete chains that nothing leads to any more."""
        self._remove += [(table, f"-F {name}") for table, name in chains]
        self._remove += [(table, f"-X {name}") for table, name in chains]

    def _adjust(self, chain: Chain, old: list[str], new: list[str]) -> None:
        before, after = set(old), set(new)
        for rule in old:
            if rule not in after:
                self.delete(chain, rule)
        for rule in reversed(new):
            if rule not in before:
                self.insert(chain, rule, 0 if " -j DNAT " in rule else 1)

    def text(self) -> str:
        """The whole script."""
        come, go = self._declare + self._add, self._remove
        blocks = (
            (RAW, [line for table, line in come if table == RAW]),
            (MANGLE, [line for table, line in come if table == MANGLE]),
            (FILTER, [line for table, line in come if table == FILTER]),
            (NAT, [line for table, line in come + go if table == NAT]),
            (FILTER, [line for table, line in go if table == FILTER]),
            (MANGLE, [line for table, line in go if table == MANGLE]),
            (RAW, [line for table, line in go if table == RAW]),
        )
        return "".join(
            f"*{table}\n" + "\n".join(lines) + "\nCOMMIT\n"
            for table, lines in blocks
            if lines
        )
