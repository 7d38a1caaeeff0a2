"""What a job makes and stops, how it counts, when it gives up, and that it ends the same way wherever it was cut off."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from stark.controllers.job.counting import count
from stark.controllers.job.planning import BURST_MAX, Plan, backoff_s, new_pod, plan
from stark.controllers.job.tracking import UNCOUNTED_MAX
from stark.crds.batch import COMPLETION_INDEX, COMPLETION_INDEX_VARIABLE, INDEX_FAILURES, JOB_TRACKING, Job
from stark.crds.completions import format_indexes, parse_indexes
from stark.crds.conditions import is_true
from stark.crds.podfacts import deadline_of
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, job, owned_by, pod

LEAVING = {"deletionTimestamp": at(0)}
INDEXED = {"completionMode": "Indexed"}


def run(name: str, *, index: int | None = None, leaving: bool = False, phase: str = "Running", end: float = 0) -> Pod:
    annotations = {} if index is None else {COMPLETION_INDEX: str(index)}
    metadata = {"ownerReferences": owned_by("sums", "Job", "batch/v1"), "annotations": annotations}
    made = pod(name, node="n1", phase=phase, metadata={**metadata, **(LEAVING if leaving else {})})
    if phase not in ("Succeeded", "Failed"):
        return made
    state = {"terminated": {"exitCode": int(phase == "Failed"), "finishedAt": at(end)}}
    body = made.model_dump(by_alias=True, exclude_unset=True)
    body["status"]["containerStatuses"] = [{"name": "main", "state": state}]
    return Pod.model_validate(body)


def won(name: str, **more: Any) -> Pod:
    return run(name, phase="Succeeded", **more)


def lost(name: str, **more: Any) -> Pod:
    return run(name, phase="Failed", **more)


def later(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def numbers(step: Plan) -> tuple[int, list[str]]:
    return len(step.create), [each.metadata.name for each in step.delete]


@pytest.mark.parametrize(
    ("spec", "pods", "create", "delete"),
    [
        pytest.param({}, [], 1, [], id="one pod is made"),
        pytest.param({}, [run("a")], 0, [], id="one is enough"),
        pytest.param({"completions": 5, "parallelism": 2}, [], 2, [], id="no more than parallelism at once"),
        pytest.param({"completions": 5, "parallelism": 9}, [won("a")], 4, [], id="no more than are still to succeed"),
        pytest.param({"completions": 3, "parallelism": 2}, [won("a"), run("b")], 1, [], id="the next follows"),
        pytest.param({"completions": 3, "parallelism": 0}, [run("b")], 0, ["b"], id="parallelism 0 stops everything"),
        pytest.param(
            {"completions": 3, "parallelism": 1}, [run("a"), pod("b")], 0, ["b"], id="the least advanced goes"
        ),
        pytest.param({}, [run("a", leaving=True)], 1, [], id="a pod that is being stopped is replaced"),
        pytest.param({"completions": None, "parallelism": 3}, [run("a")], 2, [], id="a queue has all its workers"),
        pytest.param({"completions": None, "parallelism": 3}, [won("a"), run("b")], 0, [], id="a queue runs dry"),
        pytest.param({"completions": 9_000, "parallelism": 9_000}, [], BURST_MAX, [], id="one reconcile makes so many"),
        pytest.param({"suspend": True}, [], 0, [], id="a suspended job makes none"),
        pytest.param({"suspend": True}, [run("a"), won("b")], 0, ["a"], id="what is complete needs no more pods"),
        pytest.param({"suspend": True, "completions": 2}, [run("a")], 0, ["a"], id="a suspended job stops its pods"),
    ],
)
def test_a_job_has_the_pods_it_needs(spec: dict[str, Any], pods: list[Pod], create: int, delete: list[str]) -> None:
    assert numbers(plan(job(spec=spec), pods, NOW)) == (create, delete)


def test_a_job_that_is_being_deleted_makes_nothing() -> None:
    assert plan(job(metadata=LEAVING), [], NOW).create == ()


@pytest.mark.parametrize(
    ("pods", "create", "delete"),
    [
        pytest.param([], [0, 1, 2], [], id="every index gets a pod"),
        pytest.param([won("a", index=1)], [0, 2], [], id="an index that succeeded is done"),
        pytest.param([run("a", index=2)], [0, 1], [], id="an index that runs is taken"),
        pytest.param(
            [run("a", index=0), run("b", index=0)], [1, 2], ["b"], id="two pods of one index are one too many"
        ),
        pytest.param([run("a", index=7)], [0, 1, 2], ["a"], id="an index beyond the end is stopped"),
        pytest.param([lost("a", index=0, end=-999)], [0, 1, 2], [], id="an index that failed is tried again"),
    ],
)
def test_an_indexed_job_runs_each_index_once(pods: list[Pod], create: list[int], delete: list[str]) -> None:
    step = plan(job(spec={**INDEXED, "completions": 3, "parallelism": 3}), pods, NOW)
    assert (list(step.create), [each.metadata.name for each in step.delete]) == (create, delete)


def test_an_index_stays_done_when_its_pod_is_taken_away() -> None:
    indexed = job(spec={**INDEXED, "completions": 3, "parallelism": 3}, status={"completedIndexes": "0,2"})
    step = plan(indexed, [], NOW)
    assert (list(step.create), step.status.succeeded, step.status.completed_indexes) == ([1], 2, "0,2")


def test_a_pod_of_an_index_knows_its_number() -> None:
    made = new_pod(job(spec={**INDEXED, "completions": 3}), 2)
    assert made.metadata.generate_name == "sums-2-"
    assert made.metadata.annotations[COMPLETION_INDEX] == made.metadata.labels[COMPLETION_INDEX] == "2"
    assert [each.name for each in made.spec.containers[0].env] == [COMPLETION_INDEX_VARIABLE]
    assert made.spec.hostname == "sums-2"


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([0], "0"), ([1, 2], "1,2"), ([5, 3, 4, 0], "0,3-5"), ([0, 2, 4], "0,2,4")]
)
def test_indexes_are_written_in_ranges_and_read_back(numbers: list[int], text: str) -> None:
    assert format_indexes(numbers) == text
    assert sorted(parse_indexes(text)) == sorted(numbers)


def test_numbers_never_fall_and_a_pod_counts_once() -> None:
    counted = count(job(status={"succeeded": 3, "failed": 2}), [won("a"), lost("b"), lost("b2", leaving=True)])
    assert (counted.succeeded, counted.failed) == (3, 2)
    assert count(job(), [won("a"), won("b"), lost("c"), lost("d", leaving=True)]).failed == 1


@pytest.mark.parametrize(
    ("pods", "wait_s"),
    [
        pytest.param([], 0, id="no failure, no wait"),
        pytest.param([lost("a")], 10, id="ten seconds after the first"),
        pytest.param([lost("a"), lost("b")], 20, id="twenty after the second"),
        pytest.param([lost("a"), lost("b"), lost("c")], 40, id="forty after the third"),
        pytest.param([lost(str(n)) for n in range(50)], 360, id="never more than six minutes"),
        pytest.param([lost("a", end=-5), won("b", end=-4), lost("c", end=0)], 10, id="a success begins afresh"),
        pytest.param([lost("a", end=-8)], 2, id="what has passed is passed"),
    ],
)
def test_a_failure_delays_the_next_pod(pods: list[Pod], wait_s: float) -> None:
    queue = job(spec={"completions": 99, "parallelism": 1, "backoffLimit": 99})
    assert backoff_s(count(queue, pods), NOW) == wait_s
    step = plan(queue, pods, NOW)
    assert (len(step.create), step.recheck_after_s) == ((0, wait_s) if wait_s else (1, None))


@pytest.mark.parametrize(
    ("spec", "pods", "after_s", "reason"),
    [
        pytest.param({}, [won("a")], 5, "CompletionsReached", id="enough have succeeded"),
        pytest.param({"completions": None}, [won("a")], 5, "CompletionsReached", id="a queue is empty"),
        pytest.param({"completions": 0}, [], 5, "CompletionsReached", id="nothing to do"),
        pytest.param({"backoffLimit": 0}, [lost("a")], 5, "BackoffLimitExceeded", id="one failure too many"),
        pytest.param({"backoffLimit": 1}, [lost("a")], 5, "", id="one failure is allowed"),
        pytest.param({"activeDeadlineSeconds": 60}, [], 59, "", id="before the deadline"),
        pytest.param({"activeDeadlineSeconds": 60}, [], 60, "DeadlineExceeded", id="at the deadline"),
        pytest.param({"activeDeadlineSeconds": 60, "suspend": True}, [], 99, "", id="no deadline while suspended"),
    ],
)
def test_a_job_ends_when(spec: dict[str, Any], pods: list[Pod], after_s: float, reason: str) -> None:
    step = plan(job(spec=spec), pods, later(after_s))
    over = [each for each in step.status.conditions if each.type in ("Complete", "Failed") and each.status == "True"]
    assert [each.reason for each in over] == ([reason] if reason else [])
    assert bool(step.status.completion_time) == (reason == "CompletionsReached")
    wanted = {"CompletionsReached": ["Completed"], "": [t.reason for t in step.told]}.get(reason, [reason])
    assert [told.reason for told in step.told] == wanted


def test_restarts_in_a_running_pod_use_up_the_limit_too() -> None:
    template = {"spec": {"containers": [{"name": "main", "image": "a/b"}], "restartPolicy": "OnFailure"}}
    limited = job(spec={"backoffLimit": 2, "template": template})
    assert numbers(plan(limited, [pod("a", phase="Running", node="n", restarts=1)], NOW)) == (0, [])
    step = plan(limited, [pod("a", phase="Running", node="n", restarts=2)], NOW)
    assert [each.metadata.name for each in step.delete] == ["a"]
    assert (step.status.failed, is_true(step.status.conditions, "FailureTarget")) == (1, True)


def test_a_verdict_waits_for_the_last_pod_and_is_never_taken_back() -> None:
    limited = job(spec={"backoffLimit": 0, "parallelism": 2, "completions": 2})
    first = plan(limited, [lost("a"), run("b")], NOW)
    assert numbers(first) == (0, ["b"])
    assert [each.type for each in first.status.conditions] == ["FailureTarget"]
    # The controller may stop after any of its writes; and the failed pod may be gone when another goes on.
    decided = limited.model_copy(update={"status": first.status})
    assert plan(decided, [run("b", leaving=True)], NOW).status.failed == 2
    assert not is_true(plan(decided, [run("b", leaving=True)], NOW).status.conditions, "Failed")
    last = plan(decided, [], NOW)
    assert is_true(last.status.conditions, "Failed")
    assert [(told.type, told.reason) for told in last.told] == [("Warning", "BackoffLimitExceeded")]
    over = decided.model_copy(update={"status": last.status})
    assert plan(over, [], NOW) == Plan(over.status, delete=[])


def test_a_resumed_job_begins_anew() -> None:
    limited = job(spec={"activeDeadlineSeconds": 60, "suspend": True})
    asleep = plan(limited, [], later(10))
    assert asleep.status.start_time is None
    assert [told.reason for told in asleep.told] == ["Suspended"]
    again = job(spec={"activeDeadlineSeconds": 60}).model_copy(update={"status": asleep.status})
    step = plan(again, [], later(1000))
    assert (step.status.start_time, len(step.create), step.recheck_after_s) == (later(1000), 1, 60)
    assert [told.reason for told in step.told] == ["Resumed"]


@pytest.mark.parametrize(("after_s", "expire", "left"), [(0, False, 60), (59, False, 1), (60, True, None)])
def test_a_finished_job_is_deleted_when_its_time_is_over(after_s: float, expire: bool, left: float | None) -> None:
    condition = {"type": "Complete", "status": "True", "lastTransitionTime": at(0)}
    over: Job = job(spec={"ttlSecondsAfterFinished": 60}, status={"conditions": [condition]})
    step = plan(over, [], later(after_s))
    assert (step.expire, step.recheck_after_s) == (expire, left)


def held(each: Pod) -> Pod:
    meta = each.metadata.model_copy(update={"finalizers": [JOB_TRACKING]})
    return each.model_copy(update={"metadata": meta})


def tracked(**noted: list[str]) -> dict[str, Any]:
    return {"startTime": at(0), "uncountedTerminatedPods": noted}


@pytest.mark.parametrize(
    ("status", "pods", "noted", "numbers", "let_go"),
    [
        pytest.param({}, [held(won("a"))], (["uid-a"], []), (None, None), ["a"], id="is noted first"),
        pytest.param(
            {"succeeded": ["uid-a"]}, [held(won("a"))], (["uid-a"], []), (None, None), ["a"], id="is noted once"
        ),
        pytest.param({"succeeded": ["uid-a"]}, [won("a")], ([], []), (1, None), [], id="is in the number when let go"),
        pytest.param({"failed": ["uid-a"]}, [], ([], []), (None, 1), [], id="is in the number when gone"),
        pytest.param({}, [won("a"), lost("b")], ([], []), (None, None), [], id="is not counted again"),
        pytest.param(
            {}, [held(run("a", leaving=True))], ([], ["uid-a"]), (None, None), ["a"], id="has failed when it is deleted"
        ),
        pytest.param(
            {}, [held(won("a", leaving=True))], (["uid-a"], []), (None, None), ["a"], id="has won though it is deleted"
        ),
        pytest.param(
            {"failed": ["uid-a"]}, [held(won("a"))], ([], ["uid-a"]), (None, None), ["a"], id="does not change its mind"
        ),
    ],
)
def test_a_tracked_pod_that_ended(
    status: dict[str, list[str]],
    pods: list[Pod],
    noted: tuple[list[str], list[str]],
    numbers: tuple[int | None, int | None],
    let_go: list[str],
) -> None:
    step = plan(job(spec={"completions": 9}, status=tracked(**status)), pods, NOW)
    uncounted = step.status.uncounted_terminated_pods
    assert uncounted is not None
    assert (uncounted.succeeded, uncounted.failed) == noted
    assert (step.status.succeeded, step.status.failed) == numbers
    assert [each.metadata.name for each in step.release] == let_go


def test_no_more_ends_are_noted_than_fit_and_the_others_stay_held() -> None:
    many = [held(won(f"p{number}")) for number in range(UNCOUNTED_MAX + 7)]
    step = plan(job(spec={"completions": 9_000}, status=tracked()), many, NOW)
    uncounted = step.status.uncounted_terminated_pods
    assert uncounted is not None
    assert len(uncounted.succeeded) == len(step.release) == UNCOUNTED_MAX


def test_a_job_is_complete_only_when_every_end_is_in_its_numbers() -> None:
    first = plan(job(status=tracked()), [held(won("a"))], NOW)
    assert [each.type for each in first.status.conditions] == ["SuccessCriteriaMet"]
    last = plan(job().model_copy(update={"status": first.status}), [won("a")], NOW)
    assert (is_true(last.status.conditions, "Complete"), last.status.succeeded) == (True, 1)


def test_a_new_job_holds_its_pods_and_one_that_began_before_goes_on_as_it_began() -> None:
    fresh, old = job(status={}), job()
    assert new_pod(fresh, None).metadata.finalizers == [JOB_TRACKING]
    assert plan(fresh, [], NOW).status.uncounted_terminated_pods is not None
    assert new_pod(old, None).metadata.finalizers == []
    assert plan(old, [won("a")], NOW).status.uncounted_terminated_pods is None


def test_a_pod_that_runs_and_lost_its_finalizer_gets_it_back() -> None:
    step = plan(job(status=tracked()), [run("a")], NOW)
    assert [each.metadata.name for each in step.hold] == ["a"]


def test_a_job_on_its_way_out_lets_all_its_pods_go() -> None:
    step = plan(job(status=tracked(), metadata=LEAVING), [held(run("a"))], NOW)
    assert [each.metadata.name for each in step.release] == ["a"]


def test_pods_of_a_job_with_a_deadline_say_when_that_is() -> None:
    timed = job(spec={"activeDeadlineSeconds": 90}, status={"startTime": at(10)})
    assert deadline_of(new_pod(timed, None)) == (NOW + timedelta(seconds=100)).timestamp()
    assert deadline_of(new_pod(job(), None)) == math.inf


PER_INDEX = {**INDEXED, "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 1, "backoffLimit": 2**31 - 1}
NEVER_AGAIN = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}}


def tried(name: str, index: int, before: int, *, end: float = -999) -> Pod:
    """A pod that failed, of an index that had failed so often before."""
    failed = lost(name, index=index, end=end)
    notes = {**failed.metadata.annotations, INDEX_FAILURES: str(before)}
    return failed.model_copy(update={"metadata": failed.metadata.model_copy(update={"annotations": notes})})


def test_each_index_has_a_limit_of_its_own() -> None:
    first = plan(job(spec=PER_INDEX), [tried("a", 0, 0), run("b", index=1), won("c", index=2)], NOW)
    assert (list(first.create), first.attempts[0].failures) == ([0], 1)
    assert new_pod(job(spec=PER_INDEX), 0, first.attempts[0]).metadata.annotations[INDEX_FAILURES] == "1"
    second = plan(job(spec=PER_INDEX), [tried("a", 0, 0), tried("d", 0, 1), run("b", index=1)], NOW)
    assert (list(second.create), second.status.failed_indexes) == ([2], "0")
    assert not is_true(second.status.conditions, "FailureTarget"), "the others go on"


def test_an_index_waits_by_itself() -> None:
    step = plan(job(spec=PER_INDEX), [tried("a", 0, 0, end=-4), run("b", index=1)], NOW)
    assert (list(step.create), step.recheck_after_s) == ([2], 6.0)


def test_a_failed_pod_is_held_until_another_one_knows_of_it() -> None:
    spec = job(spec=PER_INDEX)
    alone = held(tried("a", 0, 0, end=-4))
    assert count(spec, [alone]).settled == []
    assert count(spec, [alone, run("b", index=0)]).settled == [alone]


@pytest.mark.parametrize(
    ("spec", "pods", "verdict", "reason"),
    [
        pytest.param({}, [tried("a", 0, 1), won("b", index=1), won("c", index=2)], "FailureTarget", "FailedIndexes"),
        pytest.param({"maxFailedIndexes": 0}, [tried("a", 0, 1)], "FailureTarget", "MaxFailedIndexesExceeded"),
        pytest.param({"maxFailedIndexes": 1}, [tried("a", 0, 1)], None, None),
        pytest.param(
            {"podFailurePolicy": {"rules": [NEVER_AGAIN]}, "maxFailedIndexes": 0},
            [tried("a", 0, 0)],
            "FailureTarget",
            "MaxFailedIndexesExceeded",
        ),
        pytest.param(
            {"successPolicy": {"rules": [{"succeededIndexes": "0,2"}, {"succeededCount": 1}]}},
            [won("b", index=1), run("a", index=0)],
            "SuccessCriteriaMet",
            "SuccessPolicy",
        ),
        pytest.param(
            {"successPolicy": {"rules": [{"succeededIndexes": "0-1", "succeededCount": 2}]}},
            [won("b", index=1), won("c", index=2)],
            None,
            None,
        ),
    ],
)
def test_how_an_indexed_job_ends(
    spec: dict[str, Any], pods: list[Pod], verdict: str | None, reason: str | None
) -> None:
    found = plan(job(spec={**PER_INDEX, **spec}), pods, NOW).status.conditions
    told = [(each.type, each.reason) for each in found if each.type in ("FailureTarget", "SuccessCriteriaMet")]
    assert told == ([] if verdict is None else [(verdict, reason)])
