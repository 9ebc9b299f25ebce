"""A kernel without nft's `fib`: the cause is said, and the cure. An nft that answers as
the real one does there stands in for the kernel, which cannot lose a module here."""

from __future__ import annotations

from lab.host import Host
from lab.network import default_network
from product import put_in, vfwhooks

from e2e.conftest import KINDS
from e2e.cures import cures, in_checkout
from e2e.standins import Standin, put_in_force

NFT = """#!/bin/sh
case " $* " in *" -f - "*) ;; *) exec /usr/sbin/nft.real "$@" ;; esac
text=$(cat)
case $text in *"fib "*)
    exec >&2
    echo "/dev/stdin:3:38-60: Error: Could not process rule: No such file or directory"
    exit 1 ;;
esac
printf '%s\\n' "$text" | exec /usr/sbin/nft.real "$@"
"""
MODPROBE = "#!/bin/sh\n[ $1 = nft_fib_inet ] && mv /usr/sbin/nft.real /usr/sbin/nft\n"
WHY = "the kernel has no nft_fib: was it upgraded without a reboot?"
CURE = "reboot, or: modprobe nft_fib_inet"


@cures("kernel-without-fib")
def test_a_kernel_without_fib() -> None:
    """apply, status and doctor name it, and doctor that our table is missing; with the
    module there, apply puts everything in."""
    with KINDS["libvirt-11.3-nftables"]() as host:
        put_in(host)
        host.start_libvirtd()
        host.start_network(default_network())
        put_in_force(host, "guests:\n  web1: {ports: [8080:80]}\n")
        host.run(["mv", "/usr/sbin/nft", "/usr/sbin/nft.real"])
        host.write("/usr/sbin/nft", NFT)
        host.run(["chmod", "755", "/usr/sbin/nft"])
        host.run(["nft", "delete", "table", "inet", "vfwhooks"])
        web1 = Standin(host, "web1", 10)
        web1.start()
        said = _said(host)
        host.write("/usr/sbin/modprobe", MODPROBE, 0o755)
        in_checkout(host).cure("kernel-without-fib")
        web1.stop()
        web1.start()
        after = _said(host)

    wrong = f"wrong  our table inet vfwhooks is missing: {WHY}; {CURE}"
    assert said == ([f"problem  nftables: {WHY} {CURE}"], [wrong])
    assert after == ([], ["ok     backend nftables, beside libvirt's rules"])


def _said(host: Host) -> tuple[list[str], list[str]]:
    """What status has as problems, and what doctor says of our table."""
    status = vfwhooks(host, "status").stdout.splitlines()
    doctor = vfwhooks(host, "doctor").stdout.splitlines()
    words = "our table", "backend nftables"
    return (
        [line for line in status if line.startswith("problem")],
        [line for line in doctor if any(word in line for word in words)],
    )
