"""Which pod is which: names, numbers and labels of a StatefulSet's pods. Pure.

A pod's name is the set's and its ordinal, and a name is given once in a namespace. So there is never more than one pod of an
ordinal, whatever the controller has seen: a new one can only be made when the server has let go of the old one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from stark.crds.apps import StatefulSet
from stark.crds.meta import ObjectMeta
from stark.crds.pods import Pod, PodTemplateSpec

POD_NAME = "statefulset.kubernetes.io/pod-name"
"""Label of a pod: its name, so that a Service can select one pod."""
POD_INDEX = "apps.kubernetes.io/pod-index"
"""Label of a pod: its ordinal."""
REVISION = "controller-revision-hash"
"""Label of a pod: the ControllerRevision that it was made from."""


def ordinals(sts: StatefulSet) -> range:
    """The numbers its pods should have."""
    start = sts.spec.ordinals.start if sts.spec.ordinals is not None else 0
    return range(start, start + sts.spec.replicas)


def ordinal_of(name: str, pod: str) -> int | None:
    """The number of the set's pod of that name; None when no set of this name makes one called so."""
    parent, dash, number = pod.rpartition("-")
    is_ours = dash and parent == name and number.isdecimal() and number.isascii() and str(int(number)) == number
    return int(number) if is_ours else None


def by_ordinal(sts: StatefulSet, pods: Iterable[Pod]) -> Mapping[int, Pod]:
    """The set's own pods by their numbers."""
    numbered = ((ordinal_of(sts.metadata.name, pod.metadata.name), pod) for pod in pods)
    return {number: pod for number, pod in numbered if number is not None}


def identity_labels(name: str, ordinal: int) -> dict[str, str]:
    """The labels that say which pod it is."""
    return {POD_NAME: f"{name}-{ordinal}", POD_INDEX: str(ordinal)}


def has_identity(pod: Pod, ordinal: int, name: str) -> bool:
    """Whether the pod's labels say which it is."""
    return identity_labels(name, ordinal).items() <= pod.metadata.labels.items()


def new_pod(sts: StatefulSet, ordinal: int, template: PodTemplateSpec, revision: str) -> Pod:
    """The pod of an ordinal, made from the template of a revision."""
    name = f"{sts.metadata.name}-{ordinal}"
    meta = ObjectMeta(
        name=name,
        namespace=sts.metadata.namespace,
        labels={**template.metadata.labels, **identity_labels(sts.metadata.name, ordinal), REVISION: revision},
        annotations=template.metadata.annotations,
        finalizers=template.metadata.finalizers,
        owner_references=[sts.owner_reference()],
    )
    told = {"hostname": name, **({"subdomain": sts.spec.service_name} if sts.spec.service_name else {})}
    return Pod(metadata=meta, spec=template.spec.model_copy(update=told))
