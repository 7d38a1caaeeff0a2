"""The templates a DaemonSet has had: what `kubectl rollout history` lists and `kubectl rollout undo` goes back to. Pure.

Every template is kept as a ControllerRevision whose data is the strategic merge patch that puts it back. Going back to an
old template gives its revision the newest number instead of making another one, as Kubernetes does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stark.crds.apps import ControllerRevision, DaemonSet
from stark.crds.meta import ObjectMeta
from stark.crds.pods import Pod

from .planning import TEMPLATE_HASH, template_hash


@dataclass(frozen=True, slots=True)
class History:
    """What to do about the revisions now. At most one of `create` and `renumber`."""

    create: ControllerRevision | None = None
    renumber: ControllerRevision | None = None
    """The revision of the present template, with the number it should have."""
    delete: Sequence[ControllerRevision] = ()


def plan_history(daemons: DaemonSet, revisions: Sequence[ControllerRevision], pods: Sequence[Pod]) -> History:
    """The next step. `revisions` and `pods` are the DaemonSet's own."""
    if daemons.metadata.deletion_timestamp is not None:
        return History()
    mark = template_hash(daemons)
    current = next((each for each in revisions if each.metadata.labels.get(TEMPLATE_HASH) == mark), None)
    old = [each for each in revisions if each is not current]
    newest = max((each.revision for each in old), default=0) + 1
    delete = _superfluous(daemons, old, pods)
    if current is None:
        return History(create=revision_of(daemons, newest), delete=delete)
    if current.revision < newest:
        return History(renumber=current.model_copy(update={"revision": newest}), delete=delete)
    return History(delete=delete)


def _superfluous(
    daemons: DaemonSet, old: Sequence[ControllerRevision], pods: Sequence[Pod]
) -> Sequence[ControllerRevision]:
    """The oldest revisions beyond the limit; those that a pod still comes from are kept and do not count."""
    live = {pod.metadata.labels.get(TEMPLATE_HASH) for pod in pods}
    unused = [each for each in old if each.metadata.labels.get(TEMPLATE_HASH) not in live]
    too_many = len(unused) - daemons.spec.revision_history_limit
    return sorted(unused, key=lambda each: each.revision)[: max(0, too_many)]


def revision_of(daemons: DaemonSet, number: int) -> ControllerRevision:
    """The revision of the present template."""
    template, mark = daemons.spec.template, template_hash(daemons)
    put_back = {**template.model_dump(mode="json", by_alias=True, exclude_unset=True), "$patch": "replace"}
    meta = ObjectMeta(
        name=f"{daemons.metadata.name}-{mark}",
        namespace=daemons.metadata.namespace,
        labels={**template.metadata.labels, TEMPLATE_HASH: mark},
        annotations=daemons.metadata.annotations,
        owner_references=[daemons.owner_reference()],
    )
    return ControllerRevision(metadata=meta, data={"spec": {"template": put_back}}, revision=number)
