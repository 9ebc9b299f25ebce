"""The matrix with libvirt's iptables backend."""

from __future__ import annotations

from .checks import (
    test_active_means_answered,
    test_cell,
    test_page,
    test_ten_thousand_ports,
)

BACKEND = "iptables"
__all__ = [
    "test_active_means_answered",
    "test_cell",
    "test_page",
    "test_ten_thousand_ports",
]
