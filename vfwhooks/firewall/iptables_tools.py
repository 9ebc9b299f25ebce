"""The tools of iptables on a host, in both variants: saving and restoring tables."""

from collections.abc import Callable

from ..host.netlink import Netlink
from ..host.run import Run, find
from ..store import files
from ..values.errors import Refused, VfwError
from ..values.guests import Network
from .iptables_libvirt_rules import is_libvirts
from .iptables_nft import list_chain_names
from .iptables_script import FILTER, MANGLE, NAT, RAW, Chain, Script, parse_save
from .nft_names import PARTS

COMMANDS = {"4": "iptables", "6": "ip6tables"}
_LEGACY_TABLES = {"4": "/proc/net/ip_tables_names", "6": "/proc/net/ip6_tables_names"}
_CANNOT_PARSE = 3  # the exit status of iptables-nft for a rule
# The rules of each chain in their order, each with its counters ("[packets:bytes]").
Saved = dict[Chain, list[tuple[str, str]]]


class Unreadable(VfwError):
    """A table of the nft variant has a rule that iptables cannot read."""


class Tools:
    """Save and restore the tables of a family ("4", "6") in a variant (nft, legacy).
    `base` says which tables are used (see iptables_base_chains)."""

    def __init__(self, link: Netlink, run: Run, base: dict[str, str]) -> None:
        self.link = link
        self.run = run
        self._base = base

    def saved(self, family: str, variant: str) -> Saved:
        """The chains of the tables that we use; none if the kernel has none."""
        if not self.can_save(family, variant):
            return {}
        tables = [FILTER, NAT]
        if self._has_raw(family, variant):
            tables.append(RAW)
        if self._uses_mangle(family, variant):
            tables.append(MANGLE)
        return parse_save("".join(self._table(family, variant, t) for t in tables))

    def forward(self, family: str, variant: str) -> list[str]:
        """The rules of FORWARD; none if the kernel has none. Raises Unreadable."""
        if not self.can_save(family, variant):
            return []
        text = self._table(family, variant, FILTER)
        return texts(parse_save(text).get((FILTER, "FORWARD"), []))

    def _table(self, family: str, variant: str, table: str) -> str:
        tool = _tool(family, variant, "save") or ""
        where = f"table {PARTS[family][1]} {table}"
        hint = f"nft -a list {where}; move it to a table of your own"
        try:
            text = self.run([tool, "-c", "-t", table])
        except Refused as error:
            if error.status != _CANNOT_PARSE:
                raise
            raise Unreadable(f"{where}: {error}", hint) from error
        if "' is incompatible, use" in text:
            what = "has a rule that iptables cannot read (nft has put it there)"
            raise Unreadable(f"{where} {what}", hint)
        return text

    def lines(self, family: str, variant: str) -> list[str]:
        """The saved rules of all tables, without counters; each table's name comes
        before its rules."""
        text = self.text(family, variant)
        return [line for line in text.splitlines(True) if line[:1] in "-*"]

    def text(self, family: str, variant: str) -> str:
        """All tables as iptables-save prints them; '' if the kernel has none, if the
        tool is missing, or if a rule that nft has made is beyond it."""
        return self._readable(_tool(family, variant, "save"), variant)

    def nat(self, family: str, variant: str) -> str:
        """The table nat as `text` has all, also '' if the legacy variant has no such
        table: listing would create it."""
        return self._readable(_tool(family, variant, "save", NAT), variant, "-t", NAT)

    def _readable(self, tool: "str | None", variant: str, *options: str) -> str:
        try:
            return self.run([tool, *options]) if tool else ""
        except Refused:
            if variant == "legacy":
                raise
            return ""

    def can_save(self, family: str, variant: str) -> bool:
        """Whether the variant can be listed without creating its tables."""
        return _tool(family, variant, "save") is not None

    def has_ours(self, family: str, variant: str) -> bool:
        """Whether any chain of ours exists; in the nft variant the check spawns no
        tool."""
        if variant == "legacy":
            return any(map(is_ours, self.saved(family, variant)))
        tables = FILTER, NAT, RAW, MANGLE
        return any(
            is_ours((table, name))
            for table in tables
            for name in list_chain_names(self.link, family, table)
        )

    def restore(self, family: str, variant: str, script: Script) -> None:
        """Carry out the script. Raises VfwError if the tool is missing, and Refused
        with the tool's own words."""
        self.restore_text(family, variant, script.text(), "--counters")

    def restore_text(self, family: str, variant: str, text: str, *options: str) -> None:
        """Carry out lines as iptables-restore reads them. Raises as `restore`."""
        tool = _tool(family, variant, "restore")
        if tool is None:
            raise VfwError(f"{COMMANDS[family]}-restore is not installed")
        self.run([tool, "--noflush", *options, "-w", "2"], text)

    def libvirts_variant(self, networks: list[Network]) -> str:
        """nft or legacy: the variant that has libvirt's rules, else the variant of
        `iptables`.

        A list by iptables-legacy creates its tables, so /proc is read first.
        """
        forward = FILTER, "FORWARD"
        for variant in ("legacy", "nft"):
            try:
                rules = self.forward("4", variant)
            except Unreadable:
                there = list_chain_names(self.link, "4", FILTER)
                rules = [f"-j {name}" for name in there]
            if any(is_libvirts(forward, rule, networks) for rule in rules):
                return variant
        return own_variant(self.run)

    def _has_raw(self, family: str, variant: str) -> bool:
        """Whether the table raw exists; listing it would create it."""
        if variant == "legacy":
            return RAW in legacy_tables(family)
        return bool(list_chain_names(self.link, family, RAW))

    def _uses_mangle(self, family: str, variant: str) -> bool:
        """Whether our rules are, or must be, in the table mangle, which others use
        too."""
        if variant == "legacy":
            return MANGLE in legacy_tables(family)
        if f"{MANGLE}{family}" in self._base:
            return True
        return "VFW-BACK" in list_chain_names(self.link, family, MANGLE)


def own_variant(run: "Callable[[list[str]], str]") -> str:
    """nft or legacy: the variant of the command `iptables`. Before 1.8 only legacy
    existed, and the version did not name it."""
    return "nft" if "(nf_tables)" in run(["iptables", "--version"]) else "legacy"


def is_ours(chain: Chain) -> bool:
    """Whether the chain is one of ours."""
    return chain[1].startswith("VFW-")


def texts(rules: list[tuple[str, str]]) -> list[str]:
    """Rules without their counters."""
    return [rule for _, rule in rules]


def legacy_tables(family: str, root: str = "") -> list[str]:
    """The tables that are in the kernel; listing others would create them."""
    return (files.read(f"{root}{_LEGACY_TABLES[family]}") or b"").decode().split()


def _tool(family: str, variant: str, kind: str, table: str = FILTER) -> "str | None":
    """The variant's tool; to save legacy, only if its table is in the kernel."""
    is_legacy_save = variant == "legacy" and kind == "save"
    if is_legacy_save and table not in legacy_tables(family):
        return None
    name = f"{COMMANDS[family]}-{variant}-{kind}"
    plain = f"{COMMANDS[family]}-{kind}"
    return name if find(name) else plain if find(plain) else None
