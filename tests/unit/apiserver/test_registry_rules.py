"""The registry's decisions as tables: paths, deletion, generated names, continue tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stark.apiserver.errors import BadRequest
from stark.apiserver.registry import deletion, metadata
from stark.apiserver.registry.lists import decode_token, encode_token
from stark.apiserver.registry.options import Deletion
from stark.apiserver.registry.records import REMOVED
from stark.apiserver.registry.strategies import DEFAULT
from stark.apiserver.registry.strategies.core import NamespaceStrategy, PodStrategy
from stark.apiserver.request import Query
from stark.apiserver.routes import parse

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POD = PodStrategy()


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/api/v1/pods", "", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/pods", "watch=1", ("watch", "", "pods", "", "", "")),
        ("GET", "/api/v1/pods", "watch=false", ("list", "", "pods", "", "", "")),
        ("GET", "/api/v1/namespaces/a/pods/b", "", ("get", "", "pods", "a", "b", "")),
        ("GET", "/api/v1/namespaces/a/pods/b/log", "", ("get", "", "pods", "a", "b", "log")),
        ("POST", "/api/v1/namespaces/a/pods/b/binding", "", ("create", "", "pods", "a", "b", "binding")),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            "",
            ("deletecollection", "apps", "deployments", "a", "", ""),
        ),
        ("GET", "/api/v1/namespaces", "", ("list", "", "namespaces", "", "", "")),
        ("GET", "/api/v1/namespaces/a", "", ("get", "", "namespaces", "a", "a", "")),
        ("PUT", "/api/v1/namespaces/a/status", "", ("update", "", "namespaces", "a", "a", "status")),
        ("PUT", "/api/v1/namespaces/a/finalize", "", ("update", "", "namespaces", "a", "a", "finalize")),
        ("PATCH", "/apis/stark.dev/v1/packs/p", "", ("patch", "stark.dev", "packs", "", "p", "")),
        ("GET", "/apis/apps/v1", "", ("get", "", "", "", "", "")),
        ("GET", "/", "", ("get", "", "", "", "", "")),
    ],
)
def test_a_path_says_what_is_asked(method: str, path: str, query: str, expected: tuple[str, ...]) -> None:
    asked = parse(method, path, Query(query))
    assert (asked.verb, asked.group, asked.plural, asked.namespace, asked.name, asked.subresource) == expected


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_path_is_read(path: str, query: str) -> None:
    parse("GET", "/" + path, Query(query))


def obj(**meta: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "generation": 3, **meta}, "spec": {}}


def bound_pod(**meta: Any) -> dict[str, Any]:
    return {**obj(**meta), "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 20}}


def test_an_object_that_nobody_holds_goes_at_once() -> None:
    assert deletion.plan(obj(), DEFAULT, Deletion(), NOW) is REMOVED
    assert deletion.plan(obj(), POD, Deletion(), NOW) is REMOVED


@pytest.mark.parametrize(
    ("wanted_s", "expected_s"),
    [pytest.param(None, 20, id="what the pod says"), pytest.param(5, 5, id="what the client says")],
)
def test_a_bound_pod_gets_its_grace(wanted_s: int | None, expected_s: int) -> None:
    going = deletion.plan(bound_pod(), POD, Deletion(grace_period_s=wanted_s), NOW)
    assert isinstance(going, dict)
    assert going["metadata"]["deletionGracePeriodSeconds"] == expected_s
    assert going["metadata"]["deletionTimestamp"] == f"2026-01-02T03:04:{5 + expected_s:02}Z"
    assert going["metadata"]["generation"] == 4


def test_a_second_deletion_can_only_hurry() -> None:
    going = bound_pod(deletionTimestamp="2026-01-02T03:04:25Z", deletionGracePeriodSeconds=20)
    later = deletion.plan(going, POD, Deletion(grace_period_s=60), NOW)
    assert isinstance(later, dict)
    assert later["metadata"]["deletionGracePeriodSeconds"] == 20
    sooner = deletion.plan(later, POD, Deletion(grace_period_s=10), NOW)
    assert isinstance(sooner, dict)
    assert sooner["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:15Z"
    assert deletion.plan(sooner, POD, Deletion(grace_period_s=0), NOW) is REMOVED


def test_finalizers_outlast_grace() -> None:
    held = bound_pod(finalizers=["example.com/x"])
    going = deletion.plan(held, POD, Deletion(grace_period_s=0), NOW)
    assert isinstance(going, dict)
    assert not deletion.is_over(going, POD)
    going["metadata"]["finalizers"] = []
    assert deletion.is_over(going, POD)


def test_a_namespace_is_held_by_its_spec() -> None:
    namespace = {**obj(), "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    going = deletion.plan(namespace, NamespaceStrategy(), Deletion(), NOW)
    assert isinstance(going, dict)
    assert going["status"]["phase"] == "Terminating"
    assert not deletion.is_over(going, NamespaceStrategy())
    going["spec"] = {}
    assert deletion.is_over(going, NamespaceStrategy())


@given(st.text("abcdefghij-", max_size=80))
def test_a_generated_name_begins_as_asked_and_is_never_too_long(base: str) -> None:
    name = metadata.generate_name(base)
    assert len(name) <= 63
    assert name[:-5] == base[:58]


@given(st.integers(-1, 2**60), st.text(max_size=50))
def test_a_token_comes_back_as_it_was(revision: int, start: str) -> None:
    assert decode_token(encode_token(revision, start)) == (revision, start)


@given(st.text(max_size=50))
def test_any_other_token_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_token(text)
