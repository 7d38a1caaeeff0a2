"""The files of an audit log: their names, and their lines forwards and backwards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

_NAME: Final = re.compile(r"audit-([0-9]{8,})\.log")
BLOCK_BYTES: Final = 256 * 1024
LINE_BYTES_MAX: Final = 8 * 1024 * 1024
"""Longest line that is read. The writer's are bounded far lower, by what it keeps of a body."""


class Line(NamedTuple):
    """One line, with its line feed if it has one."""

    number: int
    offset: int
    text: bytes


def file_name(number: int) -> str:
    """`audit-00000001.log` for the first."""
    return f"audit-{number:08d}.log"


def numbers_in(directory: Path) -> list[int]:
    """Of the files that are there, ascending. Raises OSError."""
    found = (_NAME.fullmatch(path.name) for path in directory.iterdir())
    return sorted(int(match[1]) for match in found if match is not None)


def lines_from(path: Path, offset: int = 0) -> Iterator[Line]:
    """The lines from a place that begins one; the last may be incomplete. Raises OSError."""
    with path.open("rb") as file:
        file.seek(offset)
        number = 0
        while text := file.readline(LINE_BYTES_MAX):
            number += 1
            yield Line(number, offset, text)
            offset += len(text)


def lines_back(path: Path, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Offset and text of the complete lines before `end`, the last first. Raises OSError."""
    with path.open("rb") as file:
        position = file.seek(0, 2) if end is None else end
        held = b""
        while position > 0:
            size = min(BLOCK_BYTES, position)
            position -= size
            file.seek(position)
            block = file.read(size) + held
            begin = block.find(b"\n") + 1 if position else 0
            if position and not begin:
                held = block
                continue
            # What stands before it began in an earlier block.
            held = block[:begin]
            at, found = position + begin, []
            for text in block[begin:].split(b"\n")[:-1]:
                found.append((at, text))
                at += len(text) + 1
            yield from reversed(found)
