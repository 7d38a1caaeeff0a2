"""Keep each disruption budget's status counted.

Reads PodDisruptionBudgets, Pods, ReplicaSets, Deployments and StatefulSets; writes only the budgets' status, each time
against the version that was read: an eviction that was allowed meanwhile makes the write fail, and it is counted anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stark.crds.apps import Deployment, ReplicaSet, StatefulSet
from stark.crds.labels import LabelSelector
from stark.crds.meta import OwnerReference, controller_of
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget, PodDisruptionBudgetStatus
from stark.crds.selectors import SelectorError
from stark.crds.tenancy import Owner, may_select

from ..kit import DONE, Context, Controller, Outcome, RequeueAfter, Source
from .planning import Scale, verdict


def selected(selector: LabelSelector | None, labels: dict[str, str]) -> bool:
    """Whether a budget's selector takes these labels in; one that makes no sense takes in nothing."""
    try:
        return selector is not None and selector.matches(labels)
    except SelectorError:
        return False


class Disruptions(Controller):
    """See the module."""

    name = "disruption"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._budgets = context.informers.of(PodDisruptionBudget)
        self._pods = context.informers.of(Pod)
        self._sets = context.informers.of(ReplicaSet)
        self._deployments = context.informers.of(Deployment)
        self._stateful = context.informers.of(StatefulSet)

    def sources(self) -> Sequence[Source[Any]]:
        """Budgets, their pods, and the owners that say how many pods there should be."""
        return (
            Source(self._budgets),
            Source(self._pods, lambda pod: self._of(pod.metadata.namespace, pod.metadata.labels)),
            Source(self._sets, self._of_owner),
            Source(self._deployments, self._of_owner),
            Source(self._stateful, self._of_owner),
        )

    def _of(self, namespace: str | None, labels: dict[str, str]) -> Iterable[str]:
        return [each.key for each in self._budgets.list(namespace) if selected(each.spec.selector, labels)]

    def _of_owner(self, owner: ReplicaSet | Deployment | StatefulSet) -> Iterable[str]:
        template = owner.spec.template
        return self._of(owner.metadata.namespace, template.metadata.labels) if template is not None else ()

    async def reconcile(self, key: str) -> Outcome:
        """Count and write down."""
        budget = self._budgets.get(key)
        if budget is None or budget.metadata.deletion_timestamp is not None:
            return DONE
        namespace = budget.metadata.namespace or ""
        whose = Owner.of(budget.metadata.annotations)
        pods = [
            pod
            for pod in self._pods.list(namespace)
            if selected(budget.spec.selector, pod.metadata.labels)
            and may_select(whose, Owner.of(pod.metadata.annotations))
        ]
        found = verdict(budget, pods, lambda owner: self._scale_of(namespace, owner), self._context.clock())
        if not _same(found.status, budget.status):
            await self._api.update(budget.model_copy(update={"status": found.status}), "status")
        return DONE if found.recheck_after_s is None else RequeueAfter(found.recheck_after_s)

    def _scale_of(self, namespace: str, owner: OwnerReference) -> Scale | None:
        """The Deployment above a ReplicaSet speaks for it: in a rollout it has two, and wants its pods once."""
        if owner.kind == "StatefulSet":
            stateful = self._stateful.get(f"{namespace}/{owner.name}")
            is_it = stateful is not None and stateful.metadata.uid == owner.uid
            return Scale(stateful.uid, stateful.spec.replicas) if stateful is not None and is_it else None
        if owner.kind != "ReplicaSet":
            return None
        rs = self._sets.get(f"{namespace}/{owner.name}")
        if rs is None or rs.metadata.uid != owner.uid:
            return None
        above = controller_of(rs)
        if above is None or above.kind != "Deployment":
            return Scale(rs.uid, rs.spec.replicas)
        deployment = self._deployments.get(f"{namespace}/{above.name}")
        if deployment is None or deployment.metadata.uid != above.uid:
            return Scale(rs.uid, rs.spec.replicas)
        return Scale(deployment.uid, deployment.spec.replicas)


def _same(one: PodDisruptionBudgetStatus, other: PodDisruptionBudgetStatus) -> bool:
    return one.model_dump(exclude_defaults=True) == other.model_dump(exclude_defaults=True)


def build(context: Context) -> Controller:
    """For the catalog."""
    return Disruptions(context)
