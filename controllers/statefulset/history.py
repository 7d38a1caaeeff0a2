"""The templates a StatefulSet has had, as ControllerRevisions: what pods are made from, and what an undo goes back to. Pure.

Of two revisions pods are made: the current one, which the last complete rollout has reached, and that of the present
template. Going back to an old template gives its revision the newest number instead of making another, as Kubernetes does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stark.crds.apps import ControllerRevision, StatefulSet
from stark.crds.meta import ObjectMeta
from stark.crds.pods import Pod, PodTemplateSpec

from .identity import REVISION

TEMPLATE_HASH = "controller.kubernetes.io/hash"
"""Label of a revision: which template it is, by what it says."""
HASH_LENGTH = 10
NAME_MAX = 223
"""Characters of the set's name in a revision's; Kubernetes' number."""


@dataclass(frozen=True, slots=True)
class History:
    """The revisions that matter, and what to do about them first. At most one of `create` and `renumber`."""

    update: ControllerRevision
    """That of the present template, with the number it should have."""
    current: ControllerRevision
    """That of the last complete rollout; the same when there was none."""
    create: ControllerRevision | None = None
    renumber: ControllerRevision | None = None


def plan_history(sts: StatefulSet, revisions: Sequence[ControllerRevision]) -> History:
    """Where the set is between its templates. `revisions` are its own."""
    mark = template_hash(sts.spec.template)
    newest = max((each.revision for each in revisions), default=0)
    same = [each for each in revisions if each.metadata.labels.get(TEMPLATE_HASH) == mark]
    found = max(same, key=lambda each: each.revision, default=None)
    create = renumber = None
    if found is None:
        found = create = revision_of(sts, newest + 1)
    elif found.revision < newest:
        found = renumber = found.model_copy(update={"revision": newest + 1})
    known = next((each for each in revisions if each.metadata.name == sts.status.current_revision), None)
    return History(found, known or found, create, renumber)


def superfluous(
    sts: StatefulSet, revisions: Sequence[ControllerRevision], live: Iterable[str | None], pods: Iterable[Pod]
) -> Sequence[ControllerRevision]:
    """The oldest revisions beyond the limit; those that are `live` or that a pod comes from are kept and do not count."""
    used = {*live, *(pod.metadata.labels.get(REVISION) for pod in pods)}
    unused = [each for each in revisions if each.metadata.name not in used]
    too_many = len(unused) - sts.spec.revision_history_limit
    return sorted(unused, key=lambda each: each.revision)[: max(0, too_many)]


def revision_of(sts: StatefulSet, number: int) -> ControllerRevision:
    """The revision of the present template."""
    template, mark = sts.spec.template, template_hash(sts.spec.template)
    put_back = {**template.model_dump(mode="json", by_alias=True, exclude_unset=True), "$patch": "replace"}
    meta = ObjectMeta(
        name=f"{sts.metadata.name[:NAME_MAX]}-{_suffix(mark, sts.status.collision_count or 0)}",
        namespace=sts.metadata.namespace,
        labels={**template.metadata.labels, TEMPLATE_HASH: mark},
        annotations=sts.metadata.annotations,
        owner_references=[sts.owner_reference()],
    )
    return ControllerRevision(metadata=meta, data={"spec": {"template": put_back}}, revision=number)


def template_of(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision puts back."""
    data = ((revision.data or {}).get("spec") or {}).get("template") or {}
    return PodTemplateSpec.model_validate({name: value for name, value in data.items() if name != "$patch"})


def template_hash(template: PodTemplateSpec) -> str:
    """What tells templates apart that say different things."""
    facts = template.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:HASH_LENGTH]


def _suffix(mark: str, collisions: int) -> str:
    if not collisions:
        return mark
    return hashlib.sha256(f"{mark} {collisions}".encode()).hexdigest()[:HASH_LENGTH]
