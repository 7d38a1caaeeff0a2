"""Objects that cannot be taken in: one that raises is left out, counted and tried again later, and the others go on.

Objects come from everybody who may write some. Whatever one of them is like, it must not cost the cluster its scheduler.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from . import metrics

log = logging.getLogger(__name__)

RETRY_FIRST_S = 1.0
RETRY_MAX_S = 300.0
"""An object that stays as it is, is most likely as odd as before; when it changes it is looked at at once."""
REMEMBERED_MAX = 10_000
"""Odd objects that are tried again by themselves; others only when they change."""

Key = tuple[str, str]
"""A plural, and the object's key."""


@contextmanager
def isolated(resource: str, key: str) -> Iterator[None]:
    """Whatever is raised inside concerns this object alone: it is logged and counted, and ends here."""
    try:
        yield
    except Exception:
        note(resource, key)


def note(resource: str, key: str) -> None:
    """Log the exception that is being handled, and count it."""
    metrics.ODDITIES.labels(resource).inc()
    log.exception("an object could not be taken in", extra={"key": key, "resource": resource})


class Oddities:
    """When to try which object again. Pure: `now` in seconds of any steady clock."""

    def __init__(self) -> None:
        self._tries: dict[Key, tuple[int, float]] = {}
        """How often it has failed, and when it is due."""

    def failed(self, key: Key, now: float) -> None:
        """It could not be taken in, once more."""
        failures = self._tries.get(key, (0, 0.0))[0] + 1
        if key in self._tries or len(self._tries) < REMEMBERED_MAX:
            self._tries[key] = failures, now + min(RETRY_FIRST_S * 2 ** min(failures - 1, 16), RETRY_MAX_S)

    def over(self, key: Key) -> None:
        """It has been taken in, or is gone."""
        self._tries.pop(key, None)

    def due(self, now: float) -> list[Key]:
        """Those to be tried now."""
        return [key for key, (_, at) in self._tries.items() if at <= now]

    def next_due_s(self, now: float) -> float | None:
        """Seconds until one is; None when there is none."""
        return min((max(0.0, at - now) for _, at in self._tries.values()), default=None)
