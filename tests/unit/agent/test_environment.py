"""A container's environment: sources in their order, expansion, the downward fields, and what is missing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from stark.agent.environment import ConfigError, Sources, Surroundings, expand, port_variables, references, resolve
from stark.crds.config import ConfigMap, Secret
from stark.crds.meta import ObjectMeta, decode
from stark.crds.pods import Container, Pod


def pod(**container: Any) -> Pod:
    meta = {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}, "annotations": {"a/b": "note"}}
    spec = {
        "nodeName": "n1",
        "serviceAccountName": "robot",
        "containers": [{"name": "main", "image": "pack.stark/a:1.0.0", **container}],
    }
    return decode({"metadata": meta, "spec": spec}, Pod)


SOURCES = Sources(
    {"settings": ConfigMap(metadata=ObjectMeta(name="settings"), data={"a": "from map", "b": "2"})},
    {"token": Secret(metadata=ObjectMeta(name="token"), data={"key": base64.b64encode(b"s3cret").decode()})},
)


def environment(**container: Any) -> dict[str, str]:
    made = pod(**container)
    return resolve(
        made,
        made.spec.containers[0],
        SOURCES,
        Surroundings("10.0.0.1"),
        {"BASE": "base", "a": "base"},
        {"LAST": "last"},
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("$(A)-$(B)", "1-2", id="known names"),
        pytest.param("$(C)", "$(C)", id="an unknown name stays"),
        pytest.param("$$(A)", "$(A)", id="an escaped one"),
        pytest.param("$A ${A} $", "$A ${A} $", id="shell syntax means nothing"),
    ],
)
def test_references_are_expanded_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def test_later_sources_overrule_earlier_ones_and_the_agent_has_the_last_word() -> None:
    env = environment(
        envFrom=[{"configMapRef": {"name": "settings"}}, {"prefix": "S_", "secretRef": {"name": "token"}}],
        env=[{"name": "b", "value": "own"}, {"name": "LAST", "value": "mine"}, {"name": "C", "value": "$(b)-$(a)"}],
    )
    assert env == {"BASE": "base", "a": "from map", "b": "own", "S_key": "s3cret", "C": "own-from map", "LAST": "last"}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "ns"),
        ("metadata.uid", "u"),
        ("metadata.labels['app']", "x"),
        ("metadata.annotations['a/b']", "note"),
        ("metadata.labels['absent']", ""),
        ("spec.nodeName", "n1"),
        ("spec.serviceAccountName", "robot"),
        ("status.podIP", "10.0.0.1"),
        ("status.hostIP", "10.0.0.1"),
    ],
)
def test_fields_of_the_pod_become_variables(path: str, expected: str) -> None:
    assert environment(env=[{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}}])["V"] == expected


def keyed(kind: str, name: str, key: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "V", "valueFrom": {kind: {"name": name, "key": key, **more}}}]


@pytest.mark.parametrize(
    ("container", "message"),
    [
        pytest.param({"env": keyed("configMapKeyRef", "none", "a")}, 'configmap "none" not found', id="map"),
        pytest.param({"env": keyed("secretKeyRef", "none", "a")}, 'secret "none" not found', id="secret"),
        pytest.param(
            {"env": keyed("configMapKeyRef", "settings", "z")}, "key z in ConfigMap ns/settings", id="map key"
        ),
        pytest.param({"env": keyed("secretKeyRef", "token", "z")}, "key z in Secret ns/token", id="secret key"),
        pytest.param({"envFrom": [{"configMapRef": {"name": "none"}}]}, 'configmap "none" not found', id="whole map"),
        pytest.param(
            {"env": [{"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.magic"}}}]},
            "fieldPath spec.magic is not supported",
            id="field",
        ),
    ],
)
def test_what_is_missing_is_named(container: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(")):
        environment(**container)


def test_what_is_optional_may_be_missing() -> None:
    env = environment(
        env=keyed("configMapKeyRef", "none", "a", optional=True),
        envFrom=[{"secretRef": {"name": "none", "optional": True}}],
    )
    assert "V" not in env


def test_what_must_be_read_is_known_beforehand() -> None:
    made = pod(env=keyed("secretKeyRef", "token", "key"), envFrom=[{"configMapRef": {"name": "settings"}}])
    wanted = references(made.spec.containers[0])
    assert (wanted.config_maps, wanted.secrets) == (frozenset({"settings"}), frozenset({"token"}))


def test_ports_are_told_by_name_and_the_first_as_port() -> None:
    container = Container.model_validate(
        {"name": "m", "ports": [{"name": "web-ui", "containerPort": 80}, {"containerPort": 9090}]}
    )
    assert port_variables(container, {"web-ui": 20001, "9090": 20002}) == {
        "PORT": "20001",
        "STARK_PORT_WEB_UI": "20001",
        "STARK_PORT_9090": "20002",
    }
