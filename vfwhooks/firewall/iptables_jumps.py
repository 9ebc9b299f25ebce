"""Our jumps in iptables' base chains: their places, and whether others changed rules
there.

Rules in a base chain are read only to find libvirt's first rule.
"""

from ..host.netlink import Netlink
from ..values.connection_marks import RETURN_BITS
from ..values.errors import VfwError
from ..values.guests import Network
from .entry_delta import checksum
from .iptables_libvirt_rules import is_libvirts
from .iptables_nft import list_handles
from .iptables_script import FILTER, MANGLE, NAT, RAW, Chain, Script, parse_save
from .iptables_tools import COMMANDS, Saved, Tools, texts

_LOCAL = "-m addrtype --dst-type LOCAL"
_MARKED = f"-m connmark ! --mark 0x0/{RETURN_BITS:#x}"
JUMPS = (
    ((RAW, "PREROUTING"), "-d 127.0.0.0/8 -j VFW-GUARD"),
    ((RAW, "PREROUTING"), "-s 127.0.0.0/8 -j VFW-GUARD"),
    ((MANGLE, "PREROUTING"), f"{_MARKED} -m conntrack --ctstate DNAT -j VFW-BACK"),
    ((FILTER, "FORWARD"), "-m conntrack --ctstate DNAT -j VFW-FORWARD"),
    ((FILTER, "INPUT"), f"-m conntrack --ctstate NEW {_LOCAL} -j VFW-INPUT"),
    ((NAT, "PREROUTING"), f"{_LOCAL} -j VFW-PREROUTING"),
    ((NAT, "OUTPUT"), f"{_LOCAL} -j VFW-PUBLISH"),
    ((NAT, "POSTROUTING"), "-m conntrack --ctstate DNAT -j VFW-POSTROUTING"),
    (
        (NAT, "POSTROUTING"),
        "-m addrtype --dst-type UNICAST -m conntrack ! --ctstate DNAT -j VFW-OUT",
    ),
)
_NAMES = {name for (_, name), _ in JUMPS}
# The handles of each base chain's rules; legacy has no handles.
Handles = dict[Chain, list[int]]
_TRIES = 5


class Jumps:
    """The jumps of a family ("4", "6"), in the variant that `base` names."""

    def __init__(
        self,
        link: Netlink,
        tools: Tools,
        base: dict[str, str],
        networks: list[Network],
    ) -> None:
        self._link = link
        self._tools = tools
        self._base = base
        self._networks = networks

    def saved(self, family: str) -> tuple[Saved, Handles]:
        """All chains as they are saved, and the handles in the base chains.

        iptables-save leaves rules out, and exits with 0, if the kernel does not answer
        it. A rule that is left out would be added a second time. Raises Unreadable.
        """
        for _ in range(_TRIES):  # somebody else may change rules meanwhile
            handles = self.handles(family)
            saved = self._tools.saved(family, self._base["variant"])
            counts = {chain: len(saved.get(chain, [])) for chain in handles}
            if counts == {chain: len(some) for chain, some in handles.items()}:
                return saved, handles
        raise VfwError(f"{COMMANDS[family]}-save leaves out rules that are there")

    def place(self, script: Script, family: str, saved: Saved) -> None:
        """Make each jump stand in its base chain once, at a place where it works."""
        for chain, jump in self._all(family):
            self._place(script, chain, jump, texts(saved.get(chain, [])))

    def misplaced(self, family: str, saved: Saved) -> set[Chain]:
        """The base chains in which a jump is missing, or is at a place where it does
        not work."""
        found = set()
        for chain, jump in self._all(family):
            cure = Script()
            self._place(cure, chain, jump, texts(saved.get(chain, [])))
            if not cure.is_empty():
                found.add(chain)
        return found

    def fingerprint(self, family: str) -> str:
        """A text that changes when somebody changes the base chains; '' for legacy if a
        jump is at a place where it does not work.

        The nft variant numbers its rules, and one chain's rules are cheap to list.
        Legacy has only the text of all rules; rules in libvirt's own chains are left
        out.
        """
        if self._base["variant"] != "legacy":
            return _fingerprint(self.handles(family))
        lines = self._tools.lines(family, "legacy")
        lines = [one for one in lines if not one.startswith("-A LIBVIRT_")]
        there = [one for one in lines if one[0] == "*" or one.split(" ")[1] in _NAMES]
        cure = Script()
        self.place(cure, family, parse_save("".join(there)))
        return checksum("".join(lines)) if cure.is_empty() else ""

    def fingerprint_since(self, family: str, saved: Saved, handles: Handles) -> str:
        """The fingerprint after our own change; '' if somebody else has changed the
        base chains since they were saved, so that a jump may be at a wrong place."""
        if self._base["variant"] == "legacy":
            return self.fingerprint(family)
        now = self.handles(family)
        return _fingerprint(now) if _is_as_saved(saved, handles, now) else ""

    def handles(self, family: str) -> Handles:
        """The handles in the base chains."""
        if self._base["variant"] == "legacy":
            return {}
        return {
            chain: list_handles(self._link, family, chain)
            for chain in dict(self._all(family))
        }

    def _all(self, family: str) -> list[tuple[Chain, str]]:
        """The base chains, each with a jump; chains of raw and mangle only once they
        are needed."""
        return [
            (chain, jump)
            for chain, jump in JUMPS
            if chain[0] in (FILTER, NAT) or f"{chain[0]}{family}" in self._base
        ]

    def _place(self, script: Script, chain: Chain, jump: str, rules: list[str]) -> None:
        known = self._networks
        libvirts = [n for n, r in enumerate(rules) if is_libvirts(chain, r, known)]
        ours = [n for n, rule in enumerate(rules) if rule == jump]
        if len(ours) == 1 and not any(n < ours[0] for n in libvirts):
            return
        for _ in ours:
            script.delete_first(chain, jump)
        where = 0 if chain in ((NAT, "PREROUTING"), (NAT, "OUTPUT")) else 1
        if chain[1] in ("FORWARD", "POSTROUTING"):
            ahead = [n for n in ours if libvirts and n < libvirts[0]]
            where = libvirts[0] + 1 - len(ahead) if libvirts else 0
        script.insert(chain, jump, where)


def _fingerprint(handles: Handles) -> str:
    return checksum("".join(f"{name} {some}\n" for (_, name), some in handles.items()))


def _is_as_saved(saved: Saved, before: Handles, now: Handles) -> bool:
    """Whether the base chains have the same foreign rules now as when they were saved,
    and each of our jumps once."""
    for chain, handles in now.items():
        ours = [jump for where, jump in JUMPS if where == chain]
        rules = zip(before[chain], texts(saved.get(chain, [])))
        others = [handle for handle, rule in rules if rule not in ours]
        if len(handles) != len(others) + len(ours) or not set(others) <= set(handles):
            return False
    return True
