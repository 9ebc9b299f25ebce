"""Whatever stands in a file or comes from libvirt: no traceback, no hang, no bomb.

Each reader gets inputs made from seeds, by a fast mutator and by hypothesis. The short
form takes a few thousand of each; VFWHOOKS_FUZZ_INPUTS takes so many.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.builders import PROPERTY

from fuzz.mutate import mutated
from fuzz.targets import CASES, TARGETS, Target

INPUTS = int(os.environ.get("VFWHOOKS_FUZZ_INPUTS", "2000"))
SEED = int(os.environ.get("VFWHOOKS_FUZZ_SEED", "1"))
SECONDS, MEMORY = 10, 512 << 20  # of processor time


@contextmanager
def bounded() -> Iterator[None]:
    """What hangs or takes too much memory fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    handler = signal.signal(signal.SIGPROF, _hang)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _hang(*_: object) -> None:
    raise AssertionError(f"not read in {SECONDS} s of processor time")


def read(target: Target, data: bytes) -> str:
    """What comes of one input: '' or what it must never come to."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        target.read(data)
    except Exception as error:  # noqa: BLE001 - whatever escapes is a finding
        return f"{type(error).__name__}: {error}: {data[:2000]!r}"
    return ""


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds(name: str, measured: Callable[[str, float], None]) -> None:
    """Nothing escapes a reader but what it says it raises."""
    rng = random.Random(f"{name} {SEED}")
    target = TARGETS[name]
    begun = time.monotonic()
    found: list[str] = []

    with bounded():
        for number in range(INPUTS):
            said = read(target, mutated(target, rng))
            if said:
                found.append(f"{number}: {said}")
            if len(found) == 5:
                break

    measured("inputs", number + 1)
    measured("inputs a second", (number + 1) / (time.monotonic() - begun))
    assert found == []


@pytest.mark.parametrize("name", TARGETS)
def test_anything(name: str) -> None:
    """The same of what looks like no seed."""
    target = TARGETS[name]

    @PROPERTY
    @given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
    def holds(data: bytes) -> None:
        assert read(target, data) == ""

    with bounded():
        holds()


CRASHES = sorted(path for path in CASES.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", CRASHES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_what_was_found(path: Path) -> None:
    """Every input that once escaped is read well since."""
    with bounded():
        found = read(TARGETS[path.parent.name], path.read_bytes())

    assert found == ""


DEEP, LONG = 100_000, 3_000_000
BOMBS = {
    "domain": [
        b"<domain>" + b"<a>" * DEEP,
        b"<" * LONG,
        b"<domain><name>" + b"x" * LONG + b"</name></domain>",
        b"<domain><devices><interface>" + b"<a/>" * (LONG // 4),
        b"<domain><devices>" + b"<interface/>" * (LONG // 12) + b"</devices></domain>",
        b"<domain " + b" ".join(b"a%d='1'" % n for n in range(100_000)) + b"/>",
        b'<!DOCTYPE d [<!ENTITY a "aaaaaa"><!ENTITY b "&a;&a;">]><domain>&b;</domain>',
        b"<domain><name>" + b"&#x41;" * (LONG // 6) + b"</name></domain>",
        b"<!DOCTYPE d [<!ENTITY a '"
        + b"a" * LONG
        + b"'>]><d a='"
        + b"&a;" * 900
        + b"'/>",
        b"<!DOCTYPE d [" + b"<!ENTITY a 'a'>" * (LONG // 15) + b"]><d/>",
        b"<!DOCTYPE d [<!ELEMENT d " + b"(" * DEEP,
        b"<domain a='" + b"&amp;" * (LONG // 5) + b"'/>",
        b"<a xmlns:a%d='u'>" * 99,
        b"<a>" + b"<!-- -->" * (LONG // 8) + b"</a>",
        b"<a><![CDATA[" + b"]]]" * (LONG // 3),
        b"<domain>" + b" " * (20 << 20),
        b"<domain>" + b"&" * LONG,
        b"<domain>" + b"<>" * (LONG // 2),
        b"<domain>" + b"<a b='1' b='1'/>" * (LONG // 16),
    ],
    "domstatus": [
        b"<domstatus>" + b"<domain>" * DEEP,
        b"<domstatus pid='" + b"9" * LONG + b"'><domain/></domstatus>",
    ],
    "networks": [
        b"<network>" + b"<ip>" * DEEP,
        b"<hookData>" + b"<network>" * DEEP,
        b"<network><ip address='10.0.0.1'><dhcp>"
        + b"<host mac='a' ip='10.0.0.2'/>" * (LONG // 29),
        b"<network><name>" + b"y\n" * (LONG // 2) + b"</name></network>",
    ],
    "leases": [
        b"[" * DEEP + b'"52:54:00:00:00:10"',
        b'{"a":' * DEEP + b'"52:54:00:00:00:10"',
        b'["52:54:00:00:00:10", ' + b"1" * LONG + b"]",
        b"[" + b"{}," * (LONG // 3) + b'"52:54:00:00:00:10"]',
    ],
    "record": [
        b"1 2\nguest a b c\n" + b"entry x\n" * (LONG // 8),
        b"9" * LONG + b" 1\n",
    ],
    "intent": [b"started " + b"9" * LONG + b"\nguest a b c", b"a" * LONG],
    "compiled": [
        b"vfw2" + b"\xff" * 16,
        b"\0" * LONG,
        b"vfw4" + b" 0000000071" * 5 + b" 9999999999\n",
        b"vfw4 0000000071 0003000071"
        + b" 0003000093" * 4
        + b"\n"
        + b"\n" * LONG
        + b"0000000000\n0000000000\n",
    ],
    "forwards": [
        b"[" * DEEP,
        b"{a: " * DEEP,
        b"- " * DEEP,
        b"guests:\n" + b"  a: [1]\n" * (LONG // 9),
        b"guests: {a: [" + b"1," * (LONG // 2) + b"]}\n",
        b"guests: {a: [1-65535:1, 1-65535:2, '[::1]:1-65535:3']}\n",
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        b"guests: {a: ['" + b"9" * LONG + b"']}\n",
        b"guests: {'" + b"a" * LONG + b"': [80]}\n",
        b"#" * LONG,
        b"guests:\n" + b"  a\n" * (LONG // 4) + b" b: 1\n",
        # Half as long: each of these is a mistake, for which a cure is looked for.
        b"guests:\n  a:\n" + b"    - -1\n      x\n" * (LONG // 34),
        b"a: 'b' " + b"[{, " * (LONG // 4),
        b"a: 'b' 'c" + b":[#= " * (LONG // 5),
        b"guests:\n" + b"a:\n- - - [\n" * (LONG // 12),
        b"patterns: {'" + b"*[a-" * LONG + b"': [80]}\n",
        b"patterns:\n" + b"".join(b"  '*a%d*': [80]\n" % n for n in range(100_000)),
        b"patterns:\n"
        + b"".join(b"  '%s%d': [80]\n" % (b"*[ab]?" * 41, n) for n in range(999)),
    ],
    "names": [b"a" * LONG, b"%" * LONG, b"/" * LONG],
}


@pytest.mark.parametrize(
    ("name", "number"), [(k, n) for k, v in BOMBS.items() for n in range(len(v))]
)
def test_bombs(name: str, number: int) -> None:
    """Deep, long, wide or multiplied: refused or read, in bounded memory and time."""
    with bounded():
        found = read(TARGETS[name], BOMBS[name][number])

    assert found[:300] == ""
