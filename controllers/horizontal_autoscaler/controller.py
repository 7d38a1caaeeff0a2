"""Carry out what `planning` decides for each autoscaler, every period.

Reads HorizontalPodAutoscalers, the Scale of what they scale, Pods, and PodMetrics; writes replicas through `scale`, and
HorizontalPodAutoscaler.status. The period goes by the clock, not by changes: what is measured changes all the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stark.client.errors import ApiError, Conflict, Fenced
from stark.crds.annotations import MODE, MODE_DAEMON_SET
from stark.crds.apps import Deployment
from stark.crds.autoscaling import HorizontalPodAutoscaler
from stark.crds.cluster import CLUSTER_CONFIG_NAME, ClusterConfig, ClusterConfigSpec
from stark.crds.pods import Pod
from stark.crds.quantity import milli_cpu
from stark.crds.selectors import Selector, SelectorError, parse_label_selector
from stark.crds.tenancy import Owner, may_select
from stark.crds.usage import PodMetrics

from ..kit import DONE, Context, Controller, Outcome, RequeueAfter, Source
from .limits import History
from .planning import (
    Figures,
    Plan,
    Scaled,
    Wanted,
    after_refusal,
    after_scaling,
    ambiguity,
    needs_figures,
    plan,
    unreachable,
    wanted_figures,
)
from .settings import AutoscalerSettings
from .targets import NoTarget, Target, Targets
from .usage import Sample, Samples

NO_SELECTOR = ("InvalidSelector", "the HPA target's scale is missing a selector")
NO_METRICS = "no metrics returned from resource metrics API"


@dataclass(slots=True)
class _Memory:
    """What is remembered of an autoscaler while this process leads."""

    history: History
    due_at: float = 0.0
    generation: int | None = None
    selector: Selector | None = None
    """Of the pods that it scales; None while it scales nothing."""


class HorizontalAutoscalers(Controller):
    """See the module."""

    name = "horizontal-autoscaler"

    def __init__(self, context: Context, settings: AutoscalerSettings | None = None) -> None:
        self._context = context
        self._api = context.api
        self._given = settings
        self._autoscalers = context.informers.of(HorizontalPodAutoscaler)
        self._pods = context.informers.of(Pod)
        self._deployments = context.informers.of(Deployment)
        self._config = context.informers.of(ClusterConfig)
        self._targets = Targets(context.api)
        self._memories: dict[str, _Memory] = {}

    @property
    def _settings(self) -> AutoscalerSettings:
        """What we were given; else the cluster's, of this moment."""
        if self._given is not None:
            return self._given
        found = self._config.get(CLUSTER_CONFIG_NAME)
        spec = found.spec if found is not None else ClusterConfigSpec()
        return AutoscalerSettings(
            period_s=spec.autoscaler_period_seconds, scale_down_window_s=spec.autoscaler_scale_down_window_seconds
        )

    def sources(self) -> Sequence[Source[Any]]:
        """Autoscalers; the others are looked at when it is time."""
        looked_at: list[Source[Any]] = [
            Source(self._pods, lambda _: ()),
            Source(self._deployments, lambda _: ()),
            Source(self._config, lambda _: ()),
        ]
        return (Source(self._autoscalers), *looked_at)

    async def reconcile(self, key: str) -> Outcome:
        """Look, decide, scale, report; once a period, and when the spec has changed."""
        hpa = self._autoscalers.get(key)
        if hpa is None or hpa.metadata.deletion_timestamp is not None:
            self._memories.pop(key, None)
            return DONE
        memory = self._memories.setdefault(key, _Memory(History()))
        clock, settings = asyncio.get_running_loop().time, self._settings
        if memory.generation == hpa.metadata.generation and clock() < memory.due_at:
            return RequeueAfter(memory.due_at - clock())
        await self._look(hpa, memory, settings)
        memory.generation, memory.due_at = hpa.metadata.generation, clock() + settings.period_s
        return RequeueAfter(settings.period_s)

    async def _look(self, hpa: HorizontalPodAutoscaler, memory: _Memory, settings: AutoscalerSettings) -> None:
        now = self._context.clock()
        try:
            target = await self._targets.read(hpa)
        except NoTarget as error:
            memory.selector = None
            self._context.recorder.event(hpa, "Warning", "FailedGetScale", str(error))
            await self._report(hpa, Plan(unreachable(hpa, str(error), now), memory.history))
            return
        scaled = self._scaled(hpa, memory, target)
        if self._is_on_every_node(hpa, target):
            scaled = replace(scaled, on_every_node=True)
        figures: Figures = {}
        if needs_figures(hpa, scaled) and not scaled.selector_problem[0]:
            figures = await self._figures(hpa, target, scaled)
        step = plan(hpa, scaled, figures, memory.history, settings, now)
        if step.replicas is not None:
            step = await self._scale(hpa, target, step)
        memory.history = step.history
        await self._report(hpa, step)

    def _is_on_every_node(self, hpa: HorizontalPodAutoscaler, target: Target) -> bool:
        """Whether it is a Deployment in the mode DaemonSet: what is written to its number of pods nobody reads."""
        if (target.resource.group, target.resource.kind) != ("apps", "Deployment"):
            return False
        found = self._deployments.get(f"{hpa.metadata.namespace}/{hpa.spec.scale_target_ref.name}")
        return found is not None and found.metadata.annotations.get(MODE) == MODE_DAEMON_SET

    def _scaled(self, hpa: HorizontalPodAutoscaler, memory: _Memory, target: Target) -> Scaled:
        """Which pods there are, if they are this autoscaler's alone."""
        memory.selector = None
        if not target.selector:
            return Scaled(target.replicas, selector_problem=NO_SELECTOR)
        try:
            selector = memory.selector = parse_label_selector(target.selector)
        except SelectorError as error:
            message = f"couldn't convert selector into a corresponding internal selector object: {error}"
            return Scaled(target.replicas, selector_problem=("InvalidSelector", message))
        owner = Owner.of(hpa.metadata.annotations)
        pods = [
            pod
            for pod in self._pods.list(hpa.metadata.namespace)
            if selector.matches(pod.metadata.labels) and may_select(owner, Owner.of(pod.metadata.annotations))
        ]
        problem = ambiguity(hpa.key, target.selector, pods, self._scaled_by)
        return Scaled(target.replicas, pods, problem)

    def _scaled_by(self, pod: Pod) -> list[str]:
        prefix = f"{pod.metadata.namespace}/"
        return [
            key
            for key, memory in self._memories.items()
            if key.startswith(prefix)
            and memory.selector is not None
            and memory.selector.matches(pod.metadata.labels)
            and (other := self._autoscalers.get(key)) is not None
            and may_select(Owner.of(other.metadata.annotations), Owner.of(pod.metadata.annotations))
        ]

    async def _figures(self, hpa: HorizontalPodAutoscaler, target: Target, scaled: Scaled) -> Figures:
        """What the pods use, of each resource that matters."""
        wanted = wanted_figures(hpa)
        names = {pod.metadata.name for pod in scaled.pods}
        try:
            listed = await self._api.list(PodMetrics, hpa.metadata.namespace, label_selector=target.selector)
        except ApiError as error:
            why = f"unable to fetch metrics from resource metrics API: {error.message}"
            return dict.fromkeys(wanted, why)
        found = [each for each in listed.items if each.metadata.name in names]
        return {each: samples_of(found, each) for each in wanted}

    async def _scale(self, hpa: HorizontalPodAutoscaler, target: Target, step: Plan) -> Plan:
        assert step.replicas is not None, hpa.key
        try:
            await self._targets.set(target, step.replicas)
        except (Fenced, Conflict):
            raise  # what is scaled has changed since it was read: look again
        except ApiError as error:
            return after_refusal(hpa, step, error.message, self._context.clock())
        return after_scaling(hpa, step, self._context.clock())

    async def _report(self, hpa: HorizontalPodAutoscaler, step: Plan) -> None:
        for told in step.told:
            self._context.recorder.event(hpa, told.type, told.reason, told.message)
        if step.status.model_dump(exclude_defaults=True) == hpa.status.model_dump(exclude_defaults=True):
            return
        try:
            await self._api.update(hpa.model_copy(update={"status": step.status}), "status")
        except Conflict:
            return  # the spec changed meanwhile, which wakes the key: the next look reports


def samples_of(metrics: Sequence[PodMetrics], wanted: Wanted) -> Samples | str:
    """The samples of a resource by pod, or why there are none."""
    if not metrics:
        return NO_METRICS
    resource, container = wanted
    samples: dict[str, Sample] = {}
    for each in metrics:
        meant = [one for one in each.containers if container in (None, one.name)]
        if container is not None and not meant:
            return f"container {container} not present in metrics for pod {each.key}"
        if not meant or any(resource not in one.usage for one in meant):
            continue
        milli = sum(milli_cpu(one.usage[resource]) for one in meant)
        samples[each.metadata.name] = Sample(milli, each.timestamp, float(each.window.removesuffix("s")))
    return samples


def build(context: Context) -> Controller:
    """For the catalog."""
    return HorizontalAutoscalers(context)
