"""Which worker of how many a process is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .colleagues import Colleagues


@dataclass(frozen=True, slots=True)
class Place:
    """One of `count`."""

    index: int = 0
    count: int = 1
    colleagues: Colleagues | None = None
    """How to reach the others; None for a server that is alone."""
    newest: Callable[[], int] | None = None
    """The newest revision that a client of any worker was told; None where nobody but us writes, or nobody can say."""

    @property
    def leads(self) -> bool:
        """Whether it does what only one is to do. It is always the first: the supervisor sees to it that there is one."""
        return self.index == 0

    @property
    def name(self) -> str:
        """For what each of several has of its own; empty for a server that is alone."""
        return f"worker-{self.index}" if self.count > 1 else ""


ALONE = Place()
