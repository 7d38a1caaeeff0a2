"""The scheduler passes over its own binding when it comes back, and over nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from stark.client.cached import Cached
from stark.client.informer import Change
from stark.client.kinds import kind_of
from stark.controllers.scheduler.echo import is_echo
from stark.controllers.scheduler.snapshot import Placed
from stark.crds.annotations import POD_GROUP
from stark.crds.placement.facts import Demand
from stark.crds.pods import Pod

Body = dict[str, Any]

WAITING: Body = {
    "metadata": {
        "name": "web", "namespace": "default", "uid": "u1", "resourceVersion": "5", "generation": 1,
        "labels": {"app": "web"}, "annotations": {"stark.dev/owner": "ada"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r1"}],
    },
    "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
    "status": {"phase": "Pending"},
}  # fmt: skip


def bound(body: Body) -> None:
    body["metadata"] |= {"resourceVersion": "6", "generation": 2}
    body["spec"]["nodeName"] = "n1"
    body["status"]["conditions"] = [{"type": "PodScheduled", "status": "True"}]


def echo(
    change: Callable[[Body], object], assumed: str | None = "n1", *, looked_at: bool = True, group: str = ""
) -> bool:
    waiting = copy.deepcopy(WAITING)
    if group:
        waiting["metadata"]["labels"][POD_GROUP] = group
    after = copy.deepcopy(waiting)
    bound(after)
    change(after)
    before = Cached(kind_of(Pod), waiting)
    if looked_at:
        assert before.object.uid == "u1"
    placed = Placed(assumed, Demand()) if assumed is not None else None
    return is_echo(Change("default/web", before, Cached(kind_of(Pod), after)), placed)


def test_the_binding_that_we_assumed_is_an_echo() -> None:
    assert echo(lambda body: None)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda b: b["metadata"].update(uid="u2"), id="another pod of the name"),
        pytest.param(lambda b: b["metadata"].update(generation=3), id="another change of what it should be"),
        pytest.param(lambda b: b["metadata"].update(labels={"app": "other"}), id="other labels"),
        pytest.param(lambda b: b["metadata"].update(annotations={}), id="other annotations"),
        pytest.param(lambda b: b["metadata"].update(ownerReferences=[]), id="another owner"),
        pytest.param(lambda b: b["metadata"].update(deletionTimestamp="2025-01-01T00:00:00Z"), id="its deletion"),
        pytest.param(lambda b: b["spec"].update(nodeName="n2"), id="another node"),
        pytest.param(lambda b: b["status"].update(phase="Failed"), id="its end"),
        pytest.param(lambda b: b["status"].update(startTime="2025-01-01T00:00:00Z"), id="its start"),
    ],
)
def test_whatever_else_has_happened_is_news(change: Callable[[Body], object]) -> None:
    assert not echo(change)


def test_a_pod_that_was_not_assumed_not_looked_at_or_is_one_of_a_group_is_news() -> None:
    assert not echo(lambda body: None, assumed=None)
    assert not echo(lambda body: None, looked_at=False)
    assert not echo(lambda body: None, group="gang")
