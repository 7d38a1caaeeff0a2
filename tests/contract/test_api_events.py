"""Events in the words of core/v1 and of events.k8s.io/v1: one object, two names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.registry.strategies.events import EVENT_TTL_S
from stark.apiserver.store.memory import MemoryStore
from tests.support.apiserver import STRATEGIC_PATCH, Api, api_server

CORE = "/api/v1/namespaces/default/events"
GROUPED = "/apis/events.k8s.io/v1/namespaces/default/events"
AT = "2026-01-02T03:04:05.678901Z"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as api:
        yield api


def core(name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web"},
        "reason": "Pulled",
        "message": "got it",
        "type": "Normal",
        "source": {"component": "agent", "host": "n1"},
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:06Z",
        "count": 2,
        **more,
    }


def grouped(name: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name},
        "eventTime": AT,
        "reportingController": "example.org/thing",
        "reportingInstance": "thing-1",
        "action": "Scheduling",
        "reason": "Scheduled",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "web"},
        "note": "placed",
        "type": "Normal",
        **more,
    }


async def test_an_event_of_core_is_read_in_the_words_of_the_group(api: Api) -> None:
    made = (await api.post(CORE, core("a"))).ok(201)
    seen = (await api.get(f"{GROUPED}/a")).ok()
    assert seen["metadata"] == made["metadata"]
    assert (seen["apiVersion"], seen["regarding"]["name"], seen["note"]) == ("events.k8s.io/v1", "web", "got it")
    assert seen["deprecatedSource"] == {"component": "agent", "host": "n1"}
    assert (seen["deprecatedCount"], seen["deprecatedLastTimestamp"]) == (2, "2026-01-02T03:04:06Z")
    assert seen["eventTime"] is None
    assert "involvedObject" not in seen
    assert "message" not in seen


async def test_an_event_of_the_group_is_read_in_the_words_of_core(api: Api) -> None:
    made = (await api.post(GROUPED, grouped("a"))).ok(201)
    assert (made["apiVersion"], made["note"], made["eventTime"]) == ("events.k8s.io/v1", "placed", AT)
    seen = (await api.get(f"{CORE}/a")).ok()
    assert (seen["apiVersion"], seen["message"], seen["involvedObject"]["name"]) == ("v1", "placed", "web")
    assert (seen["reportingComponent"], seen["reportingInstance"]) == ("example.org/thing", "thing-1")
    assert (await api.post(CORE, core("a"))).status == 409


async def test_lists_watches_and_tables_are_those_of_the_same_objects(api: Api) -> None:
    (await api.post(CORE, core("a"))).ok(201)
    async with api.watch(GROUPED) as watch:
        assert (await watch.next())[1]["note"] == "got it"
        (await api.post(GROUPED, grouped("b"))).ok(201)
        assert (await watch.next())[1]["regarding"]["name"] == "web"
        (await api.delete(f"{CORE}/a")).ok()
        kind, gone = await watch.next()
        assert (kind, gone["note"]) == ("DELETED", "got it")
    listed = (await api.get("/apis/events.k8s.io/v1/events")).ok()
    assert (listed["kind"], [each["note"] for each in listed["items"]]) == ("EventList", ["placed"])
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    ours, theirs = [(await api.get(path, headers=accept)).ok() for path in (CORE, GROUPED)]
    assert ours["columnDefinitions"] == theirs["columnDefinitions"]
    assert [row["cells"][1:] for row in ours["rows"]] == [row["cells"][1:] for row in theirs["rows"]]
    whole = (await api.get(f"{GROUPED}?includeObject=Object", headers=accept)).ok()
    assert whole["rows"][0]["object"]["regarding"]["name"] == "web"


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("regarding.name=web,regarding.kind=Pod", ["a", "b"]),
        ("reportingController=example.org/thing", ["b"]),
        ("reason!=Pulled", ["b"]),
        ("type=Warning", []),
    ],
)
async def test_selectors_speak_the_words_of_the_group(api: Api, selector: str, found: list[str]) -> None:
    for path, body in ((CORE, core("a")), (GROUPED, grouped("b"))):
        (await api.post(path, body)).ok(201)
    listed = (await api.get(f"{GROUPED}?fieldSelector={selector}")).ok()
    assert [each["metadata"]["name"] for each in listed["items"]] == found


async def test_a_selector_in_no_groups_words_is_refused(api: Api) -> None:
    text = (await api.get(f"{GROUPED}?fieldSelector=note=x")).refused(400, "BadRequest")
    assert text == "field label not supported: note"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"eventTime": None}, "eventTime: Required value"),
        ({"reportingController": ""}, "reportingController: Required value"),
        ({"reportingController": "a b"}, 'reportingController: Invalid value: "a b"'),
        ({"reportingInstance": "x" * 129}, "reportingInstance: Invalid value"),
        ({"action": None}, "action: Required value"),
        ({"reason": ""}, "reason: Required value"),
        ({"note": "x" * 1_025}, "can have at most 1024 characters"),
        ({"type": "Odd"}, "type: Invalid value"),
        ({"deprecatedCount": 3}, "count: Invalid value"),
        ({"deprecatedSource": {"component": "x"}}, "needs to be unset"),
        ({"series": {"count": 1, "lastObservedTime": AT}}, "should be at least 2"),
        ({"series": {"count": 2}}, "series.lastObservedTime: Required value"),
        ({"regarding": {"kind": "Node", "name": "n1", "namespace": ""}}, "does not match event.namespace"),
    ],
)
async def test_who_reports_through_the_group_says_all(api: Api, changes: dict[str, Any], complaint: str) -> None:
    namespace = "kube-public" if "regarding" in changes else "default"
    path = GROUPED.replace("/default/", f"/{namespace}/")
    assert complaint in (await api.post(path, grouped("a", **changes))).refused(422, "Invalid")


async def test_an_event_about_another_namespace_is_refused_in_either_group(api: Api) -> None:
    elsewhere = {"kind": "Pod", "namespace": "kube-system", "name": "web"}
    refused = await api.post(CORE, core("a", involvedObject=elsewhere))
    assert "involvedObject.namespace" in refused.refused(422, "Invalid")


async def test_a_reporter_counts_up_a_series_and_changes_nothing_else(api: Api) -> None:
    (await api.post(GROUPED, grouped("a"))).ok(201)
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:00.000000Z"}}
    patched = (await api.patch(f"{GROUPED}/a", series, STRATEGIC_PATCH)).ok()
    assert patched["series"]["count"] == 2
    assert (await api.get(f"{CORE}/a")).ok()["series"] == patched["series"]
    refused = (await api.patch(f"{GROUPED}/a", {"note": "else"})).refused(422, "Invalid")
    assert "message: Invalid value" in refused
    assert "field is immutable" in refused
    again = (await api.put(f"{GROUPED}/a", {**patched, "eventTime": "2026-01-02T03:04:05.6789010Z"})).ok()
    assert again["metadata"]["uid"] == patched["metadata"]["uid"]


async def test_an_event_is_counted_up_through_core_as_older_reporters_do(api: Api) -> None:
    (await api.post(CORE, core("Web.1234"))).ok(201)
    counted = {"count": 3, "lastTimestamp": "2026-01-02T03:09:00Z", "message": "again"}
    (await api.patch(f"{CORE}/Web.1234", counted, STRATEGIC_PATCH)).ok()
    seen = (await api.get(f"{GROUPED}/Web.1234")).ok()
    assert (seen["deprecatedCount"], seen["note"]) == (3, "again")
    labelled = (await api.patch(f"{GROUPED}/Web.1234", {"metadata": {"labels": {"a": "b"}}})).ok()
    assert labelled["metadata"]["labels"] == {"a": "b"}


async def test_an_event_goes_with_whichever_group_it_is_deleted_through(api: Api) -> None:
    for name in "abc":
        (await api.post(CORE, core(name))).ok(201)
    assert (await api.delete(f"{GROUPED}/a")).ok()["status"] == "Success"
    assert (await api.delete(f"{GROUPED}?fieldSelector=regarding.name=web")).ok()["kind"] == "EventList"
    assert (await api.get(CORE)).ok()["items"] == []


async def test_both_groups_are_discovered_and_described(api: Api) -> None:
    named = (await api.get("/apis/events.k8s.io/v1")).ok()["resources"]
    assert [(each["name"], each["kind"], each["shortNames"]) for each in named] == [("events", "Event", ["ev"])]
    schemas = (await api.get("/openapi/v3/apis/events.k8s.io/v1")).ok()["components"]["schemas"]
    event = next(value for name, value in schemas.items() if name.endswith(".Event"))
    assert {"regarding", "note", "deprecatedCount", "eventTime"} <= event["properties"].keys()


async def test_events_are_given_up_after_an_hour_through_either_group(tmp_path: Path) -> None:
    store = MemoryStore()
    async with api_server(tmp_path, opened=store) as api:
        for path, body in ((CORE, core("a")), (GROUPED, grouped("b"))):
            (await api.post(path, body)).ok(201)
        kept = [await store.get(f"/registry/core/events/default/{name}".encode()) for name in "ab"]
        leases = {item.lease for item, _ in kept if item is not None}
        assert len(leases) == 1
        assert EVENT_TTL_S == 3_600
        await store.revoke(leases.pop())
        assert (await api.get(CORE)).ok()["items"] == []
        assert (await api.get(GROUPED)).ok()["items"] == []
