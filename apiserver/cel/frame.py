"""One evaluation under way: its variables, and what it may still cost.

Every step pays before it is taken, in Kubernetes' units (one is roughly a field access), so that the most hostile
expression stops where its budget ends. The clock is a second bound, for what the units misjudge.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .errors import BudgetExceeded, EvaluationError
from .values import MapList, Optional, SetList, equal, hashable, is_number

STRING_FACTOR = 0.1
"""Units per character that is looked at (cel-go's StringTraversalCostFactor)."""
REGEX_FACTOR = 0.25
"""Units per character of a pattern, for each unit of its subject (cel-go's RegexStringLengthCostFactor)."""
LIST_COST, MAP_COST, STRUCT_COST = 10, 30, 40
"""Units of making a list, a map, a message."""
DEADLINE_S = 5.0
"""Seconds of CPU that one evaluation may take, whatever it costs. A full per-call budget takes about one."""
CLOCK_EVERY = 64
"""Iterations between two looks at the clock."""


class Lazy:
    """A variable that is evaluated when first read, once for all its readers; so is the error of it."""

    __slots__ = ("_error", "_make", "_value")

    def __init__(self, make: Callable[[Frame], Any]) -> None:
        self._make: Callable[[Frame], Any] | None = make
        self._value: Any = None
        self._error: EvaluationError | None = None

    def get(self, frame: Frame) -> Any:
        """The value; its cost is charged to whoever asks first."""
        if self._make is not None:
            try:
                self._value = self._make(frame)
            except EvaluationError as error:
                self._error = error
            self._make = None
        if self._error is not None:
            raise self._error
        return self._value


class Frame:
    """The state of one evaluation."""

    __slots__ = ("_deadline", "_ticks", "left", "slots")

    def __init__(self, slots: list[Any], budget: int, deadline: float | None = None) -> None:
        self.slots, self.left = slots, budget
        self._deadline = time.thread_time() + DEADLINE_S if deadline is None else deadline
        self._ticks = 0

    def inside(self, slots: list[Any]) -> Frame:
        """An evaluation within this one: the same purse and the same clock."""
        return Frame(slots, self.left, self._deadline)

    def pay(self, units: int) -> None:
        """Charge the units. Raises BudgetExceeded when they are not there."""
        self.left -= units
        if self.left < 0:
            raise BudgetExceeded

    def pay_for(self, size: float) -> None:
        """Charge for looking at that many characters or members."""
        self.pay(-int(-size * STRING_FACTOR // 1))

    def tick(self) -> None:
        """Look at the clock now and then, and let other threads run. Raises BudgetExceeded when the time is over."""
        self._ticks += 1
        if self._ticks % CLOCK_EVERY:
            return
        if time.thread_time() > self._deadline:
            raise BudgetExceeded
        # The interpreter would take this thread off by itself, but only five milliseconds after the event loop asked.
        time.sleep(0)

    def equal(self, left: Any, right: Any) -> bool:
        """Equality of any two values, paid for level by level: what is nested costs as much as what is not."""
        if isinstance(left, list) and isinstance(right, list):
            return self._equal_lists(left, right)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            self.pay_for(max(1, len(left)))
            return len(left) == len(right) and all(key in right and self.equal(left[key], right[key]) for key in left)
        if type(left) is Optional and type(right) is Optional:
            return left.present == right.present and self.equal(left.value, right.value)
        if isinstance(left, (str, bytes)) and isinstance(right, (str, bytes)):
            self.pay_for(min(len(left), len(right)))
            return type(left) is type(right) and left == right
        return equal(left, right)

    def _equal_lists(self, left: list[Any], right: list[Any]) -> bool:
        self.pay_for(max(1, len(left)))
        if len(left) != len(right):
            return False
        if isinstance(left, SetList):
            known = {self.hashable(item) for item in left}
            return all(self.hashable(item) in known for item in right)
        if isinstance(left, MapList):
            held = {left.key_of(item): item for item in left}
            return all(left.key_of(item) in held and self.equal(held[left.key_of(item)], item) for item in right)
        return all(map(self.equal, left, right))

    def hashable(self, value: Any) -> Any:
        """`values.hashable`, paid for."""
        self.pay_for(deep_size(value))
        return hashable(value)


def deep_size(value: Any) -> int:
    """Characters and members of a value and of everything in it."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, list):
        return 1 + sum(map(deep_size, value))
    if isinstance(value, Mapping):
        return 1 + sum(deep_size(item) + 1 for item in value.values())
    return 1


def as_index(value: Any) -> int | None:
    """A number as a position, when it is whole."""
    if not is_number(value):
        return None
    return int(value) if not isinstance(value, float) or value.is_integer() else None
