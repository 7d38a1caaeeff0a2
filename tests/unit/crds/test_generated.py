"""The generated files are current, structural and light to load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stark.apiserver.schema.compiled import compile_schema
from stark.apiserver.schema.structural import check_structural
from stark.crds.generate import generated, stale
from stark.crds.kinds import COMPUTED_KINDS, KINDS, SUBRESOURCE_KINDS
from stark.crds.loader import SCHEMA_DIR, load_builtin, load_computed, load_subresource_kinds, merge_keys, merge_keys_of
from tests.support.examples import example_of

DEFINITIONS = [*load_builtin(), *load_computed(), *load_subresource_kinds()]


def schema_of(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def places(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    for below in (*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(below, dict):
            yield from places(below)


@pytest.fixture(scope="module")
def files() -> Mapping[Path, str]:
    return generated()


def test_generated_files_are_current(files: Mapping[Path, str]) -> None:
    assert stale(files) == []


def test_a_stale_file_is_noticed(files: Mapping[Path, str]) -> None:
    path = next(iter(files))
    assert stale({**files, path: "old"}) == [path]
    assert stale({name: text for name, text in files.items() if name != path}) == [path]


def test_every_kind_is_loaded_as_its_yaml_says() -> None:
    assert [body["spec"]["names"]["kind"] for body in load_builtin()] == [kind.RESOURCE.kind for kind in KINDS]
    assert len(load_subresource_kinds()) == len(SUBRESOURCE_KINDS)
    assert len(load_computed()) == len(COMPUTED_KINDS)
    for body in DEFINITIONS:
        group, plural, (version,) = body["spec"]["group"], body["spec"]["names"]["plural"], body["spec"]["versions"]
        other = "" if version["storage"] else f"_{version['name']}"
        assert yaml.load((SCHEMA_DIR / f"{group or 'core'}_{plural}{other}.yaml").read_text(), yaml.CSafeLoader) == body


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda body: body["metadata"]["name"])
def test_a_schema_is_structural_and_explains_itself(definition: dict[str, Any]) -> None:
    schema = schema_of(definition)
    assert check_structural(schema) == []
    for place in places(schema):
        assert "$ref" not in place
        assert "allOf" not in place
        assert "x-written" not in place
        assert "anyOf" not in place or place["x-kubernetes-int-or-string"]
        assert all(field.get("description") for field in place.get("properties", {}).values())


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda body: body["metadata"]["name"])
def test_the_schema_admits_what_the_model_writes(definition: dict[str, Any]) -> None:
    spec = definition["spec"]
    version = "/".join(part for part in (spec["group"], spec["versions"][0]["name"]) if part)
    example = example_of(version, spec["names"]["kind"])
    compiled = compile_schema(schema_of(definition))
    assert compiled.unknown_fields(example) == []
    admitted = compiled.admit(example)
    assert {**admitted, "metadata": example["metadata"]} == example


def test_merge_keys_are_those_of_kubernetes() -> None:
    keys = merge_keys_of("", "Pod")
    assert keys["spec.containers"] == "name"
    assert keys["spec.containers.ports"] == "containerPort"
    assert keys["spec.containers.env"] == "name"
    assert keys["status.conditions"] == "type"
    assert keys["status.podIPs"] == "ip"
    assert keys["metadata.ownerReferences"] == "uid"
    assert keys["metadata.finalizers"] == ""
    assert "spec.tolerations" not in keys
    assert merge_keys_of("apps", "Deployment")["spec.strategy"] == "$retainKeys"
    assert merge_keys_of("example.com", "Widget") == {"metadata.ownerReferences": "uid", "metadata.finalizers": ""}


def test_merge_keys_run_through_lists_and_free_maps() -> None:
    named = {
        "type": "array",
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": "name",
        "items": {"type": "object"},
    }
    schema = {"properties": {"free": {"additionalProperties": {"items": {"properties": {"l": named}}}}}}
    assert merge_keys(schema)["free.*.l"] == "name"


def test_defaults_are_kubernetes_defaults() -> None:
    (pods,) = (body for body in load_builtin() if body["metadata"]["name"] == "pods")
    spec = schema_of(pods)["properties"]["spec"]["properties"]
    probe = spec["containers"]["items"]["properties"]["livenessProbe"]["properties"]
    given = {name: field["default"] for name, field in {**probe, **spec}.items() if "default" in field}
    assert given == {
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "periodSeconds": 10,
        "timeoutSeconds": 1,
        "successThreshold": 1,
        "failureThreshold": 3,
    }


def test_what_starkctl_and_the_server_use_at_start_loads_no_model() -> None:
    modules = (
        "patches strategic json_patches selectors quantity images printers names annotations podview loader resource"
    )
    code = f"import sys, {', '.join(f'stark.crds.{name}' for name in modules.split())}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
