"""What a decision about a place is about, as small values: what a pod demands and what a node offers.

Parsing pods and nodes into these happens once, in `reading`; past that line nobody looks at an object again. Two pods
with equal demands are interchangeable for the scheduler (they are of one class), which is what makes its tables work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

from ..selectors import Requirement
from ..tenancy import FOR_EVERYBODY, NOBODY, NodeTerms, Owner
from ..tolerations import tolerates
from .relations import NO_PROFILE, NO_RELATIONS, Profile, Relations

T = TypeVar("T")

AMOUNT_MAX = 1 << 50
"""Nobody has so much: thousandths of a cpu, bytes of memory (a pebibyte), pieces. Larger demands are this much and nodes
offer less, so that such a pod fits nowhere, and the arithmetic of tables in 64 bits holds."""

NAME_FIELD = "metadata.name"
"""The only field of a node that a term can ask for."""
SCORED_MILLI_CPU_MIN = 100
SCORED_MEMORY_MIN = 200 * 1024 * 1024
"""What a pod without requests counts for in scores (not in fits), so that such pods spread too (Kubernetes'
numbers)."""


class NodeTaint(NamedTuple):
    """A taint; effect is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str


class PodToleration(NamedTuple):
    """A toleration; an empty key with Exists tolerates every taint, an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: NodeTaint) -> bool:
        """Whether a pod with this toleration may ignore the taint."""
        return tolerates(self, taint)


class HostPort(NamedTuple):
    """A port of the node itself. Process pods share the host's network, so two pods cannot have the same one."""

    protocol: str
    port: int


class NodeTerm(NamedTuple):
    """Requirements of a node that must all hold. A term without any is fulfilled by no node."""

    labels: tuple[Requirement, ...] = ()
    fields: tuple[Requirement, ...] = ()
    """Over the node's fields, of which there is one: `metadata.name`."""

    def holds(self, offer: Offer) -> bool:
        """Whether the node is one that is meant."""
        if not self.labels and not self.fields:
            return False
        if not all(requirement.holds(offer.labels) for requirement in self.labels):
            return False
        names = {NAME_FIELD: offer.name}
        return all(requirement.holds(names) for requirement in self.fields)


@dataclass(frozen=True, slots=True)
class Where:
    """The part of a demand that only a node's fixed properties can answer: labels, taints, runtimes."""

    node_name: str = ""
    selector: tuple[tuple[str, str], ...] = ()
    required: tuple[NodeTerm, ...] | None = None
    """Node affinity: one of the terms must hold; None when there is no such rule."""
    preferred: tuple[tuple[int, NodeTerm], ...] = ()
    """Weights of the terms that make a node better."""
    tolerations: tuple[PodToleration, ...] = ()
    runtimes: tuple[frozenset[str], ...] = ()
    """One entry for each container with an own need: the runtimes any one of which will do."""
    isolation: str = ""
    """The class of isolation it must have; empty when any will do."""
    architectures: frozenset[str] | None = None
    """Go names the packs have bundles for; None when any will do."""
    owner: Owner = NOBODY
    """Whose pod it is, when a node may mind."""
    is_private: bool = False
    """It has a private pack or is given Secrets: no stranger's node may run it."""

    def tolerates(self, taint: NodeTaint) -> bool:
        """Whether one of the tolerations matches."""
        return any(toleration.tolerates(taint) for toleration in self.tolerations)


@dataclass(frozen=True, slots=True)
class Demand:
    """Everything a pod asks of a node. Demands of equal `shape` form one class of pods."""

    where: Where = Where()
    milli_cpu: int = 0
    memory: int = 0
    """Bytes."""
    extended: tuple[tuple[str, int], ...] = ()
    """Whatever else is asked for, by name and in that order: `nvidia.com/gpu` in pieces, `ephemeral-storage` in bytes."""
    ports: frozenset[HostPort] = frozenset()
    owner: str = ""
    """Uid of the controlling owner, whose pods are spread; empty for a pod of its own."""
    relations: Relations = NO_RELATIONS
    profile: Profile = NO_PROFILE
    """What the pod is to others. It says nothing of where this pod may go, except through `relations`."""
    scored_milli_cpu: int = field(init=False, repr=False, compare=False)
    """The cpu this pod counts for in scores."""
    scored_memory: int = field(init=False, repr=False, compare=False)
    """The memory this pod counts for in scores, bytes."""
    _hash: int = field(init=False, repr=False, compare=False)
    _shape: Demand | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        # Looked up once for every decision; hashing the nested tuples each time would cost as much as the decision.
        amounts = (self.milli_cpu, self.memory, self.extended, self.ports)
        value = hash((self.where, amounts, self.owner, self.relations, self.profile))
        object.__setattr__(self, "_hash", value)
        object.__setattr__(self, "scored_milli_cpu", self.milli_cpu or SCORED_MILLI_CPU_MIN)
        object.__setattr__(self, "scored_memory", self.memory or SCORED_MEMORY_MIN)

    def __hash__(self) -> int:
        return self._hash

    @property
    def shape(self) -> Demand:
        """The demand less what the pod is to others, unless its own wishes are about pods like itself."""
        if self.profile is NO_PROFILE or self.relations:
            return self
        if self._shape is None:
            object.__setattr__(self, "_shape", replace(self, profile=NO_PROFILE))
        assert self._shape is not None
        return self._shape


@dataclass(frozen=True, slots=True)
class Offer:
    """What a node has and who it lets in."""

    name: str
    milli_cpu: int = 0
    memory: int = 0
    pods: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[NodeTaint, ...] = ()
    unschedulable: bool = False
    ready: bool = True
    terms: NodeTerms = FOR_EVERYBODY
    """Whose it is, and whom it serves."""
    extended: Mapping[str, int] = field(default_factory=dict)
    """Amounts of all other resources, by name."""


@dataclass(slots=True)
class NodeState:
    """An offer and how much of it is taken. Changed only by the snapshot that holds it."""

    offer: Offer
    row: int
    milli_cpu: int = 0
    memory: int = 0
    pods: int = 0
    scored_milli_cpu: int = 0
    scored_memory: int = 0
    extended: Counter[str] = field(default_factory=Counter)
    ports: Counter[HostPort] = field(default_factory=Counter)
    owners: Counter[str] = field(default_factory=Counter)
    residents: Mapping[str, Demand] = field(default_factory=dict)
    """The pods by uid, for rules about neighbours. `take` leaves it alone."""

    def take(self, demand: Demand, sign: int = 1) -> None:
        """Account for one pod more (`sign` 1) or one less (-1)."""
        self.milli_cpu += sign * demand.milli_cpu
        self.memory += sign * demand.memory
        self.pods += sign
        self.scored_milli_cpu += sign * demand.scored_milli_cpu
        self.scored_memory += sign * demand.scored_memory
        assert self.pods >= 0, (self.offer.name, self.pods)
        for name, amount in demand.extended:
            _count(self.extended, name, sign * amount)
        for port in demand.ports:
            _count(self.ports, port, sign)
        if demand.owner:
            _count(self.owners, demand.owner, sign)


def _count(counter: Counter[T], item: T, change: int) -> None:
    left = counter[item] + change
    assert left >= 0, (item, left)
    if left:
        counter[item] = left
    else:
        del counter[item]
