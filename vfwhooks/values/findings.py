"""Findings about the host or a forward, each with its cure: one source for the text
and for the command."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import show

OK, NOTE, WRONG = "ok", "note", "wrong"
MANUAL = "manual"
_TOOLS = ("vfwhooks", "sysctl", "systemctl", "setsebool")
_RUN = "{run}"  # stands for the command in what is said of a cure
_PLAIN = frozenset("%+,-./0123456789:=@_")


@dataclass(frozen=True)
class Cure:
    """The next step: a command as an argument vector (empty: no command), and the text,
    with {run} in place of the command. A step `by_hand` takes more than the command."""

    argv: tuple[str, ...] = ()
    said: str = f"run: {_RUN}"
    by_hand: bool = False

    @property
    def kind(self) -> str:
        """The tool of the command, or manual: a person has to act."""
        first = self.argv[0] if self.argv and not self.by_hand else ""
        return first if first in _TOOLS else MANUAL

    def __str__(self) -> str:
        return self.said.replace(_RUN, render(self.argv))


@dataclass(frozen=True)
class Finding:
    """The level of a finding (ok, note or wrong), its id, its object (a guest, a file,
    a unit), the finding in a sentence, the next step, and the evidence."""

    level: str
    ident: str
    about: str
    what: str
    cure: Cure | None = None
    evidence: str = ""

    @property
    def said(self) -> str:
        """The sentence and the next step."""
        return f"{self.what}; {self.cure}" if self.cure else self.what

    def __str__(self) -> str:
        return f"{self.level:5}  {self.said}"

    def fields(self) -> dict[str, object]:
        """The fields for programs; the manual lists them."""
        cure = self.cure
        told = cure and {
            "kind": cure.kind,
            "argv": list(cure.argv) or None,
            "text": show(str(cure)),
        }
        return {
            "id": self.ident,
            "level": self.level,
            "object": self.about,
            "evidence": show(self.evidence or self.what),
            "text": show(self.what),
            "cure": told,
        }


def by_hand(said: str, *argv: str) -> Cure:
    """A step for a person: words, with a command or without."""
    return Cure(argv, said, by_hand=True)


def run(*argv: str) -> Cure:
    """A command that does the whole step."""
    return Cure(argv)


APPLY = run("vfwhooks", "apply")


def in_shell(script: str) -> Cure:
    """Several commands, as one line of a shell."""
    return Cure(("sh", "-c", script))


def render(argv: tuple[str, ...]) -> str:
    """A command as a person types it."""
    if argv[:2] == ("sh", "-c"):
        return argv[2]
    return " ".join(map(quote, argv))


def quote(text: str) -> str:
    """A word as a shell takes it: shlex.quote, which costs an import."""
    if text and all(one.isalnum() or one in _PLAIN for one in text):
        return text
    return "'" + text.replace("'", "'\"'\"'") + "'"
