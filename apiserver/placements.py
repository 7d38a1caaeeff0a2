"""Where a pod would go and why, from the caches: `pods/NAME/placement`, and what a dry run of a new pod is told.

The answer is the scheduler's rules applied to what this server knows now, not what a scheduler decided. It is computed on
one thread of its own, so that a cluster of any size delays nobody but those who ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

import orjson

from stark.crds.annotations import PLACEMENT
from stark.crds.cluster import ClusterConfigSpec
from stark.crds.meta import KubeObject, Undecodable, decode
from stark.crds.nodes import Node
from stark.crds.packs import Pack
from stark.crds.placement.explaining import Explanation, explain, sentence, told
from stark.crds.placement.facts import Demand, Offer
from stark.crds.placement.judging import Cluster
from stark.crds.placement.reading import demand_of, offer_of, takes_room
from stark.crds.placement.weights import Weights
from stark.crds.pods import Pod

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
from .times import timestamp

API_VERSION: Final = "stark.dev/v1"
KIND: Final = "PodPlacement"
DEMANDS_MAX: Final = 50_000
"""Pods of which is kept what they demand, until they change: reading them costs more than judging."""
OFFERS_MAX: Final = 20_000
"""The same of nodes."""
WAITING_MAX: Final = 16
"""Questions that wait for the thread or are on it; one more is told to come back. In a large cluster each takes a second,
and who asks does not wait for longer than their own deadline."""
RETRY_AFTER_S: Final = 2

Object = dict[str, Any]
T = TypeVar("T", bound=KubeObject)

log = logging.getLogger(__name__)


class Placements:
    """Explains placements to those who ask."""

    def __init__(self, feed: Feed, records: Records, authorizer: Authorizer, config: ClusterSettings) -> None:
        self._feed, self._records, self._authorizer, self._config = feed, records, authorizer, config
        self._thread = ThreadPoolExecutor(1, "placement")
        self._demands: dict[str, tuple[int, str, Demand | None]] = {}
        """By key: the revision of the pod, its node, and its demand; None when it takes no room. The thread's own."""
        self._offers: dict[str, tuple[int, Offer | None]] = {}
        """By name: the revision of the node, and what it offers; None when it cannot be read. The thread's own."""
        self._waiting = 0

    async def answer(self, request: Request, target: Target, rest: Sequence[str]) -> Response:
        """`GET pods/NAME/placement`: the pod is judged as if it were not there yet. Raises NotFound."""
        if rest:
            raise no_such_path()
        if request.method != "GET":
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        assert request.user is not None, request.path
        pod = (await self._records.get(target.resource, target.namespace, target.name)).decode()
        explanation, visible = await self._explained(pod, request.user)
        meta = {name: pod["metadata"][name] for name in ("name", "namespace", "uid")}
        head = {"kind": KIND, "apiVersion": API_VERSION}
        meta["creationTimestamp"] = timestamp(metadata.now())
        status = told(explanation, visible, node=(pod.get("spec") or {}).get("nodeName") or "")
        return Response(200, orjson.dumps({**head, "metadata": meta, "status": status}))

    async def foretell(self, pod: Object, user: User) -> Object:
        """A pod that is not stored, with the condition that it would get, and the whole answer in an annotation."""
        await self._records.fresh()
        explanation, visible = await self._explained(pod, user)
        condition = {
            "type": "PodScheduled",
            "status": "True" if explanation.chosen is not None else "False",
            "lastTransitionTime": timestamp(metadata.now()),
            **({"reason": explanation.reason} if explanation.reason else {}),
            "message": sentence(explanation, visible),
        }
        annotations = {**(pod["metadata"].get("annotations") or {})}
        annotations[PLACEMENT] = orjson.dumps(told(explanation, visible)).decode()
        status = {**(pod.get("status") or {})}
        others = [each for each in status.get("conditions") or () if each.get("type") != "PodScheduled"]
        status["conditions"] = [*others, condition]
        return {**pod, "metadata": {**pod["metadata"], "annotations": annotations}, "status": status}

    async def _explained(self, pod: Mapping[str, Any], user: User) -> tuple[Explanation, Collection[str] | None]:
        nodes, pods = self._cache("", "nodes"), self._cache("", "pods")
        seen = nodes.select(EVERYTHING)
        work = partial(
            self._judge,
            orjson.dumps(pod),
            seen,
            pods.select(EVERYTHING),
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
        return explanation, await self._visible(user, nodes, seen)

    async def _visible(self, user: User, cache: ResourceCache, nodes: Sequence[Entry]) -> Collection[str] | None:
        """The nodes that the user may list; None for all of them."""
        decision = await self._authorizer.authorize(AuthorizationAttributes(user, "list", "", "v1", "nodes"))
        if decision.is_outright:
            return None
        if not decision.allowed:
            return frozenset()
        at, owners = cache.paths.index(OWNER_PATH), decision.owners or frozenset({user.name})
        return frozenset(entry.name for entry in nodes if entry.fields[at] in owners)

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
                packs[name] = _read(entry, Pack) if entry is not None else None
            return packs[name]

        placed: dict[str, tuple[str, Demand]] = {}
        for entry in pods:
            where, demand = self._demand(entry)
            if demand is not None and entry.key != pod.key:
                placed[entry.key] = where, demand
        offers = [offer for entry in nodes if (offer := self._offer(entry, spec.max_pods_per_node)) is not None]
        return explain(pod, pack_of, Cluster(offers, placed, namespaces, Weights.of(spec)))

    def _demand(self, entry: Entry) -> tuple[str, Demand | None]:
        """The pod's node and what it takes there. Where a pod may go does not matter once it is placed: nor do packs."""
        known = self._demands.get(entry.key)
        if known is None or known[0] != entry.revision:
            if len(self._demands) >= DEMANDS_MAX:
                self._demands.clear()
            pod = _read(entry, Pod)
            if pod is None:
                return "", None
            demand = demand_of(pod, lambda _: None) if takes_room(pod) else None
            known = self._demands[entry.key] = (entry.revision, pod.spec.node_name or "", demand)
        return known[1], known[2]

    def _offer(self, entry: Entry, pods_max: int) -> Offer | None:
        """What the node offers; None for one that cannot be read, which costs nobody else their answer."""
        known = self._offers.get(entry.name)
        if known is None or known[0] != entry.revision:
            if len(self._offers) >= OFFERS_MAX:
                self._offers.clear()
            node = _read(entry, Node)
            known = self._offers[entry.name] = entry.revision, offer_of(node) if node is not None else None
        offer = known[1]
        return offer if offer is None or offer.pods <= pods_max else replace(offer, pods=pods_max)


def _read(entry: Entry, kind: type[T]) -> T | None:
    try:
        return decode(entry.data, kind)
    except Undecodable as error:
        log.error("an object cannot be decoded and is left out", extra={"key": entry.key, "detail": str(error)})
        return None
