"""One rule as nft writes it: its conditions and its verdict. Pure.

What is not known becomes a condition without a field, up to the next word that is.
"""

from __future__ import annotations

from .nft_words import (
    CT,
    ENDS,
    HEADED,
    HEADERS,
    PLAIN,
    PORTS,
    SIMPLE,
    STARTS,
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

    def read(self) -> RuleReader:
        """All of it. Raises ValueError for what is no rule."""
        if STARTS.isdisjoint(self.words):
            raise ValueError("it is no rule")
        while self.at < len(self.words):
            if not self._statement():
                self._condition()
        return self

    def _peek(self, ahead: int = 0) -> str:
        at = self.at + ahead
        return self.words[at] if at < len(self.words) else ""

    def _next(self) -> str:
        self.at += 1
        return self.words[self.at - 1] if self.at <= len(self.words) else ""

    def _rest(self, ends: frozenset[str] = STARTS) -> str:
        """What follows, up to the next word that begins something."""
        start, depth = self.at, 0
        while self.at < len(self.words):
            word = self.words[self.at]
            if depth == 0 and word in ends:
                break
            depth += (word == "{") - (word == "}")
            self.at += 1
        return joined(self.words[start : self.at])

    def _statement(self) -> bool:
        """Whether it was one that is not a condition; a verdict is kept."""
        word = self._peek()
        if word in SIMPLE:
            self.at += 1
            self._judge(Verdict("" if word == "continue" else word))
        elif word in ("jump", "goto"):
            self.at += 1
            self._judge(Verdict(word, unquoted(self._next())))
        elif word in ("counter", "last", "comment"):
            self.at += 1
            about = self._rest()
            if word == "comment":
                self.comment = unquoted(about)
        elif word in ("limit", "quota"):
            self._unknown()
        elif word == "vmap":  # by something that is not known
            self.at += 1
            name = self._group() if self._peek() == "{" else self._next()
            self._judge(Verdict("vmap", name))
        elif word == "reject":
            self.at += 1
            self._judge(Verdict("reject", plain_error(self._error())))
        elif word in ("dnat", "snat", "masquerade", "redirect"):
            self._translate()
        elif word == "log":
            self.at += 1
            self._judge(Verdict("log", self._rest()))
        elif word == "queue":
            self.at += 1
            self._judge(Verdict("queue", self._rest()))
        elif word == "xt" and self._peek(1) == "match":
            self._unknown()
        elif word in STATEMENTS:
            self.at += 1
            self._judge(Verdict("other", f"{word} {self._rest()}".strip()))
        elif self._is_set():
            is_mark = self._peek() == "mark" or self._peek(1) == "mark"
            text = f"{self._next()} {self._next()} {self._assigned()}"
            self._judge(Verdict("mark" if is_mark else "other", text.strip()))
        else:
            return False
        return True

    def _judge(self, verdict: Verdict) -> None:
        if verdict.kind or not self.verdict.kind:
            self.verdict = verdict

    def _is_set(self) -> bool:
        return self._peek() in ("meta", "ct", "ip", "ip6", "tcp") and (
            self._peek(2) == "set"
            or (self._peek(1) == "mark" and self._peek(2) == "set")
        )

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

    def _translate(self) -> None:
        kind = self._next()
        if self._peek() in ("ip", "ip6") and self._peek(1) in ("to", "addr", "prefix"):
            self.at += 1
        if self._peek() in ("addr", "prefix"):
            self.at += 1
        if self._peek() != "to":
            self._judge(Verdict(kind, self._rest()))
            return
        self.at += 1
        start = self.at
        field, _, _ = self._selector()
        if field and self._peek() == "map":
            self.at += 1
            name = self._next() if self._peek() != "{" else self._group()
            self._judge(Verdict(kind, name, field))
            self._rest()
            return
        if field:
            self._judge(Verdict(kind, joined(self.words[start : self.at])))
            return
        self.at = start
        self._judge(Verdict(kind, self._rest()))

    def _unknown(self) -> None:
        start = self.at
        word = self._next()
        if word in HEADED and self._peek() not in ENDS:
            self.at += 1
        self._rest(ENDS if word == "fib" else STARTS)
        text = joined(self.words[start : self.at])
        self.matches.append(Match("", (), False, text))

    def _selector(self) -> tuple[str, str, bool]:
        """The field that stands here ('' for one that is not known, and nothing is
        read), the protocol that it implies, and whether it is one of several."""
        start, fields, protocol = self.at, [], ""
        while True:
            field, implied, size = self._one()
            if not field:
                self.at = start
                return "", "", False
            self.at += size
            protocol = protocol or implied
            fields.append(field)
            if self._peek() != ".":
                return " . ".join(fields), protocol, len(fields) > 1
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
        field, protocol, _ = self._selector()
        if not field:
            self._unknown()
            return
        if self._peek() == "vmap":
            self.at += 1
            name = self._group() if self._peek() == "{" else self._next()
            self._imply(protocol)
            self._judge(Verdict("vmap", name, field))
            return
        operator = "=="
        if self._peek() in ("!=", "==", "<", ">", "<=", ">="):
            operator = self._next()
        values = self._values(field)
        text = joined(self.words[start : self.at])
        if (
            not values
            or values[0] in ("&", "|", "^")
            or self._peek() in ("&", "|", "^", "set", "==", "!=")
        ):
            self._rest()
            text = joined(self.words[start : self.at])
            self.matches.append(Match("", (), False, text))
            return
        self._imply(protocol)
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
        return joined(self.words[start : self.at])

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
