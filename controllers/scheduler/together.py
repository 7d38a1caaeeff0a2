"""Places for the members of a group: for enough of them, or for none.

Each member takes its room before the next one looks, so that together they fit. What came to nothing is given back at
once, within one step: a group that waits holds no room, and so never stands in anybody's way. Only when lower pods have
been told to go for it is room kept, and that for a limited time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from stark.crds.placement.judging import Refusal
from stark.crds.placement.victims import Plan, Resident
from stark.crds.pods import Pod

from .queue import Waiting
from .rooms import Rooms

Member = tuple[Waiting, Pod]


@dataclass(slots=True)
class Together:
    """What became of an attempt. Without `is_placed` nothing is taken; `plans` are then the way to make room, if any."""

    is_placed: bool
    found: list[tuple[Member, str]] = field(default_factory=list)
    """Members and the node each would have."""
    others: list[Member] = field(default_factory=list)
    """Members without a place."""
    plans: list[tuple[Member, Plan]] = field(default_factory=list)
    """For enough members: the node, and who must go from it."""
    refusal: Refusal | None = None
    """Why there was no place for the first of the others, when those before it had theirs."""


def place_together(rooms: Rooms, members: Sequence[Member], needed: int) -> Together:
    """Take room for all members that find some, if they are `needed` or more; else leave everything as it was."""
    kept = {waiting.uid: found.node for waiting, _ in members if (found := rooms.nominations.get(waiting.uid))}
    is_coming = any(rooms.is_coming(uid) for uid in kept)
    for uid in kept:
        rooms.nominations.drop(uid)
    attempt = _try(rooms, members)
    if len(attempt.found) >= needed:
        attempt.is_placed = True
        for (waiting, pod), node in attempt.found:
            rooms.dismiss(waiting.uid)
            rooms.assume(waiting, pod, node)
        for node in set(kept.values()):
            rooms.touch(node)
        return attempt
    if not is_coming:
        _make_room(rooms, attempt, needed)
    for (waiting, _), _node in attempt.found:
        rooms.dismiss(waiting.uid)
    for waiting, _ in members:
        if waiting.uid in kept and is_coming:
            rooms.nominations.keep(waiting, kept[waiting.uid])
    if not is_coming:
        for node in set(kept.values()):
            rooms.touch(node)
    return attempt


def _try(rooms: Rooms, members: Sequence[Member]) -> Together:
    attempt = Together(is_placed=False)
    for waiting, pod in members:
        node = rooms.find(waiting)
        if node is None:
            attempt.others.append((waiting, pod))
        else:
            rooms.imagine(pod, node, waiting.demand)
            attempt.found.append(((waiting, pod), node))
    if attempt.others:
        attempt.refusal = rooms.snapshot.refusal(attempt.others[0][0].demand)
    return attempt


def _make_room(rooms: Rooms, attempt: Together, needed: int) -> None:
    """Look for victims for as many members as are missing, all of them or none; what is thought is taken back."""
    plans = [(member, Plan(node, (), 0)) for member, node in attempt.found[:needed]]
    imagined: list[str] = []
    condemned: list[tuple[str, Resident]] = []
    try:
        for member in attempt.others:
            if len(plans) >= needed:
                break
            waiting, pod = member
            plan = rooms.plan(waiting)
            if plan is None:
                continue
            for victim in plan.victims:
                condemned.append((plan.node, victim))
                rooms.residents.condemn(victim.uid)
            imagined.append(waiting.uid)
            rooms.imagine(pod, plan.node, waiting.demand)
            plans.append((member, plan))
    finally:
        for uid in imagined:
            rooms.dismiss(uid)
        for node, victim in condemned:
            rooms.residents.put(node, victim)
    if len(plans) >= needed:
        attempt.plans = plans
