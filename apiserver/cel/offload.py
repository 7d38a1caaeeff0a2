"""Keep the event loop free: what is dear to evaluate is done again on a thread.

Nearly every evaluation costs a few hundred units and is over in less time than a thread takes to wake. So it is begun on
the loop with a small budget; what exceeds that begins again on one of a few threads with all of it. There it
gives way to the loop many times a millisecond; the budget ends it, or the clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from .errors import BudgetExceeded

INLINE_BUDGET = 5_000
"""Units that may be spent on the event loop: about four milliseconds. Objects of gateways' kinds cost some 300."""
THREADS = 2
"""Evaluations that run beside the loop at a time. More wait; a thread more would only slow the loop."""

T = TypeVar("T")


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, thread_name_prefix="cel")


async def aside(work: Callable[[], T]) -> T:
    """The result of something long, such as compiling all rules of a definition."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), work)


async def evaluate(work: Callable[[int], T], budget: int) -> T:
    """The result of `work(budget)`, which must be a pure function that raises BudgetExceeded when the budget is short."""
    if budget <= INLINE_BUDGET:
        return work(budget)
    try:
        return work(INLINE_BUDGET)
    except BudgetExceeded:
        return await asyncio.get_running_loop().run_in_executor(_threads(), work, budget)
