"""Completion indexes as a job's status writes them: `0,2-5`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def parse_indexes(text: str | None) -> Iterator[int]:
    """The numbers of `0,2-5`."""
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first:
            yield from range(int(first), int(last or first) + 1)


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
