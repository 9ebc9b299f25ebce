"""The hook script of libvirt's wiki, in its forms: what it sets and which rules it adds
is read. Nothing of it is run. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ..rulesets.ruleset import Rule
from ..rulesets.save_rule import SaveRule
from ..values.errors import show
from .imported import Found, Imported, Left, NotCarried, Origin, unreadable
from .iptables_calls import added_rule, carried_call
from .narrow_accepts import Accepts
from .script_words import MOST, Variables, find_guest

_TOOL = re.compile(r"(?:sudo\s+)?(?:\S*/)?(ip6?tables)\s+(.*)")
_ASSIGNMENT = re.compile(
    r"(?:(?:local|export|readonly)\s+)?([A-Za-z_]\w*)=(.*)", re.DOTALL
)
_IF = re.compile(r"if\s+(.*?)\s*;?\s*(?:then\b\s*(.*))?")
_FOR = re.compile(r"for\s+([A-Za-z_]\w*)\s+in\s+(.*?)\s*;?\s*do")
_GUARD = re.compile(r"(.*\])\s*\|\|\s*exit(\s+0)?")
_BLOCKS = {"case": "esac", "for": "done", "while": "done", "until": "done"}
_IDLE = re.compile(
    r"(?:#.*|(?:exit|echo|logger|sleep)\b(?!.*DNAT).*|set\s.*|:|true|then|do)?"
)
_NOT_KNOWN = "it is in none of the forms of the wiki's script, and nothing is run"
_ENDED = "the script has ended before it, by exit"
_TEXT = f"it is text for a command (<<): {_NOT_KNOWN}"
_FUNCTION = re.compile(r"(?:function\s+[\w-]+(?:\s*\(\))?|[\w-]+\s*\(\))\s*\{?")
_HERE = re.compile(
    r"""(?:"[^"]*"|'[^']*'|[^#"'])*?(?<!<)<<-?\s*(["']?)([A-Za-z_]\w*)\1(?!.*\)\)).*"""
)
_FORWARD = re.compile(r"(?:-A|-I|--append|--insert)\s+FORWARD\b")


@dataclass
class _Block:
    """An `if`, `for`, `case` or function that is open: the guest that it is for, the
    values that its variable takes, why nothing in it can be carried over, and which
    variables it sets."""

    word: str
    guest: str = ""
    variable: str = ""
    values: list[str] = field(default_factory=list)
    why: str = ""
    sets: list[str] = field(default_factory=list)


def read_script(text: str, name: str) -> Found:
    """The forwards of all guests that the script names."""
    script = _Script()
    for number, line in _logical_lines(text):
        column = len(line) - len(line.lstrip()) + 1
        script.line(line.strip(), Origin(f"{name}:{number}:{column}", line.strip()))
    if not script.found.forwards and not script.has_rules:
        hint = 'it is read for if [ "$1" = GUEST ], and iptables -j DNAT'
        raise unreadable(name, _NOT_KNOWN, hint)
    found = Found([], script.found.left)
    for one in script.found.forwards:
        found.take(script.accepts.checked(one))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that go on behind a backslash, or in brackets."""
    whole, first = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        first = first if whole else number
        whole += line
        if whole.endswith("\\"):
            whole = whole[:-1] + " "
        elif re.match(r"\s*\w+=\([^)]*$", whole):
            whole += " "
        else:
            yield first, whole
            whole = ""
    if whole:
        yield first, whole


class _Script:
    """What has been read so far."""

    def __init__(self) -> None:
        self.found = Found()
        self.accepts = Accepts()
        self.has_rules = False
        self._variables = Variables()
        self._blocks: list[_Block] = []
        self._only = ""  # the guest, where the script leaves for all others
        self._text_end = ""  # of a text for a command
        self._ended = ""

    def line(self, line: str, origin: Origin) -> None:
        """Read one."""
        if self._text_end:
            if "DNAT" in line:
                self.found.take(Left(origin, _TEXT))
                self.has_rules = True
            self._text_end = "" if line == self._text_end else self._text_end
            return
        here = _HERE.fullmatch(line)
        self._text_end = here[2] if here else ""
        line = re.sub(r"\s+#\s.*$", "", line) if '"' not in line else line
        if _IDLE.fullmatch(line):
            if line.startswith("exit"):
                self._exit(origin)
            return
        tool, assignment = _TOOL.fullmatch(line), _ASSIGNMENT.fullmatch(line)
        if tool:
            self._rule(tool[2], origin, is_six=tool[1] == "ip6tables")
        elif assignment:
            self._variables.set(assignment[1], assignment[2].strip())
            for block in self._blocks[-1:]:
                block.sets.append(assignment[1])
        elif not self._structure(line):
            self.found.take(Left(origin, _NOT_KNOWN))

    def _exit(self, origin: Origin) -> None:
        """The rest of the block, or of the script, is never run."""
        if self._why:
            self.found.take(Left(origin, self._why))
        elif self._blocks:
            self._blocks[-1].why = _ENDED
        else:
            self._ended = _ENDED

    def _structure(self, line: str) -> bool:
        """Whether a line opens or ends a block, or says which guest is meant."""
        condition, loop = _IF.fullmatch(line.removeprefix("el")), _FOR.fullmatch(line)
        guard, first = _GUARD.fullmatch(line), line.partition(" ")[0]
        if guard:
            block = self._if(guard[1])
            self._only = block.guest or self._only
            return not block.why
        if condition:
            block = self._if(condition[1])
            if first == "elif" and self._blocks:
                block.why = self._pop().why or block.why
            if not re.search(r"[\s;]fi$", line):
                self._blocks.append(block)
            return not condition[2]
        if loop:
            self._blocks.append(self._for(loop[1], loop[2]))
        elif first in _BLOCKS and not line.endswith(_BLOCKS[first]):
            why = f"it stands in a {first}: {_NOT_KNOWN}"
            self._blocks.append(_Block(_BLOCKS[first], why=why))
        elif line in ("else", "fi", "done", "esac") or line.startswith("done <"):
            self._end(line)
        elif not self._function(line):
            inside = self._blocks[-1:] and self._blocks[-1].word == "esac"
            return bool(inside and (line == ";;" or line.endswith(")")))
        return True

    def _function(self, line: str) -> bool:
        """Whether a line opens or ends a function: nobody knows who calls it."""
        if _FUNCTION.fullmatch(line):
            why = f"it stands in a function: {_NOT_KNOWN}"
            self._blocks.append(_Block("}", why=why))
            return True
        is_open = bool(self._blocks) and self._blocks[-1].word == "}"
        if is_open and line == "}":
            self._pop()
        return is_open and line in ("{", "}")

    def _end(self, line: str) -> None:
        if self._blocks:
            self._pop()
        if line == "else":
            why = f"it stands in an else: {_NOT_KNOWN}"
            self._blocks.append(_Block("fi", why=why))

    def _pop(self) -> _Block:
        block = self._blocks.pop()
        self._variables.forget(block.sets)
        for above in self._blocks[-1:]:
            above.sets += block.sets
        return block

    @property
    def _why(self) -> str:
        """Why nothing here can be carried over; '' if it can."""
        whys = (block.why for block in self._blocks if block.why)
        return self._ended or next(whys, "")

    def _if(self, condition: str) -> _Block:
        """The block of a condition that is all of tests for a guest and for events."""
        try:
            named = find_guest(condition)
            return _Block("fi", guest=named and self._variables.expanded(named, {}))
        except NotCarried:
            return _Block("fi", why=f"it stands under a condition: {show(condition)}")

    def _for(self, variable: str, words: str) -> _Block:
        try:
            values = self._variables.words(words)
        except NotCarried as error:
            return _Block("done", variable=variable, why=str(error))
        return _Block("done", variable=variable, values=values)

    def _rule(self, text: str, origin: Origin, *, is_six: bool) -> None:
        """A call of iptables, in each round of the loops around it."""
        if _FORWARD.search(text):
            self._accept(text, origin)
            return
        if "DNAT" not in text or not re.search(
            r"(?:^|\s)(-A|-I|--append|--insert)\s", text
        ):
            return
        self.has_rules = True
        if re.search(r"(?:-A|-I|--append|--insert)\s+OUTPUT\b", text):
            return  # vfwhooks' forwards hold for the host's own programs as well
        if "tables" in text:
            self.found.take(Left(origin, _NOT_KNOWN))
            return
        guests = [block.guest for block in self._blocks if block.guest]
        guest = (guests or [self._only])[-1]  # '': who has the address is asked
        if self._why:
            self.found.take(Left(origin, self._why))
            return
        for values in self._rounds(origin):
            try:
                words = shlex.split(self._variables.expanded(text, values))
            except (NotCarried, ValueError) as error:
                self.found.take(Left(origin, str(error)))
                return
            for one in carried_call(words, origin, "ip6" if is_six else "ip"):
                if isinstance(one, Imported):
                    one = replace(one, guest=guest)
                self.found.take(one)

    def _accept(self, text: str, origin: Origin) -> None:
        """What lets the guest's packets pass is ours to do, for all that it lets."""
        for values in self._rounds(origin):
            try:
                _, words = added_rule(
                    shlex.split(self._variables.expanded(text, values))
                )
                rule = SaveRule(words, ()).read()
            except (NotCarried, ValueError):
                return
            one = Rule("", origin.text, tuple(rule.matches), rule.verdict)
            self.accepts.add(one, origin.where)

    def _rounds(self, origin: Origin) -> list[dict[str, str]]:
        """The values of the loops' variables, round by round; none where there are too
        many, which is told."""
        rounds: list[dict[str, str]] = [{}]
        for block in self._blocks:
            if block.variable:
                rounds = [
                    {**one, block.variable: value}
                    for one in rounds
                    for value in block.values
                ]
            if len(rounds) > MOST:
                self.found.take(Left(origin, f"more than {MOST} rounds of loops"))
                return []
        return rounds
