"""The one definition of commands and arguments: for `--help`, for the manual pages and
for completions in shells. Of our package it imports only the version."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from . import metadata_arguments
from .import_arguments import ABOUT, EXAMPLES, SUMMARY, add_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# The kinds of arguments, by metavar. Shells complete by these.
FILE, GUEST, GUEST_OR_PORT, PORT = "FILE", "GUEST", "GUEST|PORT", "PORT"
GUEST_PORT_OR_FILE = "GUEST|PORT|FILE"


def make_parser() -> argparse.ArgumentParser:
    """The parser; `command` of its result is the command's name."""
    parser = argparse.ArgumentParser(
        prog="vfwhooks",
        description="Port forwards to libvirt guests.",
        epilog="Behind a command, --help tells more: vfwhooks check --help",
    )
    parser.add_argument(
        "--version", action="version", version=__version__, help="the version"
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_check, _add_apply, _add_entries, _add_files):
        add(commands)
    _add_looking(commands)
    _add_doing(commands)
    # Hidden: completions in shells call this command.
    one = commands.add_parser("complete")
    one.add_argument("what", nargs="+", choices=("guests", "ports"))
    one.set_defaults(command="complete")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments. Ends the process for bad usage, also of options that have a
    meaning only beside another one."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "explain" and arguments.source and not arguments.trace:
        port = arguments.about or "tcp/8080"
        cure = f"vfwhooks explain --trace {port} --from {arguments.source}"
        parser.error(f"--from belongs to --trace: {cure}")
    return arguments


def _add(
    commands: _Commands, name: str, summary: str, about: str, *examples: str
) -> argparse.ArgumentParser:
    one = commands.add_parser(
        name,
        help=summary,
        description=about,
        epilog="\n  ".join(("examples:", *examples)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.set_defaults(command=name)
    return one


def _add_check(commands: _Commands) -> None:
    one = _add(
        commands,
        "check",
        "check forwards.yaml; nothing is changed",
        """\
Says everything that is wrong in FILE (without one, in the files in use), with
file, line and column. Nothing is changed.""",
        "vfwhooks check",
        "vfwhooks check new.yaml --as /etc/vfwhooks/forwards.d/20-mail.yaml",
        "vfwhooks check --format json | jq '.problems[] | .message'",
    )
    one.add_argument(
        "file", nargs="?", type=Path, metavar=FILE, help="another file to check"
    )
    one.add_argument(
        "--as",
        dest="place",
        type=Path,
        metavar=FILE,
        help="where the file is to be put; what would be wrong then",
    )
    one.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        metavar="FORMAT",
        help="text, or json: one object, for programs",
    )


def _add_apply(commands: _Commands) -> None:
    one = _add(
        commands,
        "apply",
        "put forwards.yaml in force for all guests",
        """\
Asks libvirtd which guests run, and brings all rules to what the file says.
Only what differs is touched; connections through unchanged forwards live on.
Prints what changed, as lines that begin with + or -.""",
        "vfwhooks apply --dry-run",
        "vfwhooks apply",
    )
    one.add_argument(
        "--dry-run", action="store_true", help="only show what would change"
    )


def _add_entries(commands: _Commands) -> None:
    one = _add(
        commands,
        "add",
        "publish a port of a guest: write it, and put it in force",
        """\
Writes entries for a guest into forwards.yaml, leaves all else there as it is,
and does what apply does. An entry that check would refuse is not written.""",
        "vfwhooks add web1 8080:80 443",
        "vfwhooks add web1 2222:22 --allow-from 198.51.100.0/24",
    )
    one.add_argument("guest", metavar=GUEST, help="its name or UUID")
    one.add_argument(
        "entry", nargs="+", metavar="ENTRY", help="8080:80, 443, 5353:53/udp"
    )
    for name, metavar, what in (
        ("--allow-from", "NETWORK", "who may connect; may be repeated"),
        ("--host-ip", "ADDRESS", "on this address of the host; may be repeated"),
    ):
        one.add_argument(name, action="append", default=[], metavar=metavar, help=what)
    one.add_argument(
        "--file", type=Path, metavar=FILE, help="a file of forwards.d to write it into"
    )
    one.add_argument(
        "--replace", metavar=PORT, help="in place of the guest's entry for this port"
    )
    one.add_argument("--dry-run", action="store_true", help="only show what changes")
    one = _add(
        commands,
        "remove",
        "publish a port of a guest no more",
        """\
Takes the entries of a guest for these ports out of forwards.yaml, leaves all
else there as it is, and does what apply does. With the last port, or without a
PORT, the guest goes out of the file.""",
        "vfwhooks remove web1 8080",
        "vfwhooks remove web1 --dry-run",
    )
    one.add_argument("guest", metavar=GUEST, help="its name or UUID")
    one.add_argument(
        "port", nargs="*", metavar=PORT, help="of the host: 8080, 53/udp, 5000-5010/udp"
    )
    one.add_argument("--dry-run", action="store_true", help="only show what changes")


def _add_files(commands: _Commands) -> None:
    one = _add(
        commands,
        "edit",
        "edit forwards.yaml with your editor; it counts when it is good",
        """\
Opens $VISUAL, $EDITOR or vi on a copy. If check has nothing against it, it is
written and put in force, else you may edit it again or discard it. What does
not come into force is not lost: the copy is named.""",
        "vfwhooks edit",
        "EDITOR=nano vfwhooks edit /etc/vfwhooks/forwards.d/20-mail.yaml",
    )
    one.add_argument(
        "file", nargs="?", type=Path, metavar=FILE, help="a file of forwards.d to edit"
    )
    add_arguments(_add(commands, "import", SUMMARY, ABOUT, *EXAMPLES))
    more = metadata_arguments
    one = _add(commands, "metadata", more.SUMMARY, more.ABOUT, *more.EXAMPLES)
    more.add_arguments(one)


def _add_looking(commands: _Commands) -> None:
    one = _add(
        commands,
        "status",
        "what is forwarded, and why not",
        """\
Shows the paths in use, the backend, and every forward with its state; where
that is not active, with the reason. With --watch it looks again when something
changes, and not before; a count of connections alone is no change.""",
        "vfwhooks status",
        "vfwhooks status web1 --watch",
        "vfwhooks status --json | jq '.forwards[] | select(.state != \"active\")'",
    )
    one.add_argument(
        "guest", nargs="*", metavar=GUEST, help="only these, by name or UUID"
    )
    one.add_argument("--json", action="store_true", help="one object, for programs")
    one.add_argument(
        "--watch", action="store_true", help="again at each change, until Ctrl-C"
    )
    _add_doctor(commands)
    _add_explain(commands)
    one = _add(
        commands,
        "metrics",
        "forwards, events and drift, for Prometheus",
        """\
Prints what a textfile collector of Prometheus takes: forwards by state,
connections by guest, how long events took, what was restored, and when
forwards.yaml and the service last failed. vfwhooks-metrics.timer has it
written every minute.""",
        "vfwhooks metrics",
        "vfwhooks metrics --output /var/lib/prometheus/node-exporter/vfwhooks.prom",
    )
    one.add_argument(
        "--output", type=Path, metavar=FILE, help="replace this file, in one step"
    )


def _add_doctor(commands: _Commands) -> None:
    one = _add(
        commands,
        "doctor",
        "what is wrong with the host, or with one forward",
        """\
Looks at the host as a whole, and says of everything how it stands (ok, note or
wrong) and what to do about it. With a guest or a port it follows each forward
there, hop by hop, to the first that is broken; the guest is asked with one TCP
connection. Nothing is changed.""",
        "vfwhooks doctor",
        "vfwhooks doctor web1",
        "vfwhooks doctor tcp/8080",
        "vfwhooks doctor --json | jq '.findings[] | select(.level == \"wrong\")'",
    )
    one.add_argument(
        "about", nargs="?", metavar=GUEST_OR_PORT, help="web1, 8080, tcp/8080"
    )
    one.add_argument("--json", action="store_true", help="one object, for programs")


def _add_explain(commands: _Commands) -> None:
    one = _add(
        commands,
        "explain",
        "one guest's forwards, one port's, or a whole firewall",
        """\
Tells of the forwards of a guest or a port, of a saved ruleset (./FILE), or of
this host's: who made each rule, what it does, why, and what is lost with it.""",
        "vfwhooks explain web1",
        "vfwhooks explain ./saved.rules",
        "vfwhooks explain --trace tcp/8080 --from 198.51.100.7",
        "vfwhooks explain --svg host.svg",
    )
    one.usage = """\
%(prog)s [GUEST|PORT|FILE] [--svg | --save | --diff FILE]
       %(prog)s --trace PROTO/PORT [--from ADDRESS] [--wait SECONDS]"""
    one.add_argument(
        "about", nargs="?", metavar=GUEST_PORT_OR_FILE, help="web1, 8080, ./FILE"
    )
    only = one.add_mutually_exclusive_group()
    for name, what in (
        ("--svg", "draw a picture there; - prints it"),
        ("--save", "save this host's ruleset there"),
        ("--diff", "what changed since FILE was saved"),
    ):
        only.add_argument(name, type=Path, metavar=FILE, help=what)
    only.add_argument(
        "--trace", metavar="PROTO/PORT", help="the way of a connection, rule by rule"
    )
    one.add_argument(
        "--from",
        dest="source",
        metavar="ADDRESS",
        help="who connects; else an address that no rule names",
    )
    one.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        default=30,
        help="for a real connection (30; 0: only computed)",
    )


def _add_doing(commands: _Commands) -> None:
    _add(
        commands,
        "watch",
        "do all of that by itself, as a service",
        """\
Runs until it is ended, and does by itself what apply does when the files, a
lease, the neighbour table, the ruleset or libvirt's own files have changed.
This is what vfwhooks.service runs.""",
        "systemctl status vfwhooks",
    )
    one = _add(
        commands,
        "reserve",
        "have a guest keep its address by DHCP",
        """\
Turns the IPv4 addresses that a running guest has now into DHCP reservations of
its networks, live and persistent.""",
        "vfwhooks reserve web1",
    )
    one.add_argument("guest", metavar=GUEST, help="its name or UUID")
    _add(
        commands,
        "purge",
        "take out all rules and forget everything",
        """\
Takes out all rules of vfwhooks, of both backends and of routing, and forgets
all state. forwards.yaml stays. The next start of a guest brings its forwards
back: end the service first.""",
        "vfwhooks purge",
    )
