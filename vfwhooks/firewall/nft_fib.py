"""A check whether the kernel knows nft's `fib`, by which our table finds the host's
addresses.

A kernel that was upgraded without a reboot has lost its module files, and nft says only
"No such file or directory".
"""

from ..host.run import Run
from ..values.errors import Refused, VfwError

_PROBE = """add table inet vfwhooks_probe
add chain inet vfwhooks_probe probe
add rule inet vfwhooks_probe probe fib daddr type local accept
"""
NO_FIB = "the kernel has no nft_fib: was it upgraded without a reboot?"
MODPROBE = "modprobe", "nft_fib_inet"
CURE = f"reboot, or: {' '.join(MODPROBE)}"


def lacks_fib(run: Run) -> bool:
    """Ask the kernel whether it would take a rule with `fib`; nothing is changed."""
    try:
        run(["nft", "-c", "-f", "-"], _PROBE)
    except Refused:
        return True
    except VfwError:
        return False  # nft is not installed, or does not end: nobody can tell
    return False
