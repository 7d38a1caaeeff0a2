"""Moments as objects carry them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from math import floor
from typing import Final

SECONDS_REMEMBERED: Final = 4
"""A busy server writes the same second thousands of times."""


def timestamp(moment: datetime) -> str:
    """As metav1.Time is written: in UTC, to the second."""
    return _spelled(floor(moment.timestamp()))


@lru_cache(SECONDS_REMEMBERED)
def _spelled(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00") + "Z"
