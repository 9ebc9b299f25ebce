"""News of the kernel that SELinux was switched, or that its policy or a boolean
changed."""

from ..host.netlink import Netlink, messages

_SELINUX = 7
_POLICY_NEWS = {-1, 0x10, 0x11}  # lost, SELinux was switched, its policy was loaded


class PolicyNews:
    """The kernel's news on SELinux: it was switched, or its policy or a boolean has
    changed. A kernel without SELinux has none; then `fileno` is -1."""

    def __init__(self, protocol: int = _SELINUX) -> None:
        try:
            self._link: "Netlink | None" = Netlink(protocol, groups=1)
        except OSError:
            self._link = None

    def fileno(self) -> int:
        """The descriptor for poll, or -1."""
        return self._link.fileno() if self._link else -1

    def read(self) -> bool:
        """Whether there was news since the last time; lost news count as news."""
        link = self._link
        kinds = {kind for kind, _, _ in messages(link)} if link else set[int]()
        return bool(kinds & _POLICY_NEWS)

    def close(self) -> None:
        if self._link:
            self._link.close()
            self._link = None
