"""The matrix with iptables as libvirt 9.0 has it."""

from __future__ import annotations

from .checks import (
    test_active_means_answered,
    test_cell,
    test_page,
    test_ten_thousand_ports,
)

BACKEND = "iptables-9.0"
__all__ = [
    "test_active_means_answered",
    "test_cell",
    "test_page",
    "test_ten_thousand_ports",
]
