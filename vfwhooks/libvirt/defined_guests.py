"""The guests that libvirt has defined on this host, by the names of their files, for
commands that do not ask libvirtd."""

from __future__ import annotations

from ..store import files

_DIRECTORIES = ("etc/libvirt/qemu", "etc/libvirt/lxc", "etc/libvirt/libxl")
_SUFFIX = ".xml"


def find_defined(root: str = "") -> set[str]:
    """Their names; none where this user may not look. A guest without a file (of
    virt-install --transient) is not among them."""
    found = [one for where in _DIRECTORIES for one in files.names(f"{root}/{where}")]
    return {one.removesuffix(_SUFFIX) for one in found if one.endswith(_SUFFIX)}
