"""A real operator on kopf: handlers, timers, daemons, finalizers, status and events, through `kopf run`."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import GROUP, definition, thing
from tests.support.up import Up

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

OPERATOR = Path(__file__).with_name("gardener.py")
FINALIZER = f"{GROUP}/gardener"


@pytest.fixture(scope="module")
def gardens(cluster: Up) -> Iterator[Up]:
    """A cluster that knows Gardens."""
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(definition("gardens", "Garden")))
    cluster.kubectl("wait", "--for=condition=Established", f"crd/gardens.{GROUP}")
    yield cluster
    cluster.kubectl("delete", "crd", f"gardens.{GROUP}", "--wait=false")


@contextmanager
def operator(cluster: Up, namespace: str, said: Path) -> Iterator[None]:
    """The operator, tending the namespace; what it says is written to the file, and must not be a complaint."""
    command = [sys.executable, "-m", "kopf", "run", str(OPERATOR), "--standalone", "-n", namespace]
    with (
        said.open("w") as output,
        subprocess.Popen(command, env=cluster.environment, stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert "Traceback" not in said.read_text(), said.read_text()


def test_an_operator_tends_its_objects_from_creation_to_deletion(gardens: Up, namespace: str, tmp_path: Path) -> None:
    with operator(gardens, namespace, tmp_path / "operator.log"):
        tend(gardens, namespace)


def tend(cluster: Up, namespace: str) -> None:
    """The life of a garden."""

    def found(*words: str) -> Any:
        return json.loads(cluster.kubectl("get", "-n", namespace, *words, "-o", "json", "--ignore-not-found") or "{}")

    def status() -> Any:
        return found("garden", "one").get("status") or {}

    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(thing("Garden", "one", 2)))
    cluster.until("it is planted", lambda: status().get("replicas") == 2)
    garden = found("garden", "one")
    assert garden["metadata"]["finalizers"] == [FINALIZER]
    assert garden["status"]["plant"] == {"planted": 2}
    assert found("configmap", "bed-one")["metadata"]["ownerReferences"][0]["uid"] == garden["metadata"]["uid"]
    cluster.until("it is watered again and again", lambda: status().get("watered") == 3)
    cluster.until("it is guarded", lambda: found("configmap", "guard-one"))

    cluster.kubectl("patch", "-n", namespace, "garden", "one", "--type=merge", "-p", '{"spec": {"size": 7}}')
    cluster.until("its bed has grown", lambda: found("configmap", "bed-one")["data"] == {"size": "7"})
    cluster.until("it says so", lambda: status().get("replicas") == 7)
    selector = f"involvedObject.uid={garden['metadata']['uid']}"
    reasons = cluster.until(
        "events were posted",
        lambda: (
            {"Planted", "Replanted"}
            <= {event["reason"] for event in found("events", "--field-selector", selector)["items"]}
        ),
    )
    assert reasons

    cluster.kubectl("delete", "-n", namespace, "garden", "one", "--timeout=30s")
    assert found("garden", "one") == {}
    assert found("configmap", "compost-one")["metadata"]["name"] == "compost-one"
    cluster.until("its bed goes with it", lambda: found("configmap", "bed-one") == {})


def test_an_operator_takes_up_what_was_made_before_it_came(gardens: Up, namespace: str, tmp_path: Path) -> None:
    gardens.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(thing("Garden", "early", 3)))
    words = ("get", "-n", namespace, "garden", "early", "-o", "jsonpath={.status.replicas}")
    with operator(gardens, namespace, tmp_path / "operator.log"):
        gardens.until("it is planted", lambda: gardens.kubectl(*words) == "3")
        gardens.kubectl("delete", "-n", namespace, "garden", "early", "--timeout=30s")
