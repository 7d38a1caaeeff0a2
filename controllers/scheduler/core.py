"""The scheduler without the outside world: it is told what there is, and says what to do next. No await, no clock, no
client.

A decision to bind is *assumed* at once: the pod takes its room before the server has confirmed, so that the next
decision already counts it. Whoever carries the decision out says `failed` when it came to nothing. When others must
make way first, the pod is *nominated*: room is kept for it until they have gone. What outlives a process stands in
objects: bindings, nominations (`adopt`), groups.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

from stark.crds.namespaces import Namespace
from stark.crds.nodes import Node
from stark.crds.placement.explaining import GROUP_NOT_FOUND, UNSCHEDULABLE, group_incomplete, group_not_found
from stark.crds.placement.facts import Demand, Offer
from stark.crds.placement.filters import CURED_BY_LEAVING, Rule
from stark.crds.placement.reading import PackOf, demand_of, offer_of, pack_problem, packs_of, takes_room
from stark.crds.placement.relations import NamespaceLabels, PodTerm, Spread
from stark.crds.placement.victims import Budget, Plan, Resident
from stark.crds.placement.weights import Weights
from stark.crds.pod_groups import PodGroup
from stark.crds.podfacts import deadline_of, group_of, is_gated, is_waiting
from stark.crds.pods import Pod

from .gangs import Gangs
from .oddities import isolated, note
from .queue import COMPANY, Class, PodQueue, Waiting
from .rooms import Rooms
from .together import Member, Together, place_together

CURES: dict[str, frozenset[Rule]] = {
    "milli_cpu": frozenset({Rule.RESOURCES}),
    "memory": frozenset({Rule.RESOURCES}),
    "pods": frozenset({Rule.RESOURCES}),
    "extended": frozenset({Rule.RESOURCES}),
    "labels": frozenset({Rule.SELECTOR, Rule.RUNTIME, Rule.ISOLATION, Rule.ARCHITECTURE, Rule.SPREAD, Rule.AFFINITY}),
    "taints": frozenset({Rule.TAINTS, Rule.SPREAD}),
    "unschedulable": frozenset({Rule.UNSCHEDULABLE, Rule.SPREAD}),
    "ready": frozenset({Rule.READY}),
    "terms": frozenset({Rule.OWNER}),
}
"""Which rules may answer differently after a property of a node has changed."""
EVERY_RULE = frozenset(Rule)
GROUPED = frozenset({Rule.GROUP})
SCHEDULER_ERROR = "SchedulerError"
"""Kubernetes' reason for what is the scheduler's fault rather than the cluster's."""
HINTS_MAX = 2_000
"""Pairs of a changed node and a class of parked pods that are judged at once; when there are more, pods are woken by
the rules that refused them."""

MESSAGE_MAX = 500
"""Characters of what went wrong that people are told."""

PodOf = Callable[[str], Pod | None]


@dataclass(frozen=True, slots=True)
class Bind:
    """Give the pod to the node; its room is already taken."""

    waiting: Waiting
    pod: Pod
    node: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell people why the pod waits: a reason (Unschedulable, PackNotFound, PackNotReady, PackNotAllowed,
    PodGroupNotFound, SchedulerError) and a sentence."""

    pod: Pod
    reason: str
    message: str
    rules: frozenset[Rule]
    nominated: str = ""
    """The node on which room is kept for it."""


@dataclass(frozen=True, slots=True)
class Preempt:
    """Tell the pod where it will be, and then delete those that are in its way."""

    refuse: Refuse
    victims: tuple[Resident, ...]


Decision = Bind | Refuse | Preempt


def is_ours(pod: Pod) -> bool:
    """Whether the pod waits for this scheduler now, and for nobody who holds it back by a gate."""
    return is_waiting(pod) and not is_gated(pod)


class Core:
    """Pods that wait, nodes that offer. `pod_of` and `pack_of` look objects up by key in the caches."""

    def __init__(self, pod_of: PodOf, pack_of: PackOf) -> None:
        self.rooms = Rooms()
        self.snapshot = self.rooms.snapshot
        self.queue = PodQueue()
        self.gangs = Gangs()
        self.gated: set[str] = set()
        """Keys of pods that are held back by their gates."""
        self._pod_of = pod_of
        self._pack_of = pack_of
        self._decided: deque[Decision] = deque()
        """Decisions about the members of one group, which are made together."""
        self._stirred: set[Rule] = set()
        """Rules that may answer differently, whatever the node."""
        self._pods_max: int | None = None

    def configure(self, *, pods_max: int, weights: Weights, nodes: Iterable[Node], preempts: bool = True) -> None:
        """What the cluster says: how many pods a node takes at most, what makes one node better than another, and
        whether lower pods make way for higher ones."""
        self.snapshot.configure(weights)
        if preempts is not self.rooms.preempts:
            self.rooms.preempts = preempts
            self._stirred |= CURED_BY_LEAVING
        if pods_max != self._pods_max:
            self._pods_max = pods_max
            for node in nodes:
                with isolated("nodes", node.metadata.name):
                    self.set_node(node)

    # --- what there is ---

    def set_pod(self, pod: Pod, now: float) -> None:
        """A pod as it is now: it waits, holds room, or is none of our business any more."""
        uid = pod.uid
        if is_waiting(pod):
            # What is assumed is on its way to be bound; the cache has just not heard of it yet.
            placed = self.snapshot.placed(uid)
            if placed is None:
                self._set_waiting(pod, now)
            else:
                self.rooms.hold(pod, placed.node, demand_of(pod, self._pack_of))
            return
        self._forget_waiting(pod.key, uid)
        if takes_room(pod):
            self.rooms.hold(pod, pod.spec.node_name or "", demand_of(pod, self._pack_of))
        else:
            self.rooms.leave(uid)
        self._count(self.gangs.count(pod), now)

    def drop_pod(self, pod: Pod, now: float = 0.0) -> None:
        """The pod is gone from the store."""
        waiting = self.queue.get(pod.key)
        if waiting is None or waiting.uid == pod.uid:
            self._forget_waiting(pod.key, pod.uid)
        self.rooms.leave(pod.uid)
        self._count(self.gangs.leave(pod.uid), now)

    def adopt(self, pods: Iterable[Pod]) -> None:
        """At the beginning, when everything else is known: keep the room that an earlier scheduler kept, and complete
        the groups that it began."""
        for pod in pods:
            with isolated("pods", pod.key):
                node, waiting = pod.status.nominated_node_name, self.queue.get(pod.key)
                if node and waiting is not None and self.snapshot.offer(node) is not None:
                    self.rooms.nominations.keep(waiting, node)
        for group in self.gangs.begun():
            self.queue.complete(group, True)

    def set_node(self, node: Node) -> None:
        """A node as it is now. While one cannot be read nobody is sent to it."""
        try:
            after = offer_of(node)
        except Exception:
            self.drop_node(node.metadata.name)
            raise
        if self._pods_max is not None and after.pods > self._pods_max:
            after = replace(after, pods=self._pods_max)
        before = self.snapshot.offer(after.name)
        if self.snapshot.set_node(after):
            self.rooms.residents.touch(after.name)
            self.rooms.touch(after.name, cured_by(before, after))

    def drop_node(self, name: str) -> None:
        """The node is gone."""
        self.rooms.drop_node(name)

    def set_namespace(self, namespace: Namespace) -> None:
        """A namespace as it is now: terms may mean pods by the labels of their namespace."""
        if self.snapshot.set_namespace(namespace.metadata.name, namespace.metadata.labels):
            self._namespaces_changed()

    def drop_namespace(self, name: str) -> None:
        """The namespace is gone."""
        self.snapshot.drop_namespace(name)
        self._namespaces_changed()

    def _namespaces_changed(self) -> None:
        self._stirred.add(Rule.AFFINITY)
        self.rooms.preemption.forget()

    def set_budget(self, key: str, budget: Budget | None) -> None:
        """A disruption budget as it is now; None when it is gone."""
        self.rooms.preemption.set_budget(key, budget)

    def set_group(self, group: PodGroup, now: float) -> None:
        """A pod group as it is now."""
        if self.gangs.set_group(group):
            self._count(group.key, now)

    def drop_group(self, key: str, now: float) -> None:
        """A pod group is gone."""
        self.gangs.drop_group(key)
        self._count(key, now)

    def pack_changed(self, name: str, now: float) -> None:
        """The Pack object of that name came, went or became available: pods that name it may demand something else, and
        need wait for it no more. Other pods do not notice."""
        for key in self.queue.naming(name):
            if (pod := self._pod_of(key)) is not None:
                with isolated("pods", key):
                    self.set_pod(pod, now)
                self.queue.wake_pod(key, now)

    def _set_waiting(self, pod: Pod, now: float) -> None:
        if is_gated(pod):
            self._forget_waiting(pod.key, pod.uid)
            self.gated.add(pod.key)
            return
        self.gated.discard(pod.key)
        group, is_new = group_of(pod), pod.key not in self.queue
        self.queue.add(
            pod.key,
            pod.uid,
            pod.spec.priority or 0,
            demand_of(pod, self._pack_of),
            now,
            deadline=deadline_of(pod),
            group=group,
            preempts=pod.spec.preemption_policy != "Never",
            packs=packs_of(pod),
        )
        if group and is_new:
            self._count(group, now)

    def _forget_waiting(self, key: str, uid: str) -> None:
        self.gated.discard(key)
        self.queue.remove(key)
        self.rooms.renounce(uid)

    def _count(self, group: str, now: float) -> None:
        """The number of a group's members that wait or have a place has changed."""
        if group:
            self.queue.complete(group, self.gangs.is_begun(group))
            self.queue.wake_group(group, now)

    # --- who is woken ---

    def _wake_some(self, now: float) -> None:
        try:
            self._wake(now)
        except Exception:
            # What one of them could not be asked, all of them find out for themselves.
            note("pods", "")
            self.queue.wake(EVERY_RULE, now)

    def _wake(self, now: float) -> None:
        """Let those try again that the changes since the last decision could help."""
        stirred, freed = frozenset(self._stirred), dict(self.rooms.freed)
        self._stirred.clear()
        self.rooms.freed.clear()
        for key in self.rooms.displaced:
            self.queue.hurry(key)
        self.rooms.displaced.clear()
        for node in freed:
            for each in self.rooms.nominations.on(node):
                if self.rooms.accepts(each.demand, each.uid, each.priority)(node, ()):
                    self.queue.hurry(each.key)
        company = self.rooms.take_company()
        if stirred:
            self.queue.wake(stirred, now)
        sociable = self.queue.sociable()
        if len(sociable) * len(company) > HINTS_MAX:
            self.queue.wake(COMPANY, now)
        else:
            self._wake_kinds((kind for kind in sociable if self._pleases(kind, company)), now)
        kinds = self.queue.kinds() if freed else ()
        if len(kinds) * len(freed) > HINTS_MAX:
            self.queue.wake(frozenset().union(*freed.values()), now)
        else:
            items = freed.items()
            self._wake_kinds((kind for kind in kinds if any(self._helps(kind, *each) for each in items)), now)

    def _wake_kinds(self, kinds: Iterable[Class], now: float) -> None:
        for kind in kinds:
            self.queue.wake_kind(kind, now)

    def _helps(self, kind: Class, node: str, rules: frozenset[Rule]) -> bool:
        """Whether a change of the node could help parked pods of this class: one of the rules that refused them may
        answer differently, and the pod fits there now, or would if lower ones made way."""
        demand, priority, preempts = kind
        refused_by = self.queue.rules_of(kind)
        if refused_by and refused_by.isdisjoint(rules):
            return False
        if not COMPANY.isdisjoint((refused_by or EVERY_RULE) & rules) and not rules <= CURED_BY_LEAVING:
            return True  # the node's labels or taints changed, which may please the pod on another node
        there = self.rooms.residents.at(node).values()
        lower = [each.uid for each in there if each.priority < priority] if preempts and self.rooms.preempts else []
        if self.rooms.accepts(demand, "", priority)(node, lower):
            return True
        # A node names the first rule that refuses a pod. That one is satisfied, and another one was behind it.
        self.queue.doubt(kind)
        return False

    def _pleases(self, kind: Class, company: Iterable[Demand]) -> bool:
        """Whether pods that came or went, wherever, are among those that this class wants to be near to or apart from."""
        return any(is_related(kind[0], other, self.snapshot.namespaces) for other in company)

    # --- what next ---

    def decide(self, now: float) -> Decision | None:
        """The next decision; None when every pod waits for time or for a change."""
        if self._decided:
            return self._decided.popleft()
        for group in list(self.gangs.overdue(now)):
            self._release(group, now)
        if self._stirred or self.rooms.has_news:
            self._wake_some(now)
        while (waiting := self.queue.pop(now)) is not None:
            if (pod := self._live(waiting)) is None:
                self.rooms.renounce(waiting.uid)
            else:
                self._decided.extend(self._attempt((waiting, pod), now))
                return self._decided.popleft()
        return None

    def _attempt(self, member: Member, now: float) -> list[Decision]:
        """Decide about a pod, or about its whole group. Whatever is raised meanwhile is their trouble alone."""
        waiting, pod = member
        members = self.queue.members(waiting.group) if waiting.group else []
        try:
            return self._place_group(member, now) if waiting.group else [self._place(waiting, pod, now)]
        except Exception as error:
            note("pods", pod.key)
            others = [(other, live) for other in members if (live := self._live(other)) is not None]
            return [self._stumble(each, error, now) for each in (member, *others)]

    def _stumble(self, member: Member, error: Exception, now: float) -> Refuse:
        """The pod could not be judged: it keeps no room, and is tried again after its back-off."""
        waiting, pod = member
        with isolated("pods", pod.key):
            self.rooms.leave(waiting.uid)
            self.rooms.renounce(waiting.uid)
            self.gangs.leave(waiting.uid)
        self.queue.remove(waiting.key)
        self.queue.retry(waiting, now)
        message = f"the scheduler could not judge this pod: {type(error).__name__}: {error}"
        return Refuse(pod, SCHEDULER_ERROR, message[:MESSAGE_MAX], frozenset())

    def _live(self, waiting: Waiting) -> Pod | None:
        pod = self._pod_of(waiting.key)
        return pod if pod is not None and pod.uid == waiting.uid and is_ours(pod) else None

    def _place(self, waiting: Waiting, pod: Pod, now: float) -> Decision:
        problem = pack_problem(pod, self._pack_of)
        if problem is not None:
            return self._refuse((waiting, pod), problem.reason, problem.message, frozenset({Rule.PACK}), now)
        node = self.rooms.find(waiting)
        if node is not None:
            self.rooms.assume(waiting, pod, node)
            if waiting.group:
                self.gangs.join(waiting.uid, waiting.group)
            return Bind(waiting, pod, node)
        refusal, plan = self.snapshot.refusal(waiting.demand), None
        if not self.rooms.is_coming(waiting.uid):
            self.rooms.renounce(waiting.uid)
            plan = self.rooms.plan(waiting) if not refusal.rules.isdisjoint(CURED_BY_LEAVING) else None
        if plan is not None:
            self.rooms.nominate(waiting, plan)
        return self._refuse((waiting, pod), UNSCHEDULABLE, refusal.message, refusal.rules, now, plan)

    def _refuse(
        self, member: Member, reason: str, message: str, rules: frozenset[Rule], now: float, plan: Plan | None = None
    ) -> Refuse | Preempt:
        # Without any node there is no rule to wait for: whatever node comes is worth a try.
        waiting, pod = member
        self.queue.park(waiting, rules, now)
        kept = self.rooms.nominations.get(waiting.uid)
        refuse = Refuse(pod, reason, message, rules, kept.node if kept is not None else "")
        return Preempt(refuse, plan.victims) if plan is not None else refuse

    def failed(self, bind: Bind, now: float) -> None:
        """The binding did not happen: give the room back, and let the pod try again if it is still there."""
        self.rooms.leave(bind.waiting.uid)
        group = self.gangs.leave(bind.waiting.uid)
        if (pod := self._live(bind.waiting)) is not None:
            self.queue.retry(bind.waiting, now)
            self._set_waiting(pod, now)  # it may have been changed meanwhile
        self._count(group, now)

    def spared(self, preempt: Preempt, now: float) -> None:
        """The victims could not be made to go, or the pod for which they should was gone: nothing is kept for it."""
        for victim in preempt.victims:
            pod = self._pod_of(victim.key)
            if pod is not None and pod.uid == victim.uid and (node := self.rooms.residents.node_of(victim.uid)):
                self.rooms.residents.put(node, Resident.of(pod))
        pod = preempt.refuse.pod
        self.rooms.renounce(pod.uid)
        self.queue.wake_pod(pod.key, now)

    def next_due_s(self, now: float) -> float | None:
        """Seconds until `decide` may have something to say without being told anything; None for ever."""
        if self._decided or self._stirred or self.rooms.has_news:
            return 0.0
        overdue = self.gangs.next_overdue()
        due = [] if overdue is None else [max(0.0, overdue - now)]
        if (turn := self.queue.next_due(now)) is not None:
            due.append(turn)
        return min(due, default=None)

    # --- groups ---

    def _place_group(self, first: Member, now: float) -> list[Decision]:
        """Decide about all waiting members of a group at once; `first` is the one whose turn it was."""
        group = first[0].group
        members = [first]
        for waiting in self.queue.members(group):
            self.queue.take(waiting.key)
            if (pod := self._live(waiting)) is not None:
                members.append((waiting, pod))
        gang, needed = self.gangs.get(group), self.gangs.missing(group)
        if gang is None:
            message = group_not_found(group)
            return [self._refuse(each, GROUP_NOT_FOUND, message, GROUPED, now) for each in members]
        ready = [each for each in members if pack_problem(each[1], self._pack_of) is None]
        if not needed or len(ready) >= needed:
            waiting_for = [each for each in members if each not in ready]
            decisions = self._place_enough(group, ready, needed, now) if needed else []
            return decisions + [self._place(*each, now) for each in (waiting_for if needed else members)]
        there = gang.min_member - needed + len(ready)
        message = group_incomplete(group, there, gang.min_member)
        return [self._refuse(each, UNSCHEDULABLE, message, GROUPED, now) for each in members]

    def _place_enough(self, group: str, members: list[Member], needed: int, now: float) -> list[Decision]:
        together = place_together(self.rooms, members, needed)
        if together.is_placed:
            return self._placed(group, together, now)
        if together.plans:
            self.gangs.reserve(group, now)
            return self._make_way(group, together, members, now)
        if not any(self.rooms.nominations.get(waiting.uid) for waiting, _ in members):
            self.gangs.release(group)
        return [self._incomplete(group, each, together, now) for each in members]

    def _placed(self, group: str, together: Together, now: float) -> list[Decision]:
        self.gangs.release(group)
        decisions: list[Decision] = []
        for (waiting, pod), node in together.found:
            self.gangs.join(waiting.uid, group)
            decisions.append(Bind(waiting, pod, node))
        self.queue.complete(group, False)
        return decisions + [self._place(*each, now) for each in together.others]

    def _make_way(self, group: str, together: Together, members: list[Member], now: float) -> list[Decision]:
        plans = {waiting.uid: plan for (waiting, _), plan in together.plans}
        for (waiting, _), plan in together.plans:
            self.rooms.nominate(waiting, plan)
        return [self._incomplete(group, each, together, now, plans.get(each[0].uid)) for each in members]

    def _incomplete(
        self, group: str, member: Member, together: Together, now: float, plan: Plan | None = None
    ) -> Refuse | Preempt:
        refusal = together.refusal
        assert refusal is not None, group
        found, missing = len(together.found), self.gangs.missing(group)
        message = f"pod group {group} found a place for {found} of the {missing} members it needs: {refusal.message}"
        return self._refuse(member, UNSCHEDULABLE, message, refusal.rules | GROUPED, now, plan)

    def _release(self, group: str, now: float) -> None:
        """The group has had its time: others may have the room that was kept for it, and go first."""
        self.gangs.release(group)
        for waiting in self.queue.members(group):
            self.rooms.renounce(waiting.uid)
            self.queue.postpone(waiting.key, now)


def is_related(one: Demand, other: Demand, namespaces: NamespaceLabels) -> bool:
    """Whether a rule about other pods takes the second into account when it places the first."""
    wishes, others = one.relations, other.relations
    terms: tuple[PodTerm | Spread, ...] = (*wishes.near, *wishes.apart, *wishes.spread)
    if any(term.group.has(other.profile, namespaces) for term in terms):
        return True
    return any(term.group.has(one.profile, namespaces) for term in others.apart)


def cured_by(before: Offer | None, after: Offer) -> frozenset[Rule]:
    """The rules that may answer differently now that a node offers `after` instead of `before`."""
    if before is None:
        return EVERY_RULE
    changed = (field.name for field in fields(Offer) if getattr(before, field.name) != getattr(after, field.name))
    return frozenset(rule for name in changed for rule in CURES[name])
