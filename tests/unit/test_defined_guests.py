"""defined_guests: libvirt's files of guests, by their names."""

from __future__ import annotations

from pathlib import Path

from vfwhooks.libvirt.defined_guests import find_defined


def test_all_drivers(tmp_path: Path) -> None:
    """Each guest has a file; directories (networks, autostart) are no guests."""
    for path in ("qemu/web 1.xml", "lxc/box.xml", "libxl/dom.xml", "qemu/autostart/a"):
        file = tmp_path / "etc/libvirt" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    assert find_defined(str(tmp_path)) == {"web 1", "box", "dom"}


def test_no_libvirt(tmp_path: Path) -> None:
    """No directory, no guest."""
    assert find_defined(str(tmp_path)) == set()
