"""x-kubernetes-validations and selectable fields of users' kinds, over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import Api, api_server
from tests.support.gateways import GATEWAY, ROUTE, definition, listing, obj, rule

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BASE = "/apis/net.example.com/v1/namespaces/default"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path) as server:
        yield server


async def define(api: Api, *definitions: dict[str, Any]) -> None:
    for item in definitions:
        (await api.post(CRDS, item)).ok(201)
    async with asyncio.timeout(5):
        for item in definitions:
            names = item["spec"]["names"]
            while True:
                if (await api.get(f"/apis/{item['spec']['group']}/v1/{names['plural']}")).status == 200:
                    break
                await asyncio.sleep(0.02)


def made(kind: str, name: str, spec: Any, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "net.example.com/v1", "kind": kind, "metadata": {"name": name}, "spec": spec, **more}


HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "c"}], "options": {}}}

GATEWAYS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"listeners": [HTTP, HTTPS]}, []),
    (
        {"listeners": [{**HTTP, "tls": HTTPS["tls"]}]},
        [
            (
                "spec.listeners",
                "Invalid value: \"array\": tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
            )
        ],
    ),
    (
        {"listeners": [{**HTTPS, "tls": {"mode": "Passthrough"}}]},
        [("spec.listeners", 'Invalid value: "array": tls mode must be Terminate for protocol HTTPS')],
    ),
    (
        {"listeners": [{**HTTPS, "tls": {"certificateRefs": [], "options": {}}}]},
        [
            (
                "spec.listeners[0].tls",
                'Invalid value: "object": certificateRefs or options must be specified when mode is Terminate',
            )
        ],
    ),
    ({"listeners": [HTTP, {**HTTP, "port": 81}]}, [("spec.listeners", 'Duplicate value: "array"')]),
    (
        {"listeners": [HTTP, {**HTTP, "name": "again"}]},
        [
            (
                "spec.listeners",
                'Invalid value: "array": Combination of port, protocol and hostname must be unique for each listener',
            )
        ],
    ),
    ({"listeners": [HTTP], "addresses": [{"value": "10.0.0.1"}, {"type": "Hostname", "value": "*.a.b"}]}, []),
    (
        {"listeners": [HTTP], "addresses": [{"type": "Hostname", "value": "UPPER"}, {"value": "10.0.0"}]},
        [
            ("spec.addresses[0].value", 'Invalid value: "object": Hostname value must be a valid DNS name'),
            ("spec.addresses[1]", 'Invalid value: "object": no IP'),
        ],
    ),
    (
        {"listeners": [HTTP], "addresses": [{"value": "10.0.0.1"}, {"value": "10.0.0.1"}]},
        [("spec.addresses", 'Invalid value: "array": IPAddress values must be unique')],
    ),
]

PATHS = {"value": 'Invalid value: "object": '}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"port": 80}}
ROUTES: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"matches": [{"path": {"value": "/a/b%20c"}}, {}]}, []),
    ({"matches": [{"path": {"type": "RegularExpression", "value": "^a//"}}]}, []),
    (
        {"matches": [{"path": {"value": "a"}}]},
        [
            (
                "spec.rules[0].matches[0].path",
                (
                    "Invalid value: \"object\": value must be an absolute path and start with '/' when type one of "
                    "['Exact', 'PathPrefix']"
                ),
            )
        ],
    ),
    (
        {"matches": [{"path": {"value": "//x y/.."}}]},
        [
            ("spec.rules[0].matches[0].path", "Invalid value: \"object\": must not contain '//'"),
            ("spec.rules[0].matches[0].path", "Invalid value: \"object\": must not end with '/..'"),
            ("spec.rules[0].matches[0].path", 'Invalid value: "object": must only contain valid characters'),
        ],
    ),
    ({"filters": [REDIRECT]}, []),
    (
        {"filters": [REDIRECT, REDIRECT]},
        [
            (
                "spec.rules[0].filters",
                'Invalid value: "array": RequestRedirect filter cannot be repeated, but is there 2 times',
            )
        ],
    ),
    (
        {"filters": [{"type": "RequestRedirect"}, {"type": "URLRewrite", "requestRedirect": {}}]},
        [
            (
                "spec.rules[0].filters",
                (
                    'Invalid value: "array": May specify either httpRouteFilterRequestRedirect or '
                    "httpRouteFilterRequestRewrite, but not both"
                ),
            ),
            (
                "spec.rules[0].filters[0].requestRedirect",
                "Required value: filter.requestRedirect must be specified for RequestRedirect filter.type",
            ),
            (
                "spec.rules[0].filters[1]",
                'Invalid value: "object": filter.requestRedirect must be nil if the filter.type is not RequestRedirect',
            ),
        ],
    ),
    (
        {"backendRefs": [{"name": "a", "port": 80}], "filters": [REDIRECT]},
        [
            (
                "spec.rules[0]",
                'Invalid value: "object": RequestRedirect filter must not be used together with backendRefs',
            )
        ],
    ),
    ({"backendRefs": [{"name": "a", "kind": "Bucket"}]}, []),
    (
        {"backendRefs": [{"name": "a"}]},
        [("spec.rules[0].backendRefs[0]", 'Invalid value: "object": Must have port for Service reference')],
    ),
    ({"timeout": "59m", "retry": {"attempts": 3}}, []),
    ({"retry": {"attempts": "30%"}}, []),
    ({"timeout": "2h"}, [("spec.rules[0].timeout", "Forbidden: timeout must be at most an hour")]),
    (
        {"retry": {"attempts": "many"}},
        [("spec.rules[0].retry", 'Invalid value: "object": attempts must be positive or a percentage')],
    ),
]


def causes(body: Any) -> list[tuple[str, str]]:
    return [(cause["field"], cause["message"]) for cause in body["details"]["causes"]]


async def test_gateways_are_judged_by_their_rules(api: Api) -> None:
    await define(api, GATEWAY, ROUTE)
    for index, (spec, expected) in enumerate(GATEWAYS):
        answer = await api.post(f"{BASE}/gateways", made("Gateway", f"g{index}", {"gatewayClassName": "a", **spec}))
        if expected:
            answer.refused(422, "Invalid")
            assert causes(answer.body) == expected, spec
        else:
            answer.ok(201)
    for index, (spec, expected) in enumerate(ROUTES):
        answer = await api.post(f"{BASE}/httproutes", made("HTTPRoute", f"r{index}", {"rules": [spec]}))
        if expected:
            answer.refused(422, "Invalid")
            assert causes(answer.body) == expected, spec
        else:
            answer.ok(201)
    many: dict[str, Any] = {"rules": [{"matches": [{}] * 8}, {"matches": [{}] * 3}]}
    (await api.post(f"{BASE}/httproutes", made("HTTPRoute", "many", many))).refused(422, "Invalid")
    long = made("Gateway", "x" * 21, {"gatewayClassName": "a", "listeners": [HTTP]})
    answer = await api.post(f"{BASE}/gateways", long)
    assert causes(answer.body) == [("metadata", 'Invalid value: "object": the name must have at most 20 characters')]


async def test_transitions_status_and_selectors(api: Api) -> None:
    await define(api, GATEWAY)
    for name, chosen in (("a", "red"), ("b", "blue")):
        (
            await api.post(f"{BASE}/gateways", made("Gateway", name, {"gatewayClassName": chosen, "listeners": [HTTP]}))
        ).ok(201)
    answer = await api.patch(f"{BASE}/gateways/a", {"spec": {"gatewayClassName": "green"}})
    assert causes(answer.body) == [("spec.gatewayClassName", 'Invalid value: "string": gatewayClassName is immutable')]
    (await api.patch(f"{BASE}/gateways/a/status", {"status": {"attached": 1}})).ok()
    answer = await api.patch(f"{BASE}/gateways/a/status", {"status": {"attached": -1}})
    assert causes(answer.body) == [("status", 'Invalid value: "object": attached must not be negative')]
    listed = (await api.get(f"{BASE}/gateways?fieldSelector=spec.gatewayClassName%3Dblue")).ok()
    assert [item["metadata"]["name"] for item in listed["items"]] == ["b"]
    (await api.get(f"{BASE}/gateways?fieldSelector=spec.other%3Dblue")).refused(400, "BadRequest")
    async with api.watch(f"{BASE}/gateways?fieldSelector=spec.gatewayClassName%3Dgreen") as watch:
        for name, chosen in (("c", "red"), ("d", "green")):
            (
                await api.post(
                    f"{BASE}/gateways", made("Gateway", name, {"gatewayClassName": chosen, "listeners": [HTTP]})
                )
            ).ok(201)
        assert await watch.names(1) == [("ADDED", "d")]
        (await api.delete(f"{BASE}/gateways?fieldSelector=spec.gatewayClassName%3Dgreen")).ok()
        assert await watch.names(1) == [("DELETED", "d")]
        (await api.delete(f"{BASE}/gateways/c")).ok()
    schemas = (await api.get("/openapi/v3/apis/net.example.com/v1")).ok()["components"]["schemas"]
    assert schemas["com.example.net.v1.Gateway"]["x-kubernetes-selectable-fields"] == [
        {"fieldPath": "spec.gatewayClassName"}
    ]
    (await api.delete(f"{BASE}/gateways?fieldSelector=spec.gatewayClassName%3Dblue")).ok()
    left = (await api.get(f"{BASE}/gateways")).ok()["items"]
    assert [item["metadata"]["name"] for item in left] == ["a"]


async def test_a_version_selects_by_its_own_fields_only(api: Api) -> None:
    both = definition("Gate", {"properties": {"spec": obj({"a": {"type": "string"}, "b": {"type": "boolean"}})}})
    (first,) = both["spec"]["versions"]
    first["selectableFields"] = [{"jsonPath": ".spec.a"}]
    second = {**first, "name": "v2", "storage": False, "selectableFields": [{"jsonPath": ".spec.b"}]}
    both["spec"]["versions"].append(second)
    await define(api, both)
    for name, value in (("x", True), ("y", False)):
        (await api.post(f"{BASE}/gates", made("Gate", name, {"a": name, "b": value}))).ok(201)
    newer = BASE.replace("v1", "v2")
    for path, expected in (
        (f"{BASE}/gates?fieldSelector=spec.a%3Dx", "x"),
        (f"{newer}/gates?fieldSelector=spec.b!%3Dtrue", "y"),
    ):
        assert [item["metadata"]["name"] for item in (await api.get(path)).ok()["items"]] == [expected]
    message = (await api.get(f"{newer}/gates?fieldSelector=spec.a%3Dx")).refused(400, "BadRequest")
    assert message == "field label not supported: spec.a"


ITEM = obj(
    {"name": {"type": "string", "maxLength": 9}, "size": {"type": "integer"}},
    rule("self.size >= oldSelf.size", "must not shrink"),
    rule("self.size < 100", "too large"),
    required=("name",),
)
STORE = {
    "properties": {
        "spec": obj(
            {
                "items": listing(ITEM, 10, keys=("name",)),
                "free": listing(obj({"n": {"type": "integer"}}, rule("self.n < 10", "n is too large")), 10),
                "byName": {
                    "type": "object",
                    "maxProperties": 9,
                    "additionalProperties": {
                        "type": "integer",
                        "x-kubernetes-validations": [rule("self != oldSelf + 1", "not by one")],
                    },
                },
                "mode": {
                    "type": "string",
                    "maxLength": 9,
                    "x-kubernetes-validations": [
                        rule(
                            "oldSelf.hasValue() ? self == oldSelf.value() : self == 'new'",
                            "begins as new and stays",
                            optionalOldSelf=True,
                        )
                    ],
                },
                "color": {"type": "string", "enum": ["red"]},
                "note": {"type": "string"},
            }
        )
    }
}
LOOSE = {"properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}


async def test_old_and_new_are_told_by_key_and_what_is_unchanged_is_let_pass(api: Api) -> None:
    await define(api, definition("Store", LOOSE))
    old = {
        "items": [{"name": "a", "size": 5}, {"name": "b", "size": 500}],
        "free": [{"n": 50}],
        "byName": {"x": 1},
        "color": "blue",
    }
    (await api.post(f"{BASE}/stores", made("Store", "s", old))).ok(201)
    changed = (await api.get(f"{CRDS}/stores.net.example.com")).ok()
    changed["spec"] = definition("Store", STORE)["spec"]
    (await api.put(f"{CRDS}/stores.net.example.com", changed)).ok()

    async def patch(spec: Any) -> Any:
        return await api.patch(f"{BASE}/stores/s", {"spec": spec})

    async with asyncio.timeout(5):
        while True:
            if (await patch({"note": "x"})).headers.get("Warning") is not None:
                break
            await asyncio.sleep(0.02)
    # Neither a rule nor the schema complains of what was there before; an item is known again by its key.
    answer = await patch({"note": "y", "items": [{"name": "b", "size": 500}, {"name": "a", "size": 6}]})
    answer.ok()
    assert "too large" in answer.headers["Warning"]
    answer = await patch({"items": [{"name": "b", "size": 501}, {"name": "a", "size": 4}, {"name": "c", "size": 1}]})
    assert causes(answer.body) == [
        ("spec.items[0]", 'Invalid value: "object": too large'),
        ("spec.items[1]", 'Invalid value: "object": must not shrink'),
    ]
    answer = await patch({"free": [{"n": 50}, {"n": 1}]})
    assert causes(answer.body) == [("spec.free[0]", 'Invalid value: "object": n is too large')]
    answer = await patch({"byName": {"x": 2, "y": 1}})
    assert causes(answer.body) == [("spec.byName[x]", 'Invalid value: "integer": not by one')]
    answer = await patch({"color": "green"})
    assert "spec.color" in answer.refused(422, "Invalid")
    answer = await patch({"mode": "old"})
    assert causes(answer.body) == [("spec.mode", 'Invalid value: "string": begins as new and stays')]
    (await patch({"mode": "new"})).ok()
    (await patch({"mode": "newer"})).refused(422, "Invalid")
    # Finalizers come and go, and the object with them.
    (await api.patch(f"{BASE}/stores/s", {"metadata": {"finalizers": ["example.com/hold"]}})).ok()
    (await api.delete(f"{BASE}/stores/s")).ok()
    (await api.patch(f"{BASE}/stores/s", {"metadata": {"finalizers": None}})).ok()
    (await api.get(f"{BASE}/stores/s")).refused(404, "NotFound")


PATH = "spec.versions[0].schema.openAPIV3Schema"
UNBOUNDED = {"type": "array", "items": {"type": "string"}}
REFUSALS: list[tuple[dict[str, Any], str, str]] = [
    (
        obj({}, rule("self.nope == 1")),
        "x-kubernetes-validations[0].rule",
        (
            'Invalid value: apiextensions.ValidationRule{Rule:"self.nope == 1", Message:"", MessageExpression:"", '
            'Reason:(*apiextensions.FieldValueErrorReason)(nil), FieldPath:"", OptionalOldSelf:(*bool)(nil)}: '
            "compilation failed: ERROR: <input>:1:5: undefined field 'nope'\n | self.nope == 1\n | ....^"
        ),
    ),
    (obj({}, rule("1 + 1")), "x-kubernetes-validations[0].rule", "cel expression must evaluate to a bool"),
    (obj({}, rule(" ")), "x-kubernetes-validations[0].rule", "Required value: rule is not specified"),
    (obj({}, rule("true", " ")), "x-kubernetes-validations[0].message", "message must be non-empty if specified"),
    (obj({}, rule("true", "a\nb")), "x-kubernetes-validations[0].message", "message must not contain line breaks"),
    (
        obj({}, rule("true &&\ntrue")),
        "x-kubernetes-validations[0].message",
        "Required value: message must be specified if rule contains line breaks",
    ),
    (
        obj({}, rule("true", reason="Nope")),
        "x-kubernetes-validations[0].reason",
        (
            'Unsupported value: "Nope": supported values: "FieldValueDuplicate", "FieldValueForbidden", '
            '"FieldValueInvalid", "FieldValueRequired"'
        ),
    ),
    (
        obj({}, rule("true", fieldPath=".nope")),
        "x-kubernetes-validations[0].fieldPath",
        "fieldPath must be a valid path",
    ),
    (
        obj({}, rule("true", messageExpression="1")),
        "x-kubernetes-validations[0].messageExpression",
        "messageExpression must evaluate to a string",
    ),
    (
        obj({}, rule("true", messageExpression="self.nope")),
        "x-kubernetes-validations[0].messageExpression",
        "messageExpression compilation failed: ERROR: <input>:1:5: undefined field 'nope'",
    ),
    (
        obj({}, rule("true", optionalOldSelf=True)),
        "x-kubernetes-validations[0].optionalOldSelf",
        "Invalid value: true: may not be set if oldSelf is not used in rule",
    ),
    (
        listing(obj({"n": {"type": "integer"}}, rule("self.n == oldSelf.n")), 5),
        "items.x-kubernetes-validations[0].rule",
        f"oldSelf cannot be used on the uncorrelatable portion of the schema within {PATH}.properties[spec]",
    ),
    (
        {**UNBOUNDED, "x-kubernetes-validations": [rule("self.all(a, self.all(b, a == b))")]},
        "x-kubernetes-validations[0].rule",
        (
            "Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding "
            "maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
        ),
    ),
    (
        {"type": "string", "default": "b", "maxLength": 9, "x-kubernetes-validations": [rule("self == 'a'", "not a")]},
        "default",
        'Invalid value: "string": not a',
    ),
    ({"type": "string", "x-kubernetes-validations": "x"}, "x-kubernetes-validations", "must be of type array"),
    (
        {"type": "string", "allOf": [{"x-kubernetes-validations": [rule("true")]}]},
        "allOf[0].x-kubernetes-validations",
        "Forbidden: must be undefined to be structural",
    ),
]


async def test_a_definition_with_bad_rules_or_selectable_fields_is_refused(api: Api) -> None:
    for spec, place, complaint in REFUSALS:
        answer = await api.post(CRDS, definition("Thing", {"properties": {"spec": spec}}))
        answer.refused(422, "Invalid")
        assert causes(answer.body)[0][0] == f"{PATH}.properties[spec].{place}", (spec, answer.body)
        assert complaint in causes(answer.body)[0][1], (spec, answer.body)
    schema = {"properties": {"spec": obj({"n": {"type": "integer"}, "l": {"type": "object"}})}}
    for path, complaint in (
        ("", "Required value"),
        (".spec.x", 'Invalid value: ".spec.x": is an invalid path: does not refer to a valid field'),
        ("spec.n", 'Invalid value: "spec.n": is an invalid path: expected [ or . but got: spec'),
        (".spec['n']", "is an invalid path: array notation is not allowed"),
        (".spec.l", "must point to a field of type string, boolean or integer. Enum string fields"),
        (".metadata.name", "is an invalid path: does not refer to a valid field"),
    ):
        answer = await api.post(CRDS, definition("Thing", schema, selectableFields=[{"jsonPath": path}]))
        answer.refused(422, "Invalid")
        field, message = causes(answer.body)[0]
        assert (field, complaint in message) == ("spec.versions[0].selectableFields[0].jsonPath", True), answer.body
    twice = definition("Thing", schema, selectableFields=[{"jsonPath": ".spec.n"}, {"jsonPath": ".spec.n"}])
    assert "Duplicate value" in (await api.post(CRDS, twice)).refused(422, "Invalid")


async def test_a_hostile_object_neither_freezes_the_server_nor_gets_in(api: Api) -> None:
    # Within its bounds a rule may cost what all rules together may not.
    numbers = {"type": "array", "maxItems": 1000, "items": {"type": "integer"}}
    text = "self.all(a, self.all(b, a != b || a == b))"
    rules = [rule(f"{text} && {index} >= 0", f"never {index}") for index in range(4)]
    schema = {"properties": {"spec": obj({"l": {**numbers, "x-kubernetes-validations": rules}})}}
    await define(api, definition("Bomb", schema))
    waits: list[float] = []
    done = asyncio.Event()

    async def others() -> None:
        loop = asyncio.get_running_loop()
        while not done.is_set():
            begun = loop.time()
            (await api.get("/api/v1/namespaces/default")).ok()
            waits.append(loop.time() - begun)

    asking = asyncio.create_task(others())
    answer = await api.post(f"{BASE}/bombs", made("Bomb", "b", {"l": list(range(1000))}))
    done.set()
    await asking
    assert causes(answer.body) == [
        (
            "spec.l",
            (
                "Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules "
                "will be run due to call cost exceeds limit for rule: never 0"
            ),
        )
    ]
    assert len(waits) > 3
