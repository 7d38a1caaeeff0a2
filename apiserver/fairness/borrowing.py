"""How many seats each level has: its nominal ones by shares, and more or fewer by who needs them. Pure (KEP-1040).

Every level owns a part of the server's seats and may lend some of it. From time to time the seats are divided anew: no
level gets less than what it keeps for itself or used lately, none more than it may borrow, and what is left goes to
each in proportion to its demand, smoothed over minutes so that a short burst does not take a lender's seats for long.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .demand import Observed

HALF_LIFE_S: Final = 300.0
"""How fast a demand that is over is forgotten; a rising one counts at once."""


@dataclass(frozen=True, slots=True)
class Shares:
    """What a level's configuration says of seats."""

    shares: int
    lendable_percent: int = 0
    borrowing_percent: int | None = None
    is_exempt: bool = False


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seats: the level's own, what it keeps, and what it may have with what it borrows."""

    nominal: int
    lower: int
    upper: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """One level in a division: not less than `lower`, not more than `upper`, otherwise in proportion to `target`."""

    lower: float
    upper: float
    target: float


def bounds_of(levels: Mapping[str, Shares], total: int) -> dict[str, Bounds]:
    """Divide `total` seats by shares, rounding up: a level with any shares has a seat."""
    all_shares = sum(level.shares for level in levels.values()) or 1
    nominal = {name: math.ceil(total * level.shares / all_shares) for name, level in levels.items()}
    everything = sum(nominal.values())
    return {name: _bounds(level, nominal[name], everything) for name, level in levels.items()}


def _bounds(level: Shares, nominal: int, everything: int) -> Bounds:
    lendable = round(nominal * level.lendable_percent / 100)
    borrowed = everything if level.borrowing_percent is None else round(nominal * level.borrowing_percent / 100)
    return Bounds(nominal, nominal - lendable, min(everything, nominal + borrowed))


def smoothed(before: float, observed: Observed, period_s: float) -> float:
    """The demand to plan with: up at once, down by half in `HALF_LIFE_S`."""
    envelope = min(observed.highest, observed.average + observed.deviation)
    kept: float = 0.5 ** (period_s / HALF_LIFE_S)
    return max(envelope, before * kept + envelope * (1.0 - kept))


def divide(
    bounds: Mapping[str, Bounds], observed: Mapping[str, Observed], smooth: Mapping[str, float], exempt: frozenset[str]
) -> tuple[dict[str, int], float]:
    """The seats of each level from now on, and the fair fraction: how much of its demand everybody gets.

    Exempt levels have what they use, and the others share the rest. When even what everybody keeps is more than there
    is, each gets that all the same: the server is a little overcommitted rather than somebody starved.
    """
    left = float(sum(each.nominal for each in bounds.values()))
    seats: dict[str, int] = {}
    for name in exempt:
        seats[name] = max(bounds[name].lower, round(observed[name].highest))
        left -= seats[name]
    names = [name for name in bounds if name not in exempt]
    wanted = [_wanted(bounds[name], observed[name], smooth[name]) for name in names]
    allotted, fraction = allot(left, wanted)
    seats |= {name: round(amount) for name, amount in zip(names, allotted, strict=True)}
    return seats, fraction


def _wanted(bounds: Bounds, observed: Observed, smooth: float) -> Wanted:
    lower = max(bounds.lower, min(bounds.nominal, observed.highest))
    return Wanted(lower, max(lower, bounds.upper), max(lower, smooth))


def allot(total: float, wanted: Sequence[Wanted]) -> tuple[list[float], float]:
    """Amounts within everybody's bounds that sum up to `total` where that is possible, and the fraction t with which
    each is t times its target, bounded."""

    def at(fraction: float) -> list[float]:
        return [min(each.upper, max(each.lower, fraction * each.target)) for each in wanted]

    if sum(each.lower for each in wanted) >= total:
        return at(0.0), 0.0
    # Between two turns, where somebody leaves a bound or reaches one, everything grows in proportion. A demand that is long
    # over makes turns further apart than halving could tell, so they are looked at one by one, those out of reach never.
    turns = {0.0, *(bound / each.target for each in wanted if each.target > 0 for bound in (each.lower, each.upper))}
    reached = sorted(turn for turn in turns if math.isfinite(turn)) or [1.0]
    first_above = bisect_right(reached, total, key=lambda turn: sum(at(turn)))
    if first_above == len(reached):
        return at(reached[-1]), reached[-1]
    low, high = reached[first_above - 1], reached[first_above]
    at_low, at_high = sum(at(low)), sum(at(high))
    fraction = low + (high - low) * (total - at_low) / (at_high - at_low)
    return at(fraction), fraction
