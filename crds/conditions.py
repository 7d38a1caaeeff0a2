"""Conditions: what a controller or an agent concluded about an object, with a reason for programs and a message for people.

The transition time moves only when the status does; otherwise a controller that looks again every minute would make
every condition look one minute old.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import Field

from .fields import Int64
from .meta import Model, Time

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Model):
    """One conclusion of a given type. An object has at most one of each type."""

    type: str = Field(max_length=316)
    """What was judged, e.g. `Ready`; CamelCase, or `domain/CamelCase` outside the core kinds."""
    status: ConditionStatus
    """True, False, or Unknown when it could not be judged."""
    observed_generation: Int64 | None = Field(default=None, ge=0)
    """metadata.generation of the spec that was judged."""
    last_transition_time: Time | None = None
    """When `status` last changed, to the second."""
    reason: str | None = Field(default=None, max_length=1024)
    """Why, as one CamelCase word a program can match."""
    message: str | None = Field(default=None, max_length=32768)
    """Why, as a sentence for a person."""


C = TypeVar("C", bound=Condition)


def find_condition(conditions: Iterable[C], type_: str) -> C | None:
    """The condition of that type."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether the condition of that type is there and True."""
    found = find_condition(conditions, type_)
    return found is not None and found.status == "True"


def set_condition(conditions: Sequence[C], new: C, now: datetime) -> list[C]:
    """The list with `new` in place of the one of its type, at the end when there was none.

    The transition time is `now` when the status changed, else the old one; a time set on `new` is overruled by the
    old one while the status stays. Setting the same condition twice changes nothing.
    """
    old = find_condition(conditions, new.type)
    if old is None:
        return [*conditions, _since(new, new.last_transition_time or now)]
    since = new.last_transition_time or now
    if old.status == new.status:
        since = old.last_transition_time or since
    return [_since(new, since) if condition.type == new.type else condition for condition in conditions]


def without_condition(conditions: Sequence[C], type_: str) -> list[C]:
    """The list without the condition of that type."""
    return [condition for condition in conditions if condition.type != type_]


def _since(condition: C, since: datetime) -> C:
    # The wire has whole seconds; keeping more would make an object differ from its own stored copy.
    return condition.model_copy(update={"last_transition_time": since.replace(microsecond=0)})
