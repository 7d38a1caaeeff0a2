"""One step of a rollout at a time: sizes, names, revisions, conditions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from stark.controllers.deployment.planning import Observed, Plan, plan, surplus
from stark.controllers.deployment.revisions import new_replica_set, revision_of, split, template_hash
from stark.controllers.deployment.strategy import bounds
from stark.crds.apps import Deployment, ReplicaSet
from stark.crds.conditions import find_condition
from stark.crds.templates import same_template
from tests.support.workloads import NOW, at, deployment, replica_set

NEW = "pack.stark/web:2.0.0"
REVISION = "deployment.kubernetes.io/revision"


def rolling(surge: int | str, unavailable: int | str) -> dict[str, Any]:
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}


def step_of(deployment: Deployment, *sets: ReplicaSet, old_pods_running: bool = False) -> Plan:
    return plan(Observed(deployment, sets, old_pods_running), NOW)


def sizes(step: Plan) -> dict[str, int]:
    return {change.rs.metadata.name: change.replicas for change in step.changes if change.replicas is not None}


def condition(step: Plan, type_: str) -> tuple[str, str | None]:
    assert step.status is not None
    found = find_condition(step.status.conditions, type_)
    assert found is not None, step.status.conditions
    return found.status, found.reason


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        pytest.param(10, "25%", "25%", (3, 2), id="surge is rounded up and unavailable down"),
        pytest.param(1, "25%", "25%", (1, 0), id="a single pod is replaced by surge"),
        pytest.param(3, 0, "10%", (0, 1), id="both zero would never move so one may go"),
        pytest.param(3, 1, 10, (1, 3), id="no more can be unavailable than there are"),
        pytest.param(0, 1, 1, (1, 0), id="of nothing nothing is unavailable"),
        pytest.param(4, "100%", "100%", (4, 4), id="everything at once"),
    ],
)
def test_bounds_are_kubernetes_bounds(
    replicas: int, surge: int | str, unavailable: int | str, expected: tuple[int, int]
) -> None:
    assert bounds(deployment(replicas, spec=rolling(surge, unavailable))) == expected


def test_recreate_has_no_room() -> None:
    assert bounds(deployment(3, spec={"strategy": {"type": "Recreate"}})) == (0, 0)


def test_the_first_plan_makes_the_replica_set() -> None:
    step = step_of(deployment(3))
    assert step.create is not None
    made = step.create
    assert made.spec.replicas == 3
    assert made.metadata.name == f"web-{template_hash(deployment(3))}"
    assert made.metadata.annotations[REVISION] == "1"
    assert made.metadata.annotations["deployment.kubernetes.io/desired-replicas"] == "3"
    assert made.metadata.annotations["deployment.kubernetes.io/max-replicas"] == "4"
    hashed = made.metadata.labels["pod-template-hash"]
    assert made.spec.selector.match_labels == {"app": "web", "pod-template-hash": hashed}
    assert made.spec.template is not None
    assert made.spec.template.metadata.labels == {"app": "web", "pod-template-hash": hashed}
    assert step.revision == 1
    assert condition(step, "Progressing") == ("True", "NewReplicaSetCreated")
    assert condition(step, "Available") == ("False", "MinimumReplicasUnavailable")


def test_the_same_plan_twice_makes_the_same_name() -> None:
    one, two = step_of(deployment(3)).create, step_of(deployment(3)).create
    assert one == two


def test_a_collision_changes_the_name() -> None:
    assert template_hash(deployment()) != template_hash(deployment(status={"collisionCount": 1}))
    assert template_hash(deployment()) != template_hash(deployment(image=NEW))


def test_the_replica_set_of_a_plan_is_recognised_as_the_new_one() -> None:
    web = deployment()
    made = new_replica_set(web, 1, 3, 1)
    stored = replica_set("stored", 3).model_copy(update={"spec": made.spec})
    assert same_template(web.spec.template, made.spec.template)
    assert split(web, [stored])[0] is stored
    assert split(deployment(image=NEW), [stored])[0] is None


@pytest.mark.parametrize(
    ("spec", "sets", "expected"),
    [
        pytest.param(
            rolling(1, 0),
            [replica_set("old", 3), replica_set("new", 0, image=NEW, created=1)],
            {"new": 1},
            id="the new one grows by the surge",
        ),
        pytest.param(
            rolling(1, 0),
            [replica_set("old", 3), replica_set("new", 1, image=NEW, available=0, created=1)],
            {},
            id="nothing shrinks before the new pod is available",
        ),
        pytest.param(
            rolling(1, 0),
            [replica_set("old", 3), replica_set("new", 1, image=NEW, created=1)],
            {"old": 2},
            id="an available new pod lets an old one go",
        ),
        pytest.param(
            rolling(0, 1),
            [replica_set("old", 3), replica_set("new", 0, image=NEW, created=1)],
            {"old": 2},
            id="without surge an old one goes first",
        ),
        pytest.param(
            rolling(0, 1),
            [replica_set("old", 2), replica_set("new", 0, image=NEW, created=1)],
            {"new": 1},
            id="and then the new one grows",
        ),
        pytest.param(
            rolling(1, 1),
            [replica_set("old", 3, available=1), replica_set("new", 1, image=NEW, available=0, created=1)],
            {"old": 2},
            id="unhealthy old pods go although the floor is reached",
        ),
        pytest.param(
            rolling(1, 1),
            [
                replica_set("older", 2, available=2),
                replica_set("old", 2, available=0, created=1),
                replica_set("new", 0, there=0, image=NEW, created=2),
            ],
            {"old": 0},
            id="unhealthy old pods of any age go before healthy ones",
        ),
        pytest.param(
            rolling("100%", 0),
            [replica_set("old", 3), replica_set("new", 3, image=NEW, created=1)],
            {"old": 0},
            id="with everything available the old ones go at once",
        ),
        pytest.param(rolling(1, 0), [replica_set("new", 3, image=NEW)], {}, id="a finished rollout is left alone"),
        pytest.param(
            rolling(1, 0),
            [replica_set("new", 5, image=NEW, desired=3)],
            {"new": 3},
            id="a replica set that somebody scaled is brought back",
        ),
    ],
)
def test_a_rollout_takes_one_step(spec: dict[str, Any], sets: Sequence[ReplicaSet], expected: dict[str, int]) -> None:
    step = step_of(deployment(3, image=NEW, spec=spec), *sets)
    assert step.create is None
    assert sizes(step) == expected


RECREATE = {"strategy": {"type": "Recreate"}}


@pytest.mark.parametrize(
    ("sets", "running", "created", "expected"),
    [
        pytest.param([replica_set("old", 3)], True, False, {"old": 0}, id="first the old ones stop"),
        pytest.param([replica_set("old", 0, there=1)], True, False, {}, id="then it waits for the last of them"),
        pytest.param([replica_set("old", 0)], False, True, {}, id="then the new one is made"),
        pytest.param([replica_set("new", 0, image=NEW)], False, False, {"new": 3}, id="or grows when it is there"),
    ],
)
def test_recreate_never_runs_old_and_new_together(
    sets: Sequence[ReplicaSet], running: bool, created: bool, expected: dict[str, int]
) -> None:
    step = step_of(deployment(3, image=NEW, spec=RECREATE), *sets, old_pods_running=running)
    assert (step.create is not None, sizes(step)) == (created, expected)
    if step.create is not None:
        assert step.create.spec.replicas == 3


@pytest.mark.parametrize(
    ("replicas", "sets", "expected"),
    [
        pytest.param(
            5, [replica_set("new", 3, image=NEW, desired=3, most=4)], {"new": 5}, id="the only one takes it all"
        ),
        pytest.param(
            20,
            [
                replica_set("old", 8, desired=10, most=13),
                replica_set("new", 5, image=NEW, available=2, desired=10, most=13, created=1),
            ],
            {"old": 15, "new": 10},
            id="growth in mid rollout is shared by size",
        ),
        pytest.param(
            5,
            [
                replica_set("old", 8, desired=10, most=13),
                replica_set("new", 5, image=NEW, available=2, desired=10, most=13, created=1),
            ],
            {"old": 4, "new": 3},
            id="shrinking in mid rollout is shared by size",
        ),
        pytest.param(
            0,
            [
                replica_set("old", 8, desired=10, most=13),
                replica_set("new", 5, image=NEW, desired=10, most=13, created=1),
            ],
            {"old": 0, "new": 0},
            id="to nothing everything goes",
        ),
    ],
)
def test_scaling_is_shared_out_before_anything_rolls(
    replicas: int, sets: Sequence[ReplicaSet], expected: dict[str, int]
) -> None:
    web = deployment(replicas, image=NEW, spec=rolling("25%", "25%"))
    step = step_of(web, *sets)
    assert sizes(step) == expected
    told = {change.annotations.get("deployment.kubernetes.io/desired-replicas") for change in step.changes}
    assert told == {str(replicas)}


def test_a_paused_deployment_starts_no_rollout_and_scales_all_the_same() -> None:
    paused = deployment(5, image=NEW, spec={"paused": True})
    step = step_of(paused, replica_set("old", 3, desired=3))
    assert step.create is None
    assert sizes(step) == {"old": 5}
    assert condition(step, "Progressing") == ("Unknown", "DeploymentPaused")


def test_a_resumed_deployment_goes_on() -> None:
    status = {"conditions": [{"type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused"}]}
    step = step_of(deployment(3, image=NEW, status=status), replica_set("old", 3, desired=3))
    assert step.create is not None


def test_a_rollback_gives_the_old_replica_set_the_next_revision() -> None:
    """`kubectl rollout undo` puts the old template back; its ReplicaSet becomes the new one again, with a new number."""
    back = deployment(3, metadata={"annotations": {REVISION: "2"}})
    first = replica_set("one", 0, revision=1)
    second = replica_set("two", 3, image=NEW, revision=2, created=1)
    step = step_of(back, first, second)
    (change,) = step.changes
    assert (change.rs, change.replicas) == (first, 1)
    assert change.annotations[REVISION] == "3"
    assert change.annotations["deployment.kubernetes.io/revision-history"] == "1"
    assert step.revision == 3


def test_annotations_of_the_deployment_are_told_to_the_new_replica_set_except_its_own_ones() -> None:
    notes = {
        "kubernetes.io/change-cause": "faster",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        REVISION: "1",
    }
    step = step_of(deployment(3, metadata={"annotations": notes}), replica_set("new", 3))
    (change,) = step.changes
    assert change.annotations == {"kubernetes.io/change-cause": "faster"}
    assert change.replicas is None


def test_history_beyond_its_limit_is_deleted_the_lowest_revision_first() -> None:
    olds = [replica_set(f"r{n}", 0, revision=n, image=f"pack.stark/web:0.{n}.0") for n in (3, 1, 2)]
    web = deployment(3, spec={"revisionHistoryLimit": 1})
    assert [rs.metadata.name for rs in surplus(web, olds)] == ["r1", "r2"]
    step = step_of(web, *olds, replica_set("new", 3, revision=4))
    assert [rs.metadata.name for rs in step.delete] == ["r1", "r2"]


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(replica_set("r1", 1, revision=1), id="one that wants pods"),
        pytest.param(replica_set("r1", 0, there=1, revision=1), id="one that has pods"),
        pytest.param(replica_set("r1", 0, revision=1, status={"observedGeneration": 0}), id="one not yet looked at"),
        pytest.param(replica_set("r1", 0, revision=1, metadata={"deletionTimestamp": at(0)}), id="one already leaving"),
    ],
)
def test_history_keeps(kept: ReplicaSet) -> None:
    assert surplus(deployment(3, spec={"revisionHistoryLimit": 0}), [kept]) == ()


def test_history_is_not_touched_before_the_rollout_is_complete() -> None:
    web = deployment(3, spec={"revisionHistoryLimit": 0})
    step = step_of(web, replica_set("r1", 0, revision=1, image=NEW), replica_set("new", 3, available=2, revision=2))
    assert step.delete == ()


def progressing(reason: str, status: str = "True", updated: float = 0) -> dict[str, Any]:
    times = {"lastUpdateTime": at(updated), "lastTransitionTime": at(-900)}
    return {"conditions": [{"type": "Progressing", "status": status, "reason": reason, **times}]}


def test_a_complete_rollout_says_so() -> None:
    step = step_of(deployment(3, status=progressing("ReplicaSetUpdated")), replica_set("new", 3))
    assert condition(step, "Progressing") == ("True", "NewReplicaSetAvailable")
    assert condition(step, "Available") == ("True", "MinimumReplicasAvailable")
    assert step.status is not None
    assert (step.status.observed_generation, step.status.updated_replicas, step.status.available_replicas) == (1, 3, 3)
    assert step.recheck_after_s is None


def test_each_sign_of_progress_restarts_the_deadline() -> None:
    before = {**progressing("ReplicaSetUpdated", updated=-500), "updatedReplicas": 1, "replicas": 1}
    step = step_of(deployment(3, status=before), replica_set("new", 3, there=2, available=0))
    assert step.status is not None
    found = find_condition(step.status.conditions, "Progressing")
    assert found is not None
    assert (found.reason, found.last_update_time) == ("ReplicaSetUpdated", NOW)
    assert found.last_transition_time == NOW + timedelta(seconds=-900)
    assert step.recheck_after_s == 601


def test_a_rollout_that_stands_still_for_too_long_is_reported_and_goes_on() -> None:
    before = {
        **progressing("ReplicaSetUpdated", updated=-601),
        "updatedReplicas": 3,
        "replicas": 3,
        "unavailableReplicas": 3,
    }
    step = step_of(deployment(3, status=before), replica_set("new", 3, available=0))
    assert condition(step, "Progressing") == ("False", "ProgressDeadlineExceeded")
    assert step.recheck_after_s is None


def test_a_rollout_that_stands_still_for_less_is_looked_at_again_at_the_deadline() -> None:
    before = {**progressing("ReplicaSetUpdated", updated=-590), "updatedReplicas": 3, "replicas": 3}
    step = step_of(deployment(3, status=before), replica_set("new", 3, available=0))
    assert step.recheck_after_s == 11


def test_a_late_rollout_that_completes_after_all_is_well_again() -> None:
    late = progressing("ProgressDeadlineExceeded", "False", updated=-1000)
    step = step_of(deployment(3, status=late), replica_set("new", 3))
    assert condition(step, "Progressing") == ("True", "NewReplicaSetAvailable")


def test_without_a_deadline_there_is_no_progressing_condition() -> None:
    forever = deployment(3, spec={"progressDeadlineSeconds": 2**31 - 1}, status=progressing("ReplicaSetUpdated"))
    step = step_of(forever, replica_set("new", 3, available=0))
    assert step.status is not None
    assert find_condition(step.status.conditions, "Progressing") is None


def test_what_keeps_pods_from_being_made_is_told_on_the_deployment() -> None:
    failing = {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"}]}
    step = step_of(deployment(3), replica_set("new", 3, there=0, status=failing))
    assert condition(step, "ReplicaFailure") == ("True", "FailedCreate")


def test_a_status_that_is_right_is_not_written_again() -> None:
    web, rs = deployment(3, metadata={"annotations": {REVISION: "1"}}), replica_set("new", 3)
    first = step_of(web, rs)
    assert first.status is not None
    second = step_of(web.model_copy(update={"status": first.status}), rs)
    assert second == Plan()


def test_a_deployment_that_is_being_deleted_only_reports() -> None:
    step = step_of(deployment(3, image=NEW, metadata={"deletionTimestamp": at(0)}), replica_set("old", 1))
    assert (step.create, step.changes, step.delete, step.revision) == (None, (), (), None)
    assert step.status is not None


def test_min_ready_seconds_reach_the_new_replica_set() -> None:
    (change,) = step_of(deployment(3, spec={"minReadySeconds": 9}), replica_set("new", 3)).changes
    assert change.min_ready_seconds == 9


def test_two_active_sets_of_recreate_cannot_block_one_another() -> None:
    olds = [replica_set("a", 2, desired=2), replica_set("b", 2, image="pack.stark/web:1.5.0", desired=2)]
    step = step_of(deployment(5, image=NEW, spec=RECREATE), *olds, old_pods_running=True)
    assert sizes(step) == {"a": 0, "b": 0}


def test_an_unreadable_revision_counts_as_none() -> None:
    assert revision_of(deployment(metadata={"annotations": {REVISION: "x"}})) == 0


def test_a_replica_set_whose_note_is_nought_keeps_its_share_by_the_deployments_size() -> None:
    sets = [
        replica_set("old", 6, desired=6, most=0),
        replica_set("new", 2, image=NEW, available=1, desired=6, most=0, created=1),
    ]
    web = deployment(12, image=NEW, spec=rolling(2, 0), status={"replicas": 8})
    assert sizes(step_of(web, *sets)) == {"old": 11, "new": 3}


def test_pods_that_are_leaving_are_counted_once_every_replica_set_tells() -> None:
    leaving = {"terminatingReplicas": 2}
    told = step_of(
        deployment(3), replica_set("new", 3, status=leaving), replica_set("old", 0, image=NEW, status=leaving)
    )
    assert told.status is not None
    assert told.status.terminating_replicas == 4
    silent = step_of(deployment(3), replica_set("new", 3, status=leaving), replica_set("old", 0, image=NEW))
    assert silent.status is not None
    assert silent.status.terminating_replicas is None


STOPPED = {"annotations": {"stark.dev/crash-loop-paused": "2.0.0 failed 3 times", REVISION: "1"}}


def test_a_crash_loop_stops_a_rollout_as_a_pause_does_and_says_that_it_was_no_pause() -> None:
    step = step_of(deployment(5, image=NEW, metadata=STOPPED), replica_set("old", 3, desired=3))
    assert step.create is None
    assert sizes(step) == {"old": 5}
    assert condition(step, "Progressing") == ("Unknown", "CrashLoopPaused")
    late = deployment(3, image=NEW, metadata=STOPPED, status=progressing("ProgressDeadlineExceeded", "False"))
    assert condition(step_of(late, replica_set("old", 3)), "Progressing") == ("Unknown", "CrashLoopPaused")


def test_a_rollout_goes_on_when_the_stop_is_lifted() -> None:
    status = {"conditions": [{"type": "Progressing", "status": "Unknown", "reason": "CrashLoopPaused"}]}
    step = step_of(deployment(3, image=NEW, status=status), replica_set("old", 3, desired=3))
    assert step.create is not None
    resumed = step_of(deployment(3, status=status), replica_set("new", 3, available=1))
    assert condition(resumed, "Progressing")[0] == "True"


def test_conditions_of_other_writers_are_kept() -> None:
    foreign = {"type": "CrashLoop", "status": "True", "reason": "Blocked", "message": "2.0.0 is blocked"}
    step = step_of(deployment(3, status={"conditions": [foreign]}), replica_set("new", 3))
    assert condition(step, "CrashLoop") == ("True", "Blocked")


def test_settings_are_the_same_on_all_replica_sets_so_that_an_undo_changes_none() -> None:
    notes = {"stark.dev/follow-latest": "true", "stark.dev/counted-failures": "[]", "mine": "1", REVISION: "2"}
    old = replica_set("old", 0, image=NEW, revision=1)
    stale = {**old.metadata.annotations, "stark.dev/mode": "DaemonSet", "kubernetes.io/change-cause": "first"}
    old = old.model_copy(update={"metadata": old.metadata.model_copy(update={"annotations": stale})})
    step = step_of(deployment(3, metadata={"annotations": notes}), replica_set("new", 3, revision=2), old)
    told = {change.rs.metadata.name: change.annotations for change in step.changes}
    assert told == {
        "old": {"stark.dev/follow-latest": "true", "stark.dev/mode": None},
        "new": {"stark.dev/follow-latest": "true", "mine": "1"},
    }
