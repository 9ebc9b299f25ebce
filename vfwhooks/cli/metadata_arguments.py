"""The definition of `vfwhooks metadata`, as the parser has it."""

from __future__ import annotations

import argparse
from pathlib import Path

SUMMARY = "a guest's forwards in the metadata of its domain"
ABOUT = """\
Shows, writes, edits or clears the forwards that go with the guest wherever it
goes, in the syntax of forwards.yaml: a list of entries, or ports: and
public_ip:. They are checked as forwards.yaml is, and are in force where
metadata: in the host's forwards.yaml permits them."""
EXAMPLES = (
    "vfwhooks metadata get web1",
    "echo '[8080:80, 8443:443]' | vfwhooks metadata set web1 -",
    "vfwhooks metadata edit web1",
    "vfwhooks metadata clear web1 --live",
)


def add_arguments(one: argparse.ArgumentParser) -> None:
    """Add the command's arguments to its parser."""
    one.add_argument(
        "action",
        choices=("get", "set", "edit", "clear"),
        metavar="ACTION",
        help="get, set, edit or clear",
    )
    one.add_argument("guest", metavar="GUEST", help="its name or UUID")
    one.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="what to set; - is stdin"
    )
    one.add_argument("--live", action="store_true", help="the running guest alone")
    one.add_argument("--config", action="store_true", help="its definition alone")
