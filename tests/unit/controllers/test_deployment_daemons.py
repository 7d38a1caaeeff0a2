"""The mode DaemonSet of a Deployment: what is made of it, the ways in and out, and the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.deployment.daemons import daemon_set_of
from stark.controllers.deployment.planning import Observed, Plan, plan
from stark.controllers.deployment.revisions import new_replica_set
from stark.crds.apps import DaemonSet, Deployment, ReplicaSet
from stark.crds.conditions import find_condition
from stark.crds.meta import decode, to_wire
from tests.support.workloads import NOW, at, deployment, meta, owned_by, replica_set

NEW = "pack.stark/web:2.0.0"
RECREATE = {"strategy": {"type": "Recreate"}}


def everywhere(replicas: int = 0, **more: Any) -> Deployment:
    return deployment(replicas, metadata={"annotations": {"stark.dev/mode": "DaemonSet"}}, **more)


def daemons(
    desired: int, available: int, *, of: Deployment | None = None, updated: int | None = None, **more: Any
) -> DaemonSet:
    """The DaemonSet of `of` with pods on all nodes, so many of them available."""
    wire = to_wire(daemon_set_of(of or everywhere()))
    numbers = {
        "desiredNumberScheduled": desired,
        "currentNumberScheduled": desired,
        "updatedNumberScheduled": desired if updated is None else updated,
        "numberReady": available,
        "numberAvailable": available,
        "observedGeneration": 1,
    }
    head = meta("web", generation=1, ownerReferences=owned_by("web", "Deployment"))
    return decode({**wire, "metadata": {**head, **more.pop("metadata", {})}, "status": {**numbers, **more}}, DaemonSet)


def holder(of: Deployment | None = None, **more: Any) -> ReplicaSet:
    """The ReplicaSet without pods that holds the template."""
    made = new_replica_set(of or everywhere(), 1, 0, 0)
    held = {"uid": f"uid-{made.metadata.name}", "resource_version": "1", "generation": 1, **more}
    return made.model_copy(update={"metadata": made.metadata.model_copy(update=held)})


def step_of(web: Deployment, *sets: ReplicaSet, there: DaemonSet | None = None, running: bool = False) -> Plan:
    return plan(Observed(web, sets, running, there), NOW)


def sizes(step: Plan) -> dict[str, int]:
    return {change.rs.metadata.name: change.replicas for change in step.changes if change.replicas is not None}


def numbers(step: Plan) -> tuple[int | None, ...]:
    assert step.status is not None
    s = step.status
    return (s.replicas, s.updated_replicas, s.ready_replicas, s.available_replicas, s.unavailable_replicas)


def reason(step: Plan, type_: str) -> str | None:
    assert step.status is not None
    found = find_condition(step.status.conditions, type_)
    return found.reason if found is not None else None


def test_first_the_template_is_kept_then_the_daemon_set_is_made_of_it() -> None:
    first = step_of(everywhere())
    assert first.create is not None
    assert first.create.spec.replicas == 0
    assert first.daemons.create is None
    made = step_of(everywhere(), holder()).daemons.create
    assert made is not None
    web = everywhere()
    assert (made.metadata.name, made.spec.template, made.spec.selector) == ("web", web.spec.template, web.spec.selector)
    assert [(owner.kind, owner.uid, owner.controller) for owner in made.metadata.owner_references] == [
        ("Deployment", "uid-web", True)
    ]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, "25%", id="by default a quarter of the nodes"),
        pytest.param({"strategy": {"rollingUpdate": {"maxUnavailable": 3}}}, 3, id="as many as the strategy says"),
        pytest.param(
            {"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}},
            1,
            id="one where only surge is allowed",
        ),
        pytest.param(RECREATE, "100%", id="all of them under Recreate"),
    ],
)
def test_nodes_that_wait_during_an_update(spec: dict[str, Any], expected: int | str) -> None:
    rolling = daemon_set_of(everywhere(spec=spec)).spec.update_strategy.rolling_update
    assert rolling is not None
    assert rolling.max_unavailable == expected


def test_a_new_template_is_passed_on_and_a_paused_deployment_passes_nothing_on() -> None:
    before = daemons(3, 3)
    changed = step_of(everywhere(image=NEW), holder(everywhere(image=NEW)), there=before).daemons.update
    assert changed is not None
    assert changed.spec.template.spec.containers[0].image == NEW
    assert changed.metadata.resource_version == "1"
    paused = everywhere(image=NEW, spec={"paused": True})
    step = step_of(paused, holder(), there=before)
    assert (step.daemons.update, step.create) == (None, None)
    assert reason(step, "Progressing") == "DeploymentPaused"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        pytest.param(daemons(4, 0), {}, id="nothing while no daemon is available"),
        pytest.param(daemons(4, 2), {"old": 1}, id="one pod for each available daemon"),
        pytest.param(daemons(2, 2), {"old": 0}, id="everything when all daemons are available"),
        pytest.param(daemons(0, 0), {"old": 0}, id="everything when no node is chosen"),
        pytest.param(daemons(2, 2, observedGeneration=0), {}, id="nothing before the daemon set was looked at"),
    ],
)
def test_on_the_way_in_replica_sets_give_up(there: DaemonSet, expected: dict[str, int]) -> None:
    old = replica_set("old", 3, desired=3)
    assert sizes(step_of(everywhere(), old, there=there)) == expected


def test_recreate_stops_the_pods_before_it_makes_the_daemons() -> None:
    web = everywhere(spec=RECREATE)
    first = step_of(web, replica_set("old", 3), running=True)
    assert (sizes(first), first.daemons.create) == ({"old": 0}, None)
    assert step_of(web, replica_set("old", 0), running=True).daemons.create is None
    assert step_of(web, replica_set("old", 0)).daemons.create is not None


@pytest.mark.parametrize(
    ("new", "goes"),
    [
        pytest.param(replica_set("new", 3, available=1), False, id="stays while too few pods are available"),
        pytest.param(replica_set("new", 3, available=3), True, id="goes when enough are"),
        pytest.param(replica_set("new", 0), False, id="stays before the pods are asked for"),
    ],
)
def test_on_the_way_out_the_daemon_set(new: ReplicaSet, goes: bool) -> None:
    step = step_of(deployment(3), new, there=daemons(2, 2))
    assert (step.daemons.delete is not None) == goes
    assert not step.daemons.in_foreground


def test_recreate_stops_the_daemons_before_it_makes_pods() -> None:
    step = step_of(deployment(3, spec=RECREATE), replica_set("new", 0), there=daemons(2, 2))
    assert step.daemons.delete is not None
    assert step.daemons.in_foreground
    assert sizes(step) == {}
    leaving = daemons(2, 2, metadata={"deletionTimestamp": at(0)})
    waiting = step_of(deployment(3, spec=RECREATE), replica_set("new", 0), there=leaving)
    assert (waiting.daemons.delete, sizes(waiting)) == (None, {})


@pytest.mark.parametrize(
    ("there", "sets", "expected", "progress"),
    [
        pytest.param(None, [holder()], (1, 0, 0, 0, 0), None, id="before there is a daemon set one place is open"),
        pytest.param(daemons(3, 1), [holder()], (3, 3, 1, 1, 2), "ReplicaSetUpdated", id="on the way"),
        pytest.param(daemons(3, 3), [holder()], (3, 3, 3, 3, 0), "NewReplicaSetAvailable", id="complete"),
        pytest.param(
            daemons(3, 1, currentNumberScheduled=1, updatedNumberScheduled=1),
            [holder()],
            (3, 1, 1, 1, 2),
            "ReplicaSetUpdated",
            id="places to be filled count",
        ),
        pytest.param(
            daemons(3, 3, updated=1), [holder()], (3, 1, 3, 3, 0), "ReplicaSetUpdated", id="old daemons are not updated"
        ),
        pytest.param(
            daemons(0, 0), [holder()], (0, 0, 0, 0, 0), "NewReplicaSetAvailable", id="complete without a node"
        ),
        pytest.param(
            daemons(2, 2),
            [holder(), replica_set("old", 3, image=NEW)],
            (5, 2, 5, 5, 0),
            "ReplicaSetUpdated",
            id="pods of the former mode are old",
        ),
    ],
)
def test_the_numbers_are_what_rollout_status_waits_for(
    there: DaemonSet | None, sets: list[ReplicaSet], expected: tuple[int, ...], progress: str | None
) -> None:
    step = step_of(everywhere(), *sets, there=there)
    assert numbers(step) == expected
    if progress is not None:
        assert reason(step, "Progressing") == progress


def test_the_floor_is_that_of_the_nodes() -> None:
    assert reason(step_of(everywhere(), holder(), there=daemons(4, 3)), "Available") == "MinimumReplicasAvailable"
    assert reason(step_of(everywhere(), holder(), there=daemons(4, 2)), "Available") == "MinimumReplicasUnavailable"
    assert reason(step_of(everywhere(), holder()), "Available") == "MinimumReplicasUnavailable"


def test_a_deployment_that_is_well_is_left_alone() -> None:
    web = everywhere()
    web = web.model_copy(
        update={
            "metadata": web.metadata.model_copy(
                update={"annotations": {**web.metadata.annotations, "deployment.kubernetes.io/revision": "1"}}
            )
        }
    )
    first = step_of(web, holder(), there=daemons(3, 3))
    assert first.status is not None
    assert step_of(web.model_copy(update={"status": first.status}), holder(), there=daemons(3, 3)) == Plan()
