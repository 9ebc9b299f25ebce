"""What vfwhooks holds in the kernel of a host, as lines that nft and iptables take."""

from __future__ import annotations

import re

from lab.host import Host

_TABLES = "inet vfwhooks", "ip libvirt_network", "ip6 libvirt_network"


def read_ruleset(host: Host, backend: str) -> list[str]:
    """Everything of ours: rules and elements of nftables, or rules of iptables."""
    if backend == "nftables":
        return [
            line
            for table in _TABLES
            for line in nft_lines(
                host.run(["nft", "-s", "list", "table", *table.split()]), table
            )
        ]
    found = []
    for tool in ("iptables", "ip6tables"):
        found += iptables_lines(host.run([f"{tool}-save"]), tool)
    return found


def nft_lines(text: str, table: str) -> list[str]:
    """The rules of our chains, our jump, and the elements of our sets, one a line."""
    found, rules, where, elements = [], [], "", ""
    for line in text.split("\n"):
        opened = re.fullmatch(r"\t(set|map|chain) (\S+) {", line)
        if opened:
            where = opened[2] if opened[1] == "chain" else f"@{opened[2]}"
        elif elements or line.strip().startswith("elements = {"):
            elements += line if elements else line.partition("{")[2]
        elif line.startswith("\t\t") and where[:1] != "@" and line[2:7] != "type ":
            is_ours = table == _TABLES[0] or where == "vfwhooks"
            if is_ours or line.endswith("jump vfwhooks"):
                rules.append(f"add rule {table} {where} {line.strip()}")
        if elements and line.endswith("}"):
            if table == _TABLES[0] or where == "@vfwhooks":
                items = re.split(r",\s*", elements.rstrip("} ").strip())
                head = f"add element {table} {where[1:]}"
                found += [f"{head} {{ {item.strip()} }}" for item in sorted(items)]
            elements = ""
    return rules + found


def iptables_lines(save: str, tool: str) -> list[str]:
    """The rules in our chains, and those that lead there.

    Which of our jumps in POSTROUTING is the first depends on which was put back last,
    and decides nothing: what one takes is not the other's.
    """
    found: list[str] = []
    table = ""
    for line in save.split("\n"):
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A ") and "VFW-" in line:
            found.append(f"{tool} -t {table} {line}")
    places = [n for n, line in enumerate(found) if " -A POSTROUTING " in line]
    for place, line in zip(places, sorted(found[n] for n in places)):
        found[place] = line
    return found


def is_networks(line: str, bridge: str) -> bool:
    """Whether the line is what a network needs once."""
    return f'comment "{bridge}"' in line or f"--comment {bridge} " in line


def is_base_ruleset(line: str) -> bool:
    """Whether the line is there whatever is forwarded."""
    return not re.search(r"comment|allow_|VFW-[A-Z]-", line)
