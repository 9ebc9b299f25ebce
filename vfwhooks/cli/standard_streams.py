"""The standard streams of a command: each is open, and neither a reader that goes away
nor a character that the terminal does not have stops work half-way."""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Output(io.FileIO):
    """Standard output or error. Once its reader (a pager, say) has gone, what is
    written is dropped."""

    def write(self, data: Buffer, /) -> int:
        """Write all that there is room for; the number of bytes."""
        try:
            return super().write(data)
        except BrokenPipeError:
            _drop(self.fileno())
            return super().write(data)


def make_dependable() -> None:
    """Open what is closed, and let nobody be ended by a reader who has gone."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _drop(fd)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", closefd=False))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):  # no test's or caller's own
            setattr(sys, name, _dependable(stream))


def _dependable(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The stream, with an escape for what its encoding does not have (→ in
    ISO-8859-1)."""
    raw = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),  # Python's own -u
        stream.encoding,
        "backslashreplace" if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _drop(fd: int) -> None:
    """Let the descriptor lead to nowhere, for the commands that we start, too."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == fd:
        os.set_inheritable(fd, True)
    else:
        os.dup2(null, fd)
        os.close(null)
