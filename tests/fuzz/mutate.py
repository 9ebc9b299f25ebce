"""Inputs made from seeds: fast, and the same for the same number."""

from __future__ import annotations

import random

from fuzz.targets import Target

_ODD = (b"\0", b"\xff", b"\n", b" ", b"%", b"'", b'"', b"\x1b[31m", b"9" * 30, b"-1")


def mutated(target: Target, rng: random.Random) -> bytes:
    """A seed with a few things cut, copied, swapped or put in."""
    data = bytearray(rng.choice(target.seeds))
    for _ in range(1 + int(rng.expovariate(0.4))):
        size = len(data)
        at = int(rng.random() * (size + 1))
        kind = int(rng.random() * 7)
        if kind == 0 and size:
            data[at % size] = int(rng.random() * 256)
        elif kind == 1:
            del data[at : at + 1 + int(rng.expovariate(0.1))]
        elif kind == 2:
            piece = data[at : at + 1 + int(rng.expovariate(0.05))]
            data[at:at] = piece * (1 + int(rng.expovariate(0.7)))
        elif kind == 3 and target.words:
            data[at:at] = rng.choice(target.words)
        elif kind == 4:
            data[at:at] = rng.choice(_ODD)
        elif kind == 5:
            other = rng.choice(target.seeds)
            start = int(rng.random() * len(other))
            data[at : at + 9] = other[start : start + 40]
        elif size:
            data[at % size] ^= 1 << int(rng.random() * 8)
    return bytes(data)
