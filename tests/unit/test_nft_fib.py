"""nft_fib: a kernel that cannot load nft's `fib`."""

from __future__ import annotations

from typing import cast

from vfwhooks.firewall.nft_fib import CURE, NO_FIB, lacks_fib
from vfwhooks.firewall.nftables import Nftables
from vfwhooks.host.netlink import Netlink
from vfwhooks.host.run import Run
from vfwhooks.values.errors import Refused

# What nft 1.0.6 says of an expression that the kernel cannot load a module for.
SAID = (
    "nft: /dev/stdin:3:38-60: Error: Could not process rule: No such file or directory"
)


class Tool(Run):
    """nft beside a kernel without fib, or with it."""

    def __init__(self, is_there: bool) -> None:
        super().__init__()
        self.is_there = is_there
        self.asked: list[list[str]] = []

    def __call__(self, argv: list[str], text: str = "") -> str:
        self.asked.append(argv)
        if "fib " in text and not self.is_there:
            raise Refused(SAID)
        return ""


def test_whether_the_kernel_lacks_it() -> None:
    """It is asked without changing anything."""
    tools = Tool(is_there=True), Tool(is_there=False)

    found = [lacks_fib(tool) for tool in tools]

    check = [["nft", "-c", "-f", "-"]]
    assert (found, [t.asked for t in tools]) == ([False, True], [check, check])


def test_the_cause_is_said() -> None:
    """Instead of nft's words, of our own table alone, and only if that is the cause."""
    backends = [
        Nftables(cast("Netlink", None), Tool(is_there), {})
        for is_there in (False, True)
    ]

    found = [
        backend._cause(part, Refused(SAID))
        for backend in backends
        for part in ("own", "4")
    ]

    assert found == [f"{NO_FIB} {CURE}", SAID, SAID, SAID]
