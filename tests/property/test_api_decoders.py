"""Whatever bytes a client sends, the server answers for the client's mistake and never for one of its own.

Every decoder of the API is fed through the whole server: bodies in JSON, YAML and protobuf, every kind of patch,
selectors, continue tokens, options and paths. What is sent is made from what is right, then spoiled: noise alone is
refused at the first byte. No answer may be a 5xx, and the server must go on serving.
"""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.apiserver import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Answer, Api, api_server, config_map, pod
from tests.support.protobuf_writer import body as protobuf_body

APPLY = "application/apply-patch+yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
YAML = "application/yaml"
PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
WIDGETS = "/apis/fuzz.example.com/v1/namespaces/default/widgets"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
LISTED = (
    "limit",
    "continue",
    "labelSelector",
    "fieldSelector",
    "resourceVersionMatch",
    "timeoutSeconds",
)
WRITTEN = ("dryRun", "fieldValidation", "fieldManager", "force", "pretty", "gracePeriodSeconds", "propagationPolicy")

DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.fuzz.example.com"},
    "spec": {
        "group": "fuzz.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"},
                },
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "n": {"type": "integer", "minimum": 0, "default": 1},
                                    "either": {"x-kubernetes-int-or-string": True},
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "text": {
                                        "type": "string",
                                        "pattern": "^[a-z]*$",
                                        "maxLength": 20,
                                        "nullable": True,
                                    },
                                    "items": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string"},
                                                "at": {"type": "string", "format": "date-time"},
                                            },
                                        },
                                    },
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
WIDGET = {
    "apiVersion": "fuzz.example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "w"},
    "spec": {
        "n": 2,
        "either": "50%",
        "free": {"a": [1, {}]},
        "text": "abc",
        "items": [{"name": "x", "at": "2026-01-01T00:00:00Z"}],
    },
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d", "labels": {"a": "b"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "strategy": {"rollingUpdate": {"maxSurge": "25%"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]},
    },
}

TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "..", "a/b", "\x00", "x" * 300, "-1", "1e400", "0x1", "100Mi", "é", "$(A)", "~1"]),
)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0, -1, 2**31, 2**53 + 1, 2**63]),
)
ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def spoiled_at(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    """The value with something else at a place."""
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = spoiled_at(value[path[0]], path[1:], other)
    return copy


@st.composite
def spoiled(draw: st.DrawFn, *right: Any) -> Any:
    """Something right with up to three places that are not."""
    value = draw(st.sampled_from(right))
    for _ in range(draw(st.integers(1, 3))):
        value = spoiled_at(value, draw(st.sampled_from(places(value))), draw(ODD))
    return value


@st.composite
def cut(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with some of them changed, missing or doubled."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        how = draw(st.integers(0, 3))
        if how == 0 and data:
            data[at] = draw(st.integers(0, 255))
        elif how == 1:
            del data[at : at + draw(st.integers(1, 8))]
        elif how == 2:
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


class Fuzzed:
    """A server in a loop of its own, asked from outside of it: hypothesis calls plain functions."""

    def __init__(self, runner: asyncio.Runner, api: Api) -> None:
        self._runner, self._api = runner, api

    def ask(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Answer:
        """One request; a 5xx is the failure."""
        answer = self._runner.run(self._api.ask(method, path, body, content_type=content_type))
        assert answer.status < 500, (method, path, body, content_type, answer.status, answer.body)
        return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with asyncio.Runner() as runner:
        context = api_server(folder)
        api = runner.run(context.__aenter__())
        fuzzed = Fuzzed(runner, api)
        fuzzed.ask("POST", DEFINITIONS, DEFINITION).ok(201)

        async def served() -> None:
            async with asyncio.timeout(10):
                while (await api.get(WIDGETS)).status != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)

        runner.run(served())
        fuzzed.ask("POST", WIDGETS, WIDGET).ok(201)
        fuzzed.ask("POST", PODS, pod("p")).ok(201)
        fuzzed.ask("POST", MAPS, config_map("m", {"a": "b"}, k="v")).ok(201)
        try:
            yield fuzzed
        finally:
            runner.run(context.__aexit__(None, None, None))


KINDS = {
    "Pod": PODS,
    "ConfigMap": MAPS,
    "Widget": WIDGETS,
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
}
OBJECTS = spoiled(pod("p2"), config_map("m2", {"a": "b"}, k="v"), WIDGET, DEPLOYMENT)


@FUZZ
@given(OBJECTS, st.sampled_from(sorted(KINDS.values())), st.sampled_from(["", "Strict", "Ignore"]))
def test_a_spoiled_object_is_refused_or_stored(server: Fuzzed, obj: Any, path: str, validation: str) -> None:
    server.ask("POST", f"{path}?dryRun=All&fieldValidation={validation}", json.dumps(obj).encode())


@FUZZ
@given(cut(st.sampled_from([json.dumps(o).encode() for o in (pod("p3"), WIDGET, DEPLOYMENT)])))
def test_spoiled_json_is_refused_or_stored(server: Fuzzed, data: bytes) -> None:
    server.ask("POST", f"{PODS}?dryRun=All&fieldValidation=Strict", data)


@FUZZ
@given(
    cut(
        st.sampled_from(
            [b"apiVersion: v1\nkind: Pod\nmetadata: {name: y}\nspec:\n  containers:\n  - {name: c, image: !!str i}\n"]
        )
    )
)
def test_spoiled_yaml_is_refused_or_stored(server: Fuzzed, data: bytes) -> None:
    server.ask("POST", f"{PODS}?dryRun=All", data, YAML)
    server.ask("PATCH", f"{PODS}/p?dryRun=All&fieldManager=f", data, APPLY)


RAW = bytes.fromhex("0a0f0a026d311200")  # metadata with a name
ENVELOPES = st.sampled_from([protobuf_body("v1", kind, RAW) for kind in ("Pod", "ConfigMap", "Namespace", "Nonsense")])


@FUZZ
@given(cut(ENVELOPES) | st.binary(max_size=40).map(lambda raw: protobuf_body("v1", "Pod", raw)))
def test_spoiled_protobuf_is_refused_or_stored(server: Fuzzed, data: bytes) -> None:
    server.ask("POST", f"{PODS}?dryRun=All", data, PROTOBUF)
    server.ask("DELETE", f"{PODS}/none", data, PROTOBUF)


OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "no"]),
        "path": st.sampled_from(
            ["", "/", "/spec", "/spec/containers/0/name", "/metadata/labels", "/metadata", "/a~2", "/spec/-", "x"]
        )
        | TEXT,
        "from": st.sampled_from(["/spec", "/metadata/name", ""]) | TEXT,
        "value": ODD,
    },
)
PATCHES = [
    {"metadata": {"labels": {"x": None}, "finalizers": ["a/b"]}, "spec": {"activeDeadlineSeconds": 5}},
    {"spec": {"containers": [{"name": "main", "$patch": "delete"}], "$setElementOrder/containers": [{"name": "main"}]}},
    {"spec": {"$retainKeys": ["containers"], "tolerations": [{"key": "k", "operator": "Exists"}]}},
    {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/b"], "annotations": {"a": "b"}}},
]


@FUZZ
@given(st.lists(OPERATIONS, max_size=4) | ODD)
def test_a_spoiled_json_patch_is_refused_or_done(server: Fuzzed, patch: Any) -> None:
    for path in (f"{PODS}/p", f"{WIDGETS}/w", f"{WIDGETS}/w/status", f"{WIDGETS}/w/scale"):
        server.ask("PATCH", f"{path}?dryRun=All", json.dumps(patch).encode(), JSON_PATCH)


@FUZZ
@given(spoiled(*PATCHES, pod("p"), WIDGET), st.sampled_from([MERGE_PATCH, STRATEGIC_PATCH, APPLY]))
def test_a_spoiled_merge_is_refused_or_done(server: Fuzzed, patch: Any, content_type: str) -> None:
    for path in (f"{PODS}/p", f"{WIDGETS}/w", f"{PODS}/p/status", f"{WIDGETS}/w/scale"):
        server.ask("PATCH", f"{path}?dryRun=All&fieldManager=fuzz", json.dumps(patch).encode(), content_type)


SELECTORS = st.sampled_from(
    [
        "a=b",
        "a in (b,c)",
        "!a",
        "a notin ()",
        "a==b,c!=d",
        "a>1",
        "metadata.name=x",
        "spec.nodeName!=",
        "status.phase=Running",
    ]
)
FORGED: list[Any] = [
    {"v": 1, "rv": 1, "start": "a"},
    {"rv": -1},
    [],
    {"v": 1, "rv": 2**80, "start": "\x00"},
]
TOKENS = st.sampled_from([base64.urlsafe_b64encode(json.dumps(token).encode()).decode() for token in FORGED])


REVISIONS = st.sampled_from(["", "0", "1", "01", "-1", "x", "1e3", str(2**63), str(2**80), "1 "])
"""None that is yet to come: that is waited for, as it should be."""


@FUZZ
@given(
    st.dictionaries(st.sampled_from(LISTED), SELECTORS | TOKENS | TEXT | NUMBERS.map(str), max_size=3),
    REVISIONS,
)
def test_spoiled_list_options_are_refused_or_obeyed(server: Fuzzed, options: dict[str, str], revision: str) -> None:
    query = "&".join(f"{name}={quote(value)}" for name, value in {**options, "resourceVersion": revision}.items())
    for path in (PODS, WIDGETS, "/api/v1/pods"):
        server.ask("GET", f"{path}?{query}")
    # A watch that is accepted would go on until its time is over.
    server.ask("GET", f"{PODS}?watch=true&timeoutSeconds=x&{query}").refused(400, "BadRequest")


@FUZZ
@given(st.dictionaries(st.sampled_from(WRITTEN), TEXT | NUMBERS.map(str), max_size=3), ODD)
def test_spoiled_write_options_are_refused_or_obeyed(server: Fuzzed, options: dict[str, str], body: Any) -> None:
    query = "&".join(f"{name}={quote(value)}" for name, value in {"dryRun": "All", **options}.items())
    server.ask("PATCH", f"{MAPS}/m?{query}", b'{"data":{"x":"y"}}', MERGE_PATCH)
    server.ask("DELETE", f"{MAPS}/none?{query}", json.dumps(body).encode())
    server.ask("POST", f"{PODS}/none/eviction?{query}", json.dumps(body).encode())


@FUZZ
@given(spoiled(DEFINITION))
def test_a_spoiled_definition_is_refused_or_stored(server: Fuzzed, definition: Any) -> None:
    server.ask("POST", f"{DEFINITIONS}?dryRun=All", json.dumps(definition).encode())


@FUZZ
@given(
    st.lists(TEXT, min_size=1, max_size=7), st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]), TEXT
)
def test_a_spoiled_path_or_header_is_refused(server: Fuzzed, steps: list[str], method: str, media_type: str) -> None:
    path = "/" + "/".join(quote(step, safe="") for step in steps)
    plain = "".join(sign for sign in media_type if " " <= sign <= "~")
    for root in ("/api/v1", "/apis", "", "/openapi", "/apis/fuzz.example.com/v1"):
        server.ask(method, root + path, b"{}" if method != "GET" else None, plain or "a/b")


AMPLIFYING = {
    "nested lists": ("application/json", b"[" * 500_000),
    "nested objects": ("application/json", b'{"a":' * 300_000),
    "many keys": ("application/json", b"{" + b",".join(b'"%d":{}' % n for n in range(100_000)) + b"}"),
    "yaml aliases": (
        YAML,
        b"a: &a [x,x]\n"
        + b"".join(
            b"a%d: &a%d [*a%s,*a%s]\n" % (n, n, str(n - 1 or "").encode(), str(n - 1 or "").encode())
            for n in range(1, 40)
        ),
    ),
    "yaml nesting": (YAML, b"[" * 100_000),
    "yaml merge keys": (YAML, b"- &m {a: 1}\n" + b"- {<<: [*m,*m,*m]}\n" * 5_000),
    "protobuf groups": (PROTOBUF, protobuf_body("v1", "Pod", b"\x0b" * 500_000)),
    "protobuf lengths": (PROTOBUF, protobuf_body("v1", "Pod", b"\x0a\xff\xff\xff\xff\x0f" * 50_000)),
    "protobuf empty fields": (PROTOBUF, protobuf_body("v1", "Pod", b"\x12\x02\x12\x00" * 200_000)),
}
PEAK_MAX = 80 * 2**20
"""Bytes that reading any of these bodies, none larger than 2.5 MB, may take for a moment."""


@pytest.mark.parametrize("which", AMPLIFYING)
def test_a_small_body_never_takes_much_memory(server: Fuzzed, which: str) -> None:
    content_type, data = AMPLIFYING[which]
    tracemalloc.start()
    try:
        server.ask("POST", f"{PODS}?dryRun=All", data, content_type)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PEAK_MAX, peak
