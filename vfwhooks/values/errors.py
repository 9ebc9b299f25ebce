"""The exceptions of the package, and names made safe to show."""


class VfwError(Exception):
    """What went wrong, in one line that names the object, and the next step.

    Only the mains catch it. But for InDoubt, everything else that is raised is a
    defect.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Refused(VfwError):
    """The kernel (or the tool in front of it) refused a whole transaction."""


class OutOfTime(VfwError):
    """Something was not finished when it had to be."""


class NeedsFullSync(Exception):
    """A partial sync does not know enough; a full one does (see sync)."""


def show(text: str) -> str:
    """`text` for a terminal, a log or a one-line record: no control characters.

    Names come from whoever may define a guest; an escape sequence in one must reach
    no terminal, and a line feed no log.
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
    """What is to be said of what ended a hook: the place, too, of a defect of ours."""
    if isinstance(error, (VfwError, OSError)):
        return str(error)
    return f"{where(error)}: {error!r}"


def where(error: Exception) -> str:
    """The innermost line of ours: traceback costs more to import than it tells."""
    trace, place = error.__traceback__, "?"
    while trace:
        place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
