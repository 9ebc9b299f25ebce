"""guest_news: what is due after a look at listeners; the rest is in tests/faults."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

from unit.builders import fresh_state, record
from vfwhooks.service.guest_news import GuestNews
from vfwhooks.service.schedule import Schedule


def test_a_look_without_a_configuration(tmp_path: Path) -> None:
    """It has been damaged, and is compiled anew: listeners are looked at again then."""
    news = Mock(_schedule=Schedule(), _state=fresh_state(tmp_path))
    news._guest_cache.yielding.return_value = [record()]

    is_news = GuestNews.try_listeners(news)

    assert (is_news, set(news._schedule._due)) == (False, {"listeners"})
