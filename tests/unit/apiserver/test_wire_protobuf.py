"""Bodies in Kubernetes' protobuf: read as the same object in JSON, or refused.

`kubectl_bodies.json` holds what kubectl 1.31 sent in JSON and kubectl 1.33 in protobuf for the same commands.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.apiserver.errors import BadRequest, UnsupportedMediaType
from stark.apiserver.registry.bodies import decode
from stark.apiserver.wire.protobuf import decode_protobuf
from stark.apiserver.wire.protobuf.envelope import MAGIC
from stark.apiserver.wire.protobuf.fields import FIELDS_MAX, Source
from stark.apiserver.wire.protobuf.messages import DEPTH_MAX
from stark.apiserver.wire.protobuf.tables import Shape, table
from stark.apiserver.wire.protobuf.values import READERS
from tests.support.protobuf_writer import body, f, varint

BODIES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("kubectl_bodies.json").read_text())


def without_nulls(value: Any) -> Any:
    """JSON's null says the same as nothing."""
    if isinstance(value, dict):
        return {key: without_nulls(held) for key, held in value.items() if held is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("sent", [pytest.param(sent, id=sent["path"].rpartition("/")[2]) for sent in BODIES])
def test_what_kubectl_sends_in_protobuf_is_what_it_sent_in_json(sent: dict[str, Any]) -> None:
    assert decode_protobuf(b64decode(sent["protobuf"])) == without_nulls(sent["json"])


def test_zero_is_kept_where_it_means_something_and_dropped_where_go_writes_it_anyway() -> None:
    spec = f(1, 0) + f(5, 0) + f(6, 0) + f(7, 0) + f(4, f(1, "")) + f(9, 0)
    read = decode_protobuf(body("apps/v1", "Deployment", f(2, spec) + f(3, f(1, 0) + f(2, 0))))
    assert read["spec"] == {"replicas": 0, "revisionHistoryLimit": 0, "strategy": {}, "progressDeadlineSeconds": 0}
    assert read["status"] == {}


def test_the_last_of_two_numbers_counts_and_two_halves_of_a_message_are_one() -> None:
    meta = f(1, f(1, "a") + f(2, "old-")) + f(1, f(1, "b") + f(2, ""))
    assert decode_protobuf(body("v1", "ConfigMap", meta))["metadata"] == {"name": "b"}


def test_a_pod_with_everything_a_probe_and_its_environment_can_have() -> None:
    probe = f(1, f(2, f(1, "/ok") + f(2, f(1, 1) + f(2, 0) + f(3, "http")))) + f(2, 5)
    source = f(4, f(1, f(1, "password")) + f(2, "key") + f(3, 0))
    container = (
        f(1, "main")
        + f(7, f(1, "A") + f(2, "") + f(3, source))
        + f(8, f(1, f(1, "cpu") + f(2, f(1, "500m"))))
        + f(10, probe)
        + f(6, f(1, "") + f(2, 0) + f(3, 80))
    )
    volume = f(1, "v") + f(2, f(2, b""))
    toleration = f(1, "k") + f(5, -1)
    read = decode_protobuf(body("v1", "Pod", f(2, f(1, volume) + f(2, container) + f(22, toleration))))
    assert read["spec"] == {
        # The volume's source and the probe's action stand beside the other fields: they are inlined in Go.
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [
            {
                "name": "main",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "password", "key": "key", "optional": False}}}
                ],
                "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/ok", "port": "http"}, "initialDelaySeconds": 5},
                "ports": [{"containerPort": 80}],
            }
        ],
        "tolerations": [{"key": "k", "tolerationSeconds": -1}],
    }


def test_bytes_become_base64() -> None:
    raw = f(2, f(1, "k") + f(2, "v")) + f(2, f(2, "no key")) + f(3, f(1, "b") + f(2, b"\xff")) + f(4, 0)
    read = decode_protobuf(body("v1", "ConfigMap", raw))
    expected = {"data": {"k": "v", "": "no key"}, "binaryData": {"b": "/w=="}, "immutable": False}
    assert read == {"apiVersion": "v1", "kind": "ConfigMap", **expected}


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        pytest.param("Time", f(1, 1_700_000_000) + f(2, 9), "2023-11-14T22:13:20Z", id="a time is to the second"),
        pytest.param("Time", f(1, -1), "1969-12-31T23:59:59Z", id="a time before 1970"),
        pytest.param("Time", b"", None, id="Go's zero time is null"),
        pytest.param(
            "MicroTime", f(1, 0) + f(2, 5_000), "1970-01-01T00:00:00.000005Z", id="a micro time has six digits"
        ),
        pytest.param("Duration", f(1, 90_500_000_000), "90.5s", id="a duration"),
        pytest.param("Duration", f(1, -1), "-0.000000001s", id="a negative duration"),
        pytest.param("Quantity", b"", "0", id="an unset quantity is zero"),
        pytest.param("IntOrString", f(1, 0) + f(2, -3) + f(3, ""), -3, id="a number"),
        pytest.param("IntOrString", f(1, 1) + f(2, 0) + f(3, "25%"), "25%", id="a text"),
        pytest.param("Texts", f(1, "a") + f(1, "b"), ["a", "b"], id="a list that is a message"),
        pytest.param("Raw", f(1, '{"f:data":{}}'), {"f:data": {}}, id="JSON inside protobuf"),
    ],
)
def test_types_of_their_own_have_the_form_that_json_gives_them(type_: str, raw: bytes, value: Any) -> None:
    source = Source(f(1, raw))
    assert READERS[type_](source, next(source.scan(0, len(source.data)))) == value


def test_lists_of_numbers_may_be_packed() -> None:
    loose = decode_protobuf(body("v1", "Pod", f(2, f(14, f(4, 1) + f(4, 300)))))
    packed = decode_protobuf(body("v1", "Pod", f(2, f(14, f(4, varint(1) + varint(300))))))
    assert loose == packed
    assert loose["spec"]["securityContext"]["supplementalGroups"] == [1, 300]


def test_a_definition_is_read_with_a_schema_in_a_schema() -> None:
    text = f(5, "string") + f(7, "") + f(11, 1.0) + f(9, 2.5)
    schema = (
        f(5, "object")
        + f(29, f(1, "spec") + f(2, text))
        + f(29, f(1, "list") + f(2, f(24, f(1, f(5, "string")))))
        + f(29, f(1, "map") + f(2, f(30, f(1, 1) + f(2, f(5, "string")))))
        + f(29, f(1, "any") + f(2, f(30, f(1, 0)) + f(38, 1) + f(8, f(1, "[0]"))))
    )
    version = f(1, "v1") + f(2, 1) + f(3, 0) + f(4, f(1, schema))
    read = decode_protobuf(
        body("apiextensions.k8s.io/v1", "CustomResourceDefinition", f(2, f(1, "x.y") + f(7, version)))
    )
    properties = {
        "spec": {"type": "string", "minimum": 1, "maximum": 2.5},
        "list": {"items": {"type": "string"}},
        "map": {"additionalProperties": {"type": "string"}},
        "any": {"additionalProperties": False, "x-kubernetes-preserve-unknown-fields": True, "default": [0]},
    }
    served = {"name": "v1", "served": True, "storage": False}
    schema_of = {"schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}}
    assert read["spec"] == {"group": "x.y", "versions": [{**served, **schema_of}]}


@pytest.mark.parametrize("api_version", ["v1", "apps/v1", "meta.k8s.io/v1"])
def test_options_come_in_the_version_of_what_they_are_for(api_version: str) -> None:
    read = decode_protobuf(body(api_version, "DeleteOptions", f(1, 0) + f(2, f(1, "u")) + f(4, "Foreground")))
    assert read == {
        "apiVersion": api_version,
        "kind": "DeleteOptions",
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Foreground",
    }


def test_a_field_we_do_not_know_is_not_dropped_in_silence() -> None:
    read = decode_protobuf(body("v1", "ConfigMap", f(98, "new") + f(1, f(99, 1))))
    assert read["protobuf field 98"]
    assert read["metadata"]["protobuf field 99"]


def test_a_field_we_do_not_know_says_nothing_when_it_is_zero() -> None:
    raw = f(96, 0) + f(97, "") + f(98, f(1, 0) + f(2, b"")) + varint(99 << 3 | 5) + b"\0\0\0\0"
    assert decode_protobuf(body("v1", "ConfigMap", raw)) == {"apiVersion": "v1", "kind": "ConfigMap"}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        pytest.param(b"{}", r"expected prefix \[107 56 115 0\]", id="not protobuf"),
        pytest.param(MAGIC + b"\xff", "couldn't get version/kind; unexpected EOF", id="cut off in the envelope"),
        pytest.param(MAGIC, "Object 'Kind' is missing", id="an empty envelope"),
        pytest.param(MAGIC + f(1, f(2, "Pod")), "Object 'apiVersion' is missing", id="no apiVersion"),
        pytest.param(MAGIC + f(1, 1), "wrong wireType", id="an envelope of the wrong type"),
        pytest.param(
            body("v1", "Nonsense", b""), 'no kind "Nonsense" is registered for version "v1"', id="unknown kind"
        ),
        pytest.param(body("v1", "Pod", b"", encoding="gzip"), "content encoding 'gzip'", id="compressed"),
        pytest.param(body("v1", "Pod", b"", content_type="application/json"), "content type", id="JSON inside"),
        pytest.param(
            body("v1", "ConfigMap", f(1, 5)), "wrong wireType = 0 for field metadata", id="number for message"
        ),
        pytest.param(body("v1", "ConfigMap", f(2, 5)), "wrong wireType = 0 for field data", id="number for a map"),
        pytest.param(
            body("v1", "ConfigMap", f(4, "x")), "wrong wireType = 2 for field immutable", id="text for a flag"
        ),
        pytest.param(body("v1", "ConfigMap", f(1, f(1, b"\xff"))), "invalid UTF-8", id="not UTF-8"),
        pytest.param(body("v1", "ConfigMap", b"\x0a\x05a"), "unexpected EOF", id="cut off in a field"),
        pytest.param(body("v1", "ConfigMap", b"\x20" + b"\xff" * 11), "integer overflow", id="a number without end"),
        pytest.param(body("v1", "ConfigMap", b"\x0b\x0c"), "illegal wireType 3", id="a group"),
        pytest.param(body("v1", "ConfigMap", b"\x00\x00"), "illegal tag 0", id="field number zero"),
        pytest.param(body("v1", "ConfigMap", f(1, f(8, f(1, 1 << 60)))), "out of range", id="a time past 9999"),
        pytest.param(body("v1", "ConfigMap", f(1, f(17, f(7, f(1, "{"))))), "json parse error", id="bad JSON inside"),
        pytest.param(body("v1", "Service", f(2, f(1, f(4, f(1, 7))))), "impossible IntOrString", id="a third choice"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request_that_says_why(data: bytes, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        decode_protobuf(data)


def test_kinds_that_exist_only_as_schemas_have_no_protobuf() -> None:
    with pytest.raises(
        UnsupportedMediaType, match=r"accepted media types include: application/json, application/yaml$"
    ):
        decode_protobuf(body("stark.dev/v1", "Pack", b""))


def test_a_refused_media_type_is_told_that_protobuf_is_read() -> None:
    with pytest.raises(UnsupportedMediaType, match=r"application/json, .*application/vnd\.kubernetes\.protobuf"):
        decode(b"", "text/plain", decode_protobuf)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(f(2, f(2, b"") * FIELDS_MAX), id="of empty messages"),
        pytest.param(f(1, f(8, f(1, 0) * FIELDS_MAX)), id="of parts of a time"),
        pytest.param(f(2, f(14, f(4, b"\0" * FIELDS_MAX))), id="of packed numbers"),
        pytest.param(f(1, f(11, f(1, "") * FIELDS_MAX)), id="of parts of an entry"),
    ],
)
def test_a_small_body_cannot_become_a_huge_object(raw: bytes) -> None:
    with pytest.raises(BadRequest, match=f"more than {FIELDS_MAX} fields"):
        decode_protobuf(body("v1", "Pod", raw))


def test_schemas_do_not_nest_without_end() -> None:
    schema = b""
    for _ in range(DEPTH_MAX):
        schema = f(28, schema)
    version = f(7, f(4, f(1, schema)))
    with pytest.raises(BadRequest, match=f"nested deeper than {DEPTH_MAX}"):
        decode_protobuf(body("apiextensions.k8s.io/v1", "CustomResourceDefinition", f(2, version)))


def test_every_type_in_the_tables_can_be_read() -> None:
    known = table()
    numbers = {"bool", "int32", "int64", "double"}
    for name, fields in known.messages.items():
        for field in fields.values():
            assert field.type in known.messages or field.type in READERS or field.type in numbers, (name, field)
            assert not field.inlined or (field.shape is Shape.ONE and field.type in known.messages), (name, field)
    assert set(known.kinds.values()) <= set(known.messages)


def _read_or_refused(sent: bytes) -> None:
    try:
        assert isinstance(decode_protobuf(sent), dict)
    except (BadRequest, UnsupportedMediaType):
        pass


@given(st.binary(max_size=200), st.sampled_from(sorted(table().kinds)))
def test_any_bytes_are_read_or_refused(data: bytes, known: str) -> None:
    api_version, _, kind = known.rpartition("/")
    _read_or_refused(MAGIC + data)
    _read_or_refused(body(api_version or "v1", kind, data))


@settings(max_examples=200)
@given(st.sampled_from(BODIES), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_damaged_body_is_read_or_refused(sent: dict[str, Any], damage: list[tuple[int, int]]) -> None:
    data = bytearray(b64decode(sent["protobuf"]))
    for place, byte in damage:
        data[place % len(data)] = byte
    _read_or_refused(bytes(data))
