"""The newest events of a log that are wanted, page by page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .chain import unchained
from .files import file_name, lines_back, lines_from, numbers_in
from .selecting import Selection, is_event

LINES_LOOKED_AT_MAX: Final = 500_000
"""Of one page. A page may be empty and yet not be the last."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, the newest first."""

    events: list[dict[str, Any]]
    before: int
    """The next page has what was written before the record of this number; 0 when there is nothing more."""


def read_page(directory: Path, selection: Selection, *, limit: int, before: int = 0, budget_s: float = 5.0) -> Page:
    """The newest events before a record, all when it is 0. Raises OSError."""
    events: list[dict[str, Any]] = []
    ends_at = time.monotonic() + budget_s
    for looked_at, (seq, body) in enumerate(_records_back(directory, before), 1):
        event = _wanted(body, selection)
        if event is not None:
            events.append(event)
        is_over = len(events) >= limit or looked_at >= LINES_LOOKED_AT_MAX or time.monotonic() > ends_at
        if is_over:
            return Page(events, seq if seq > 1 else 0)
    return Page(events, 0)


def read_all(directory: Path, selection: Selection) -> Iterator[dict[str, Any]]:
    """Every event that is wanted, the oldest first. Raises OSError."""
    for number in numbers_in(directory):
        for line in lines_from(directory / file_name(number)):
            parsed = unchained(line.text)
            event = _wanted(parsed[0], selection) if parsed is not None else None
            if event is not None:
                yield event


def _wanted(body: bytes, selection: Selection) -> dict[str, Any] | None:
    if not selection.might_match(body):
        return None
    try:
        event = json.loads(body)
    except ValueError:
        return None  # Not ours to judge here: see `verify`.
    return event if isinstance(event, dict) and is_event(event) and selection.matches(event) else None


def _records_back(directory: Path, before: int) -> Iterator[tuple[int, bytes]]:
    for number in reversed(numbers_in(directory)):
        path = directory / file_name(number)
        try:
            if before and _first_seq(path) >= before:
                continue
            for _, text in lines_back(path):
                parsed = unchained(text)
                if parsed is not None and (not before or parsed[1].seq < before):
                    yield parsed[1].seq, parsed[0]
        except FileNotFoundError:
            return  # Retention was faster: it deletes the oldest, so that there is nothing before it either.


def _first_seq(path: Path) -> int:
    for line in lines_from(path):
        parsed = unchained(line.text)
        return parsed[1].seq if parsed is not None else 0
    return 0
