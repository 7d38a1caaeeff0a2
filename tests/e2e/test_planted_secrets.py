"""A secret is planted, used by a pod and mistreated in many ways: then everything that is written or shown is searched."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.test_main_job import process_of, register, running
from tests.support.up import Up, stark_up

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]

FIRST, SECOND = "planted-one-Kq7Zt", "planted-two-Wm4Rx"
FORMS = {
    form
    for text in (FIRST, SECOND)
    # A base64 text may begin at any of three places in another one.
    for form in (text, *(base64.b64encode(b"x" * skip + text.encode()).decode()[4:-4] for skip in (0, 1, 2)))
}


def secret(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "planted"}, "stringData": data}


def workload() -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "pack.stark/hello-python:1.0.0",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "FIRST", "valueFrom": {"secretKeyRef": {"name": "planted", "key": "first"}}}],
        "envFrom": [{"secretRef": {"name": "planted"}, "prefix": "ALL_"}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "annotations": {"stark.dev/rollout-on-change": "true"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


def shown(text: str | bytes) -> list[str]:
    """The forms of the secret that are in it."""
    raw = text if isinstance(text, bytes) else text.encode()
    return [form for form in FORMS if form.encode() in raw]


def files_that_show(*directories: Path) -> list[tuple[Path, list[str]]]:
    """Every file below them in which a form of the secret is."""
    found = [(path, shown(path.read_bytes())) for where in directories for path in where.rglob("*") if path.is_file()]
    return [(path, forms) for path, forms in found if forms]


def command_lines() -> list[str]:
    """Of all processes of this machine."""
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append("\0".join(process.cmdline()))
        except psutil.Error:
            continue
    return lines


def test_a_planted_secret_is_found_nowhere_but_where_it_is_used(tmp_path: Path) -> None:
    with stark_up(tmp_path) as up:
        used_by_a_pod(up)
        refused(up)
        up.starkctl("secrets", "rotate-key")
        assert files_that_show(up.data_dir) == []
        assert not any(shown(line) for line in command_lines())
        assert not shown("".join(up.output))
        up.kubectl("delete", "deployment/web", "secret/planted")
    assert files_that_show(up.data_dir) == []


def used_by_a_pod(up: Up) -> None:
    register(up, "hello-python", "1.0.0", "examples/hello-python/main.py", "python")
    up.starkctl("apply", "-f", "-", stdin=json.dumps(secret(first=FIRST)))
    up.starkctl("apply", "-f", "-", stdin=json.dumps(workload()))
    (pod,) = running(up, "app=web", 1)
    environment = process_of(up, pod).environ()
    assert (environment["FIRST"], environment["ALL_first"]) == (FIRST, FIRST)
    up.starkctl("apply", "-f", "-", stdin=json.dumps(secret(first=FIRST, second=SECOND)))

    def replaced() -> bool:
        pods = up.pods("app=web")
        return len(pods) == 1 and pods[0]["metadata"]["uid"] != pod["metadata"]["uid"]

    up.until("the pod replaced, for its secret has changed", replaced)
    (pod,) = running(up, "app=web", 1)
    assert process_of(up, pod).environ()["ALL_second"] == SECOND
    for program in (up.starkctl, up.kubectl):
        for words in (
            ("get", "secrets"),
            ("describe", "secret", "planted"),
            ("describe", "pod", pod["metadata"]["name"]),
            ("describe", "deployment", "web"),
            ("get", "deployments,pods,replicasets,events", "-o", "yaml"),
        ):
            assert not shown(program(*words)), words


def refused(up: Up) -> None:
    for body in (
        {**secret(), "data": {"first": FIRST + "!"}},
        {**secret(), "data": FIRST},
        {**secret(first=FIRST), "metadata": {"name": "Not A Name"}},
        {**secret(first=FIRST), "immutable": SECOND},
    ):
        assert not shown(up.kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(body), ok=False))
    patch = json.dumps([{"op": "test", "path": "/data/first", "value": SECOND}])
    file = up.directory / "patch.json"
    file.write_text(patch)
    assert not shown(up.kubectl("patch", "secret", "planted", "--type=json", f"--patch-file={file}", ok=False))
    file.unlink()
