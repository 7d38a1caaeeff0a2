"""Bodies in Kubernetes' protobuf: read as the same object in JSON, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stark.apiserver.errors import BadRequest
from stark.apiserver.wire.protobuf_bodies import MAGIC, decode_protobuf


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def f(number: int, value: int | str | bytes) -> bytes:
    """One field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    return MAGIC + f(1, f(1, api_version) + f(2, kind)) + f(2, raw) + f(3, "") + f(4, "")


def test_a_config_map_is_read() -> None:
    meta = f(1, "settings") + f(2, "") + f(3, "default") + f(7, 0) + f(8, b"") + f(11, f(1, "app") + f(2, "x"))
    raw = f(1, meta) + f(2, f(1, "k") + f(2, "v")) + f(3, f(1, "b") + f(2, b"\xff")) + f(4, 0)
    assert decode_protobuf(body("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": "default", "labels": {"app": "x"}},
        "data": {"k": "v"},
        "binaryData": {"b": "/w=="},
        "immutable": False,
    }


def test_zero_is_kept_where_it_means_something_and_dropped_where_go_writes_it_anyway() -> None:
    spec = f(1, 0) + f(5, 0) + f(7, 0) + f(4, f(1, ""))
    status = f(1, 0) + f(2, 0)
    read = decode_protobuf(body("apps/v1", "Deployment", f(2, spec) + f(3, status)))
    assert read == {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 0}}


def test_a_pod_with_everything_a_probe_and_its_environment_can_have() -> None:
    port = f(1, 1) + f(3, "http")
    probe = f(1, f(2, f(1, "/ok") + f(2, port))) + f(2, 5)
    source = f(4, f(1, f(1, "password")) + f(2, "key") + f(3, 1))
    container = (
        f(1, "main")
        + f(7, f(1, "A") + f(2, "") + f(3, source))
        + f(8, f(1, f(1, "cpu") + f(2, f(1, "500m"))))
        + f(10, probe)
        + f(6, f(1, "") + f(2, 0) + f(3, 80))
    )
    toleration = f(1, "k") + f(5, (1 << 64) - 1)
    read = decode_protobuf(body("v1", "Pod", f(2, f(2, container) + f(22, toleration) + f(6, "ClusterFirst"))))
    assert read["spec"] == {
        "containers": [
            {
                "name": "main",
                "env": [
                    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "password", "key": "key", "optional": True}}}
                ],
                "resources": {"limits": {"cpu": "500m"}},
                "livenessProbe": {"httpGet": {"path": "/ok", "port": "http"}, "initialDelaySeconds": 5},
                "ports": [{"containerPort": 80}],
            }
        ],
        "tolerations": [{"key": "k", "tolerationSeconds": -1}],
        "dnsPolicy": "ClusterFirst",
    }


def test_times_are_written_as_json_writes_them() -> None:
    moment = f(1, 1_700_000_000) + f(2, 123_456_000)
    read = decode_protobuf(body("coordination.k8s.io/v1", "Lease", f(2, f(4, moment) + f(2, 40))))
    assert read["spec"] == {"renewTime": "2023-11-14T22:13:20.123456Z", "leaseDurationSeconds": 40}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"{}", id="not protobuf"),
        pytest.param(MAGIC + b"\xff", id="cut off"),
        pytest.param(body("v1", "Nonsense", b""), id="an unknown kind"),
        pytest.param(body("v1", "ConfigMap", f(1, 5)), id="a number for a message"),
        pytest.param(body("v1", "ConfigMap", f(1, f(1, b"\xff"))), id="not UTF-8"),
        pytest.param(body("v1", "Pod", f(3, f(1, "Running"))), id="a status"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(data: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_protobuf(data)


def test_a_field_we_do_not_know_is_not_dropped_in_silence() -> None:
    read = decode_protobuf(body("v1", "ConfigMap", f(99, "new")))
    assert any("99" in name for name in read)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for sent in (MAGIC + data, body("v1", "Pod", data)):
        try:
            decode_protobuf(sent)
        except BadRequest:
            pass
