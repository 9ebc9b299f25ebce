"""The main job, shown on a private host: refused, served, refused. See demo.sh.

What it prints as typed is what it runs, and the answers are the real ones.
"""

from __future__ import annotations

import shlex
import signal
import sys
import textwrap
from typing import Union

from .box import Done
from .cache import LabError
from .host import Host
from .net import Net

FORWARDS = "/etc/vfwhooks/forwards.yaml"
SAMPLE = """\
guests:
  web1: [8080:80]
"""
URL = "http://203.0.113.1:8080/"
REFUSED = 7  # curl's exit status for a connection that was refused


def main() -> int:
    """Show it; the exit status, 0 if all went as it should."""
    # Ended or not, the host is closed: the private machine is gone when we are.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with Host.debian13("nftables", name="demo") as host:
            return show(host)
    except LabError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


def show(host: Host) -> int:
    """The steps, from an empty host to a guest that has come and gone."""
    host.start_libvirtd()
    host.start_network()
    outside = host.outside()
    web1 = host.define_guest("web1")
    version = host.run(["libvirtd", "--version"]).split()[-1]

    say(f"A host (203.0.113.1) with libvirt {version} and a guest, web1, that is off")
    say("vfwhooks is installed on it, and told what to forward")
    command(host, f"{Host.CHECKOUT}/install.sh")
    host.write(FORWARDS, SAMPLE)
    command(host, f"cat {FORWARDS}")

    say("Before the guest starts, somebody outside (203.0.113.2) is refused")
    before = command(outside, f"curl -sS {URL}")

    say("The guest starts: its name, its port and the client that it sees come back")
    command(host, "virsh -q start web1")
    web1.wait_for()
    during = command(outside, f"curl -sS {URL}")

    say("What the hook has put into the kernel, and what vfwhooks says of it")
    command(host, "nft list map inet vfwhooks dnat4_any")
    command(host, "nft list chain ip libvirt_network vfwhooks")
    command(host, "nft list set ip libvirt_network vfwhooks")
    command(host, "vfwhooks status")

    say("The guest stops, and whoever comes is refused again")
    command(host, "virsh -q destroy web1")
    after = command(outside, f"curl -sS {URL}")

    seen = before.status, during.stdout, after.status
    if seen != (REFUSED, f"web1 80 {outside.address}", REFUSED):
        print("\nThis is not what it should be.")
        return 1
    print("\nRefused before, served meanwhile, refused after: as it should be.")
    return 0


def say(text: str) -> None:
    """What comes next."""
    print(f"\n{text}.", flush=True)


def command(place: Union[Host, Net], line: str) -> Done:
    """Run a command where it belongs, and show both as a terminal would."""
    prompt = "root@host #" if isinstance(place, Host) else "outside $"
    print(f"   {prompt} {line}", flush=True)
    done = place.call(shlex.split(line))
    text = (done.stdout + done.stderr).expandtabs(4).strip("\n")
    if text:
        print(textwrap.indent(text, "   "), flush=True)
    return done


if __name__ == "__main__":
    sys.exit(main())
