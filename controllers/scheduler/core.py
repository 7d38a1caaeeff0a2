"""The scheduler without the outside world: it is told what there is, and says what to do next. No await, no clock, no
client.

A decision to bind is *assumed* at once: the pod takes its room before the server has confirmed, so that the next
decision already counts it. Whoever carries the decision out says `failed` when it came to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

from stark.crds.namespaces import Namespace
from stark.crds.nodes import Node
from stark.crds.placement.facts import Offer
from stark.crds.placement.filters import CURED_BY_LEAVING, Rule
from stark.crds.placement.reading import PackOf, demand_of, offer_of, pack_problem, takes_room
from stark.crds.placement.weights import Weights
from stark.crds.podfacts import is_finished
from stark.crds.pods import Pod

from .queue import PodQueue, Waiting
from .snapshot import Snapshot

DEFAULT_SCHEDULER = "default-scheduler"

CURES: dict[str, frozenset[Rule]] = {
    "milli_cpu": frozenset({Rule.RESOURCES}),
    "memory": frozenset({Rule.RESOURCES}),
    "pods": frozenset({Rule.RESOURCES}),
    "extended": frozenset({Rule.RESOURCES}),
    "labels": frozenset({Rule.SELECTOR, Rule.RUNTIME, Rule.ARCHITECTURE, Rule.SPREAD, Rule.AFFINITY}),
    "taints": frozenset({Rule.TAINTS, Rule.SPREAD}),
    "unschedulable": frozenset({Rule.UNSCHEDULABLE, Rule.SPREAD}),
    "ready": frozenset({Rule.READY}),
    "terms": frozenset({Rule.OWNER}),
}
"""Which rules may answer differently after a property of a node has changed."""
ROOM = CURED_BY_LEAVING
COMPANY = frozenset({Rule.SPREAD, Rule.AFFINITY})
"""What a pod that has come may cure: somebody to be near to, or a place that is no longer the one with the fewest."""
EVERY_RULE = frozenset(Rule)

PodOf = Callable[[str], Pod | None]


@dataclass(frozen=True, slots=True)
class Bind:
    """Give the pod to the node; its room is already taken."""

    waiting: Waiting
    pod: Pod
    node: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell people why the pod waits: a reason (Unschedulable, PackNotFound, PackNotReady, PackNotAllowed) and a sentence."""

    pod: Pod
    reason: str
    message: str
    rules: frozenset[Rule]


Decision = Bind | Refuse


def is_ours(pod: Pod) -> bool:
    """Whether the pod waits for this scheduler: not bound, not finished, not leaving, and not another scheduler's."""
    waiting = not pod.spec.node_name and not is_finished(pod) and pod.metadata.deletion_timestamp is None
    return waiting and pod.spec.scheduler_name in ("", DEFAULT_SCHEDULER)


class Core:
    """Pods that wait, nodes that offer. `pod_of` and `pack_of` look objects up by key in the caches."""

    def __init__(self, pod_of: PodOf, pack_of: PackOf) -> None:
        self.snapshot = Snapshot()
        self.queue = PodQueue()
        self._pod_of = pod_of
        self._pack_of = pack_of
        self._stirred: set[Rule] = set()
        self._pods_max: int | None = None

    def configure(self, *, pods_max: int, weights: Weights, nodes: Iterable[Node]) -> None:
        """What the cluster says: how many pods a node takes at most, and what makes one node better than another."""
        self.snapshot.configure(weights)
        if pods_max != self._pods_max:
            self._pods_max = pods_max
            for node in nodes:
                self.set_node(node)

    # --- what there is ---

    def set_pod(self, pod: Pod, now: float) -> None:
        """A pod as it is now: it waits, holds room, or is none of our business any more."""
        uid = pod.uid
        if is_ours(pod):
            # What is assumed is on its way to be bound; the cache has just not heard of it yet.
            if self.snapshot.placed(uid) is None:
                self.queue.add(pod.key, uid, pod.spec.priority or 0, demand_of(pod, self._pack_of), now)
            return
        self.queue.remove(pod.key)
        if takes_room(pod):
            self.snapshot.place(uid, pod.spec.node_name or "", demand_of(pod, self._pack_of))
        elif self.snapshot.remove(uid) is not None:
            self._stirred |= ROOM

    def drop_pod(self, pod: Pod) -> None:
        """The pod is gone from the store."""
        waiting = self.queue.get(pod.key)
        if waiting is not None and waiting.uid == pod.uid:
            self.queue.remove(pod.key)
        if self.snapshot.remove(pod.uid) is not None:
            self._stirred |= ROOM

    def set_node(self, node: Node) -> None:
        """A node as it is now."""
        after = offer_of(node)
        if self._pods_max is not None and after.pods > self._pods_max:
            after = replace(after, pods=self._pods_max)
        before = self.snapshot.offer(after.name)
        if self.snapshot.set_node(after):
            self._stirred |= cured_by(before, after)

    def drop_node(self, name: str) -> None:
        """The node is gone."""
        self.snapshot.remove_node(name)

    def set_namespace(self, namespace: Namespace) -> None:
        """A namespace as it is now: terms may mean pods by the labels of their namespace."""
        if self.snapshot.set_namespace(namespace.metadata.name, namespace.metadata.labels):
            self._stirred.add(Rule.AFFINITY)

    def drop_namespace(self, name: str) -> None:
        """The namespace is gone."""
        self.snapshot.drop_namespace(name)

    def packs_changed(self, waiting: Iterable[Pod], now: float) -> None:
        """A pack came, went or became available, so what pods demand may have changed too."""
        for pod in waiting:
            self.set_pod(pod, now)
        self._stirred.add(Rule.PACK)

    # --- what next ---

    def decide(self, now: float) -> Decision | None:
        """The next decision; None when every pod waits for time or for a change."""
        if self._stirred:
            self.queue.wake(self._stirred, now)
            self._stirred.clear()
        while (waiting := self.queue.pop(now)) is not None:
            pod = self._pod_of(waiting.key)
            if pod is not None and pod.uid == waiting.uid and is_ours(pod):
                return self._place(waiting, pod, now)
        return None

    def _place(self, waiting: Waiting, pod: Pod, now: float) -> Decision:
        problem = pack_problem(pod, self._pack_of)
        if problem is not None:
            rules = frozenset({Rule.PACK})
            self.queue.park(waiting, rules, now)
            return Refuse(pod, problem.reason, problem.message, rules)
        node = self.snapshot.choose(waiting.demand)
        if node is not None:
            self.snapshot.place(waiting.uid, node, waiting.demand)
            return Bind(waiting, pod, node)
        refusal = self.snapshot.refusal(waiting.demand)
        # Without any node there is no rule to wait for: whatever node comes is worth a try.
        self.queue.park(waiting, refusal.rules, now)
        return Refuse(pod, "Unschedulable", refusal.message, refusal.rules)

    def failed(self, bind: Bind, now: float) -> None:
        """The binding did not happen: give the room back, and let the pod try again if it is still there."""
        self.snapshot.remove(bind.waiting.uid)
        self._stirred |= ROOM
        pod = self._pod_of(bind.waiting.key)
        if pod is not None and pod.uid == bind.waiting.uid and is_ours(pod):
            self.queue.retry(bind.waiting, now)

    def next_due_s(self, now: float) -> float | None:
        """Seconds until `decide` may have something to say without being told anything; None for ever."""
        return 0.0 if self._stirred else self.queue.next_due(now)


def cured_by(before: Offer | None, after: Offer) -> frozenset[Rule]:
    """The rules that may answer differently now that a node offers `after` instead of `before`."""
    if before is None:
        return EVERY_RULE
    changed = (field.name for field in fields(Offer) if getattr(before, field.name) != getattr(after, field.name))
    return frozenset(rule for name in changed for rule in CURES[name])
