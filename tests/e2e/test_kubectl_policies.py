"""Priorities, budgets, services, ranges and quotas by the commands that kubectl's users type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.kubectl import kubectl_of
from tests.support.up import Up, ready, stark_up

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stark_up(tmp_path_factory.mktemp("policies")) as running:
        yield running


def kubectl(up: Up, *words: str, ok: bool = True, stdin: str | None = None) -> str:
    return up.run(str(kubectl_of("1.33")), *words, ok=ok, stdin=stdin)


def running(up: Up, count: int) -> list[dict[str, Any]]:
    def holds() -> list[dict[str, Any]] | None:
        pods = up.pods("app=hello")
        return pods if len(pods) == count == sum(map(ready, pods)) else None

    found: list[dict[str, Any]] = up.until(f"{count} pods are ready", holds)
    return found


@pytest.mark.slow
def test_a_service_is_found_where_it_listens_and_a_drain_waits_for_the_budget(up: Up) -> None:
    up.starkctl(
        "pack", "register", "examples/hello-node/bundle.js", "--name", "hello", "--ver", "1.0.0", "--runtime", "node"
    )
    kubectl(up, "apply", "-f", "manifests/examples/hello.yaml")
    kubectl(up, "scale", "deployment", "hello", "--replicas=2")
    pods = running(up, 2)
    the_service(up, pods)
    the_budget(up, pods)


def the_service(up: Up, pods: list[dict[str, Any]]) -> None:
    assert "exposed" in kubectl(up, "expose", "deployment", "hello", "--port", "80", "--target-port", "http")
    wanted = sorted(json.loads(pod["metadata"]["annotations"]["stark.dev/ports"])["http"] for pod in pods)

    def found() -> bool:
        slices = json.loads(kubectl(up, "get", "endpointslices", "-o", "json"))["items"]
        return sorted(each["ports"][0]["port"] for each in slices for _ in each["endpoints"]) == wanted

    up.until("the slices say where the pods listen", found)
    table = kubectl(up, "get", "svc,endpointslices")
    assert "service/hello   ClusterIP   None" in table
    assert "80/TCP" in table
    assert "endpointslice.discovery.k8s.io/hello-" in table
    described = kubectl(up, "describe", "svc", "hello")
    assert all(text in described for text in ("Selector:", "app=hello", "http/TCP", str(wanted[0])))
    kubectl(up, "create", "service", "clusterip", "idle", "--tcp=80:8080")
    refused = kubectl(up, "create", "service", "nodeport", "outside", "--tcp=80:8080", ok=False)
    assert 'Unsupported value: "NodePort"' in refused
    kubectl(up, "delete", "svc", "hello", "idle")


def the_budget(up: Up, pods: list[dict[str, Any]]) -> None:
    kubectl(up, "create", "poddisruptionbudget", "hello", "--selector=app=hello", "--min-available=2")
    up.until(
        "the budget is counted", lambda: "2               N/A               0" in kubectl(up, "get", "pdb", "hello")
    )
    node = pods[0]["spec"]["nodeName"]
    drain = ("drain", node, "--pod-selector=app=hello", "--ignore-daemonsets", "--force")
    assert "violate the pod's disruption budget" in kubectl(up, *drain, "--timeout=3s", ok=False)
    assert {pod["metadata"]["uid"] for pod in running(up, 2)} == {pod["metadata"]["uid"] for pod in pods}
    kubectl(up, "patch", "pdb", "hello", "--type=merge", "-p", '{"spec":{"minAvailable":0}}')
    assert f"node/{node} drained" in kubectl(up, *drain, "--timeout=60s")
    kubectl(up, "uncordon", node)
    kubectl(up, "delete", "pdb", "hello")
    kubectl(up, "delete", "deployment", "hello")


def test_quotas_ranges_and_priorities(up: Up) -> None:
    kubectl(up, "create", "namespace", "small")
    kubectl(up, "create", "quota", "few", "--hard=pods=1,count/configmaps=5", "-n", "small")
    up.until("the quota is counted", lambda: "pods: 0/1" in kubectl(up, "get", "quota", "-n", "small"))
    kubectl(up, "create", "priorityclass", "mine", "--value=7", "--description=mine")
    assert "PreemptLowerPriority" in kubectl(up, "get", "pc", "mine")
    image = ("--image=pack.stark/none:1.0.0", "-n", "small")
    limits = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": "small"}}
    items = [{"type": "Container", "default": {"cpu": "100m"}}]
    kubectl(up, "apply", "-f", "-", stdin=json.dumps({**limits, "spec": {"limits": items}}))
    overrides = json.dumps({"apiVersion": "v1", "spec": {"priorityClassName": "mine"}})
    kubectl(up, "run", "one", *image, f"--overrides={overrides}")
    spec = json.loads(kubectl(up, "get", "pod", "one", "-n", "small", "-o", "json"))["spec"]
    assert (spec["priority"], spec["containers"][0]["resources"]["limits"]) == (7, {"cpu": "100m"})
    refused = kubectl(up, "run", "two", *image, ok=False)
    assert "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1" in refused
    kubectl(up, "delete", "pod", "one", "-n", "small", "--now")
    up.until("the place is free again", lambda: "pods: 0/1" in kubectl(up, "get", "quota", "-n", "small"))
    kubectl(up, "run", "two", *image)
    described = kubectl(up, "describe", "namespace", "small")
    assert "few" in described
    assert "Container" in described
    kubectl(up, "delete", "namespace", "small", "--wait=false")
