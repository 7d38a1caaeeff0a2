"""Shuffle sharding: a flow's hand of queues, dealt by its hash.

Two flows seldom have the same hand, so one that fills all of its queues leaves most others at least one that is not full.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final

HASH_BITS: Final = 64
ENTROPY_BITS_MAX: Final = 60
"""Bits of a hash that a hand may use up; with more, the last cards would not be dealt evenly."""


def flow_hash(schema: str, distinguisher: str) -> int:
    """A number for a flow, the same in every process."""
    digest = hashlib.sha256(f"{len(schema)},{schema}{distinguisher}".encode()).digest()
    return int.from_bytes(digest[: HASH_BITS // 8], "big")


def deal(hashed: int, deck: int, hand: int) -> Sequence[int]:
    """`hand` different numbers below `deck`, drawn one after the other from those that are left."""
    moved: dict[int, int] = {}
    dealt: list[int] = []
    for left in range(deck, deck - hand, -1):
        hashed, at = divmod(hashed, left)
        dealt.append(moved.get(at, at))
        # The last card takes the place of the one that was drawn; a deck of millions is never laid out.
        moved[at] = moved.get(left - 1, left - 1)
    return tuple(dealt)


def entropy_bits(deck: int, hand: int) -> int:
    """Bits of a hash that dealing such a hand uses up."""
    return math.ceil(sum(math.log2(deck - at) for at in range(hand)))
