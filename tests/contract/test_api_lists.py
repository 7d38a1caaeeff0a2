"""Lists and watches over the wire: what a client may rely on, page after page and event after event."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.cache.resource_cache import Prefix
from stark.apiserver.settings import Settings
from stark.apiserver.stores import open_store
from tests.support.apiserver import Api, api_server, config_map, pod

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


async def make(api: Api, *names: str, labels: dict[str, str] | None = None) -> list[dict[str, Any]]:
    return [(await api.post(MAPS, config_map(name, labels))).ok(201) for name in names]


def names_of(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_a_list_says_what_it_is_and_at_which_version(api: Api) -> None:
    made = await make(api, "b", "a")
    listed = (await api.get(MAPS)).ok()
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert int(listed["metadata"]["resourceVersion"]) >= int(made[-1]["metadata"]["resourceVersion"])
    assert names_of(listed) == ["a", "b"]


async def test_an_empty_list_has_no_items_and_not_none(api: Api) -> None:
    assert (await api.get("/api/v1/namespaces/nowhere/configmaps")).ok()["items"] == []


async def test_pages_are_one_snapshot(api: Api) -> None:
    await make(api, *(f"m{number}" for number in range(7)))
    first = (await api.get(f"{MAPS}?limit=3")).ok()
    assert (names_of(first), first["metadata"]["remainingItemCount"]) == (["m0", "m1", "m2"], 4)
    (await api.delete(f"{MAPS}/m4")).ok()
    await make(api, "m35", "m9")
    second = (await api.get(f"{MAPS}?limit=3&continue={first['metadata']['continue']}")).ok()
    assert names_of(second) == ["m3", "m4", "m5"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = (await api.get(f"{MAPS}?limit=3&continue={second['metadata']['continue']}")).ok()
    assert names_of(third) == ["m6"]
    assert "continue" not in third["metadata"]


async def test_pages_go_through_selectors(api: Api) -> None:
    for number in range(9):
        await make(api, f"m{number}", labels={"even": str(number % 2 == 0).lower()})
    found: list[str] = []
    token = ""
    while True:
        page = (await api.get(f"{MAPS}?limit=2&labelSelector=even%3Dtrue&continue={token}")).ok()
        found += names_of(page)
        assert "remainingItemCount" not in page["metadata"]
        token = page["metadata"].get("continue", "")
        await make(api, f"x{len(found)}", labels={"even": "true"})
        if not token:
            break
    assert found == ["m0", "m2", "m4", "m6", "m8"]


async def test_a_token_whose_snapshot_is_gone_comes_with_another_way_on(api: Api) -> None:
    await make(api, *(f"m{number}" for number in range(4)))
    first = (await api.get(f"{MAPS}?limit=2")).ok()
    await make(api, "m9")
    await api.store.compact(await api.store.revision())
    expired = await api.get(f"{MAPS}?limit=2&continue={first['metadata']['continue']}")
    assert "too old to display a consistent list" in expired.refused(410, "Expired")
    rest = (await api.get(f"{MAPS}?continue={expired.body['metadata']['continue']}")).ok()
    assert names_of(rest) == ["m2", "m3", "m9"]


async def test_a_token_that_was_tampered_with_reaches_nothing_else(api: Api) -> None:
    (await api.get(f"{MAPS}?limit=1&continue=%%%")).refused(400, "BadRequest")
    forged = json.dumps({"v": "meta.k8s.io/v1", "rv": -1, "start": "../secrets/"}).encode()
    token = base64.urlsafe_b64encode(forged).decode().rstrip("=")
    listed = (await api.get(f"{MAPS}?limit=5&continue={token}")).ok()
    assert {item["kind"] for item in listed["items"]} <= {"ConfigMap"}


async def test_an_exact_version_shows_the_past(api: Api) -> None:
    made = await make(api, "a")
    version = made[0]["metadata"]["resourceVersion"]
    await make(api, "b")
    past = (await api.get(f"{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).ok()
    assert (names_of(past), past["metadata"]["resourceVersion"]) == (["a"], version)
    newer = (await api.get(f"{MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).ok()
    assert names_of(newer) == ["a", "b"]
    await api.store.compact(await api.store.revision())
    (await api.get(f"{MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).refused(410, "Expired")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422),
        ("resourceVersion=x", 400),
        ("resourceVersion=5&resourceVersionMatch=Maybe", 422),
        ("limit=-1", 400),
        ("labelSelector=a%3D%3D%3Db", 400),
        ("fieldSelector=spec.unknown%3Dx", 400),
        ("sendInitialEvents=true", 422),
        ("watch=1&sendInitialEvents=true", 422),
    ],
)
async def test_options_that_make_no_sense_are_refused(api: Api, query: str, code: int) -> None:
    assert (await api.get(f"{MAPS}?{query}")).status == code


async def test_a_version_that_has_not_happened_is_waited_for_and_then_refused(api: Api) -> None:
    far = int((await api.get(MAPS)).ok()["metadata"]["resourceVersion"]) + 2
    waiting = asyncio.create_task(api.get(f"{MAPS}?resourceVersion={far}"))
    await asyncio.sleep(0.05)
    await make(api, "a", "b")
    assert names_of((await waiting).ok()) == ["a", "b"]


async def test_selectors_select(api: Api) -> None:
    await make(api, "a", labels={"app": "x", "tier": "web"})
    await make(api, "b", labels={"app": "y"})
    await make(api, "c")
    for selector, found in {
        "app%3Dx": ["a"],
        "app": ["a", "b"],
        "!app": ["c"],
        "app in (x,y),tier!%3Dweb": ["b"],
        "app notin (x)": ["b", "c"],
    }.items():
        assert names_of((await api.get(f"{MAPS}?labelSelector={selector}")).ok()) == found, selector
    assert names_of((await api.get(f"{MAPS}?fieldSelector=metadata.name%3Db")).ok()) == ["b"]
    assert names_of((await api.get(f"{MAPS}?fieldSelector=metadata.name!%3Db")).ok()) == ["a", "c"]
    everywhere = (await api.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Ddefault")).ok()
    assert names_of(everywhere) == ["a", "b", "c"]


async def test_pods_are_found_by_node(api: Api) -> None:
    for name in ("a", "b"):
        (await api.post(PODS, pod(name))).ok(201)
    (await api.post(f"{PODS}/a/binding", {"target": {"name": "n1"}, "metadata": {"name": "a"}})).ok(201)
    assert names_of((await api.get("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1")).ok()) == ["a"]
    assert names_of((await api.get("/api/v1/pods?fieldSelector=spec.nodeName%3D")).ok()) == ["b"]


async def test_a_read_sees_every_write_that_was_answered_before(api: Api) -> None:
    for number in range(20):
        name = f"m{number}"
        (await api.post(MAPS, config_map(name))).ok(201)
        assert name in names_of((await api.get(MAPS)).ok())
        (await api.get(f"{MAPS}/{name}")).ok()


async def test_a_watch_begins_with_what_is_there(api: Api) -> None:
    await make(api, "a", "b")
    async with api.watch(MAPS) as watch:
        assert await watch.names(2) == [("ADDED", "a"), ("ADDED", "b")]
        await make(api, "c")
        (await api.patch(f"{MAPS}/c", {"data": {"k": "v"}})).ok()
        (await api.delete(f"{MAPS}/a")).ok()
        assert await watch.names(3) == [("ADDED", "c"), ("MODIFIED", "c"), ("DELETED", "a")]


async def test_a_watch_from_a_version_has_everything_after_it_once(api: Api) -> None:
    made = await make(api, "a", "b", "c")
    version = made[0]["metadata"]["resourceVersion"]
    async with api.watch(f"{MAPS}?resourceVersion={version}") as watch:
        assert await watch.names(2) == [("ADDED", "b"), ("ADDED", "c")]
        await make(api, "d")
        assert await watch.names(1) == [("ADDED", "d")]


async def test_a_deleted_frame_has_the_last_state_and_the_version_of_the_deletion(api: Api) -> None:
    made = (await api.post(MAPS, config_map("a", k="v"))).ok(201)
    async with api.watch(MAPS) as watch:
        await watch.next()
        (await api.delete(f"{MAPS}/a")).ok()
        kind, obj = await watch.next()
        assert (kind, obj["data"]) == ("DELETED", {"k": "v"})
        assert int(obj["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])


async def test_a_selector_makes_changes_into_arrivals_and_departures(api: Api) -> None:
    async with api.watch(f"{MAPS}?labelSelector=color%3Dred") as watch:
        await make(api, "a", labels={"color": "blue"})
        (await api.patch(f"{MAPS}/a", {"metadata": {"labels": {"color": "red"}}})).ok()
        (await api.patch(f"{MAPS}/a", {"data": {"k": "v"}})).ok()
        (await api.patch(f"{MAPS}/a", {"metadata": {"labels": {"color": "green"}}})).ok()
        (await api.delete(f"{MAPS}/a")).ok()
        await make(api, "b", labels={"color": "red"})
        frames = [await watch.next() for _ in range(4)]
        assert [kind for kind, _ in frames] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
        assert frames[2][1]["metadata"]["labels"] == {"color": "red"}


async def test_an_agent_sees_the_pods_of_its_node(api: Api) -> None:
    async with api.watch("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1") as watch:
        (await api.post(PODS, pod("a"))).ok(201)
        (await api.post(PODS, pod("b"))).ok(201)
        (await api.post(f"{PODS}/b/binding", {"target": {"name": "n1"}, "metadata": {"name": "b"}})).ok(201)
        assert await watch.names(1) == [("ADDED", "b")]


async def test_a_watch_ends_after_its_time_with_a_bookmark(api: Api) -> None:
    await make(api, "a")
    async with api.watch(f"{MAPS}?timeoutSeconds=1&allowWatchBookmarks=true") as watch:
        assert await watch.names(1) == [("ADDED", "a")]
        kind, obj = await watch.next()
        assert (kind, obj["kind"], obj["apiVersion"]) == ("BOOKMARK", "ConfigMap", "v1")
        version = obj["metadata"]["resourceVersion"]
        with pytest.raises(EOFError):
            await watch.next()
    await make(api, "b")
    async with api.watch(f"{MAPS}?resourceVersion={version}") as watch:
        assert await watch.names(1) == [("ADDED", "b")]


async def test_initial_events_end_with_a_bookmark_that_says_so(api: Api) -> None:
    await make(api, "a", "b")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with api.watch(f"{MAPS}?{query}") as watch:
        assert await watch.names(2) == [("ADDED", "a"), ("ADDED", "b")]
        kind, obj = await watch.next()
        assert kind == "BOOKMARK"
        assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await make(api, "c")
        assert await watch.names(1) == [("ADDED", "c")]


async def test_a_watch_of_one_object_sees_only_that(api: Api) -> None:
    await make(api, "a", "b")
    async with api.watch(f"{MAPS}?fieldSelector=metadata.name%3Da&resourceVersion=0") as watch:
        assert await watch.names(1) == [("ADDED", "a")]
        (await api.patch(f"{MAPS}/b", {"data": {"k": "v"}})).ok()
        (await api.patch(f"{MAPS}/a", {"data": {"k": "v"}})).ok()
        assert await watch.names(1) == [("MODIFIED", "a")]


async def test_a_watch_from_a_forgotten_version_gets_an_error_frame(tmp_path: Path) -> None:
    store = await open_store(Settings(tmp_path, store="memory"))
    async with api_server(tmp_path, opened=store) as api:
        made = await make(api, "a", "b")
    async with api_server(tmp_path, opened=store) as api:
        version = made[0]["metadata"]["resourceVersion"]
        async with api.watch(f"{MAPS}?resourceVersion={version}") as watch:
            kind, status = await watch.next()
            assert (kind, status["kind"], status["code"], status["reason"]) == ("ERROR", "Status", 410, "Expired")
            assert status["message"].startswith(f"too old resource version: {version} (")
            with pytest.raises(EOFError):
                await watch.next()
    await store.close()


async def test_tables_are_listed_and_watched(api: Api) -> None:
    await make(api, "a")
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
    table = (await api.get(MAPS, headers=accept)).ok()
    assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "a")
    async with api.session.get(f"{api.running.url}{MAPS}?watch=1", headers=accept) as response:
        frame = json.loads(await response.content.readline())
    assert (frame["type"], frame["object"]["kind"]) == ("ADDED", "Table")
    assert frame["object"]["rows"][0]["cells"][0] == "a"
    assert frame["object"]["columnDefinitions"]


async def test_metadata_alone_is_listed_and_watched(api: Api) -> None:
    await make(api, "a")
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    listed = (await api.get(MAPS, headers=accept)).ok()
    assert listed["kind"] == "PartialObjectMetadataList"
    assert "data" not in listed["items"][0]
    one = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    assert (await api.get(f"{MAPS}/a", headers=one)).ok()["kind"] == "PartialObjectMetadata"


async def test_many_watchers_get_the_same(api: Api) -> None:
    async def follow(count: int) -> list[tuple[str, str]]:
        async with api.watch(f"{MAPS}?resourceVersion=0") as watch:
            return await watch.names(count)

    followers = [asyncio.create_task(follow(30)) for _ in range(20)]
    await asyncio.gather(*(api.post(MAPS, config_map(f"m{number}")) for number in range(30)))
    seen = await asyncio.gather(*followers)
    assert all(sorted(names) == sorted(seen[0]) and len(set(names)) == 30 for names in seen)


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io", "application/yaml"]
)
async def test_large_lists_are_compressed_for_those_who_take_it_and_say_the_same(api: Api, accept: str) -> None:
    for number in range(300):
        (await api.post(MAPS, config_map(f"m{number:03}", k="x" * 1_000))).ok(201)
    headers = {"Accept": accept, "Accept-Encoding": "identity"}
    for step in range(3):
        async with api.session.get(api.running.url + MAPS, headers=headers) as plain:
            assert "Content-Encoding" not in plain.headers
            expected = await plain.read()
        async with api.session.get(api.running.url + MAPS, headers={**headers, "Accept-Encoding": "gzip"}) as packed:
            if len(expected) < 128 * 1024:
                assert "Content-Encoding" not in packed.headers
                continue
            assert (packed.headers["Content-Encoding"], packed.headers["Vary"]) == ("gzip", "Accept-Encoding")
            assert int(packed.headers["Content-Length"]) < len(expected) / 4
            assert ageless(await packed.read()) == ageless(expected)
            if accept == "application/json":
                cache = api.running.feed.cache(Prefix("core", "configmaps"))
                assert cache is not None
                # What was compressed is kept: the next list finds it there.
                assert all(len(segment._forms) == 2 for segment in cache.snapshot("default").segments)
        if step == 0:
            (await api.delete(f"{MAPS}/m100")).ok()
            (await api.post(MAPS, config_map("m1005", k="y" * 1_000))).ok(201)
            (await api.patch(f"{MAPS}/m200", {"data": {"k": "z" * 1_000}})).ok()


def ageless(table: bytes) -> bytes:
    """A table is rendered anew each second: ages differ by nothing but the time between two questions."""
    return re.sub(rb'"\d+s"', b'"age"', table)


async def test_watches_and_small_answers_are_not_compressed(api: Api) -> None:
    (await api.post(MAPS, config_map("a"))).ok(201)
    for path in (f"{MAPS}?watch=1&timeoutSeconds=1", f"{MAPS}/a"):
        async with api.session.get(api.running.url + path, headers={"Accept-Encoding": "gzip"}) as answer:
            assert "Content-Encoding" not in answer.headers
