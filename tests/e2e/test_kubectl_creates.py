"""What kubectl creates without a file: JSON up to 1.31, protobuf from 1.32 on, and no difference in what comes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.kubectl import kubectl_of
from tests.support.up import Up, stark_up

VERSIONS = ("1.31", "1.32", "1.33")
IMAGE = "pack.stark/hello:1.0.0"

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """No agents: nothing but the client changes what was created."""
    with stark_up(tmp_path_factory.mktemp("creates"), "sqlite", "--agents", "0") as running:
        yield running


@dataclass
class Kubectl:
    """One version of kubectl, in a namespace of its own."""

    up: Up
    binary: Path
    namespace: str

    def __call__(self, *words: str, ok: bool = True, stdin: str | None = None) -> str:
        return self.up.run(str(self.binary), "-n", self.namespace, *words, ok=ok, stdin=stdin)

    def get(self, *words: str) -> Any:
        return json.loads(self("get", *words, "-o", "json"))


def kubectl_for(up: Up, version: str, test: str) -> Kubectl:
    """The binary of a version; its namespace is made by itself too."""
    binary = kubectl_of(version)
    namespace = f"{test}-{version.replace('.', '-')}"
    assert up.run(str(binary), "create", "namespace", namespace) == f"namespace/{namespace} created\n"
    return Kubectl(up, binary, namespace)


@pytest.fixture(params=[*(pytest.param(each, marks=pytest.mark.slow) for each in VERSIONS[:-1]), VERSIONS[-1]])
def kubectl(request: pytest.FixtureRequest, up: Up) -> Kubectl:
    version: str = request.param
    return kubectl_for(up, version, request.function.__name__.removeprefix("test_").replace("_", "-")[:40])


def test_config_and_secrets_keep_their_bytes(kubectl: Kubectl, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(b"a\xff\0b")
    kubectl("create", "configmap", "settings", "--from-literal=greeting=grüße", f"--from-file={blob}")
    settings = kubectl.get("configmap", "settings")
    assert (settings["data"], settings["binaryData"]) == ({"greeting": "grüße"}, {"blob": "Yf8AYg=="})
    kubectl("create", "secret", "generic", "password", "--from-literal=word=sesame", f"--from-file={blob}")
    password = kubectl.get("secret", "password")
    assert (password["type"], password["data"]) == ("Opaque", {"word": "c2VzYW1l", "blob": "Yf8AYg=="})
    kubectl("create", "serviceaccount", "robot")
    assert "already exists" in kubectl("create", "serviceaccount", "robot", ok=False)


def test_questions_about_oneself_are_answered(kubectl: Kubectl) -> None:
    assert "admin" in kubectl("auth", "whoami")
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "system:masters" in kubectl("auth", "whoami")
    assert "*.*" in kubectl("auth", "can-i", "--list")
    other = ("--as=nobody", "--as-group=system:authenticated")
    assert "no\n" in kubectl("auth", "can-i", "create", "pods", *other, ok=False)


def test_a_file_is_still_read_as_json_and_strictly(kubectl: Kubectl) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "typed"}, "dta": {}}
    refused = kubectl("create", "-f", "-", stdin=json.dumps(body), ok=False)
    assert 'strict decoding error: unknown field "dta"' in refused
    assert 'unknown field "dta"' in kubectl("create", "--validate=warn", "-f", "-", stdin=json.dumps(body))


def test_run_is_told_what_a_pod_cannot_have_and_makes_the_rest(kubectl: Kubectl) -> None:
    command = (
        "--image=" + IMAGE,
        "--port=80",
        "--env=A=b",
        "--labels=x=y",
        "--restart=Never",
    )
    refused = kubectl("run", "one", *command, "--privileged", "--attach=false", "--", "arg", ok=False)
    assert "spec.containers[0].securityContext.privileged: Forbidden" in refused
    said = kubectl("run", "one", *command, "--attach=false", "--", "arg")
    assert "pod/one created" in said
    assert "dnsPolicy" not in said
    pod = kubectl.get("pod", "one")
    assert (pod["metadata"]["labels"], pod["spec"]["restartPolicy"]) == ({"x": "y"}, "Never")
    container = pod["spec"]["containers"][0]
    assert (container["args"], container["env"]) == (["arg"], [{"name": "A", "value": "b"}])


CREATES: dict[str, tuple[str, ...]] = {
    "deployment": ("deployment", "web", "--image=" + IMAGE, "--replicas=2", "--port=80"),
    "idle deployment": ("deployment", "web", "--image=" + IMAGE, "--replicas=0", "--", "serve", "--fast"),
    "configmap": ("configmap", "web", "--from-literal=a=b", "--from-literal=empty="),
    "serviceaccount": ("serviceaccount", "web"),
}


@pytest.mark.parametrize("command", [pytest.param(words, id=name) for name, words in CREATES.items()])
def test_every_version_creates_the_same_object(up: Up, command: tuple[str, ...], request: Any) -> None:
    test = "same-" + request.node.callspec.id.replace(" ", "-")
    made = []
    for version in VERSIONS:
        kubectl = kubectl_for(up, version, test)
        assert "created" in kubectl("create", *command)
        made.append(described(kubectl.get(command[0], "web")))
    assert made[1:] == made[:1] * 2


def described(obj: dict[str, Any]) -> dict[str, Any]:
    """What is the same whoever made it, and when."""
    meta = obj["metadata"]
    return {**obj, "metadata": {"name": meta["name"], "labels": meta.get("labels")}, "status": None}
