"""Where a pod would go and why, from the caches: `pods/NAME/placement`, and what a dry run of a new pod is told.

The answer is the scheduler's rules applied to what this server knows now, not what a scheduler decided. It is computed on
one thread of its own, so that a cluster of any size delays nobody but those who ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import orjson

from stark.crds.annotations import PLACEMENT
from stark.crds.cluster import ClusterConfigSpec
from stark.crds.meta import KubeObject, decode
from stark.crds.packs import Pack
from stark.crds.placement.explaining import Explanation, MaySee, explain, sentence, told
from stark.crds.placement.judging import Cluster
from stark.crds.placement.making_way import Situation
from stark.crds.placement.victims import Budget
from stark.crds.placement.weights import Weights
from stark.crds.pod_groups import PodGroup
from stark.crds.podfacts import group_of
from stark.crds.pods import Pod
from stark.crds.policy import PodDisruptionBudget

from .auth.authorization import AuthorizationAttributes, Authorizer
from .cache.entry import OWNER_PATH, Entry
from .cache.feed import Feed
from .cache.filter import EVERYTHING
from .cache.resource_cache import ResourceCache
from .cluster_config import ClusterSettings
from .errors import MethodNotAllowed, TooManyRequests
from .registry import metadata
from .registry.keys import prefix_at
from .registry.options import Target
from .registry.records import Records
from .registry.refusals import no_such_path
from .request import Request, Response, User
from .surroundings import Surroundings, read
from .times import timestamp

API_VERSION: Final = "stark.dev/v1"
KIND: Final = "PodPlacement"
WAITING_MAX: Final = 16
"""Questions that wait for the thread or are on it; one more is told to come back. In a large cluster each takes a second,
and who asks does not wait for longer than their own deadline."""
RETRY_AFTER_S: Final = 2

Object = dict[str, Any]
T = TypeVar("T", bound=KubeObject)


class Placements:
    """Explains placements to those who ask."""

    def __init__(self, feed: Feed, records: Records, authorizer: Authorizer, config: ClusterSettings) -> None:
        self._feed, self._records, self._authorizer, self._config = feed, records, authorizer, config
        self._thread = ThreadPoolExecutor(1, "placement")
        self._surroundings = Surroundings()
        """The thread's own."""
        self._waiting = 0

    async def answer(self, request: Request, target: Target, rest: Sequence[str]) -> Response:
        """`GET pods/NAME/placement`: the pod is judged as if it were not there yet. Raises NotFound."""
        if rest:
            raise no_such_path()
        if request.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        assert request.user is not None, request.path
        pod = (await self._records.get(target.resource, target.namespace, target.name)).decode()
        explanation, visible, may_see = await self._explained(pod, request.user)
        meta = {name: pod["metadata"][name] for name in ("name", "namespace", "uid")}
        head = {"kind": KIND, "apiVersion": API_VERSION}
        meta["creationTimestamp"] = timestamp(metadata.now())
        node = (pod.get("spec") or {}).get("nodeName") or ""
        status = told(explanation, visible, node=node, may_see=may_see)
        return Response(200, orjson.dumps({**head, "metadata": meta, "status": status}))

    async def foretell(self, pod: Object, user: User) -> Object:
        """A pod that is not stored, with the condition that it would get, and the whole answer in an annotation."""
        await self._records.fresh()
        explanation, visible, may_see = await self._explained(pod, user)
        condition = {
            "type": "PodScheduled",
            "status": "True" if explanation.chosen is not None else "False",
            "lastTransitionTime": timestamp(metadata.now()),
            **({"reason": explanation.reason} if explanation.reason else {}),
            "message": sentence(explanation, visible),
        }
        annotations = {**(pod["metadata"].get("annotations") or {})}
        annotations[PLACEMENT] = orjson.dumps(told(explanation, visible, may_see=may_see)).decode()
        status = {**(pod.get("status") or {})}
        others = [each for each in status.get("conditions") or () if each.get("type") != "PodScheduled"]
        status["conditions"] = [*others, condition]
        return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}, "status": status}

    async def _explained(
        self, pod: Mapping[str, Any], user: User
    ) -> tuple[Explanation, Collection[str] | None, MaySee]:
        nodes, pods = self._cache("", "nodes"), self._cache("", "pods")
        seen, others = nodes.select(EVERYTHING), pods.select(EVERYTHING)
        work = partial(
            self._judge,
            orjson.dumps(pod),
            seen,
            others,
            {entry.name: entry.labels for entry in self._cache("", "namespaces").select(EVERYTHING)},
            self._config.spec(),
        )
        if self._waiting >= WAITING_MAX:
            raise TooManyRequests("too many people ask where pods would go: try again", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            explanation = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._waiting -= 1
        visible = await self._visible(user, nodes, seen)
        return explanation, visible, await self._may_see(user, pods, others, pod["metadata"].get("namespace") or "")

    async def _visible(self, user: User, cache: ResourceCache, nodes: Sequence[Entry]) -> Collection[str] | None:
        """The nodes that the user may list; None for all of them."""
        decision = await self._authorizer.authorize(AuthorizationAttributes(user, "list", "", "v1", "nodes"))
        if decision.is_outright:
            return None
        if not decision.allowed:
            return frozenset()
        at, owners = cache.paths.index(OWNER_PATH), decision.owners or frozenset({user.name})
        return frozenset(entry.name for entry in nodes if entry.fields[at] in owners)

    async def _may_see(self, user: User, cache: ResourceCache, pods: Sequence[Entry], namespace: str) -> MaySee:
        """Which pods may be named: those that the user may list."""
        for scope in ("", namespace):
            asked = AuthorizationAttributes(user, "list", "", "v1", "pods", namespace=scope)
            decision = await self._authorizer.authorize(asked)
            if decision.is_outright:
                return lambda key: not scope or key.startswith(f"{scope}/")
        if not decision.allowed:
            return lambda _: False
        at, owners = cache.paths.index(OWNER_PATH), decision.owners or frozenset({user.name})
        own = frozenset(entry.key for entry in pods if entry.fields[at] in owners)
        return own.__contains__

    def _cache(self, group: str, plural: str) -> ResourceCache:
        cache = self._feed.cache(prefix_at(group, plural))
        assert cache is not None, plural
        return cache

    # On the thread.

    def _judge(
        self,
        body: bytes,
        nodes: Sequence[Entry],
        pods: Sequence[Entry],
        namespaces: Mapping[str, Mapping[str, str]],
        settings: Mapping[str, Any],
    ) -> Explanation:
        pod, spec = decode(body, Pod), ClusterConfigSpec.model_validate(settings)
        packs: dict[str, Pack | None] = {}

        def pack_of(name: str) -> Pack | None:
            if name not in packs:
                entry = self._cache("stark.dev", "packs").get(name)
                packs[name] = read(entry, Pack, _itself) if entry is not None else None
            return packs[name]

        around = self._surroundings
        placed, offers = around.placed(pods, pod), around.offers(nodes, spec.max_pods_per_node)
        budgets = self._cache("policy", "poddisruptionbudgets").select(EVERYTHING)
        group = self._cache("stark.dev", "podgroups").get(group_of(pod)) if group_of(pod) else None
        situation = Situation(
            residents=placed.residents,
            budgets=[found for entry in budgets if (found := read(entry, PodDisruptionBudget, Budget.of)) is not None],
            preempts=spec.enable_preemption,
            group=around.membership(pods, pod, read(group, PodGroup, _itself) if group is not None else None),
            kept=placed.kept,
        )
        return explain(pod, pack_of, Cluster(offers, placed.demands, namespaces, Weights.of(spec)), situation)


def _itself(obj: T) -> T:
    return obj
