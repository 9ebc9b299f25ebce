"""kernel_news: what the kernel may answer besides; what it tells is in test_netlink and
in the lab."""

from __future__ import annotations

import errno
from unittest.mock import patch

import pytest

from vfwhooks.service import kernel_news
from vfwhooks.values.errors import VfwError


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EPERM, "refused"), VfwError("the list changed nine times")],
)
def test_tables_that_cannot_be_listed(error: Exception) -> None:
    """Rules that change all the time do not end the service: none are known then."""
    with patch.object(kernel_news, "list_nat_chains", side_effect=error):
        assert kernel_news.nat_tables() == set()
