"""Stand-ins for the package managers that this machine does not have.

One records what it is asked for in /var/log/manager, and answers in the words and with
the status of the real one.
"""

from __future__ import annotations

import shlex

LOG = "/var/log/manager"
MANAGERS = "apt-get", "dnf", "zypper", "pacman"

# The status of the real ones and what they print, by what is wrong; {} is a package.
REFUSALS: dict[str, dict[str, tuple[int, str]]] = {
    "no such package": {
        "apt-get": (100, "E: Unable to locate package {}"),
        "dnf": (1, "Error: Unable to find a match: {}"),
        "zypper": (104, "No provider of '{}' found."),
        "pacman": (1, "error: target not found: {}"),
    },
    "another one runs": {
        "apt-get": (
            100,
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process"
            " 811 (apt-get)",
        ),
        "dnf": (1, "Error: Failed to obtain the transaction lock."),
        "zypper": (7, "System management is locked by the application with pid 811"),
        "pacman": (1, "error: failed to init transaction (unable to lock database)"),
    },
    "not root": {
        "apt-get": (
            100,
            "E: Unable to acquire the dpkg frontend lock"
            " (/var/lib/dpkg/lock-frontend), are you root?",
        ),
        "dnf": (
            1,
            "Error: This command has to be run with superuser privileges (under the"
            " root user on most systems).",
        ),
        "zypper": (5, "Root privileges are required to run this command."),
        "pacman": (1, "error: you cannot perform this operation unless you are root."),
    },
}


def stand_in(says: str = "", status: int = 0, installs: str = "") -> str:
    """A package manager: after its words, `installs` is run, and the status is its own.

    Lists of packages are always there to be updated.
    """
    words = f"echo {shlex.quote(says)} >&2\n" if says else ""
    return (
        f'#!/bin/sh\necho "${{0##*/}} $*" >>{LOG}\n'
        f'case "$*" in *update) exit 0 ;; esac\n{words}{installs}\nexit {status}\n'
    )
