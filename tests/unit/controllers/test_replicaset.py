"""What a ReplicaSet makes and gives up, in which order, and how it reports."""

from __future__ import annotations

import pytest

from stark.controllers.kit.claims import claim
from stark.controllers.replicaset.planning import (
    BURST_MAX,
    Failure,
    batches,
    new_pod,
    plan,
    same_status,
    status_of,
    surplus,
)
from stark.crds.annotations import OWNER, OWNER_ROLE
from stark.crds.apps import ReplicaSet
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, owned_by, pod, replica_set

LEAVING = {"deletionTimestamp": at(0)}


def running(name: str, *, node: str = "n1", ready: float | None = -100, **more: object) -> Pod:
    return pod(name, node=node, phase="Running", ready=ready, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("replicas", "pods", "create", "delete"),
    [
        pytest.param(3, [], 3, [], id="missing pods are made"),
        pytest.param(2, [running("a"), running("b")], 0, [], id="enough is enough"),
        pytest.param(1, [pod("a", phase="Failed")], 1, [], id="a failed pod is replaced"),
        pytest.param(1, [pod("a", node="n", phase="Succeeded")], 1, [], id="a finished pod is replaced"),
        pytest.param(1, [running("a", metadata=LEAVING)], 1, [], id="a pod on its way out is replaced"),
        pytest.param(0, [running("a", metadata=LEAVING)], 0, [], id="a pod on its way out is not deleted twice"),
        pytest.param(1, [running("a"), pod("b")], 0, ["b"], id="what is not placed goes first"),
        pytest.param(10_000, [], BURST_MAX, [], id="one reconcile makes only so many"),
    ],
)
def test_a_replica_set_keeps_its_count(replicas: int, pods: list[Pod], create: int, delete: list[str]) -> None:
    step = plan(replica_set("web-1", replicas), pods, pods, NOW)
    assert (step.create, [each.metadata.name for each in step.delete]) == (create, delete)


def test_a_replica_set_that_is_being_deleted_neither_makes_nor_deletes() -> None:
    rs = replica_set("web-1", 3, metadata=LEAVING)
    assert plan(rs, [], [], NOW).create == 0
    assert plan(rs, [running(str(n)) for n in range(5)], [], NOW).delete == ()


@pytest.mark.parametrize(
    ("kept", "given_up"),
    [
        pytest.param(pod("a", node="n"), pod("b"), id="the one without a node"),
        pytest.param(running("a"), pod("b", node="n1", phase="Pending"), id="the one that does not run yet"),
        pytest.param(running("a"), running("b", ready=None), id="the one that is not ready"),
        pytest.param(
            running("a", metadata={"annotations": {"controller.kubernetes.io/pod-deletion-cost": "10"}}),
            running("b"),
            id="the cheaper one by its annotation",
        ),
        pytest.param(running("b", ready=-100), running("a", ready=-5), id="the one that became ready last"),
        pytest.param(running("b"), running("a", restarts=3), id="the one that was restarted more often"),
        pytest.param(running("b", created=-500), running("a", created=-100), id="the younger one"),
    ],
)
def test_the_pod_missed_least_is_given_up(kept: Pod, given_up: Pod) -> None:
    assert surplus([kept, given_up], 1, [], NOW) == [given_up]
    assert surplus([given_up, kept], 1, [], NOW) == [given_up]


def test_the_pod_on_the_more_crowded_node_is_given_up() -> None:
    alone, one, two = running("c", node="n1"), running("b", node="n2"), running("a", node="n2")
    sibling = running("of-another-set", node="n1")
    finished = [pod(f"old-{n}", node="n1", phase="Failed") for n in range(3)]
    assert surplus([alone, one], 1, [alone, one, two], NOW)[0] is one
    assert surplus([alone, one], 1, [alone, one, sibling, *finished], NOW)[0] is alone


def test_batches_double_and_add_up() -> None:
    assert list(batches(10)) == [1, 2, 4, 3]
    assert list(batches(0)) == []
    assert sum(batches(500)) == 500


def test_a_new_pod_belongs_to_its_replica_set_and_looks_like_the_template() -> None:
    made = new_pod(replica_set("web-1", 1))
    assert (made.metadata.generate_name, made.metadata.namespace) == ("web-1-", "default")
    assert made.metadata.labels == {"app": "web", "pod-template-hash": "web-1"}
    owner = made.metadata.owner_references[0]
    assert (owner.kind, owner.uid, owner.controller, owner.block_owner_deletion) == (
        "ReplicaSet",
        "uid-web-1",
        True,
        True,
    )
    assert made.spec.containers[0].image == "pack.stark/web:1.0.0"


def test_the_status_counts_active_pods_only() -> None:
    rs = replica_set("web-1", 4, spec={"minReadySeconds": 30})
    full = {"labels": {"app": "web", "pod-template-hash": "web-1"}}
    pods = [
        running("long-ready", ready=-60, metadata=full),
        running("just-ready", ready=-10),
        running("starting", ready=None),
        running("leaving", metadata=LEAVING),
        pod("failed", node="n", phase="Failed"),
    ]
    status = status_of(rs, pods, None, NOW)
    assert (status.replicas, status.ready_replicas, status.available_replicas) == (3, 2, 1)
    assert (status.fully_labeled_replicas, status.terminating_replicas, status.observed_generation) == (1, 1, 1)
    assert plan(rs, pods, pods, NOW).recheck_after_s == 20


def test_a_failure_is_a_condition_until_it_is_over() -> None:
    rs = replica_set("web-1", 1)
    failed = status_of(rs, [], Failure("FailedCreate", "quota exceeded"), NOW)
    (condition,) = failed.conditions
    assert (condition.type, condition.status, condition.reason) == ("ReplicaFailure", "True", "FailedCreate")
    told = rs.model_copy(update={"status": failed})
    assert same_status(status_of(told, [], Failure("FailedCreate", "quota exceeded"), NOW), failed)
    assert status_of(told, [], None, NOW).conditions == []


MINE = {"ownerReferences": owned_by("web-1")}
MATCHING = {"app": "web", "pod-template-hash": "web-1"}


@pytest.mark.parametrize(
    ("metadata", "verdict"),
    [
        pytest.param({**MINE, "labels": MATCHING}, "owned", id="mine and matching stays mine"),
        pytest.param({**MINE, "labels": {"app": "other"}}, "release", id="mine and no longer matching is released"),
        pytest.param({"labels": MATCHING}, "adopt", id="nobody's and matching is adopted"),
        pytest.param({"labels": {"app": "other"}}, "", id="nobody's and not matching is left alone"),
        pytest.param({"ownerReferences": owned_by("x"), "labels": MATCHING}, "", id="another's is left alone"),
        pytest.param({"labels": MATCHING, **LEAVING}, "", id="what is on its way out is not adopted"),
        pytest.param(
            {"labels": MATCHING, "annotations": {OWNER: "bob", OWNER_ROLE: "user"}},
            "",
            id="another user's is left alone",
        ),
    ],
)
def test_a_pod_belongs_to_a_replica_set_when(metadata: dict[str, object], verdict: str) -> None:
    candidate = pod("p", metadata=metadata)
    rs = replica_set("web-1", 1)
    claims = claim(rs, rs.spec.selector.compiled(), [candidate])
    found = {"owned": claims.owned, "adopt": claims.adopt, "release": claims.release}
    assert {name for name, pods in found.items() if pods} == ({verdict} if verdict else set())


def test_an_owner_on_its_way_out_claims_nothing_new_and_lets_nothing_go() -> None:
    rs: ReplicaSet = replica_set("web-1", 1, metadata=LEAVING)
    orphan = pod("p", metadata={"labels": MATCHING})
    strayed = pod("q", metadata={**MINE, "labels": {"app": "other"}})
    claims = claim(rs, rs.spec.selector.compiled(), [orphan, strayed])
    assert (claims.owned, claims.adopt, claims.release) == ((strayed,), (), ())
