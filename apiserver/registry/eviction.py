"""Take a pod off its node only when its disruption budget allows.

The budget is spent by compare-and-swap on its status before the pod is deleted, so that two evictions never share one
allowance. The controller gives it back when the pod is gone, or when its end has not begun in time. Rules and wording
are Kubernetes' (pkg/registry/core/pod/storage/eviction.go).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from stark.crds.selectors import SelectorError, from_label_selector
from stark.crds.tenancy import Owner, may_select

from ..cache.filter import Filter
from ..errors import BadRequest, Cause, Forbidden, InternalError, TooManyRequests
from ..request import Query
from ..resources import Resource, Resources
from ..times import timestamp
from . import deletion, metadata
from .options import Deletion, Target, Writing, member
from .options import deletion as deletion_options
from .owning import require_own
from .records import Records, Stored
from .writes import Writes

Object = dict[str, Any]
Mapped = Mapping[str, Any]

DISRUPTED_PODS_MAX: Final = 2_000
"""As in `stark.crds.policy`."""
UNOBSERVED_RETRY_S: Final = 10
"""When to come back to a budget that the controller has not counted yet."""
REFUSAL: Final = "Cannot evict pod as it would violate the pod's disruption budget."
DISRUPTED: Final = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
ENDED: Final = ("Succeeded", "Failed")


class Evictions:
    """The `eviction` subresource of pods."""

    def __init__(self, resources: Resources, records: Records, writes: Writes) -> None:
        self._resources, self._records, self._writes = resources, records, writes

    async def evict(self, target: Target, eviction: Mapped, writing: Writing, query: Query) -> tuple[Stored, bool]:
        """Delete the pod as its own deletion would. Raises TooManyRequests when a budget does not allow it now."""
        name = (eviction.get("metadata") or {}).get("name") or target.name
        if name != target.name:
            raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({target.name})")
        wanted = deletion_options(query, member(eviction, "deleteOptions"))
        wanted = replace(wanted, dry_run=wanted.dry_run or writing.dry_run)
        pod = (await self._records.get(target.resource, target.namespace, target.name)).decode()
        require_own(target, pod)
        # Before the budget is spent: what is not the pod that is meant costs nothing.
        deletion.check_preconditions(target.resource, pod, wanted)
        if not _is_free(pod):
            await self._ask_budget(target, pod, dry_run=wanted.dry_run)
            # What was paid for is this pod, not a namesake that came meanwhile.
            wanted = replace(wanted, uid=pod["metadata"]["uid"])
        if not _is_over(pod):
            await self._mark(target, wanted)
            # The mark has changed the version that the client may have named, and was put only on that one.
            wanted = replace(wanted, resource_version="")
        return await self._writes.delete(replace(target, subresource=""), wanted, writing)

    async def _mark(self, target: Target, wanted: Deletion) -> None:
        """Say on the pod that it was disturbed and did not fail by itself (KEP-3329): jobs and people go by that."""
        moment = timestamp(metadata.now())

        async def decide(current: Object) -> Object:
            deletion.check_preconditions(target.resource, current, wanted)
            status = current.get("status") or {}
            others = [each for each in status.get("conditions") or () if each.get("type") != DISRUPTED["type"]]
            return {
                **current,
                "status": {**status, "conditions": [*others, {**DISRUPTED, "lastTransitionTime": moment}]},
            }

        place = (target.resource, target.namespace, target.name)
        await self._records.change(place, decide, dry_run=wanted.dry_run)

    async def _ask_budget(self, target: Target, pod: Mapped, *, dry_run: bool) -> None:
        resource = self._resources.find("policy", "v1", "poddisruptionbudgets")
        assert resource is not None
        cache = await self._records.cache(resource)
        found = [entry.decode() for entry in cache.select(Filter(namespace=target.namespace))]
        budgets = [budget for budget in found if selects(budget, pod)]
        if not budgets:
            return
        if len(budgets) > 1:
            message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            raise InternalError(message)
        await self._spend(resource, budgets[0], pod, dry_run=dry_run)

    async def _spend(self, resource: Resource, budget: Mapped, pod: Mapped, *, dry_run: bool) -> None:
        name, moment = pod["metadata"]["name"], timestamp(metadata.now())

        async def decide(current: Object) -> Object:
            return current if may_go_unpaid(current, pod) else spent(current, name, moment)

        place = (resource, budget["metadata"]["namespace"], budget["metadata"]["name"])
        await self._records.change(place, decide, dry_run=dry_run)


def _is_over(pod: Mapped) -> bool:
    """It has ended, or is on its way: nothing disturbs it any more."""
    return (pod.get("status") or {}).get("phase") in ENDED or metadata.is_deleting(pod)


def _is_free(pod: Mapped) -> bool:
    """Its end disrupts nothing: it has not begun, is over, or is on its way."""
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    return phase in (*ENDED, "Pending") or metadata.is_deleting(pod)


def selects(budget: Mapped, pod: Mapped) -> bool:
    """Whether the budget is about this pod."""
    selector = (budget.get("spec") or {}).get("selector")
    if selector is None or metadata.is_deleting(budget):
        return False
    if not may_select(Owner.of(budget["metadata"].get("annotations")), Owner.of(pod["metadata"].get("annotations"))):
        return False
    try:
        return from_label_selector(selector).matches(pod["metadata"].get("labels") or {})
    except SelectorError:
        return False


def may_go_unpaid(budget: Mapped, pod: Mapped) -> bool:
    """Whether a pod that is not ready may go without spending the budget: it is none of the healthy ones."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    if any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = status.get("desiredHealthy") or 0
    return desired > 0 and (status.get("currentHealthy") or 0) >= desired and _is_observed(budget)


def _is_observed(budget: Mapped) -> bool:
    seen = (budget.get("status") or {}).get("observedGeneration") or 0
    return bool(seen >= (budget["metadata"].get("generation") or 0))


def spent(budget: Object, pod: str, moment: str) -> Object:
    """The budget after one more eviction. Raises TooManyRequests when it does not allow one, Forbidden when it is full."""
    name, status = budget["metadata"]["name"], dict(budget.get("status") or {})
    if not _is_observed(budget):
        message = f"The disruption budget {name} is still being processed by the server."
        raise _refused(message, UNOBSERVED_RETRY_S)
    disrupted = dict(status.get("disruptedPods") or {})
    if len(disrupted) > DISRUPTED_PODS_MAX:
        message = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise Forbidden(f'poddisruptionbudgets.policy "{name}" is forbidden: {message}')
    allowed = status.get("disruptionsAllowed") or 0
    if allowed <= 0:
        needed, there = status.get("desiredHealthy") or 0, status.get("currentHealthy") or 0
        raise _refused(f"The disruption budget {name} needs {needed} healthy pods and has {there} currently")
    status["disruptionsAllowed"] = allowed - 1
    status["disruptedPods"] = {**disrupted, pod: moment}
    if allowed == 1:
        status["conditions"] = _exhausted(status.get("conditions") or [], budget, moment)
    return {**budget, "status": status}


def _exhausted(conditions: list[Object], budget: Mapped, moment: str) -> list[Object]:
    condition = {
        "type": "DisruptionAllowed",
        "status": "False",
        "observedGeneration": budget["metadata"].get("generation"),
        "lastTransitionTime": moment,
        "reason": "InsufficientPods",
        "message": "",
    }
    return [*(item for item in conditions if item.get("type") != "DisruptionAllowed"), condition]


def _refused(message: str, retry_after_s: int | None = None) -> TooManyRequests:
    # Without a Retry-After: clients would repeat the request by themselves, while `kubectl drain` has its own rhythm.
    cause = Cause("", message, "DisruptionBudget")
    return TooManyRequests(REFUSAL, causes=[cause], retry_after_s=retry_after_s)
