"""How many pods one measure asks for. Pure.

The rules are Kubernetes' (horizontal pod autoscaling, "algorithm details"): pods on their way out do not count; of pods that
are not ready, and of those without a sample, the careful is assumed: nothing used when pods would be added, as much as
is aimed at when pods would be given up. What crosses the target by such an assumption changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stark.crds.conditions import find_condition
from stark.crds.podcontainers import lasting
from stark.crds.pods import Pod
from stark.crds.quantity import milli_cpu

from .settings import AutoscalerSettings

FULL_PERCENT = 100
"""A pod without a sample is taken to use at least all it requests, when pods would be given up."""


class NotMeasurable(Exception):
    """There is no number to go by; the message says why, in Kubernetes' words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a pod used. `milli` is in thousandths: of a core, or of a byte."""

    milli: int
    at: datetime
    window_s: float


Samples = Mapping[str, Sample]
"""By the name of the pod."""
Used = dict[str, int]


@dataclass(frozen=True, slots=True)
class Tolerances:
    """By how much the ratio of use and target may be off 1."""

    down: float
    up: float

    def hold(self, ratio: float) -> bool:
        """Whether nothing needs to be done."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a measure asks for, and what was measured."""

    replicas: int
    average_milli: int
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """The pods by what their samples are worth."""

    counted: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


@dataclass(frozen=True, slots=True)
class Measure:
    """What to go by: the pods, their samples and the rules. `container` None means whole pods."""

    resource: str
    container: str | None
    pods: Sequence[Pod]
    samples: Samples
    tolerances: Tolerances
    settings: AutoscalerSettings
    now: datetime


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Use over target."""

    value: float
    average_milli: int
    percent: int | None = None


def by_utilization(measure: Measure, current: int, target_percent: int) -> Proposal:
    """For a target in percent of what the pods request. Raises NotMeasurable."""
    groups, used = _begun(measure)
    requests = {pod.metadata.name: _request(pod, measure) for pod in measure.pods}

    def ratio_of(values: Used) -> _Ratio:
        known = {name: value for name, value in values.items() if name in requests}
        requested = sum(requests[name] for name in known)
        if requested == 0:
            raise NotMeasurable("no metrics returned matched known pods")
        percent = sum(known.values()) * 100 // requested
        return _Ratio(percent / target_percent, sum(known.values()) // len(known), percent)

    assumed = max(FULL_PERCENT, target_percent)
    return _settled(measure, groups, used, current, ratio_of, lambda name: requests[name] * assumed // 100)


def by_average(measure: Measure, current: int, target_milli: int) -> Proposal:
    """For a target in cores or bytes of each pod. Raises NotMeasurable."""
    groups, used = _begun(measure)

    def ratio_of(values: Used) -> _Ratio:
        average = sum(values.values()) // len(values)
        return _Ratio(average / target_milli, average)

    return _settled(measure, groups, used, current, ratio_of, lambda _: target_milli)


def _begun(measure: Measure) -> tuple[Groups, Used]:
    if not measure.pods:
        raise NotMeasurable("no pods returned by selector while calculating replica count")
    groups = grouped(measure)
    left_out = groups.ignored | groups.unready
    used = {name: sample.milli for name, sample in measure.samples.items() if name not in left_out}
    if not used:
        raise NotMeasurable("did not receive metrics for targeted pods (pods might be unready)")
    return groups, used


def _settled(
    measure: Measure,
    groups: Groups,
    used: Used,
    current: int,
    ratio_of: Callable[[Used], _Ratio],
    assumed_of: Callable[[str], int],
) -> Proposal:
    """From the ratio of the pods that were measured, through assumptions about the others, to a number of pods."""
    first = ratio_of(used)

    def proposes(replicas: int) -> Proposal:
        return Proposal(replicas, first.average_milli, first.percent)

    grows = first.value > 1.0
    if not groups.missing and not (groups.unready and grows):
        within = measure.tolerances.hold(first.value)
        return proposes(current if within else math.ceil(first.value * groups.counted))
    if first.value < 1.0:
        used = used | {name: assumed_of(name) for name in groups.missing}
    elif grows:
        used = used | dict.fromkeys(groups.missing | groups.unready, 0)
    careful = ratio_of(used).value
    crossed = (first.value < 1.0 < careful) or (careful < 1.0 < first.value)
    if crossed or measure.tolerances.hold(careful):
        return proposes(current)
    replicas = math.ceil(careful * len(used))
    wrong_way = (careful < 1.0 and replicas > current) or (careful > 1.0 and replicas < current)
    return proposes(current if wrong_way else replicas)


def grouped(measure: Measure) -> Groups:
    """Sort the pods by what their samples are worth."""
    counted, unready, missing, ignored = 0, set[str](), set[str](), set[str]()
    for pod in measure.pods:
        name = pod.metadata.name
        sample = measure.samples.get(name)
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            ignored.add(name)
        elif pod.status.phase == "Pending":
            unready.add(name)
        elif sample is None:
            missing.add(name)
        elif measure.resource == "cpu" and _is_starting(pod, sample, measure):
            unready.add(name)
        else:
            counted += 1
    return Groups(counted, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_starting(pod: Pod, sample: Sample, measure: Measure) -> bool:
    """Whether the pod's use of cpu is that of starting: it is not ready yet, or was not during the whole sample."""
    ready, began = find_condition(pod.status.conditions, "Ready"), pod.status.start_time
    since = ready.last_transition_time if ready is not None else None
    if ready is None or began is None or since is None:
        return True
    settings = measure.settings
    if began + timedelta(seconds=settings.cpu_initialization_s) > measure.now:
        return ready.status == "False" or sample.at < since + timedelta(seconds=sample.window_s)
    return ready.status == "False" and began + timedelta(seconds=settings.initial_readiness_s) > since


def _request(pod: Pod, measure: Measure) -> int:
    """What the pod requests, in thousandths. Raises NotMeasurable: a share of nothing is no number."""
    total = 0
    for container in lasting(pod.spec):
        if measure.container not in (None, container.name):
            continue
        requests = container.resources.requests if container.resources is not None else {}
        if measure.resource not in requests:
            what, where = f"missing request for {measure.resource}", f"container {container.name} of Pod"
            raise NotMeasurable(f"{what} in {where} {pod.metadata.name}")
        total += milli_cpu(requests[measure.resource])
    return total
