"""Many requests at once, but not all at once: each one under way has a connection of its own.

A hundred requests in flight take a hundred TLS handshakes, which cost more than the requests, and are answered no sooner
than thirty: the server works on so many at a time anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

IN_FLIGHT_MAX = 32


async def together(acts: Sequence[Callable[[], Awaitable[None]]]) -> list[Exception]:
    """Do all of them, and give what went wrong. A failure stops none of the others; cancelling stops all."""
    failures: list[Exception] = []
    waiting = iter(acts)

    async def work() -> None:
        for act in waiting:
            try:
                await act()
            except Exception as error:
                failures.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(IN_FLIGHT_MAX, len(acts))):
            group.create_task(work())
    return failures
