"""From objects to facts: what a Pod demands and a Node offers. Parsing happens here, once for each version of an
object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from ..annotations import PORTS
from ..conditions import is_true
from ..images import ImageError, pack_object_name, parse_image
from ..isolation import isolation_wanted
from ..meta import controller_of
from ..nodes import Node
from ..packs import Pack
from ..podcontainers import every_container, is_sidecar, peak
from ..podfacts import is_finished
from ..pods import Container, Pod, PodSpec
from ..quantity import QuantityError, byte_count, milli_cpu, whole
from ..tenancy import NOBODY, NodeTerms, Owner, acts_as_somebody, pack_refusal
from ..volumes import named_sources
from .facts import AMOUNT_MAX, Demand, HostPort, NodeTaint, Offer, PodToleration, Where
from .relations import Profile
from .wishes import preferred_terms, relations_of, required_terms

BOTH = frozenset({"node", "browser"})
CONTAINER = frozenset({"container"})
AMOUNTS_MAX = 4_096
"""Amounts that are remembered: a cluster has few kinds of machines and of pods, and exact reading is slow."""
COLUMN_RESOURCES = frozenset({"cpu", "memory", "pods"})
"""What every node has and is counted for every pod; everything else has a name."""
AMOUNTS_REMEMBERED = 4_096
"""Pods of one template ask for the same amounts, in the same words."""
PackOf = Callable[[str], Pack | None]
"""The Pack object of a name."""


@dataclass(frozen=True, slots=True)
class PackProblem:
    """Why a pod cannot go anywhere yet: PackNotFound, PackNotReady or PackNotAllowed, and a sentence."""

    reason: str
    message: str


def takes_room(pod: Pod) -> bool:
    """Whether the pod holds resources of a node: until it has finished or is gone, also while it is being stopped."""
    return bool(pod.spec.node_name) and not is_finished(pod)


def demand_of(pod: Pod, pack_of: PackOf, whose: Owner | None = None) -> Demand:
    """What the pod asks of a node. A pack that cannot be found asks for nothing; `pack_problem` keeps such pods
    back. `whose`: the owner of a pod that is not stored yet, whose annotations are still its author's."""
    spec = pod.spec
    runtimes, architectures = _needs(every_container(spec), pack_of)
    tolerations = (
        PodToleration(t.key or "", t.operator or "Equal", t.value or "", t.effect or "") for t in spec.tolerations
    )
    controller = controller_of(pod)
    owner = whose or Owner.of(pod.metadata.annotations)
    return Demand(
        where=Where(
            selector=tuple(sorted(spec.node_selector.items())),
            required=required_terms(spec.affinity),
            preferred=preferred_terms(spec.affinity),
            tolerations=tuple(sorted(set(tolerations))),
            runtimes=tuple(sorted(runtimes, key=sorted)),
            isolation=isolation_wanted(pod.metadata.annotations) or "",
            architectures=architectures,
            # Administrators' pods and the cluster's own are of one class: both go to nodes of the same owners.
            owner=NOBODY if owner.may_everything else owner,
            is_private=_gets_secrets(pod) or _has_private_pack(pod, pack_of),
        ),
        milli_cpu=_peak(spec, "cpu", milli_cpu),
        memory=_peak(spec, "memory", byte_count),
        extended=_extended(spec),
        ports=frozenset(_ports(pod)),
        owner=controller.uid if controller else "",
        relations=relations_of(spec, pod.metadata.namespace or "", owner),
        profile=Profile(
            namespace=pod.metadata.namespace or "",
            labels=tuple(sorted(pod.metadata.labels.items())),
            owner=controller.uid if controller else "",
            tenant=owner.name,
            is_leaving=pod.metadata.deletion_timestamp is not None,
        ),
    )


def _extended(spec: PodSpec) -> tuple[tuple[str, int], ...]:
    """What is asked for that is neither cpu nor memory."""
    names: set[str] = set()
    for container in every_container(spec):
        if container.resources is not None:
            names |= container.resources.requests.keys() | container.resources.limits.keys()
    amounts = ((name, _peak(spec, name, whole)) for name in names - COLUMN_RESOURCES)
    return tuple(sorted((name, amount) for name, amount in amounts if amount))


def _peak(spec: PodSpec, name: str, read: Callable[[str], int]) -> int:
    initial = [(_request(container, name, read), is_sidecar(container)) for container in spec.init_containers]
    return min(peak(initial, (_request(container, name, read) for container in spec.containers)), AMOUNT_MAX)


def _gets_secrets(pod: Pod) -> bool:
    if pod.spec.image_pull_secrets or acts_as_somebody(
        pod.spec.service_account_name, pod.spec.automount_service_account_token
    ):
        return True
    for container in every_container(pod.spec):
        if any(source.secret_ref is not None for source in container.env_from):
            return True
        if any(variable.value_from is not None and variable.value_from.secret_key_ref for variable in container.env):
            return True
    return any(kind == "secret" for kind, _, _ in named_sources(pod.spec.volumes))


def _has_private_pack(pod: Pod, pack_of: PackOf) -> bool:
    packs = (_pack(container, pack_of) for container in every_container(pod.spec))
    return any(pack.spec.visibility == "private" for pack in packs if pack is not None)


def _pack(container: Container, pack_of: PackOf) -> Pack | None:
    name = _pack_name(container)
    return pack_of(name) if name is not None else None


def packs_of(pod: Pod) -> frozenset[str]:
    """The names of the Pack objects that the pod's containers need, whether they are there or not."""
    return frozenset(name for container in pod.spec.containers if (name := _pack_name(container)) is not None)


def _pack_name(container: Container) -> str | None:
    try:
        reference = parse_image(container.image or "")
    except ImageError:
        return None
    return pack_object_name(reference.name, reference.version or "") if reference is not None else None


def pack_problem(pod: Pod, pack_of: PackOf, whose: Owner | None = None) -> PackProblem | None:
    """The first pack of the pod that nobody registered, whose bundles are not all there, or that is a stranger's.

    `whose` as in `demand_of`.
    """
    owner = whose or Owner.of(pod.metadata.annotations)
    for container in every_container(pod.spec):
        try:
            reference = parse_image(container.image or "")
        except ImageError as error:
            return PackProblem("PackNotFound", str(error))
        if reference is None:
            continue
        pack = pack_of(pack_object_name(reference.name, reference.version)) if reference.version else None
        if pack is None:
            return PackProblem("PackNotFound", f"pack {_shown(container)} is not registered")
        if pack.status.phase != "Available":
            return PackProblem(
                "PackNotReady", f"pack {_shown(container)} is not available: not all bundles are uploaded"
            )
        if pack_refusal(owner, Owner.of(pack.metadata.annotations), pack.spec.visibility):
            return PackProblem("PackNotAllowed", f"pack {_shown(container)} is private and belongs to another user")
    return None


def _shown(container: Container) -> str:
    return (container.image or "").partition("/")[2]


def _needs(containers: Iterable[Container], pack_of: PackOf) -> tuple[set[frozenset[str]], frozenset[str] | None]:
    """The runtimes that are needed, and the architectures that all packs have bundles for."""
    runtimes: set[frozenset[str]] = set()
    architectures: frozenset[str] | None = None
    for container in containers:
        try:
            reference = parse_image(container.image or "")
        except ImageError:
            continue
        if reference is None:
            runtimes.add(CONTAINER)
            continue
        pack = pack_of(pack_object_name(reference.name, reference.version or ""))
        if pack is None:
            continue
        runtime = pack.spec.runtime
        runtimes.add(BOTH if runtime in ("universal", "isomorphic") else frozenset({runtime}))
        bundled = frozenset(bundle.architecture for bundle in pack.spec.bundles)
        if "any" not in bundled:
            architectures = bundled if architectures is None else architectures & bundled
    return runtimes, architectures


def _request(container: Container, name: str, read: Callable[[str], int]) -> int:
    resources = container.resources
    if resources is None:
        return 0
    # A limit without a request is also the request, as Kubernetes has it.
    return _amount(resources.requests.get(name, resources.limits.get(name, "0")), read)


@lru_cache(AMOUNTS_REMEMBERED)
@lru_cache(AMOUNTS_MAX)
def _amount(text: str, read: Callable[[str], int]) -> int:
    try:
        return max(0, read(text))
    except QuantityError:
        return 0


def _offered(text: str, read: Callable[[str], int]) -> int:
    return min(_amount(text, read), AMOUNT_MAX - 1)


def _ports(pod: Pod) -> Iterable[HostPort]:
    for container in every_container(pod.spec):
        for port in container.ports:
            if port.host_port:
                yield HostPort(port.protocol, port.host_port)
    # Ports that the agent gave out are taken for pods that name theirs.
    try:
        given = json.loads(pod.metadata.annotations.get(PORTS, "{}"))
    except (ValueError, RecursionError):
        return
    if isinstance(given, dict):
        yield from (HostPort("TCP", port) for port in given.values() if isinstance(port, int))


def offer_of(node: Node) -> Offer:
    """What the node offers: its allocatable amounts, or all it has when it does not tell them apart."""
    amounts = {**node.status.capacity, **node.status.allocatable}
    return Offer(
        name=node.metadata.name,
        milli_cpu=_offered(amounts.get("cpu", "0"), milli_cpu),
        memory=_offered(amounts.get("memory", "0"), byte_count),
        pods=_offered(amounts.get("pods", "0"), whole),
        extended={name: _offered(text, whole) for name, text in amounts.items() if name not in COLUMN_RESOURCES},
        labels=node.metadata.labels,
        taints=tuple(NodeTaint(taint.key, taint.value or "", taint.effect) for taint in node.spec.taints),
        unschedulable=bool(node.spec.unschedulable),
        # A node on its way out takes nothing new, whatever its agent still says.
        ready=is_true(node.status.conditions, "Ready") and node.metadata.deletion_timestamp is None,
        terms=NodeTerms.of(node.metadata.annotations),
    )
