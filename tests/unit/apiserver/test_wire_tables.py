"""Rows, cells and bare metadata."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stark.apiserver.errors import BadRequest
from stark.apiserver.kinds import resources_of
from stark.apiserver.resources import Resource
from stark.apiserver.wire.jsonpath import JsonPathError, compile_path
from stark.apiserver.wire.tables import cell, partial_metadata, partial_metadata_list, table, watch_metadata
from stark.crds.resource import Column
from tests.support.wire_samples import CRONTAB, POD

NOW = datetime(2026, 1, 2, tzinfo=UTC)
CRON: dict[str, Any] = {
    "apiVersion": "stable.example.com/v1",
    "kind": "CronTab",
    "metadata": {"name": "nightly", "creationTimestamp": "2026-01-01T21:00:00Z", "resourceVersion": "7"},
    "spec": {"cronSpec": "0 3 * * *", "replicas": 2},
}


@pytest.fixture
def crontab() -> Resource:
    return resources_of(CRONTAB)[1]


def test_a_custom_kind_has_its_name_and_the_columns_of_its_definition(crontab: Resource) -> None:
    found = table(crontab, [CRON], now=NOW, list_meta={"resourceVersion": "9"})
    assert (found["kind"], found["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert found["metadata"] == {"resourceVersion": "9"}
    assert [column["name"] for column in found["columnDefinitions"]] == ["Name", "Spec", "Replicas", "Age"]
    assert found["columnDefinitions"][2]["priority"] == 1
    assert found["rows"][0]["cells"] == ["nightly", "0 3 * * *", 2, "3h"]
    assert found["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": CRON["metadata"],
    }


def test_a_cell_without_a_value_or_of_another_type_is_empty(crontab: Resource) -> None:
    cells = table(crontab, [{"metadata": {"name": "x"}, "spec": {"replicas": "two", "cronSpec": {"a": 1}}}], now=NOW)
    assert cells["rows"][0]["cells"] == ["x", '{"a":1}', None, None]


def test_kubernetes_kinds_have_computed_cells() -> None:
    (pod,) = resources_of(POD, custom=False)
    obj = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Pending"}}
    found = table(pod, [obj], now=NOW)
    names = [column["name"] for column in found["columnDefinitions"]]
    assert names[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert found["rows"][0]["cells"][:3] == ["web", "0/1", "Pending"]


def test_the_object_of_a_row_is_what_the_client_asked_for(crontab: Resource) -> None:
    def held(include: str) -> Any:
        return table(crontab, [CRON], now=NOW, include_object=include)["rows"][0]["object"]

    assert held("Object") == CRON
    assert held("None") is None
    assert held("")["kind"] == "PartialObjectMetadata"
    with pytest.raises(BadRequest, match="includeObject"):
        held("Everything")


def test_only_the_first_event_of_a_watch_has_the_columns(crontab: Resource) -> None:
    later = table(crontab, [CRON], now=NOW, header=False, list_meta=watch_metadata(CRON), version="v1beta1")
    assert later["columnDefinitions"] == []
    assert later["metadata"] == {"resourceVersion": "7"}
    assert later["apiVersion"] == later["rows"][0]["object"]["apiVersion"] == "meta.k8s.io/v1beta1"
    assert len(later["rows"]) == 1


def test_metadata_alone() -> None:
    assert partial_metadata(CRON)["metadata"] == CRON["metadata"]
    assert partial_metadata_list([CRON], {"resourceVersion": "9"}) == {
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "9"},
        "items": [partial_metadata(CRON)],
    }


DOCUMENT: dict[str, Any] = {
    "metadata": {"annotations": {"example.com/a b": "x", "foo.bar/baz": "y"}},
    "status": {
        "conditions": [
            {"type": "Progressing", "status": "False", "n": 1},
            {"type": "Ready", "status": "True", "n": 2, "quoted": "it's"},
        ]
    },
    "list": [1, 2, 3],
}

PATHS = [
    (".list[0]", [1]),
    (".list[-1]", [3]),
    (".list[7]", []),
    (".list[*]", [1, 2, 3]),
    (".list[1:]", [2, 3]),
    (".list[:2]", [1, 2]),
    ("{.list[0]}", [1]),
    ("$.list[0]", [1]),
    ("list[0]", [1]),
    (r".metadata.annotations.foo\.bar/baz", ["y"]),
    (".metadata.annotations['example.com/a b']", ["x"]),
    ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
    (".status.conditions[?(@.type=='Ready')].status", ["True"]),
    (".status.conditions[?( @.type != 'Ready' )].status", ["False"]),
    (".status.conditions[?(@.n>1)].type", ["Ready"]),
    (".status.conditions[?(@.n<=2)].type", ["Progressing", "Ready"]),
    (".status.conditions[?(@.quoted)].type", ["Ready"]),
    (r".status.conditions[?(@.quoted=='it\'s')].type", ["Ready"]),
    (".status.conditions[?(@.n=='1')].type", []),
    (".status.conditions[*].type", ["Progressing", "Ready"]),
    (".status.nothing.below", []),
    (".list.key", []),
    ("", [DOCUMENT]),
]


@pytest.mark.parametrize(("path", "found"), PATHS)
def test_a_json_path_finds_what_it_names(path: str, found: list[Any]) -> None:
    assert compile_path(path).find(DOCUMENT) == found


@pytest.mark.parametrize("path", [".a[", ".a[b]", ".a..b", ".a[?(@.b==c)]", "." * 2000])
def test_what_is_no_path_of_the_subset_is_refused(path: str) -> None:
    with pytest.raises(JsonPathError):
        compile_path(path)


def test_a_column_whose_path_is_broken_stays_empty(crontab: Resource) -> None:
    from stark.apiserver.wire.tables import cell

    assert cell(Column("X", "string", ".a["), CRON, NOW) is None


@pytest.mark.parametrize(
    ("value", "shown"), [(3, 3), (3.7, 3), (1e300, None), (-(2**63), None), (2**63 - 1, 2**63 - 1)]
)
def test_a_number_too_large_for_an_integer_column_is_left_out(value: float, shown: int | None) -> None:
    assert cell(Column("Size", "integer", ".spec.size"), {"spec": {"size": value}}, NOW) == shown
