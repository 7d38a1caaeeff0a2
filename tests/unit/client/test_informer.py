"""What an informer promises about its cache, its subscribers and its recovery, against a server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stark.client.api import PAGE, Client
from stark.client.errors import Timeout
from stark.client.indexes import FieldIndex, LabelIndex, OwnerIndex
from stark.client.informer import Change, Informer
from stark.client.kinds import PartialObject, metadata_only
from stark.crds.config import ConfigMap
from tests.support.scripted_api import Script, ScriptedApi, bookmark, config_map, frame, gone, scripted_api


@asynccontextmanager
async def following(server: ScriptedApi, **options: Any) -> AsyncIterator[Informer[ConfigMap]]:
    async with Client(server.config) as api:
        informer = Informer(api, ConfigMap, retry_delay_s=0.01, **options)
        task = asyncio.create_task(informer.run())
        try:
            await asyncio.wait_for(informer.synced(), 5)
            yield informer
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled(), task.exception()


def data_of(informer: Informer[ConfigMap]) -> dict[str, dict[str, str]]:
    return {obj.key: dict(obj.data) for obj in informer.list()}


async def test_the_cache_is_the_list_and_then_every_change_in_order() -> None:
    async with scripted_api() as server:
        server.objects = [config_map("a", 1), config_map("b", 2)]
        server.version = 2
        server.scripts = [
            Script(
                [
                    frame("MODIFIED", config_map("a", 3, x="1")),
                    frame("ADDED", config_map("c", 4)),
                    frame("DELETED", config_map("b", 5)),
                ],
                end="hang",
            )
        ]
        async with following(server) as informer:
            await informer.caught_up(5)
            assert data_of(informer) == {"default/a": {"x": "1"}, "default/c": {}}
            assert server.watches[0]["resourceVersion"] == "2"
            assert len(server.lists) == 1


async def test_a_frame_may_arrive_in_pieces_and_many_frames_in_one() -> None:
    async with scripted_api() as server:
        whole = b"".join(frame("ADDED", config_map(f"n{i}", 2 + i, text="ü" * i)) for i in range(50))
        server.scripts = [Script([whole[i : i + 97] for i in range(0, len(whole), 97)], end="hang")]
        async with following(server) as informer:
            await informer.caught_up(51)
            assert len(informer) == 50
            assert data_of(informer)["default/n7"] == {"text": "ü" * 7}


async def test_a_broken_watch_resumes_from_the_last_version_without_a_new_list() -> None:
    async with scripted_api() as server:
        server.scripts = [
            Script([frame("ADDED", config_map("a", 2))], end="cut"),
            Script([frame("ADDED", config_map("b", 3))], end="close"),
            Script([bookmark(9)], end="close"),
            Script([frame("ADDED", config_map("c", 10))], end="hang"),
        ]
        async with following(server) as informer:
            await informer.caught_up(10)
            assert set(informer.keys()) == {"default/a", "default/b", "default/c"}
        assert [w["resourceVersion"] for w in server.watches] == ["1", "2", "3", "9"]
        assert len(server.lists) == 1


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(Script([gone()]), id="that an event says 410"),
        pytest.param(Script([frame("ADDED", config_map("half", 7)), gone()]), id="that 410 follows an event"),
    ],
)
async def test_a_version_that_is_too_old_costs_a_list_and_only_the_difference_is_told(script: Script) -> None:
    changes: set[tuple[str, bool, bool]] = set()

    def note(change: Change[ConfigMap]) -> None:
        changes.add((change.key, change.old is None, change.new is None))

    async with scripted_api() as server:
        server.objects = [config_map("a", 1), config_map("b", 1), config_map("same", 1)]
        server.scripts = [script]
        async with following(server) as informer:
            kept = informer.get("default/same")
            informer.subscribe(note)
            assert changes == {(f"default/{n}", True, False) for n in ("a", "b", "same")}
            changes.clear()
            server.objects = [config_map("a", 8, x="new"), config_map("same", 1), config_map("new", 8)]
            server.version = 8
            await informer.caught_up(8)
            assert set(informer.keys()) == {"default/a", "default/same", "default/new"}
            assert informer.get("default/same") is kept
    changes -= {("default/half", True, False), ("default/half", False, True)}
    assert changes == {("default/a", False, False), ("default/b", False, True), ("default/new", True, False)}


async def test_what_is_no_frame_breaks_the_watch_and_not_the_informer() -> None:
    async with scripted_api() as server:
        server.scripts = [
            Script([b'{"type":"ADDED"\n']),
            Script([b"<html>\n"]),
            Script([frame("ADDED", {"metadata": {}})]),
            Script([frame("ADDED", config_map("a", 2))[:-10]]),
            Script([frame("ADDED", config_map("a", 2))], end="hang"),
        ]
        async with following(server) as informer:
            await informer.caught_up(2)
            assert set(informer.keys()) == {"default/a"}


async def test_a_large_collection_is_listed_page_by_page() -> None:
    async with scripted_api() as server:
        server.objects = [config_map(f"n{i}", 1) for i in range(PAGE * 2 + 5)]
        async with following(server) as informer:
            assert len(informer) == PAGE * 2 + 5
        assert [query.get("continue", "") for query in server.lists] == ["", "2000", "4000"]


async def test_an_object_is_decoded_once_and_kept() -> None:
    async with scripted_api() as server:
        server.objects = [config_map("a", 1, x="1")]
        async with following(server) as informer:
            first = informer.get("default/a")
            assert first is not None
            assert informer.get("default/a") is first
            assert informer.list()[0] is first


async def test_indexes_follow_the_objects_whether_they_read_models_or_the_wire() -> None:
    def labelled(name: str, version: int, colour: str) -> dict[str, Any]:
        obj = config_map(name, version, node=colour)
        obj["metadata"]["labels"] = {"colour": colour}
        obj["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "X", "name": "o", "uid": f"owner-{colour}", "controller": True},
            {"apiVersion": "v1", "kind": "X", "name": "p", "uid": "plain"},
        ]
        return obj

    async with scripted_api() as server:
        server.objects = [labelled("a", 1, "red"), labelled("b", 1, "red"), labelled("c", 1, "blue")]
        server.scripts = [
            Script([frame("MODIFIED", labelled("a", 2, "blue")), frame("DELETED", labelled("c", 3, "blue"))], "hang")
        ]
        indexers = {
            "model": lambda obj: obj.data.values(),
            "field": FieldIndex("data.node"),
            "label": LabelIndex("colour"),
        }
        async with following(server, indexers=indexers) as informer:
            await informer.caught_up(3)
            informer.add_index("owner", OwnerIndex())
            informer.add_index("all owners", OwnerIndex(controller_only=False))
            for name, prefix in (("model", ""), ("field", ""), ("label", ""), ("owner", "owner-")):
                assert [o.key for o in informer.by_index(name, prefix + "red")] == ["default/b"], name
                assert [o.key for o in informer.by_index(name, prefix + "blue")] == ["default/a"], name
                assert list(informer.by_index(name, "none")) == []
            assert set(informer.index_keys("all owners", "plain")) == {"default/a", "default/b"}


async def test_one_subscriber_that_fails_does_not_keep_the_news_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with scripted_api() as server:
        server.scripts = [Script([frame("ADDED", config_map("a", 2)), frame("ADDED", config_map("b", 3))], "hang")]
        heard: list[str] = []

        def fail(change: Change[ConfigMap]) -> None:
            raise RuntimeError(change.key)

        async with Client(server.config) as api:
            informer = Informer(api, ConfigMap)
            informer.subscribe(fail)
            informer.subscribe(lambda change: heard.append(change.key))
            task = asyncio.create_task(informer.run())
            await informer.caught_up(3)
            task.cancel()
            await asyncio.wait({task})
        assert heard == ["default/a", "default/b"]
        assert "a subscriber failed" in caplog.text


async def test_waiting_for_a_write_ends_when_the_cache_has_it_and_says_so_when_it_never_does() -> None:
    async with scripted_api() as server:
        server.scripts = [Script([frame("ADDED", config_map("a", 7, x="1"))], "hang")]
        async with following(server) as informer:
            found = await informer.wait_for("default/a", "7")
            assert found is not None
            assert found.data == {"x": "1"}
            assert await informer.wait_for("default/other", "6") is None
            with pytest.raises(Timeout, match="not yet at 8"):
                await informer.wait_for("default/a", "8", timeout_s=0.02)


async def test_an_object_that_cannot_be_decoded_hides_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_api() as server:
        server.objects = [config_map("good", 1), {**config_map("bad", 1), "data": "not a mapping"}]
        async with following(server) as informer:
            assert [obj.key for obj in informer.list()] == ["default/good"]
            with pytest.raises(ValueError, match="ConfigMap data"):
                informer.get("default/bad")
        assert "default/bad" in [getattr(record, "key", "") for record in caplog.records]


async def test_a_metadata_only_informer_asks_the_server_to_send_nothing_else() -> None:
    async with scripted_api() as server, Client(server.config) as api:
        server.objects = [config_map("a", 1)]
        informer: Informer[PartialObject] = Informer(api, metadata_only(ConfigMap.RESOURCE))
        task = asyncio.create_task(informer.run())
        await informer.synced()
        await server.watching.wait()
        task.cancel()
        await asyncio.wait({task})
        accepts = [request.headers["Accept"] for request in server.requests]
        assert "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1" in accepts[0]
        assert "as=PartialObjectMetadata;g=meta.k8s.io;v=v1" in accepts[1]
        partial = informer.get("default/a")
        assert partial is not None
        assert partial.metadata.uid == "uid-a"
