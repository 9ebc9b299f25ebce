"""Findings of doctor on a host: they are seen, and gone after their cures."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.box import Done, wait_until
from lab.host import Host

T = TypeVar("T", bound=Callable[..., None])
TOOLS = {"vfwhooks", "sysctl", "systemctl", "setsebool"}
_mended: set[str] = set()


def cures(*idents: str) -> Callable[[T], T]:
    """Of a test: each of these findings is seen in it, and gone in the end. A unit test
    holds that every finding is in one such list."""

    def wrap(test: T) -> T:
        @functools.wraps(test)
        def run(*arguments: Any, **named: Any) -> None:
            _mended.clear()
            test(*arguments, **named)
            assert _mended == {*idents}

        return run  # type: ignore[return-value]  # its arguments are the test's

    return wrap


@dataclass(frozen=True)
class Doctor:
    """doctor on a host; `call` runs a command there, and `command` is vfwhooks."""

    call: Callable[[list[str]], Done]
    command: tuple[str, ...] = ("vfwhooks",)

    def findings(self, *about: str) -> dict[str, list[dict[str, Any]]]:
        """What it finds, by name, but for what is well; or the hops of one forward."""
        done = self.call([*self.command, "doctor", *about, "--json"])
        assert done.stdout, done.stderr
        answer = json.loads(done.stdout)
        if about:
            (forward,) = answer["forwards"]
        found: dict[str, list[dict[str, Any]]] = {}
        for one in forward["hops"] if about else answer["findings"]:
            if one["level"] != "ok":
                found.setdefault(one["id"], []).append(one)
        return found

    @contextmanager
    def until_gone(
        self, *idents: str, about: tuple[str, ...] = ()
    ) -> Iterator[list[dict[str, Any]]]:
        """These findings, which are there before the block, and gone after it."""
        found = self.findings(*about)
        assert {*idents} <= {*found}, found
        some = [one for ident in idents for one in found[ident]]
        for one in some:
            assert one["object"], one
            assert one["evidence"] != one["text"], one
            assert _is_sound(one["cure"]), one
        yield some

        def left() -> set[str]:
            return {*idents} & {*self.findings(*about)}

        wait_until(lambda: not left(), f"gone: {idents}")
        _mended.update(idents)

    def cure(self, *idents: str, about: tuple[str, ...] = ()) -> None:
        """See these, run the command of each as it stands, and see them gone."""
        with self.until_gone(*idents, about=about) as found:
            for one in found:
                self.carry_out(one)

    def carry_out(self, finding: dict[str, Any]) -> None:
        """Run the command of a finding, by no shell."""
        argv = finding["cure"]["argv"]
        head = self.command if argv[0] == "vfwhooks" else argv[:1]
        self.call([*head, *argv[1:]]).check()


def in_checkout(host: Host) -> Doctor:
    """doctor of the checkout, on a host where the package is not installed."""
    env = {"PYTHONPATH": Host.CHECKOUT}
    command = "/usr/bin/python3", "-m", "vfwhooks"
    return Doctor(lambda argv: host.call(argv, env=env), command)


def _is_sound(cure: dict[str, Any] | None) -> bool:
    """Whether it says what to do, and its kind is that of its command."""
    if cure is None:
        return True
    tool = (cure["argv"] or [""])[0]
    return bool(cure["text"]) and cure["kind"] in (
        "manual",
        tool if tool in TOOLS else "",
    )
