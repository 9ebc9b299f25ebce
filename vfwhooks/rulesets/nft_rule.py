"""One rule as nft writes it: its conditions and its verdict. Pure.

What is not known becomes a condition without a field, up to the next word that is.
"""

from __future__ import annotations

from collections.abc import Callable

from .nft_words import (
    CT,
    ENDS,
    HEADED,
    HEADERS,
    JOINING,
    PLAIN,
    PORTS,
    SIMPLE,
    STARTS,
    STATEFUL,
    STATEMENTS,
    TOKEN,
    VALUES,
    condition,
    joined,
    of_protocol,
    split_commas,
    unquoted,
)
from .ruleset import Match, Verdict
from .spellings import plain_error


class RuleReader:
    """Reads one rule's words from left to right."""

    def __init__(self, text: str) -> None:
        self.words = TOKEN.findall(text)
        self.at = 0
        self.comment = ""
        self.matches: list[Match] = []
        self.verdict = Verdict("")

    def is_rule(self) -> bool:
        """Whether any of the words is one of nft's."""
        return not STARTS.isdisjoint(self.words)

    def read(self) -> RuleReader:
        """All of it."""
        while self.at < len(self.words):
            word = self._peek()
            if word in ("limit", "quota") or self._is_xt_match():
                self._unknown()
            elif word in _STATEMENTS:
                self._judge(_STATEMENTS[word](self, self._next()))
            elif word in HEADED and self._peek(2) == "set":
                self._judge(self._assignment())
            else:
                self._condition()
        return self

    def _is_xt_match(self) -> bool:
        return self.words[self.at : self.at + 2] == ["xt", "match"]

    def _peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.words[at] if at < len(self.words) else ""

    def _next(self) -> str:
        self.at += 1
        return self.words[self.at - 1] if self.at <= len(self.words) else ""

    def _rest(self) -> str:
        """What follows, up to the next word that begins something, and is not joined
        with what stands before it."""
        start, depth = self.at, 0
        while self.at < len(self.words):
            word = self.words[self.at]
            if depth == 0 and word in STARTS and not self._is_joined():
                break
            depth = max(0, depth + (word == "{") - (word == "}"))
            self.at += 1
        return self._text(start)

    def _is_joined(self) -> bool:
        return self.words[self.at - 1] in JOINING or self._peek(-2) == "spnum"

    def _text(self, start: int) -> str:
        return joined(self.words[start : self.at])

    def _judge(self, verdict: Verdict) -> None:
        if verdict.kind:
            self.verdict = verdict

    def _plain(self, word: str) -> Verdict:
        return Verdict("" if word == "continue" else word)

    def _nothing(self, _: str) -> Verdict:
        self._rest()
        return Verdict("")

    def _comment(self, _: str) -> Verdict:
        self.comment = unquoted(self._rest())
        return Verdict("")

    def _go(self, word: str) -> Verdict:
        return Verdict(word, unquoted(self._next()))

    def _vmap(self, word: str) -> Verdict:  # by something that is not known
        return Verdict(word, self._map())

    def _reject(self, word: str) -> Verdict:
        return Verdict(word, plain_error(self._error()))

    def _with_options(self, word: str) -> Verdict:
        return Verdict(word, self._rest())

    def _other(self, word: str) -> Verdict:
        return Verdict("other", f"{word} {self._rest()}".strip())

    def _of_set(self, word: str) -> Verdict:
        """A statement about an element, which may say how much of it there may be."""
        verdict = self._other(word)
        if not STATEFUL.isdisjoint(verdict.target.split()):
            self.matches.append(Match("", (), False, verdict.target))
        return verdict

    def _assignment(self) -> Verdict:
        kind = "mark" if self._peek(1) == "mark" else "other"
        text = f"{self._next()} {self._next()} {self._assigned()}"
        return Verdict(kind, text.strip())

    def _assigned(self) -> str:
        """What follows `set`, in which a word may stand that begins something else."""
        found = [self._next()]
        while self.at < len(self.words):
            word = self._peek()
            if word in ("ct", "meta") and found[-1] in ("set", "|", "&", "^"):
                found += [self._next(), self._next()]
            elif word in STARTS:
                break
            else:
                found.append(self._next())
        return joined(found)

    def _error(self) -> str:
        if self._peek() != "with":
            return ""
        self.at += 1
        words = [self._next()]
        while self._peek() and self._peek() not in ("comment", "counter"):
            words.append(self._next())
        return " ".join(words)

    def _translate(self, kind: str) -> Verdict:
        if self._peek() in ("ip", "ip6") and self._peek(1) in ("to", "addr", "prefix"):
            self.at += 1
        if self._peek() in ("addr", "prefix"):
            self.at += 1
        if self._peek() != "to":
            return Verdict(kind, self._rest())
        self.at += 1
        start = self.at
        field, protocol = self._selector()
        if field and self._peek() == "map":
            self.at += 1
            self._imply(protocol)
            found = Verdict(kind, self._map(), field)
            self._rest()
            return found
        return Verdict(kind, self._text(start) if field else self._rest())

    def _unknown(self) -> None:
        start = self.at
        word = self._next()
        if word in HEADED and self._peek() not in ENDS:
            self.at += 1
        if word == "fib":  # flags, by points, and what is asked for
            self.at += 1
            while self._peek() == ".":
                self.at += 2
            self.at += 1
        self._rest()
        self.matches.append(Match("", (), False, self._text(start)))

    def _selector(self) -> tuple[str, str]:
        """The field that stands here ('' for one that is not known, and nothing is
        read), and the protocol that it implies."""
        start, fields, protocol = self.at, [], ""
        while True:
            field, implied, size = self._one()
            if not field:
                self.at = start
                return "", ""
            self.at += size
            protocol = protocol or implied
            fields.append(field)
            if self._peek() != ".":
                return " . ".join(fields), protocol
            self.at += 1

    def _one(self) -> tuple[str, str, int]:
        word, after = self._peek(), self._peek(1)
        if word in ("iif", "iifname", "oif", "oifname", "mark"):
            return PLAIN[word], "", 1
        if word == "meta" and after in PLAIN:
            return PLAIN[after], "", 2
        if word == "ct" and after in CT:
            return CT[after], "", 2
        if (word, after) in HEADERS:
            implied = word if word in ("icmp", "icmpv6") else ""
            return HEADERS[word, after], implied, 2
        if word in PORTS and after in ("sport", "dport"):
            return after, "" if word == "th" else word, 2
        if word == "fib" and after in ("daddr", "saddr") and self._peek(2) == "type":
            return ("dsttype" if after == "daddr" else "srctype"), "", 3
        return "", "", 0

    def _condition(self) -> None:
        start = self.at
        field, protocol = self._selector()
        if not field:
            self._unknown()
            return
        if self._peek() == "vmap":
            self.at += 1
            self._imply(protocol)
            self._judge(Verdict("vmap", self._map(), field))
            return
        operator = "=="
        if self._peek() in ("!=", "==", "<", ">", "<=", ">="):
            operator = self._next()
        values = self._values(field)
        goes_on = self._peek() in ("&", "|", "^", "set", "==", "!=")
        if not values or values[0] in ("&", "|", "^") or goes_on:
            self._rest()
            self.matches.append(Match("", (), False, self._text(start)))
            return
        self._imply(protocol)
        text = self._text(start)
        self.matches.append(condition(field, tuple(values), operator, text))

    def _imply(self, protocol: str) -> None:
        known = any(m.field == "proto" and not m.is_not for m in self.matches)
        if protocol and not known:
            self.matches.append(of_protocol(protocol))

    def _group(self) -> str:
        """What stands in braces, and they."""
        start, depth = self.at, 0
        while self.at < len(self.words):
            word = self._next()
            depth += (word == "{") - (word == "}")
            if depth == 0:
                break
        return self._text(start)

    def _map(self) -> str:
        """The name of a map, or what stands in its braces."""
        return self._group() if self._peek() == "{" else self._next()

    def _values(self, field: str) -> list[str]:
        """One value, or several: by commas, or in braces."""
        if self._peek() == "{":
            inner = self._group()[1:-1]
            return [
                unquoted(part.strip()) for part in split_commas(inner) if part.strip()
            ]
        word = self._peek()
        if not word or (word in STARTS - VALUES and field != "state"):
            return []
        found = [unquoted(self._next())]
        while self._peek() == ",":
            self.at += 1
            found.append(unquoted(self._next()))
        return found


_STATEMENTS: dict[str, Callable[[RuleReader, str], Verdict]] = {
    **dict.fromkeys(STATEMENTS, RuleReader._other),
    **dict.fromkeys(("add", "update", "delete"), RuleReader._of_set),
    **dict.fromkeys(SIMPLE, RuleReader._plain),
    **dict.fromkeys(("counter", "last"), RuleReader._nothing),
    **dict.fromkeys(("jump", "goto"), RuleReader._go),
    **dict.fromkeys(("dnat", "snat", "masquerade", "redirect"), RuleReader._translate),
    **dict.fromkeys(("log", "queue"), RuleReader._with_options),
    "comment": RuleReader._comment,
    "vmap": RuleReader._vmap,
    "reject": RuleReader._reject,
}
