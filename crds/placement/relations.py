"""What pods are to one another: whom a pod must be near to or apart from, and how evenly its group lies. Values only.

The rules over them are in `neighbours`. Everything here is written down once, when a pod is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..selectors import Selector
from ..tenancy import NOBODY, Owner, may_select

NamespaceLabels = Mapping[str, Mapping[str, str]]
"""The labels of every namespace."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What others can tell a pod by."""

    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    owner: str = ""
    """Uid of the controlling owner; empty for a pod of its own."""
    tenant: str = ""
    """Name of the user whose pod it is; empty for the cluster's own."""
    is_leaving: bool = False
    """It is being stopped: it still has its place, but no constraint counts it."""
    by_key: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """The labels again, for looking up."""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_key", dict(self.labels))
        object.__setattr__(self, "_hash", hash((self.namespace, self.labels, self.owner, self.tenant, self.is_leaving)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True)
class Group:
    """Which pods are meant: those of some namespaces whose labels match, or those of one owner."""

    selector: Selector
    namespaces: frozenset[str] = frozenset()
    namespace_selector: Selector | None = None
    """Further namespaces, by their labels."""
    owner: str = ""
    """When given, nothing else is looked at."""
    whose: Owner = NOBODY
    """Who says so: a restricted owner means no pods but their own, so that nobody keeps strangers from nodes."""

    def has(self, pod: Profile, namespaces: NamespaceLabels) -> bool:
        """Whether the pod is meant."""
        if self.owner:
            return pod.owner == self.owner
        if not may_select(self.whose, Owner(pod.tenant)):
            return False
        return self._reaches(pod.namespace, namespaces) and self.selector.matches(pod.by_key)

    def _reaches(self, namespace: str, namespaces: NamespaceLabels) -> bool:
        if namespace in self.namespaces:
            return True
        further = self.namespace_selector
        return further is not None and further.matches(namespaces.get(namespace) or {})


@dataclass(frozen=True, slots=True)
class PodTerm:
    """Pods, and the label of nodes whose value tells what is the same place."""

    group: Group
    topology_key: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A topology spread constraint."""

    group: Group
    topology_key: str
    max_skew: int
    is_hard: bool = True
    """DoNotSchedule, otherwise ScheduleAnyway."""
    min_domains: int = 1
    honors_affinity: bool = True
    honors_taints: bool = False


@dataclass(frozen=True, slots=True)
class Relations:
    """Everything a pod says about other pods."""

    near: tuple[PodTerm, ...] = ()
    """In the node's place there must be a pod whom all these terms mean."""
    apart: tuple[PodTerm, ...] = ()
    """In the node's place there must be no pod whom one of these terms means."""
    preferred: tuple[tuple[int, PodTerm], ...] = ()
    """What each pod of a term is worth: more than 0 near, less than 0 apart."""
    spread: tuple[Spread, ...] = ()
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash((self.near, self.apart, self.preferred, self.spread)))

    def __hash__(self) -> int:
        return self._hash

    def __bool__(self) -> bool:
        return bool(self.near or self.apart or self.preferred or self.spread)

    @property
    def carries(self) -> bool:
        """Whether the pod's terms matter to other pods, too."""
        return bool(self.near or self.apart or self.preferred)


NO_RELATIONS = Relations()
NO_PROFILE = Profile()
EVERY_POD = Selector()


def of_one_owner(owner: str) -> Group:
    """The pods of one controlling owner."""
    return Group(EVERY_POD, owner=owner)
