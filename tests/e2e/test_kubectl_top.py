"""Stock kubectl shows what nodes and pods use: `kubectl top`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.kubectl import SKEW, kubectl_of
from tests.support.up import Up, ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BUNDLES = {
    "busy": "module.exports.default = async (c) => { for (;;) { const t = Date.now(); while (Date.now() - t < 50);"
    " await new Promise((r) => setTimeout(r, 200)); } };",
    "quiet": "module.exports.default = async (c) => { await new Promise((r) => c.onShutdown(r)); };",
}


def pod(name: str) -> str:
    container = {"name": name, "image": f"pack.stark/{name}:1.0.0"}
    meta = {"name": name, "labels": {"app": name, "suite": "top"}}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def test_kubectl_top_shows_the_busy_above_the_quiet(on_sqlite: Up, tmp_path: Path) -> None:
    up = on_sqlite
    for name, source in BUNDLES.items():
        bundle = tmp_path / f"{name}.js"
        bundle.write_text(source)
        up.starkctl("pack", "register", str(bundle), "--name", name, "--ver", "1.0.0", "--runtime", "node")
        up.kubectl("apply", "-f", "-", stdin=pod(name))
    up.until("both run", lambda: [ready(each) for each in up.pods("suite=top")] == [True, True])
    metrics = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods?labelSelector=suite=top"
    listed = up.until(
        "both were measured",
        lambda: len(found := json.loads(up.kubectl("get", "--raw", metrics))["items"]) == 2 and found,
    )
    assert all(each["window"].endswith("s") and each["timestamp"].endswith("Z") for each in listed)
    for minor in SKEW:
        kubectl = str(kubectl_of(minor))
        rows = up.run(kubectl, "top", "pods", "-A", "-l", "suite=top", "--sort-by=cpu").splitlines()
        assert [row.split()[1] for row in rows[1:]] == ["busy", "quiet"]
        (_, row) = up.run(kubectl, "top", "pods", "quiet", "--containers").splitlines()
        assert row.split()[:2] == ["quiet", "quiet"]
        assert row.split()[3].endswith("Mi")
        (_, row) = up.run(kubectl, "top", "nodes").splitlines()
        assert row.split()[2].endswith("%")
        assert row.split()[4].endswith("%")
    up.kubectl("delete", "pods", "-l", "suite=top", "--wait=false")
