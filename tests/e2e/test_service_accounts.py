"""Programs in pods and their service account: clients of other people's making find it, and it is renewed under them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.support.kubectl import kubectl
from tests.support.up import Up, stark_up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MOUNTED = "/var/run/secrets/kubernetes.io/serviceaccount"
PACK = """
import time

def default(context):
    while True:
        time.sleep(1)
"""
KUBERNETES = """
from kubernetes import client, config
config.load_incluster_config()
api = client.AuthenticationV1Api()
print(api.create_self_subject_review(client.V1SelfSubjectReview()).status.user_info.username)
"""
KUBERNETES_ASYNCIO = """
import asyncio
from kubernetes_asyncio import client, config
async def main():
    config.load_incluster_config()
    async with client.ApiClient() as api:
        review = await client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
        print(review.status.user_info.username)
asyncio.run(main())
"""
KR8S = """
import asyncio, kr8s.asyncio
async def main():
    api = await kr8s.asyncio.api()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    where = {"base": "/apis/authentication.k8s.io", "version": "v1", "url": "selfsubjectreviews"}
    async with api.call_api("POST", json=review, **where) as answer:
        print(answer.json()["status"]["userInfo"]["username"], api.namespace)
asyncio.run(main())
"""
LIGHTKUBE = """
from lightkube import Client
from lightkube.generic_resource import create_global_resource
client = Client()
kind = create_global_resource("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews")
print(client.create(kind(metadata={}))["status"]["userInfo"]["username"], client.namespace)
"""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    folder = tmp_path_factory.mktemp("accounts")
    with stark_up(folder) as running:
        (folder / "still.py").write_text(PACK)
        command = ("pack", "register", str(folder / "still.py"), "--name", "still", "--ver", "1.0.0")
        running.starkctl(*command, "--runtime", "python")
        running.kubectl("create", "serviceaccount", "robot")
        create(running, "box", serviceAccountName="robot")
        # The clients are installed where this test is, which may be a place that other pods do not see.
        create(running, "client", {"stark.dev/isolation": "trusted"}, serviceAccountName="robot")
        create(running, "bare", automountServiceAccountToken=False)
        yield running


def create(up: Up, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
    containers = [{"name": "main", "image": "pack.stark/still:1.0.0"}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": annotations or {}}}
    whole = {**pod, "spec": {"containers": containers, "terminationGracePeriodSeconds": 1, **spec}}
    up.kubectl("create", "-f", "-", stdin=json.dumps(whole))
    up.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def inside(up: Up, pod: str, *command: str) -> str:
    done = subprocess.run(
        ["kubectl", "exec", pod, "--", *command],
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.strip()


def folder_of(up: Up, pod: str) -> Path:
    uid = up.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.uid}").strip()
    (found,) = (up.data_dir / "agents").glob(f"*/pods/{uid}/serviceaccount")
    return found


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="a view of its own takes root")
ROBOT = "system:serviceaccount:default:robot"


@NEEDS_ROOT
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(KUBERNETES, id="kubernetes"),
        pytest.param(KUBERNETES_ASYNCIO, id="kubernetes_asyncio"),
        pytest.param(KR8S, id="kr8s"),
        pytest.param(LIGHTKUBE, id="lightkube"),
    ],
)
def test_a_client_finds_the_pods_account_where_it_always_looks(up: Up, program: str) -> None:
    assert inside(up, "client", sys.executable, "-c", program).startswith(ROBOT)


@NEEDS_ROOT
def test_kubectl_in_a_pod_is_the_pods_account(up: Up) -> None:
    said = json.loads(inside(up, "box", str(kubectl()), "auth", "whoami", "-o", "json"))
    assert said["status"]["userInfo"]["username"] == ROBOT
    assert said["status"]["userInfo"]["extra"]["authentication.kubernetes.io/pod-name"] == ["box"]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(KUBERNETES.replace("load_incluster_config", "load_kube_config"), id="kubernetes"),
        pytest.param(KR8S, id="kr8s"),
        pytest.param(LIGHTKUBE, id="lightkube"),
    ],
)
def test_a_client_that_is_pointed_to_the_kubeconfig_is_the_pods_account(up: Up, program: str) -> None:
    """What a pod has that can be given no view of its own."""
    pointer = f"KUBECONFIG={folder_of(up, 'client')}/kubeconfig"
    assert inside(up, "client", "env", pointer, sys.executable, "-c", program).startswith(ROBOT)


def test_the_files_are_the_pods_alone_and_it_cannot_change_them(up: Up) -> None:
    folder = folder_of(up, "box")
    assert folder.stat().st_mode & 0o007 == 0
    assert (folder / "namespace").read_text() == "default"
    assert (folder / "ca.crt").read_bytes() == (up.data_dir / "pki" / "ca.crt").read_bytes()
    for file in folder.iterdir():
        assert file.stat().st_mode & 0o007 == 0
    claims = jwt.decode((folder / "token").read_text(), options={"verify_signature": False})
    assert claims["sub"] == ROBOT
    assert claims["kubernetes.io"]["pod"]["name"] == "box"
    if os.geteuid() == 0:
        said = inside(up, "box", "sh", "-c", f"cat {MOUNTED}/namespace; echo; echo x > {MOUNTED}/token || echo no")
        assert said.splitlines() == ["default", "no"]


def test_a_pod_that_wants_no_token_has_none(up: Up) -> None:
    said = inside(up, "bare", "sh", "-c", "env")
    assert "KUBERNETES_SERVICE_HOST=127.0.0.1" in said
    assert "STARK_SERVICE_ACCOUNT_DIR" not in said
    assert "KUBECONFIG" not in said


def test_an_old_token_is_renewed_under_a_running_program(up: Up) -> None:
    folder = folder_of(up, "box")
    before, old = (folder / "token").read_text(), time.time() - 3_600
    os.utime(folder / "token", (old, old))
    up.child("stark.agent").kill()
    deadline = time.monotonic() + 60
    while (folder / "token").read_text() == before:
        assert time.monotonic() < deadline, "not renewed"
        time.sleep(0.1)
    if os.geteuid() == 0:
        assert inside(up, "box", "cat", f"{MOUNTED}/token") == (folder / "token").read_text()
        assert inside(up, "client", sys.executable, "-c", KUBERNETES) == ROBOT
