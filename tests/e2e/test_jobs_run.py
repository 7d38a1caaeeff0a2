"""Jobs whose pods are real processes: they end by themselves, and what they wrote can be read by the job's name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.up import Up, stark_up

pytestmark = pytest.mark.timeout(120)

BUNDLE = """
module.exports.default = async function sums() {
  console.log("number " + process.env.JOB_COMPLETION_INDEX);
  if (process.env.FAIL) throw new Error("as asked");
};
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stark_up(tmp_path_factory.mktemp("jobs")) as running:
        yield running


def job(name: str, *, fail: bool = False, **spec: object) -> str:
    env = [{"name": "FAIL", "value": "1"}] if fail else []
    container = {"name": "main", "image": "pack.stark/sums:1.0.0", "env": env}
    template = {"spec": {"containers": [container], "restartPolicy": "Never"}}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"template": template, **spec}}
    return json.dumps(body)


def test_processes_that_end_complete_a_job_or_fail_it(up: Up, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.js"
    bundle.write_text(BUNDLE)
    up.starkctl("pack", "register", str(bundle), "--name", "sums", "--ver", "1.0.0", "--runtime", "node")
    up.kubectl("create", "-f", "-", stdin=job("good", completions=2, parallelism=2, completionMode="Indexed"))
    up.kubectl("create", "-f", "-", stdin=job("bad", fail=True, backoffLimit=0))
    assert "condition met" in up.kubectl("wait", "--for=condition=complete", "job/good", "--timeout=30s")
    assert "condition met" in up.kubectl("wait", "--for=condition=failed", "job/bad", "--timeout=30s")
    assert "number " in up.kubectl("logs", "job/good")
    lines = up.starkctl("logs", "job/good", "--all-pods").splitlines()
    assert sorted(line.rpartition(" ")[2] for line in lines if "number" in line) == ["0", "1"]
    assert up.kubectl("get", "jobs", "--no-headers").split()[:3] == ["bad", "Failed", "0/1"]
