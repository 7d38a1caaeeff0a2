"""Ranges of bytes (RFC 9110 section 14): the one that a download asks for, and the one that an upload brings."""

from __future__ import annotations

import re
from dataclasses import dataclass

BROUGHT = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})", re.ASCII)
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


@dataclass(frozen=True, slots=True)
class Brought:
    """What a Content-Range says: which part of how many bytes the body is; without a part it only asks how many came."""

    part: Extent | None
    size: int


def parse_content_range(header: str) -> Brought | None:
    """A Content-Range of bytes; None for what cannot be read."""
    match = BROUGHT.fullmatch(header.strip())
    if match is None:
        return None
    first, last, size = match.groups()
    if first is None:
        return Brought(None, int(size))
    part = Extent(int(first), int(last) + 1)
    return Brought(part, int(size)) if part.start < part.end <= int(size) else None
