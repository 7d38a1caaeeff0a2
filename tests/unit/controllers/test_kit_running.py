"""How controllers are run: every key is looked at, failures come back, and only the leader works."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web

from stark.client.api import Client
from stark.client.election import ElectionSettings
from stark.client.errors import Conflict, Fenced
from stark.controllers.kit import (
    DONE,
    Context,
    Controller,
    InformerFactory,
    Outcome,
    RequeueAfter,
    Runner,
    Source,
    controller_key,
    run_controllers,
    split_key,
)
from stark.crds.apps import ReplicaSet
from stark.crds.config import ConfigMap
from stark.crds.meta import ObjectMeta, OwnerReference
from stark.crds.pods import Pod
from tests.support.scripted_api import Script, ScriptedApi, config_map, frame, scripted_api

FAST = ElectionSettings(lease_duration_s=1.0, renew_deadline_s=0.6, retry_period_s=0.05)


class Noting(Controller):
    """Notes what it is asked to reconcile; `answer` decides what comes of it."""

    name = "noting"

    def __init__(self, context: Context, answer: Callable[[str, int], Outcome] = lambda _key, _count: DONE) -> None:
        self.context = context
        self.answer = answer
        self.informer = context.informers.of(ConfigMap)
        self.seen: list[str] = []
        self.news = asyncio.Condition()

    def sources(self) -> Sequence[Source[Any]]:
        return [Source(self.informer), Source(self.informer, self._mapped)]

    async def reconcile(self, key: str) -> Outcome:
        self.seen.append(key)
        async with self.news:
            self.news.notify_all()
        return self.answer(key, self.seen.count(key))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(condition)

    @staticmethod
    def _mapped(obj: ConfigMap) -> Iterable[str]:
        return [f"mapped/{obj.data['for']}"] if "for" in obj.data else []


@asynccontextmanager
async def running(server: ScriptedApi, build: Callable[[Context], Noting], **options: Any) -> AsyncIterator[Noting]:
    async with Client(server.config) as api:
        informers = InformerFactory(api)
        runner = Runner("noting", build, api, informers, **options)
        task = asyncio.create_task(run_controllers(informers, [runner]))
        try:
            assert isinstance(runner.controller, Noting)
            yield runner.controller
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled(), task.exception()


async def test_every_present_key_and_every_change_is_looked_at_through_its_mapping() -> None:
    async with scripted_api() as server:
        server.objects = [config_map("a", 1), config_map("b", 1, **{"for": "x"})]
        changed = frame("MODIFIED", config_map("b", 2, **{"for": "y"}))
        async with running(server, Noting) as controller:
            await controller.until(lambda: len(controller.seen) == 3)
            assert set(controller.seen) == {"default/a", "default/b", "mapped/x"}
        server.scripts = [Script([changed], "hang")]
        async with running(server, Noting) as controller:
            await controller.until(lambda: "mapped/y" in controller.seen)
            assert "mapped/x" in controller.seen, "what it was mapped to before has to look again as well"


async def test_a_failed_key_comes_back_and_one_that_asks_for_later_comes_later() -> None:
    def answer(key: str, count: int) -> Outcome:
        if key == "default/bad" and count < 3:
            raise RuntimeError("not yet")
        if key == "default/conflict" and count < 3:
            raise Conflict("moved on")
        return RequeueAfter(0.01) if key == "default/later" and count < 3 else DONE

    async with scripted_api() as server:
        server.objects = [config_map(name, 1) for name in ("bad", "conflict", "later", "fine")]
        async with running(server, lambda context: Noting(context, answer)) as controller:
            for name in ("bad", "conflict", "later"):
                await controller.until(lambda name=name: controller.seen.count(f"default/{name}") == 3)  # type: ignore[misc]
            assert controller.seen.count("default/fine") == 1


async def test_every_primary_key_is_looked_at_again_at_each_resync() -> None:
    def build(context: Context) -> Noting:
        controller = Noting(context)
        controller.resync_s = 0.02
        return controller

    async with scripted_api() as server:
        server.objects = [config_map("a", 1)]
        async with running(server, build) as controller:
            await controller.until(lambda: controller.seen.count("default/a") >= 3)


class Leases:
    """The lease of one controller, as the scripted server's handler."""

    def __init__(self, server: ScriptedApi) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.writes: list[str] = []
        self.server = server
        self.refuse = False
        server.handler = self.answer

    async def answer(self, request: web.Request) -> web.Response:
        if "/leases" not in request.path:
            if request.method != "GET":
                self.writes.append(request.headers["User-Agent"])
                return web.json_response(config_map("w", 1))
            return self.server._list(request)
        if self.refuse:
            return web.Response(status=500)
        body = await request.read()
        if request.method == "GET":
            return web.json_response(self.lease) if self.lease else web.Response(status=404)
        sent = orjson.loads(body)
        known = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if sent["metadata"].get("resourceVersion") != known:
            return web.Response(status=409)
        self.version += 1
        sent["metadata"]["resourceVersion"] = str(self.version)
        self.lease = sent
        return web.json_response(sent)


async def test_only_the_leader_works_and_the_next_one_looks_at_every_key() -> None:
    async with scripted_api() as server:
        Leases(server)
        server.objects = [config_map("a", 1)]
        async with running(server, Noting, election=FAST, identity="second") as second:
            await second.until(lambda: second.seen == ["default/a"])
            async with running(server, Noting, election=FAST, identity="first") as waiting:
                await asyncio.sleep(0.3)
                assert waiting.seen == []
                obj = ConfigMap(metadata=ObjectMeta(name="w", namespace="default"))
                with pytest.raises(Fenced):
                    await waiting.context.api.create(obj)
                assert (await second.context.api.create(obj)).metadata.name == "w"


async def test_a_leader_that_cannot_renew_stops_working_and_writing() -> None:
    async with scripted_api() as server:
        leases = Leases(server)
        server.objects = [config_map("a", 1)]
        async with running(
            server, lambda context: Noting(context, lambda _k, _c: RequeueAfter(0.01)), election=FAST, identity="me"
        ) as controller:
            await controller.until(lambda: len(controller.seen) > 3)
            leases.refuse = True
            await asyncio.sleep(0.8)
            stopped_at = len(controller.seen)
            await asyncio.sleep(0.1)
            assert len(controller.seen) == stopped_at
            with pytest.raises(Fenced):
                await controller.context.api.delete(ConfigMap, "a", "default")
            leases.refuse = False
            await controller.until(lambda: len(controller.seen) > stopped_at)


def test_the_key_of_the_controlling_owner_is_found_by_kind_and_group() -> None:
    def owned(api_version: str, kind: str, controller: bool) -> ConfigMap:
        owner = OwnerReference(api_version=api_version, kind=kind, name="web", uid="u", controller=controller)
        return ConfigMap(metadata=ObjectMeta(name="p", namespace="ns", owner_references=[owner]))

    keys = controller_key(ReplicaSet)
    assert list(keys(owned("apps/v1", "ReplicaSet", True))) == ["ns/web"]
    assert list(keys(owned("apps/v1beta1", "ReplicaSet", True))) == ["ns/web"]
    assert list(keys(owned("apps/v1", "ReplicaSet", False))) == []
    assert list(keys(owned("example.com/v1", "ReplicaSet", True))) == []


def test_a_key_splits_into_namespace_and_name() -> None:
    assert split_key("ns/web") == ("ns", "web")
    assert split_key("node-1") == (None, "node-1")


async def test_one_collection_has_one_informer_and_one_that_is_asked_for_late_starts_at_once() -> None:
    async with scripted_api() as server, Client(server.config) as api:
        factory = InformerFactory(api)
        first = factory.of(ConfigMap)
        assert factory.of(ConfigMap, indexers={"x": lambda obj: obj.data}) is first
        assert factory.of(ConfigMap, "other") is not first
        task = asyncio.create_task(factory.run())
        await factory.synced()
        late = factory.of(Pod)
        await asyncio.wait_for(late.synced(), 5)
        factory.drop(late)
        assert factory.of(Pod) is not late
        task.cancel()
        await asyncio.wait({task})
