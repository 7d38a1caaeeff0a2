"""How fast an autoscaler may change the number of pods: recommendations that are kept, and changes that are counted. Pure.

Without spec.behavior: down to the highest recommendation of the last five minutes, up at most to the double (or to four).
With it, as its windows and policies say (KEP-853). What was recommended and done is remembered by the process that leads; a
new one begins with the number of pods it finds, so that it gives up none before it has watched for a whole window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from stark.crds.autoscaling import HorizontalPodAutoscalerBehavior, HPAScalingRules

SCALE_UP_FACTOR = 2.0
SCALE_UP_MIN = 4.0
"""Without spec.behavior, one step goes at most to the double, or to four."""

STABILIZED_UP = "recent recommendations were lower than current one, applying the lowest recent recommendation"
STABILIZED_DOWN = "recent recommendations were higher than current one, applying the highest recent recommendation"
TOO_FEW = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
TOO_MANY = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
UP_LIMIT = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
DOWN_LIMIT = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
WITHIN = ("DesiredWithinRange", "the desired count is within the acceptable range")
READY = ("ReadyForNewScale", "recommended size matches current size")

Verdict = tuple[str, str]
"""Reason and message of a condition."""


class Remembered(NamedTuple):
    """A recommendation, or by how much the number of pods was changed, and when."""

    number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class History:
    """What one autoscaler has recommended and done."""

    recommendations: tuple[Remembered, ...] = ()
    added: tuple[Remembered, ...] = ()
    removed: tuple[Remembered, ...] = ()

    def begun(self, current: int, now: datetime) -> History:
        """With the number of pods there are, when nothing is remembered."""
        return self if self.recommendations else replace(self, recommendations=(Remembered(current, now),))

    def recommended(self, replicas: int, window_s: float, now: datetime) -> History:
        """With one more recommendation, and without those older than the window."""
        kept = [each for each in self.recommendations if each.at > now - timedelta(seconds=window_s)]
        return replace(self, recommendations=(*kept, Remembered(replicas, now)))

    def scaled(
        self, before: int, after: int, behavior: HorizontalPodAutoscalerBehavior | None, now: datetime
    ) -> History:
        """With a change that was made. Without policies nothing counts changes."""
        if behavior is None or before == after:
            return self
        if after > before:
            return replace(self, added=(*_recent(self.added, behavior.scale_up, now), Remembered(after - before, now)))
        kept = _recent(self.removed, behavior.scale_down, now)
        return replace(self, removed=(*kept, Remembered(before - after, now)))


def _recent(changes: Sequence[Remembered], rules: HPAScalingRules | None, now: datetime) -> list[Remembered]:
    longest = max((policy.period_seconds for policy in rules.policies), default=0) if rules is not None else 0
    return [each for each in changes if each.at > now - timedelta(seconds=longest)]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between what and from where."""

    least: int
    most: int
    current: int


@dataclass(frozen=True, slots=True)
class Limited:
    """The number of pods after all limits, why it differs from the recommendation, and what to remember."""

    replicas: int
    able: Verdict
    limit: Verdict
    is_limited: bool
    history: History


def limited(
    recommended: int,
    bounds: Bounds,
    behavior: HorizontalPodAutoscalerBehavior | None,
    history: History,
    window_s: float,
    now: datetime,
) -> Limited:
    """Apply windows, rates and bounds. `window_s` is for giving up pods where `behavior` names no other."""
    if behavior is None:
        steady = max((recommended, *(each.number for each in _since(history.recommendations, window_s, now))))
        able = READY if steady == recommended else ("ScaleDownStabilized", STABILIZED_DOWN)
        final, why = _plain_limit(steady, bounds)
        kept = history.recommended(recommended, window_s, now)
        return Limited(final, able, why, final != steady, kept)
    up, down = _rules_of(behavior.scale_up, 0), _rules_of(behavior.scale_down, int(window_s))
    steady = _stabilized(recommended, bounds.current, up, down, history, now)
    able = READY
    if steady != recommended:
        grows = recommended >= bounds.current
        able = ("ScaleUpStabilized", STABILIZED_UP) if grows else ("ScaleDownStabilized", STABILIZED_DOWN)
    final, why = _rate_limit(steady, bounds, up, down, history, now)
    longest = max(up.stabilization_window_seconds or 0, down.stabilization_window_seconds or 0)
    return Limited(final, able, why, final != steady, history.recommended(recommended, longest, now))


def _rules_of(given: HPAScalingRules | None, window_s: int) -> HPAScalingRules:
    rules = given or HPAScalingRules(policies=[])
    if rules.stabilization_window_seconds is None:
        return rules.model_copy(update={"stabilization_window_seconds": window_s})
    return rules


def _since(remembered: Sequence[Remembered], window_s: float, now: datetime) -> list[Remembered]:
    return [each for each in remembered if each.at > now - timedelta(seconds=window_s)]


def _stabilized(
    recommended: int, current: int, up: HPAScalingRules, down: HPAScalingRules, history: History, now: datetime
) -> int:
    """Up no further than the lowest recommendation of the one window, down no further than the highest of the other."""
    up_window, down_window = up.stabilization_window_seconds or 0, down.stabilization_window_seconds or 0
    lowest = min((recommended, *(each.number for each in _since(history.recommendations, up_window, now))))
    highest = max((recommended, *(each.number for each in _since(history.recommendations, down_window, now))))
    return min(max(current, lowest), highest)


def _plain_limit(desired: int, bounds: Bounds) -> tuple[int, Verdict]:
    top = int(max(SCALE_UP_FACTOR * bounds.current, SCALE_UP_MIN))
    most, why = (top, UP_LIMIT) if bounds.most > top else (bounds.most, TOO_MANY)
    if desired < bounds.least:
        return bounds.least, TOO_FEW
    return (most, why) if desired > most else (desired, WITHIN)


def _rate_limit(
    desired: int, bounds: Bounds, up: HPAScalingRules, down: HPAScalingRules, history: History, now: datetime
) -> tuple[int, Verdict]:
    if desired > bounds.current:
        top = max(bounds.current, _highest(bounds.current, up, history, now))
        most, why = (top, UP_LIMIT) if bounds.most > top else (bounds.most, TOO_MANY)
        return (most, why) if desired > most else (desired, WITHIN)
    if desired < bounds.current:
        floor = min(bounds.current, _lowest(bounds.current, down, history, now))
        least, why = (floor, DOWN_LIMIT) if bounds.least < floor else (bounds.least, TOO_FEW)
        return (least, why) if desired < least else (desired, WITHIN)
    return desired, WITHIN


def _highest(current: int, rules: HPAScalingRules, history: History, now: datetime) -> int:
    """Where the policies let it grow to."""
    if rules.select_policy == "Disabled" or not rules.policies:
        return current
    ends = []
    for policy in rules.policies:
        began = _at_begin(current, policy.period_seconds, history, now)
        ends.append(began + policy.value if policy.type == "Pods" else math.ceil(began * (1 + policy.value / 100)))
    return min(ends) if rules.select_policy == "Min" else max(ends)


def _lowest(current: int, rules: HPAScalingRules, history: History, now: datetime) -> int:
    """Where the policies let it shrink to."""
    if rules.select_policy == "Disabled" or not rules.policies:
        return current
    ends = []
    for policy in rules.policies:
        began = _at_begin(current, policy.period_seconds, history, now)
        ends.append(began - policy.value if policy.type == "Pods" else int(began * (1 - policy.value / 100)))
    return max(ends) if rules.select_policy == "Min" else min(ends)


def _at_begin(current: int, period_s: int, history: History, now: datetime) -> int:
    """How many pods there were when the period began, as far as the autoscaler changed them."""
    added = sum(each.number for each in _since(history.added, period_s, now))
    removed = sum(each.number for each in _since(history.removed, period_s, now))
    return current - added + removed
