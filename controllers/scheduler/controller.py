"""Carry out what the core decides: bind pods, and tell why others wait.

Reads Pods, Nodes, Packs, Namespaces, PodGroups, disruption budgets and the ClusterConfig; writes bindings, the
PodScheduled and DisruptionTarget conditions, nominated nodes and Events, and deletes pods that make way for higher ones.
The core is fed between two events of the informers and built anew for each term of leadership, so nothing of an earlier
leader's assumptions survives but what it wrote into objects.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec

from stark.client.api import PatchType
from stark.client.errors import ApiError, Conflict, Fenced, NotFound
from stark.client.informer import Change
from stark.client.queue import WorkQueue
from stark.crds.cluster import CLUSTER_CONFIG_NAME, ClusterConfig, ClusterConfigSpec
from stark.crds.conditions import find_condition
from stark.crds.meta import Undecodable
from stark.crds.namespaces import Namespace
from stark.crds.nodes import Node
from stark.crds.packs import Pack
from stark.crds.placement.victims import Budget
from stark.crds.placement.weights import Weights
from stark.crds.pod_groups import PodGroup
from stark.crds.pods import Pod, PodCondition
from stark.crds.policy import PodDisruptionBudget

from ..kit import DONE, Context, Controller, Outcome, Source
from . import metrics
from .core import SCHEDULER_ERROR, Bind, Core, Decision, Preempt, Refuse
from .echo import is_echo
from .oddities import Key, Oddities, isolated, note
from .preempting import make_way

log = logging.getLogger(__name__)
Params = ParamSpec("Params")

IN_FLIGHT_MAX = 64
"""Bindings and conditions on their way at once; more would only wait in the API server's queue instead of ours."""
SLICE = 32
"""Decisions made in one go before events and answers get their turn."""
BREATH_S = 0.02
"""How long a new term's first look at the cluster keeps the loop to itself."""
IDLE_MAX_S = 60.0
SHOWN_EVERY_S = 1.0
"""How often the sizes of the queue are counted: with many pods in it that costs more than a decision."""


class Scheduler(Controller):
    """See the module."""

    name = "scheduler"
    workers = 1

    def __init__(self, context: Context) -> None:
        self._context = context
        self._api = context.api
        self._pods = context.informers.of(Pod)
        self._nodes = context.informers.of(Node)
        self._packs = context.informers.of(Pack)
        self._namespaces = context.informers.of(Namespace)
        self._config = context.informers.of(ClusterConfig)
        self._groups = context.informers.of(PodGroup)
        self._budgets = context.informers.of(PodDisruptionBudget)
        self._core: Core | None = None
        self._oddities = Oddities()
        self._stirred = asyncio.Event()
        self._room = asyncio.Semaphore(IN_FLIGHT_MAX)
        self._shown_at = float("-inf")
        self._breathed_at = float("-inf")
        context.recorder.defer_while(self._room.locked)
        self._pods.subscribe(self._pod_changed)
        self._nodes.subscribe(self._node_changed)
        self._packs.subscribe(self._pack_changed)
        self._namespaces.subscribe(self._namespace_changed)
        self._config.subscribe(self._config_changed)
        self._groups.subscribe(self._group_changed)
        self._budgets.subscribe(self._budget_changed)

    def sources(self) -> Sequence[Source[Any]]:
        """The caches that must be filled before the first decision. They feed the core, not the work queue."""
        return (
            Source(self._pods, _no_keys),
            Source(self._nodes, _no_keys),
            Source(self._packs, _no_keys),
            Source(self._namespaces, _no_keys),
            Source(self._config, _no_keys),
            Source(self._groups, _no_keys),
            Source(self._budgets, _no_keys),
        )

    async def reconcile(self, key: str) -> Outcome:
        """Never asked: order among pods is the point here, and the work queue has none."""
        return DONE

    async def lead(self, queue: WorkQueue) -> None:
        """Decide and bind until the term ends."""
        core = self._core = Core(self._pods.get, self._packs.get)
        self._oddities = Oddities()
        try:
            await self._begin(core)
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._try_again(core)
                    await self._decide_some(core, tasks)
                    self._show(core)
                    await self._wait(core)
        finally:
            self._core = None

    async def _begin(self, core: Core) -> None:
        """Tell a new core what there is. In between events and the lease's heartbeats have their turn: reading a large
        cluster takes longer than a term lasts that nobody renews. So every object is looked up when its turn comes."""
        with isolated("clusterconfigs", CLUSTER_CONFIG_NAME):
            self._configure(core, ())
        for namespace in self._namespaces.list():
            with isolated("namespaces", namespace.metadata.name):
                core.set_namespace(namespace)
        for name in list(self._nodes.keys()):
            self._take_in(("nodes", name), self._take_node, core, name)
            await self._breathe()
        for group in self._groups.list():
            with isolated("podgroups", group.key):
                core.set_group(group, _now())
        for budget in self._budgets.list():
            with isolated("poddisruptionbudgets", budget.key):
                core.set_budget(budget.key, Budget.of(budget))
        for key in list(self._pods.keys()):
            self._take_in(("pods", key), self._take_pod, core, key)
            await self._breathe()
        core.adopt(self._pods.list())

    async def _breathe(self) -> None:
        if _now() - self._breathed_at >= BREATH_S:
            await asyncio.sleep(0)
            self._breathed_at = _now()

    def _take_node(self, core: Core, name: str) -> None:
        """The node as the cache has it now."""
        try:
            node = self._nodes.get(name)
        except Undecodable:
            core.drop_node(name)  # nobody is sent to a node that cannot be read
            raise
        if node is not None:
            core.set_node(node)

    def _take_pod(self, core: Core, key: str) -> None:
        """The pod as the cache has it now."""
        if (pod := self._pods.get(key)) is not None:
            core.set_pod(pod, _now())

    def _take_in(self, key: Key, step: Callable[Params, None], *args: Params.args, **more: Params.kwargs) -> None:
        """Tell the core of one object. One that cannot be taken in is tried again later, and holds up nobody."""
        try:
            step(*args, **more)
        except Exception:
            note(*key)
            self._oddities.failed(key, _now())
            self._tell_of(key)
            self._stirred.set()
        else:
            self._oddities.over(key)

    def _tell_of(self, key: Key) -> None:
        resource, name = key
        try:
            odd = self._pods.get(name) if resource == "pods" else self._nodes.get(name)
        except Undecodable:
            return  # there is nothing that an event could be about
        if odd is not None:
            text = f"{resource.removesuffix('s')} {name} cannot be taken in by the scheduler: see its log"
            self._context.recorder.event(odd, "Warning", SCHEDULER_ERROR, text)

    def _try_again(self, core: Core) -> None:
        """Objects that could not be taken in, when their back-off has ended."""
        for key in self._oddities.due(_now()):
            resource, name = key
            self._take_in(key, self._take_pod if resource == "pods" else self._take_node, core, name)

    async def _decide_some(self, core: Core, group: asyncio.TaskGroup) -> None:
        for _ in range(SLICE):
            decision = core.decide(_now())
            if decision is None:
                return
            await self._room.acquire()
            group.create_task(self._act(core, decision)).add_done_callback(lambda _: self._room.release())

    async def _wait(self, core: Core) -> None:
        due = core.next_due_s(_now())
        if due == 0.0:
            await asyncio.sleep(0)
            return
        if (retry := self._oddities.next_due_s(_now())) is not None:
            due = retry if due is None else min(due, retry)
        try:
            async with asyncio.timeout(IDLE_MAX_S if due is None else min(due, IDLE_MAX_S)):
                await self._stirred.wait()
        except TimeoutError:
            pass  # a back-off has ended
        self._stirred.clear()

    # --- acting ---

    async def _act(self, core: Core, decision: Decision) -> None:
        """Carry one decision out. What nobody foresaw is the trouble of this pod, not the end of the term."""
        try:
            await self._carry_out(core, decision)
        except Exception:
            pod = decision.refuse.pod if isinstance(decision, Preempt) else decision.pod
            note("pods", pod.key)
            with isolated("pods", pod.key):
                if isinstance(decision, Bind):
                    core.failed(decision, _now())
                elif isinstance(decision, Preempt):
                    core.spared(decision, _now())
            self._stirred.set()

    async def _carry_out(self, core: Core, decision: Decision) -> None:
        match decision:
            case Bind():
                await self._bind(core, decision)
            case Refuse():
                await self._tell(decision)
            case Preempt():
                await self._preempt(core, decision)

    async def _preempt(self, core: Core, preempt: Preempt) -> None:
        if not await self._tell(preempt.refuse) or not await make_way(self._context, preempt):
            core.spared(preempt, _now())
            self._stirred.set()

    async def _bind(self, core: Core, bind: Bind) -> None:
        pod, began = bind.pod, _now()
        namespace = pod.metadata.namespace or ""
        try:
            await self._api.bind(namespace, pod.metadata.name, bind.node, uid=pod.uid)
        except ApiError as error:
            if isinstance(error, NotFound | Conflict | Fenced) or not await self._is_bound(bind):
                core.failed(bind, _now())
                self._stirred.set()
                self._count("error", began)
                log.info("a binding failed", extra={"podId": pod.key, "nodeId": bind.node, "detail": str(error)})
                return
        self._count("scheduled", began)
        metrics.POD_ATTEMPTS.observe(bind.waiting.attempts)
        attempts = metrics.attempts_label(bind.waiting.attempts)
        metrics.POD_SECONDS.labels(attempts).observe(max(0.0, _now() - bind.waiting.since))
        text = f"Successfully assigned {pod.key} to {bind.node}"
        self._context.recorder.event(pod, "Normal", "Scheduled", text)
        log.info("pod bound", extra={"podId": pod.key, "nodeId": bind.node})

    async def _is_bound(self, bind: Bind) -> bool:
        """After an answer that leaves it open: look whether the binding happened all the same."""
        try:
            live = await self._api.get(Pod, bind.pod.metadata.name, bind.pod.metadata.namespace)
        except ApiError:
            return False
        return live.metadata.uid == bind.pod.uid and live.spec.node_name == bind.node

    async def _tell(self, refuse: Refuse) -> bool:
        """Write down why the pod waits, and where. False when that could not be written."""
        pod = refuse.pod
        for rule in refuse.rules:
            metrics.UNSCHEDULABLE.labels(str(rule), metrics.PROFILE).inc()
        self._count("error" if refuse.reason == SCHEDULER_ERROR else "unschedulable", _now())
        self._context.recorder.event(pod, "Warning", "FailedScheduling", refuse.message)
        condition = self._condition(refuse)
        status: dict[str, Any] = {}
        if condition is not None:
            status["conditions"] = [condition.model_dump(mode="json", by_alias=True, exclude_none=True)]
        # Written whenever it was or is somewhere: the cache may not have heard of the last time yet.
        if refuse.nominated or pod.status.nominated_node_name:
            status["nominatedNodeName"] = refuse.nominated or None
        if not status:
            return True
        # By uid, so that a namesake made meanwhile is not told about a pod that is gone.
        patch = {"metadata": {"uid": pod.uid}, "status": status}
        try:
            await self._api.patch(
                Pod, pod.metadata.name, patch, pod.metadata.namespace, type=PatchType.STRATEGIC, subresource="status"
            )
        except ApiError as error:
            # The next refusal tells again; the pod waits all the same.
            log.info("a condition was not written", extra={"podId": pod.key, "detail": str(error)})
            return False
        return True

    def _condition(self, refuse: Refuse) -> PodCondition | None:
        """The condition to write; None when the pod has it already."""
        old = find_condition(refuse.pod.status.conditions, "PodScheduled")
        if old is not None and (old.status, old.reason, old.message) == ("False", refuse.reason, refuse.message):
            return None
        since = old.last_transition_time if old is not None and old.status == "False" else None
        return PodCondition(
            type="PodScheduled",
            status="False",
            reason=refuse.reason,
            message=refuse.message,
            last_transition_time=since or self._context.clock().replace(microsecond=0),
        )

    def _count(self, result: str, began: float) -> None:
        metrics.ATTEMPTS.labels(result, metrics.PROFILE).inc()
        metrics.ATTEMPT_SECONDS.labels(result, metrics.PROFILE).observe(_now() - began)

    def _show(self, core: Core) -> None:
        if _now() - self._shown_at < SHOWN_EVERY_S and core.next_due_s(_now()) == 0.0:
            return
        self._shown_at = _now()
        for place, count in core.queue.sizes().items():
            metrics.PENDING.labels(place.value).set(count)
        metrics.PENDING.labels("gated").set(len(core.gated))

    # --- being told ---

    def _pod_changed(self, change: Change[Pod]) -> None:
        if self._core is not None:
            self._take_in(("pods", change.key), self._pod_came, self._core, change)

    def _pod_came(self, core: Core, change: Change[Pod]) -> None:
        before, after = change.before, change.after
        if before is not None and (after is None or after.uid != before.uid):
            core.drop_pod(before.object, _now())
        if after is not None and not is_echo(change, core.snapshot.placed(after.uid)):
            core.set_pod(after.object, _now())
        elif after is not None:
            return  # our own binding
        self._stirred.set()

    def _node_changed(self, change: Change[Node]) -> None:
        if self._core is not None:
            self._take_in(("nodes", change.key), self._node_came, self._core, change)
            self._stirred.set()

    def _node_came(self, core: Core, change: Change[Node]) -> None:
        if change.after is None:
            core.drop_node(change.key)
        else:
            self._take_node(core, change.key)

    def _namespace_changed(self, change: Change[Namespace]) -> None:
        core = self._core
        if core is None:
            return
        if change.new is None:
            core.drop_namespace(change.key)
        else:
            core.set_namespace(change.new)
        self._stirred.set()

    def _group_changed(self, change: Change[PodGroup]) -> None:
        core = self._core
        if core is None:
            return
        if change.new is None:
            core.drop_group(change.key, _now())
        else:
            core.set_group(change.new, _now())
        self._stirred.set()

    def _budget_changed(self, change: Change[PodDisruptionBudget]) -> None:
        if self._core is not None:
            self._core.set_budget(change.key, Budget.of(change.new) if change.new is not None else None)

    def _config_changed(self, change: Change[ClusterConfig]) -> None:
        core = self._core
        if core is None:
            return
        self._configure(core, self._nodes.list())
        self._stirred.set()

    def _configure(self, core: Core, nodes: Iterable[Node]) -> None:
        found = self._config.get(CLUSTER_CONFIG_NAME)
        spec = found.spec if found is not None else ClusterConfigSpec()
        core.configure(
            pods_max=spec.max_pods_per_node,
            weights=Weights.of(spec),
            nodes=nodes,
            preempts=spec.enable_preemption,
        )

    def _pack_changed(self, change: Change[Pack]) -> None:
        if self._core is not None:
            self._core.pack_changed(change.key, _now())
            self._stirred.set()


def _no_keys(_: object) -> Iterable[str]:
    return ()


def _now() -> float:
    return asyncio.get_running_loop().time()


def build(context: Context) -> Controller:
    """For the catalog."""
    return Scheduler(context)
