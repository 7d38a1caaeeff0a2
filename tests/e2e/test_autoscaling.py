"""A workload grows while its pods are busy and shrinks when they are not, on a real agent, as kubectl shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubectl import SKEW, kubectl_of
from tests.support.up import Up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

BURN = """import os
import threading
import time

def main(context):
    stopped = threading.Event()
    context.on_shutdown(stopped.set)
    while not stopped.wait(0.1):
        end = time.monotonic() + (0.025 if not os.path.exists("/tmp/idle") else 0)
        while time.monotonic() < end:
            pass
"""
"""Uses a fifth of a core until a file is there, and nothing from then on."""


def deployment() -> str:
    container = {
        "name": "main",
        "image": "pack.stark/burn:1.0.0",
        "resources": {"requests": {"cpu": "50m"}},
    }
    template = {"metadata": {"labels": {"app": "burn"}}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "burn"}}, "template": template}
    return json.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burn"}, "spec": spec})


def test_a_busy_workload_grows_and_an_idle_one_shrinks(on_sqlite: Up, tmp_path: Path) -> None:
    up, bundle = on_sqlite, tmp_path / "burn.py"
    bundle.write_text(BURN)
    up.starkctl("pack", "register", str(bundle), "--name", "burn", "--ver", "1.0.0", "--runtime", "python")
    patience = {"spec": {"autoscalerPeriodSeconds": 3}}
    up.kubectl("patch", "clusterconfig", "cluster", "--type=merge", "-p", json.dumps(patience))
    up.kubectl("apply", "-f", "-", stdin=deployment())
    up.kubectl("autoscale", "deployment", "burn", "--min=1", "--max=2", "--cpu-percent=100")
    window = {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 1}}}}
    up.kubectl("patch", "hpa", "burn", "--type=merge", "-p", json.dumps(window))

    def seen() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(up.kubectl("get", "hpa", "burn", "-o", "json"))["status"]
        return found

    up.until("it has grown", lambda: seen().get("currentReplicas") == 2, timeout=90)
    assert len(up.pods("app=burn")) == 2
    for minor in SKEW:
        kubectl = str(kubectl_of(minor))
        heading, row = up.run(kubectl, "get", "hpa", "burn").splitlines()
        assert heading.split() == ["NAME", "REFERENCE", "TARGETS", "MINPODS", "MAXPODS", "REPLICAS", "AGE"]
        assert row.split()[:3] == ["burn", "Deployment/burn", "cpu:"]
        assert row.split()[3].endswith("%/100%")
        told = up.run(kubectl, "describe", "hpa", "burn")
        assert "resource cpu on pods  (as a percentage of request):" in told
        assert "ScalingActive   True    ValidMetricFound" in told
        assert "New size: 2; reason: cpu resource utilization (percentage of request) above target" in told
    for pod in up.pods("app=burn"):
        up.kubectl("exec", pod["metadata"]["name"], "--", "touch", "/tmp/idle")
    up.until("it has shrunk", lambda: seen()["currentReplicas"] == seen()["desiredReplicas"] == 1, timeout=90)
    up.kubectl("delete", "hpa/burn", "deployment/burn", "--wait=false")
    up.kubectl("patch", "clusterconfig", "cluster", "--type=merge", "-p", '{"spec":{"autoscalerPeriodSeconds":15}}')
