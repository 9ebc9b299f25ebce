"""Cockpit on a host of the Debian 13 tree: cockpit-ws on port 9090, and users of the
host who log in by PAM, one of whom may use sudo.

systemd does not run there: what its socket unit does for each login, its own tool does.
"""

from __future__ import annotations

from .box import wait_until
from .host import Host

ADMIN, ORDINARY, PASSWORD = "admin", "ordinary", "a long passphrase"
_SESSION = "/run/cockpit/session"
# Without TLS, which would ask for a certificate that a browser trusts.
_SETTINGS = "[WebService]\nAllowUnencrypted = true\n"
# Its pages about systemd are not loaded ahead: a bridge ends where they find no bus of
# a user's session.
_OVERRIDE = '{"preload": []}\n'
_USERS = f"""\
set -eu
useradd -m -s /bin/bash -G sudo {ADMIN}
useradd -m -s /bin/bash {ORDINARY}
printf '%s:{PASSWORD}\\n' {ADMIN} {ORDINARY} | chpasswd
mkdir -p /run/cockpit
"""
_START = f"""\
mkdir -p /run/dbus
dbus-daemon --system --fork --nopidfile
setsid systemd-socket-activate --accept --inetd -l {_SESSION} \
    /usr/lib/cockpit/cockpit-session </dev/null >/var/log/session.log 2>&1 &
setsid /usr/lib/cockpit/cockpit-ws --no-tls </dev/null >/var/log/cockpit-ws.log 2>&1 &
"""


def start_cockpit(host: Host) -> str:
    """Start it; its address for somebody outside. It ends with the host."""
    host.write("/etc/cockpit/cockpit.conf", _SETTINGS)
    host.write("/etc/cockpit/systemd.override.json", _OVERRIDE)
    host.run(["sh", "-c", _USERS])
    host.run(["sh", "-c", _START])
    wait_until(host.path(_SESSION).exists, "logins to Cockpit are taken")
    ask = ["curl", "-sS", "-o", "/dev/null", "http://127.0.0.1:9090/"]
    wait_until(
        lambda: host.call(ask).status == 0,
        lambda: f"Cockpit answers:\n{host.read('/var/log/cockpit-ws.log')}",
    )
    return "http://203.0.113.1:9090"
