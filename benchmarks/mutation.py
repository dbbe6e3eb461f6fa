"""Damaged inputs: a seed with some of its bytes changed, and what a check of them looks like."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

XML_TOKENS = (
    b"<", b">", b"&", b"</record>", b"<record>", b"<row>", b"<source_ip>", b"</source_ip>", b"<count>",
    b"</count>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<!DOCTYPE a>", b"<!ENTITY b 'c'>", b"<?xml version='1.0'?>",
    b"&amp;", b"&#0;", b"&#xD800;", b"&#65;", b"\x00", b"\r", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbf\xbf",
    b"x:", b"/", b"'", b'"', b"\xef\xbb\xbf", b"\r\n\r\n", b"--", b"=", b"\x1f\x8b", b"PK\x03\x04",
)  # fmt: skip


class Target(NamedTuple):
    """Inputs to begin with, a check that raises when something does not hold, and pieces that its grammar knows."""

    name: str
    seeds: Sequence[bytes]
    check: Callable[[bytes], str]  # gives back how the input ended, for the count
    tokens: Sequence[bytes] = XML_TOKENS


def mutate(target: Target, rng: random.Random) -> bytes:
    """A seed with some of its bytes changed, removed, repeated, or spliced with another seed."""
    seeds = target.seeds
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 10))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + int(rng.expovariate(0.05)) + 1)
        match rng.randrange(6):
            case 0:
                data[at:end] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 3)))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = rng.choice(target.tokens)
            case 3:
                other = rng.choice(seeds)
                start = rng.randrange(len(other) + 1)
                data[at:end] = other[start : start + rng.randint(1, 200)]
            case 4:
                data[at:at] = data[at:end] * rng.choice((1, 2, 5, 5, 300))
            case 5:
                del data[at : len(data) if rng.random() < 0.2 else end]
    return bytes(data)
