"""`vfwhooks explain --svg`: the picture of this host, to a file or to the standard
output."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ..diagnosis.asked_forwards import find_rows
from ..diagnosis.host_picture import find_picture
from ..diagnosis.live_ruleset import live_verdicts
from ..diagnosis.overview import Overview, look
from ..diagnosis.picture_svg import draw
from ..diagnosis.status_rows import ForwardStatus
from ..libvirt.inventory import Inventory
from ..store.state import State
from ..values.errors import VfwError, show
from .safe_write import replace_file

_STDOUT = Path("-")


def draw_host(
    state: State, config: str, about: str | None, path: Path
) -> Iterator[str]:
    """Write the picture of all forwards, of a guest's, or of a port's. Yields what is
    to be printed: the picture itself for `-`."""
    overview = look(state, config)
    rows = overview.forwards
    if about:
        rows = tuple(_find_rows(overview, about))
    title = f"Who gets in: {socket.gethostname()}, {datetime.now():%Y-%m-%d %H:%M}"
    svg = draw(
        find_picture(
            overview,
            rows,
            live_verdicts(state),
            Inventory(f"{state.path}/networks"),
            title,
        )
    )
    if path == _STDOUT:
        yield svg.rstrip("\n")
    else:
        put(path, svg.encode())


def _find_rows(overview: Overview, about: str) -> list[ForwardStatus]:
    try:
        return find_rows(overview, about)
    except VfwError:
        if not Path(about).is_file():
            raise
    what = "a saved ruleset does not say which guests and addresses its host has"
    raise VfwError(f"{show(about)} cannot be drawn", what)


def put(path: Path, data: bytes) -> None:
    """Write a file by rename: what was there stays until the new content is whole.

    Raises VfwError for what a file cannot take the place of, OSError if there is no
    room.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        path.parent.stat()
        replace_file(path, None, data)
        return
    if not is_file:
        raise VfwError(f"{path} is no regular file", "- is the standard output")
    replace_file(path, path.read_bytes(), data)
