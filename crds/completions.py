"""Completion indexes of jobs as people and statuses write them: `0,2-5`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


class IndexesError(ValueError):
    """The text is not a rising list of numbers and ranges below the number of completions."""


def parse_indexes(text: str | None) -> Iterator[int]:
    """The numbers of `0,2-5`, which has been checked before."""
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


def count_indexes(text: str, completions: int) -> int:
    """How many numbers there are in `0,2-5`. Raises IndexesError."""
    count, lowest = 0, 0
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        bounds = [first, last] if dash else [first]
        if not all(bound.isascii() and bound.isdigit() and len(bound) < 10 for bound in bounds):
            raise IndexesError(f"cannot convert string to integer for index: {part!r}")
        begin, end = int(first), int(last or first)
        if end >= completions or begin >= completions:
            raise IndexesError(f"too large index: {part!r}")
        if begin < lowest or end < begin or (dash and end == begin):
            raise IndexesError(f"non-increasing order: {part!r}")
        count, lowest = count + end - begin + 1, end + 1
    return count


def format_indexes(indexes: Iterable[int]) -> str:
    """Numbers as `0,2-5`; only three or more in a row become a range, as in Kubernetes."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(_run(run) for run in runs)


def _run(run: Sequence[int]) -> str:
    return ",".join(map(str, run)) if len(run) < 3 else f"{run[0]}-{run[-1]}"
