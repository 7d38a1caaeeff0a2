"""Where an audit log ended: at its last line, within a line that a crash left half written, or not where it should.

Only what lies behind the head is looked at; the head was written when everything before it was on disk. A torn end is what a
crash leaves: no line feed, or blocks of zeros where the file system had the length but not yet the bytes. Anything else that
does not fit was done by somebody, and is kept as it is, for whoever looks into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from stark.crds.audit.chain import ORIGIN, Link, follows, unchained
from stark.crds.audit.files import file_name, lines_back, lines_from
from stark.crds.audit.head import Head

LAST_LINE_MAX: Final = 160
"""Bytes before the head's place in which the end of the line it is about must be found."""


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a log."""

    log: str = ""
    oldest: int = 1
    newest: int = 0
    """The highest number of any file."""
    number: int = 0
    """The file to go on with; 0 for none."""
    end: int = 0
    link: Link = ORIGIN
    torn: bytes = b""
    is_sealed: bool = False
    broken: str = ""
    """How it differs from what was written."""


def look(directory: Path, head: Head | None, numbers: Sequence[int], *, is_first: bool) -> Found:
    """Find the end; `is_first`: there cannot be one, because there was no key before. Raises OSError."""
    newest = max(numbers, default=0)
    if head is None:
        if numbers:
            return _without_head(directory, numbers)
        return Found(
            broken="" if is_first else "the whole log was missing, though the key that it was signed with is there"
        )
    found = Found(head.signed.log, head.signed.oldest, max(newest, head.file), head.file, head.offset, head.link)
    path = directory / file_name(head.file)
    if head.file not in numbers:
        return replace(found, broken=f"{path.name} is missing")
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < head.offset:
            return replace(found, broken=f"{path.name} was cut off at byte {size}, it had {head.offset}")
        start = max(0, head.offset - LAST_LINE_MAX)
        file.seek(start)
        tail = file.read(head.offset - start)
    if not tail.endswith(f'"seq":{head.link.seq},"hash":"{head.link.digest.hex()}"}}}}\n'.encode()):
        return replace(found, broken=f"{path.name} has another line at byte {head.offset} than was written")
    return _behind(directory, found, newest)


def _behind(directory: Path, found: Found, newest: int) -> Found:
    """What was written after the head was."""
    found = _scan(directory, found)
    # A crash between beginning a file and writing the head.
    while (
        not found.broken
        and not found.torn
        and found.number < newest
        and (directory / file_name(found.number + 1)).exists()
    ):
        found = _scan(directory, replace(found, number=found.number + 1, end=0, is_sealed=False))
    if found.number < newest and not found.broken:
        return replace(found, broken=f"there are files behind {file_name(found.number)} that do not follow it")
    return found


def _scan(directory: Path, found: Found) -> Found:
    path = directory / file_name(found.number)
    link, end, is_sealed = found.link, found.end, False
    for line in lines_from(path, found.end):
        parsed = unchained(line.text) if line.text.endswith(b"\n") else None
        if parsed is None or not follows(*parsed, link):
            rest = _rest(path, line.offset)
            now = replace(found, link=link, end=end)
            if not line.text.endswith(b"\n") or b"\0" in rest:
                return replace(now, torn=rest)
            return replace(now, broken=f"{path.name} has a line at byte {line.offset} that does not fit")
        link, end = parsed[1], line.offset + len(line.text)
        is_sealed = parsed[0].startswith(b'{"kind":"Seal"')
    return replace(found, link=link, end=end, is_sealed=is_sealed)


def _rest(path: Path, offset: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read()


def _without_head(directory: Path, numbers: Sequence[int]) -> Found:
    """Go on from the last line there is: what is missing behind it can no longer be known."""
    for number in reversed(numbers):
        for _, text in lines_back(directory / file_name(number)):
            parsed = unchained(text)
            if parsed is not None:
                found = Found(oldest=numbers[0], newest=numbers[-1], link=parsed[1])
                return replace(found, broken="the head was missing")
    return Found(oldest=numbers[0], newest=numbers[-1], broken="the head was missing")
