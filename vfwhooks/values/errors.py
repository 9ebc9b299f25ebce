"""The exceptions of the package, and names made safe to show."""


class VfwError(Exception):
    """The failure in one line that names the object, and a hint with the next step.

    Only the mains catch it. Others are defects, but for NeedsFullSync and OSError.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Refused(VfwError):
    """The kernel, or the tool in front of it, refused a whole transaction; `status` is
    the tool's exit status."""

    status = 0


class OutOfTime(VfwError):
    """The time limit of a task is over, and the task is not finished."""


class NeedsFullSync(Exception):
    """A partial sync does not know enough; a full sync does (see sync)."""


def show(text: str) -> str:
    """`text` for a terminal, a log or a one-line record: no control characters.

    Any user who may define a guest chooses its name: no escape sequence in a name may
    reach a terminal, and no line feed may reach a log.
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable()
        else c.encode("unicode_escape").decode()
        if not 0xD800 <= ord(c) <= 0xDFFF
        else f"\\x{ord(c) - 0xDC00:02x}"
        for c in text
    )


def why(error: Exception) -> str:
    """The log's words for the exception that ended a hook; of a defect, also where."""
    if isinstance(error, (VfwError, OSError)):
        return str(error)
    return f"{where(error)}: {error!r}"


def where(error: Exception) -> str:
    """The function and line that raised it: traceback costs too much to import."""
    trace, place = error.__traceback__, "?"
    while trace:
        place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
