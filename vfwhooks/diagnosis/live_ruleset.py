"""The host's whole ruleset as its tools list it, and names of guests and networks for
it.

A person reads the result; no decision depends on it.
"""

from __future__ import annotations

from ..firewall.iptables_tools import COMMANDS, Tools, own_variant
from ..host.netlink import Netlink
from ..host.run import Run, find
from ..libvirt.inventory import Inventory
from ..rulesets.context import Context, Names
from ..rulesets.ruleset import Ruleset
from ..rulesets.ruleset_reader import read_ruleset
from ..rulesets.save_reader import TOOL_MARK
from ..store.state import State
from .outside_packets import this_host
from .port_verdicts import PortVerdicts

SECONDS = 60.0  # for a tool that lists or changes a large ruleset
_SHARED = "claim", "network"  # records that belong to no running guest
_VARIANTS = {"nft": "iptables", "legacy": "iptables-legacy"}


def list_live() -> str:
    """The ruleset as text: nft's list with handles, which has all tables of iptables'
    nft variant, and iptables-save of both variants."""
    parts, run = [], Run(seconds=SECONDS)
    if find("nft"):
        parts.append(run(["nft", "-a", "list", "ruleset"]))
    if find("iptables-save"):
        tools = Tools(Netlink(), run, {})
        for variant in dict.fromkeys((own_variant(run), "legacy")):
            for family, command in COMMANDS.items():
                saved = tools.text(family, variant)
                head = f"{TOOL_MARK}{_VARIANTS[variant]}\n# of {command}-save\n"
                parts.append(head + saved if saved else "")
    return "".join(parts)


def read_live() -> Ruleset:
    """The ruleset as a value."""
    return read_ruleset(list_live(), "this host's ruleset")


def live_verdicts(state: State) -> PortVerdicts:
    """What this host's ruleset does to packets."""
    inventory = Inventory(f"{state.path}/networks")
    known = Context(read_live(), find_names(state, inventory))
    return PortVerdicts(known, this_host(inventory), inventory)


def find_names(state: State, inventory: Inventory) -> Names:
    """The network behind each bridge, and the guest of each UUID."""
    networks = map(inventory.network, inventory.names())
    return Names(
        {one.bridge: one.name for one in networks if one and not one.is_hosts_own},
        {
            one.guest.uuid: one.guest.name
            for one in state.records()
            if one.guest.uuid and one.guest.driver not in _SHARED
        },
    )
