"""The Range header (RFC 9110 section 14), as far as downloads use it: one range of bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass

ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes from `start` to before `end`."""

    start: int
    end: int


class Unsatisfiable(Exception):
    """The range begins behind the end: 416."""


def parse_range(header: str, size: int) -> Extent | None:
    """The part that is asked for; None means all of it, as for several ranges and what cannot be read."""
    match = ONE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        length = int(last)
        if length == 0 or size == 0:
            raise Unsatisfiable
        return Extent(max(0, size - length), size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Extent(start, min(int(last) + 1, size) if last else size)
