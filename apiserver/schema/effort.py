"""How much work the patterns of a schema make of one object: nothing else is served while they are matched.

The engine needs time in proportion to the text and, at worst, to the length of the pattern with its counts written out:
about 25 million characters times that in a second. Most patterns take a thousandth of it, but nobody can tell by looking.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import orjson

from .nodes import ANYTHING, Node, walk
from .patterns import extent

WORK_MAX: Final = 32_000_000
"""Characters times the extent of the pattern they are matched with, in all of an object: a second or so at worst.

A mebibyte of text may meet patterns of 30; a name's pattern, whose counts make it 130 long, 240 KiB of names.
"""


def dearest(root: Node) -> int:
    """The most that one character of an object can cost."""
    return max(_here(node) for node in walk(root))


def too_dear(root: Node, obj: Any, most: int) -> bool:
    """Whether matching all patterns takes more than `WORK_MAX`. `most` is `dearest(root)`."""
    return most > 0 and _size(obj) * most > WORK_MAX and _exceeds(root, obj)


def _here(node: Node) -> int:
    """The extents of all patterns that one string at this node meets."""
    own = extent(node.pattern)[0] if node.pattern is not None else 0
    return own + sum(dearest(branch) for branch in _branches(node))


def _branches(node: Node) -> tuple[Node, ...]:
    return (*node.all_of, *node.any_of, *node.one_of, *((node.not_,) if node.not_ is not None else ()))


def _size(obj: Any) -> float:
    try:
        return len(orjson.dumps(obj))
    except TypeError:  # nested deeper, or with greater numbers, than it writes
        return float("inf")


def _exceeds(root: Node, obj: Any) -> bool:
    done = 0
    for work in _works(root, obj):
        done += work
        if done > WORK_MAX:
            return True
    return False


def _works(root: Node, obj: Any) -> Iterator[int]:
    """The work of each pattern with each text. Without recursion: it is not known yet how deep the object is."""
    left: list[tuple[Node, Any]] = [(root, obj)]
    while left:
        node, value = left.pop()
        if node is ANYTHING:
            continue
        left += [(branch, value) for branch in _branches(node)]
        if isinstance(value, dict):
            left += [(child, item) for name, item in value.items() if (child := node.child(name)) is not None]
        elif isinstance(value, list):
            items = node.items or ANYTHING
            left += [(items, item) for item in value]
        elif isinstance(value, str) and node.pattern is not None:
            # What is too long is refused for that, before the pattern sees it.
            is_matched = node.max_length is None or len(value) <= node.max_length
            yield extent(node.pattern)[0] * len(value) if is_matched else 0
