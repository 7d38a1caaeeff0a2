"""What admission by schema costs: a 2 KB pod pruned, defaulted and validated, against the bare libraries.

Floors, measured in the same run: `orjson.loads` of the bytes, and pydantic-core checking nothing but types with a
validator of the same shape. Rounds alternate; the numbers are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from pydantic_core import SchemaValidator
from pydantic_core import core_schema as cs

from stark.apiserver.kinds import builtin_resources
from stark.apiserver.schema import SchemaInvalid, compile_schema
from stark.apiserver.schema.metadata import OBJECT_META

CALLS = 400


def pod() -> dict[str, Any]:
    """A pod of about 2 KB, as a client sends it."""
    container = {
        "image": "pack.stark/hello:1.2.0",
        "ports": [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090, "name": "metrics"}],
        "env": [{"name": f"SETTING_{n}", "value": f"the value of setting number {n}"} for n in range(8)],
        "resources": {"requests": {"cpu": "250m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}},
        "args": ["--listen", "0.0.0.0", "--verbose"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "hello-6c9f7d5b9c-x2x7p",
            "namespace": "default",
            "creationTimestamp": None,
            "labels": {"app.kubernetes.io/name": "hello", "app": "hello", "pod-template-hash": "6c9f7d5b9c"},
            "annotations": {"example.com/checksum": "0123456789abcdef" * 4},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": "hello-6c9f7d5b9c",
                    "uid": "d3b0",
                    "controller": True,
                }
            ],
        },
        "spec": {
            "containers": [{"name": "main", **container}, {"name": "side", **container}],
            "nodeSelector": {"kubernetes.io/arch": "amd64"},
            "tolerations": [{"key": "stark.dev/batch", "operator": "Exists", "effect": "NoSchedule"}],
            "terminationGracePeriodSeconds": 30,
        },
    }


def bare(schema: Mapping[str, Any]) -> cs.CoreSchema:
    """A validator of the same shape that checks types only."""
    match schema.get("type"):
        case "string":
            return cs.str_schema(strict=True)
        case "integer":
            return cs.int_schema(strict=True)
        case "boolean":
            return cs.bool_schema(strict=True)
        case "array":
            return cs.list_schema(bare(schema["items"]), strict=True)
        case "object" if "properties" in schema:
            fields = {
                name: cs.typed_dict_field(bare(child), required=False) for name, child in schema["properties"].items()
            }
            return cs.typed_dict_schema(fields, strict=True, extra_behavior="ignore")
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return cs.dict_schema(cs.str_schema(strict=True), bare(schema["additionalProperties"]), strict=True)
    return cs.any_schema()


def once_us(work: Callable[[], object]) -> float:
    """Microseconds of one call, over a round of them."""
    begin = time.perf_counter()
    for _ in range(CALLS):
        work()
    return (time.perf_counter() - begin) / CALLS * 1e6


def refused(admit: Callable[[dict[str, Any]], object], obj: dict[str, Any]) -> None:
    """One admission that must fail."""
    try:
        admit(obj)
    except SchemaInvalid:
        return
    raise AssertionError("admitted what it should have refused")


def main() -> None:
    """Measure, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    rounds = 7 if parser.parse_args().quick else 25
    schema = next(found.schema for found in builtin_resources() if found.kind == "Pod")
    properties = {**schema["properties"], "metadata": OBJECT_META}
    floor = SchemaValidator(bare({**schema, "properties": properties}))
    compiled = compile_schema(schema)
    obj = pod()
    data = orjson.dumps(obj)
    plain = orjson.loads(data)
    del plain["metadata"]["creationTimestamp"]
    bad = orjson.loads(data)
    bad["spec"]["containers"][1]["image"] = 5
    works: dict[str, Callable[[], object]] = {
        "decode": lambda: orjson.loads(data),
        "floor": lambda: floor.validate_python(plain),
        "admit": lambda: compiled.admit(obj),
        "admit_noting_unknown": lambda: compiled.admit_noting_unknown(obj),
        "admit_bytes": lambda: compiled.admit_bytes(data),
        "refuse": lambda: refused(compiled.admit, bad),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(once_us(work))
    medians = {name: statistics.median(values) for name, values in times.items()}
    print(f"pod_bytes: {len(data)}")
    for name, value in medians.items():
        print(f"{name}_us: {value:.1f}")
    print(f"admit_over_floor: {medians['admit'] / medians['floor']:.2f}")
    print(f"admit_noting_unknown_over_floor: {medians['admit_noting_unknown'] / medians['floor']:.2f}")
    print(f"admit_bytes_over_floor: {medians['admit_bytes'] / (medians['decode'] + medians['floor']):.2f}")


if __name__ == "__main__":
    main()
