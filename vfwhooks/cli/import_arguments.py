"""The definition of `vfwhooks import` for the parser. It imports nothing of our
package."""

from __future__ import annotations

import argparse
from pathlib import Path

FILE = "FILE"
KINDS = (
    *("compose", "domain", "firewalld", "hooks-json", "incus"),
    *("iptables", "nft", "ufw", "wiki"),
)
SUMMARY = "make a forwards.yaml from another tool's forwards"
ABOUT = """\
Reads FILE, or what is piped in (-), or without it the DNAT rules of this host,
and prints a forwards.yaml. What cannot be carried over stands at its end as
comments, with the reason. Nothing is put in force without --replace."""
EXAMPLES = (
    "vfwhooks import --replace --guest 192.168.122.50=web1",
    "virsh dumpxml web1 | vfwhooks import -",
)


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Give the command its arguments."""
    one.add_argument("source", nargs="?", type=Path, metavar=FILE, help="the source")
    one.add_argument(
        "--from",
        dest="kind",
        choices=KINDS,
        metavar="KIND",
        help="else found by content: " + ", ".join(KINDS),
    )
    one.add_argument(
        "--guest",
        action="append",
        default=[],
        metavar="ADDRESS=NAME",
        help="whose address it is, where libvirt does not know",
    )
    one.add_argument(
        "--interface",
        action="append",
        default=[],
        metavar="IF=ADDR",
        help="the host's address there (eth0=* publishes everywhere)",
    )
    one.add_argument(
        "-o", dest="output", type=Path, metavar=FILE, help="write it into a new file"
    )
    one.add_argument(
        "--replace",
        action="store_true",
        help="put it in force; take old rules out",
    )
    one.add_argument("--yes", action="store_true", help="do so without asking")
