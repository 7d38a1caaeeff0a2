"""What counts as a failure, when a version is taken back or left alone, and what is said about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from stark.controllers.crash_loop.counting import count, failing, is_evidence
from stark.controllers.crash_loop.planning import Act, Observed, Plan, is_quiet, plan
from stark.controllers.crash_loop.steadiness import Steadiness, Steady
from stark.controllers.crash_loop.telling import condition
from stark.crds.annotations import (
    BLOCKED_VERSIONS,
    CHANGE_CAUSE,
    COUNTED_FAILURES,
    CRASH_LOOP,
    CRASH_LOOP_PAUSED,
    LAST_SUCCESSFUL_PACK,
    LAST_SUCCESSFUL_TEMPLATE,
    LAST_SUCCESSFUL_VERSION,
    BlockedVersion,
    blocked_versions,
    format_blocked_versions,
)
from stark.crds.apps import Deployment
from stark.crds.crash_loop import Counted, Seen, Settings, counted_of, format_counted, settings_of
from stark.crds.meta import decode
from stark.crds.pods import Pod, PodTemplateSpec
from stark.crds.templates import fingerprint, pack_of
from tests.support.workloads import NOW, at, deployment, meta, template

GOOD, BAD = "pack.stark/web:1.0.0", "pack.stark/web:2.0.0"
SETTINGS = Settings()


def later(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def ended(code: int = 1, reason: str | None = "Error", *, began: float = -1, over: float = 0) -> dict[str, Any]:
    return {"exitCode": code, "startedAt": at(began), "finishedAt": at(over), **({"reason": reason} if reason else {})}


def container(
    restarts: int = 0,
    *,
    end: dict[str, Any] | None = None,
    waiting: str | None = "CrashLoopBackOff",
    ready: bool = False,
    name: str = "main",
) -> dict[str, Any]:
    state: dict[str, Any] = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": at(0)}}
    last = {"lastState": {"terminated": end}} if end else {}
    return {"name": name, "restartCount": restarts, "ready": ready, "state": state, **last}


def crashed(restarts: int = 0, **more: Any) -> dict[str, Any]:
    return container(restarts, end=ended(**more))


def pod(
    name: str,
    *containers: dict[str, Any],
    phase: str = "Running",
    ready: bool = False,
    created: float = -60,
    leaving: bool = False,
    probed: bool = False,
    **status: Any,
) -> Pod:
    metadata = meta(name, created=created, **({"deletionTimestamp": at(0)} if leaving else {}))
    condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": at(-60)}
    main = {"name": "main", "image": GOOD, **({"readinessProbe": {"exec": {"command": ["x"]}}} if probed else {})}
    body = {
        "metadata": metadata,
        "spec": {"containers": [main]},
        "status": {"phase": phase, "conditions": [condition], "containerStatuses": list(containers), **status},
    }
    return decode(body, Pod)


OVER = {"running": None, "terminated": ended()}


@pytest.mark.parametrize(
    ("failed", "settings", "expected"),
    [
        pytest.param(pod("p", crashed()), {}, (1, 0), id="the first crash, waiting to be restarted"),
        pytest.param(pod("p", crashed(3)), {}, (4, 0), id="four crashes, the first three unseen"),
        pytest.param(pod("p", container(1, end=ended(), waiting=None)), {}, (1, 0), id="restarted and not ready"),
        pytest.param(
            pod("p", container(1, end=ended(), waiting="ContainerCreating")), {}, (1, 0), id="the next run is being made"
        ),
        pytest.param(pod("p", crashed(1), ready=True), {}, None, id="a ready pod is not judged"),
        pytest.param(
            pod("p", crashed(1), container(7, end=ended(), waiting=None, ready=True, name="b")), {}, (2, 0),
            id="a ready container beside a crashing one",
        ),
        pytest.param(pod("p", crashed(), leaving=True), {}, None, id="on its way out: deleted, drained, preempted"),
        pytest.param(pod("p", crashed(code=0, reason="Completed")), {}, None, id="it just finished"),
        pytest.param(pod("p", crashed(code=0, reason="Completed")), {"count": [0]}, (1, 0), id="unless that counts"),
        pytest.param(pod("p", crashed(code=75)), {"ignore": [75]}, None, id="an exit code that is ignored"),
        pytest.param(pod("p", crashed(code=1)), {"count": [2]}, None, id="not an exit code that counts"),
        pytest.param(pod("p", crashed(code=137, reason="OOMKilled")), {}, (1, 0), id="out of memory"),
        pytest.param(pod("p", crashed(reason="InitError")), {}, (1, 0), id="it could not be initialised"),
        pytest.param(pod("p", crashed(reason=None)), {}, (1, 0), id="no reason given"),
        pytest.param(pod("p", crashed(code=0, reason="Unhealthy")), {}, (1, 0), id="stopped for its probe, in peace"),
        pytest.param(pod("p", crashed(code=0, reason="Unhealthy")), {"ignore": [0]}, None, id="unless that is ignored"),
        pytest.param(pod("p", crashed(code=0, reason="FailedPostStartHook")), {}, (1, 0), id="stopped for its hook"),
        pytest.param(
            pod("p", container(waiting="PodInitializing"), initContainerStatuses=[{**crashed(1), "name": "first"}]),
            {},
            (2, 0),
            id="an init container that crashes",
        ),
        pytest.param(
            pod("p", crashed(code=137, reason="ContainerStatusUnknown")), {}, None, id="killed with its supervisor"
        ),
        pytest.param(
            pod("p", container(waiting="PackNotFound"), startTime=at(0)), {}, (0, 1), id="the pack does not exist"
        ),
        pytest.param(
            pod("p", container(waiting="CreateContainerConfigError"), startTime=at(-31)), {}, (0, 3),
            id="no configuration: tried at 0, 10 and 30 s",
        ),
        pytest.param(pod("p", container(waiting="ContainerCreating")), {}, None, id="it is being started"),
        pytest.param(pod("p", phase="Failed", reason="DeadlineExceeded"), {}, (1, 0), id="failed for good"),
        pytest.param(pod("p", phase="Failed"), {}, (1, 0), id="failed without a reason"),
        *(
            pytest.param(pod("p", phase="Failed", reason=reason), {}, None, id=f"sent away: {reason}")
            for reason in ("NodeLost", "Evicted", "Preempted", "NodeDraining", "NodeMaintenance", "UserStopped")
        ),
        pytest.param(pod("p", phase="Succeeded"), {}, None, id="succeeded"),
    ],
)  # fmt: skip
def test_a_failure_is_an_end_that_is_the_programs_own(
    failed: Pod, settings: dict[str, Any], expected: tuple[int, int] | None
) -> None:
    chosen = settings_of({CRASH_LOOP: json.dumps({"exitCodes": settings} if settings else {})})
    found = failing(failed, chosen, 10, None, NOW)
    assert (found.seen if found else None) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        pytest.param(pod("p", crashed()), True, id="crashed"),
        pytest.param(pod("p", container(waiting="ErrImagePull")), True, id="it cannot be started"),
        pytest.param(pod("p", phase="Failed"), True, id="failed"),
        pytest.param(pod("p", container(waiting="ContainerCreating")), False, id="it is being started"),
        pytest.param(pod("p", container(waiting=None)), False, id="it runs"),
        pytest.param(pod("p", crashed(), leaving=True), False, id="on its way out"),
    ],
)
def test_only_pods_that_could_tell_of_a_failure_wake_the_controller(shown: Pod, expected: bool) -> None:
    assert is_evidence(shown) is expected


def counted(known: Counted, *pods: Pod, since: float | None = None) -> tuple[int, Mapping[str, Seen]]:
    found = count(known, None if since is None else later(since), pods, SETTINGS, 10, later(1))
    return found.count, found.pods


def test_a_failure_counts_once_however_often_it_is_looked_at() -> None:
    first = counted(Counted("t"), pod("a", crashed()), pod("b", crashed(1)))
    assert first == (3, {"uid-a": (1, 0), "uid-b": (2, 0)})
    again = counted(Counted("t", first[0], first[1]), pod("a", crashed()), pod("b", crashed(1)))
    assert again == first


def test_restarts_that_nobody_saw_count_too() -> None:
    assert counted(Counted("t", 1, {"uid-a": Seen(1, 0)}), pod("a", crashed(3))) == (4, {"uid-a": (4, 0)})


def test_restarts_of_any_time_are_not_in_a_row_for_a_release_that_has_held() -> None:
    step = plan(Observed(web(GOOD, annotations=HELD), (pod("a", crashed(5), probed=True),), HISTORY), NOW)
    assert acts(step) == [Act.FAILED]
    assert "Failure 1 of 3" in step.happenings[0].message


def test_a_node_that_goes_down_takes_no_release_back() -> None:
    down = container(1, end=ended(143, "NodeShutdown"))
    pods = tuple(pod(name, down, probed=True) for name in "abcd")
    assert acts(plan(Observed(web(annotations=HELD), pods, HISTORY), NOW)) == []


def test_pods_that_are_gone_are_forgotten_and_their_failures_are_not() -> None:
    assert counted(Counted("t", 2, {"uid-old": Seen(2, 0)}), pod("a", crashed())) == (3, {"uid-a": (1, 0)})


def test_what_came_before_a_run_that_held_is_not_in_a_row() -> None:
    assert counted(Counted("t", 2, {"uid-a": Seen(2, 0)}), pod("a", crashed(2, began=-30)))[0] == 1
    probed = pod("a", crashed(2, began=-30), probed=True)
    assert counted(Counted("t", 2, {"uid-a": Seen(2, 0)}), probed)[0] == 3


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        pytest.param(pod("a", crashed(5, over=-20, began=-21)), 0, id="an old pod that crashed before"),
        pytest.param(pod("a", crashed(5)), 1, id="an old pod that crashed after: only the last has a time"),
        pytest.param(pod("a", crashed(1), created=-5), 2, id="a pod that is younger"),
    ],
)
def test_what_ended_before_the_last_success_does_not_count(failed: Pod, expected: int) -> None:
    assert counted(Counted("t"), failed, since=-10)[0] == expected


def test_a_pod_that_cannot_start_counts_again_with_each_attempt() -> None:
    stuck = pod("a", container(waiting="ErrImagePull"), startTime=at(-31))
    assert counted(Counted("t"), stuck) == (1, {"uid-a": (0, 3)})
    assert counted(Counted("t", 1, {"uid-a": Seen(0, 2)}), stuck) == (2, {"uid-a": (0, 3)})
    assert counted(Counted("t", 1, {"uid-a": Seen(0, 3)}), stuck) == (1, {"uid-a": (0, 3)})


# ---- Planning ----


def web(
    image: str = BAD, *, annotations: dict[str, str] | None = None, complete: bool = False, **spec: Any
) -> Deployment:
    numbers = {"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3} if complete else {"replicas": 3}
    status = {"observedGeneration": 1, **numbers}
    return deployment(3, image=image, spec=spec, status=status, metadata={"annotations": annotations or {}})


def template_of(image: str, **env: str) -> PodTemplateSpec:
    body = template(image)
    body["spec"]["containers"][0]["env"] = [{"name": key, "value": value} for key, value in env.items()]
    return decode({"metadata": {"name": "x"}, "spec": {"selector": {}, "template": body}}, Deployment).spec.template


def mark(image: str) -> str:
    return fingerprint(web(image).spec.template)


def held_for(seconds: Mapping[str, float]) -> Steady:
    return Steady(seconds, seconds)


HELD = {LAST_SUCCESSFUL_VERSION: "1.0.0", LAST_SUCCESSFUL_TEMPLATE: mark(GOOD)}
HISTORY = {mark(GOOD): web(GOOD).spec.template, mark(BAD): web(BAD).spec.template}
TRIPLE = (pod("a", crashed(2)),)


def after(deployment_: Deployment, step: Plan) -> Deployment:
    """The deployment as the step leaves it."""
    merged = {**deployment_.metadata.annotations, **step.annotations}
    annotations = {key: value for key, value in merged.items() if value is not None}
    changed = deployment_.metadata.model_copy(update={"annotations": annotations})
    spec = deployment_.spec.model_copy(update={"template": step.template} if step.template else {})
    return deployment_.model_copy(update={"metadata": changed, "spec": spec})


def acts(step: Plan) -> list[Act]:
    return [happening.act for happening in step.happenings]


def test_a_bad_release_goes_back_to_the_version_that_held() -> None:
    bad = web(annotations=HELD)
    step = plan(Observed(bad, TRIPLE, HISTORY), NOW)
    assert acts(step) == [Act.FAILED, Act.ROLLED_BACK]
    back = after(bad, step)
    assert fingerprint(back.spec.template) == mark(GOOD)
    (block,) = blocked_versions(back.metadata.annotations)
    assert block == BlockedVersion("2.0.0", at(60), 1, mark(BAD), "container main: exit code 1 (Error)")
    assert COUNTED_FAILURES not in back.metadata.annotations
    assert "rolled back to 1.0.0" in back.metadata.annotations[CHANGE_CAUSE]
    told = condition(back, back.metadata.annotations, NOW)
    assert told is not None
    assert (told.status, told.reason) == ("True", "RolledBack")
    assert plan(Observed(back, (), HISTORY), NOW) == Plan()


def test_a_change_of_the_environment_goes_back_as_well() -> None:
    last = template_of(GOOD, MODE="good")
    bad = web(annotations={**HELD, LAST_SUCCESSFUL_TEMPLATE: fingerprint(last)})
    bad = bad.model_copy(update={"spec": bad.spec.model_copy(update={"template": template_of(GOOD, MODE="bad")})})
    step = plan(Observed(bad, TRIPLE, {fingerprint(last): last}), NOW)
    assert step.template == last
    (block,) = blocked_versions(after(bad, step).metadata.annotations)
    assert block.version == block.template == fingerprint(bad.spec.template)


def test_so_does_a_container_image() -> None:
    old, new = template_of("busybox:1"), template_of("busybox:2")
    marks = {LAST_SUCCESSFUL_VERSION: fingerprint(old), LAST_SUCCESSFUL_TEMPLATE: fingerprint(old)}
    bad = web("busybox:2", annotations=marks)
    bad = bad.model_copy(update={"spec": bad.spec.model_copy(update={"template": new})})
    assert plan(Observed(bad, TRIPLE, {fingerprint(old): old}), NOW).template == old


def test_without_a_history_at_least_the_packs_version_goes_back() -> None:
    step = plan(Observed(web(annotations=HELD), TRIPLE), NOW)
    assert step.template is not None
    assert pack_of(step.template) == pack_of(web(GOOD).spec.template)


@pytest.mark.parametrize(
    ("image", "annotations"),
    [
        pytest.param(BAD, {}, id="no version has held yet"),
        pytest.param(GOOD, HELD, id="it is itself the one that held"),
        pytest.param(BAD, {**HELD, LAST_SUCCESSFUL_PACK: "former"}, id="the one that held was of another pack"),
        pytest.param("busybox:2", {**HELD, LAST_SUCCESSFUL_VERSION: mark(GOOD)}, id="the one that held is forgotten"),
    ],
)
def test_where_there_is_nothing_to_go_back_to_it_is_paused(image: str, annotations: dict[str, str]) -> None:
    bad = web(image, annotations=annotations)
    step = plan(Observed(bad, tuple(pod(name, crashed()) for name in "abc")), NOW)
    assert (acts(step), step.template) == ([Act.FAILED, Act.PAUSED], None)
    paused = after(bad, step)
    known = counted_of(paused.metadata.annotations)
    assert known is not None
    assert known.retry_at == later(60)
    told = condition(paused, paused.metadata.annotations, NOW)
    assert told is not None
    assert (told.status, told.reason) == ("True", "CrashLoopPaused")
    waiting = plan(Observed(paused, TRIPLE), NOW)
    assert (waiting.annotations, waiting.recheck_after_s) == ({}, 60)


def test_where_going_back_was_refused_it_is_paused_and_says_why() -> None:
    bad = web(annotations=HELD)
    step = plan(Observed(bad, TRIPLE, HISTORY, refused="version 1.0.0 is not trusted"), NOW)
    assert (acts(step), step.template) == ([Act.FAILED, Act.PAUSED], None)
    assert "going back was refused: version 1.0.0 is not trusted" in str(step.annotations[CRASH_LOOP_PAUSED])


def test_many_pods_that_fail_at_once_are_one_attempt() -> None:
    pods = tuple(pod(f"p{number}", crashed(1)) for number in range(50))
    step = plan(Observed(web(annotations=HELD), pods, HISTORY), NOW)
    (block,) = blocked_versions(after(web(), step).metadata.annotations)
    assert block.attempts == 1


@pytest.mark.parametrize("attempts", range(1, 8))
def test_each_attempt_is_left_alone_for_longer(attempts: int) -> None:
    known = BlockedVersion("2.0.0", at(-5), attempts, mark(BAD))
    bad = web(annotations={**HELD, BLOCKED_VERSIONS: format_blocked_versions((known,))})
    (block,) = blocked_versions(after(bad, plan(Observed(bad, TRIPLE, HISTORY), NOW)).metadata.annotations)
    wait = min(3600, 60 * 2**attempts)
    assert (block.attempts, block.until) == (attempts + 1, at(wait))


def test_a_person_who_paused_the_rollout_decides_when_it_goes_back() -> None:
    stopped = web(annotations=HELD, paused=True)
    step = plan(Observed(stopped, TRIPLE, HISTORY), NOW)
    assert (step.template, step.pending, acts(step)) == (None, True, [Act.FAILED])
    noted = after(stopped, step)
    told = condition(noted, noted.metadata.annotations, NOW)
    assert told is not None
    assert (told.status, told.reason) == ("True", "RollbackPending")
    assert plan(Observed(noted, TRIPLE, HISTORY), NOW).annotations == {}
    resumed = noted.model_copy(update={"spec": noted.spec.model_copy(update={"paused": None})})
    assert acts(plan(Observed(resumed, TRIPLE, HISTORY), NOW)) == [Act.ROLLED_BACK]


def paused(left: float = 60) -> Deployment:
    state = format_counted(Counted(mark(BAD), since=later(left - 60), retry_at=later(left)))
    block = BlockedVersion("2.0.0", at(left), 1, mark(BAD))
    marks = {CRASH_LOOP_PAUSED: "why", COUNTED_FAILURES: state, BLOCKED_VERSIONS: format_blocked_versions((block,))}
    return web(annotations=marks)


def without(obj: Deployment, *keys: str) -> Deployment:
    kept = {key: value for key, value in obj.metadata.annotations.items() if key not in keys}
    return obj.model_copy(update={"metadata": obj.metadata.model_copy(update={"annotations": kept})})


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param(Observed(paused(), TRIPLE), [], id="not while it lasts"),
        pytest.param(Observed(paused(0), TRIPLE), [Act.LIFTED], id="its time is over"),
        pytest.param(
            Observed(paused(), (pod("a", ready=True),), steady=held_for({"uid-a": 10})), [Act.LIFTED], id="a pod holds"
        ),
        pytest.param(Observed(without(paused(), CRASH_LOOP_PAUSED), TRIPLE), [Act.LIFTED], id="somebody resumed it"),
        pytest.param(
            Observed(web("pack.stark/web:2.0.1", annotations=dict(paused().metadata.annotations))), [Act.LIFTED],
            id="a newer version",
        ),
    ],
)  # fmt: skip
def test_a_pause_ends(observed: Observed, expected: list[Act]) -> None:
    step = plan(observed, NOW)
    assert acts(step) == expected
    if expected:
        over = after(observed.deployment, step)
        assert CRASH_LOOP_PAUSED not in over.metadata.annotations
        # The old failures do not begin the next count, and nothing holds it back.
        again = plan(replace(observed, deployment=over), later(0))
        assert acts(again) in ([], [Act.FAILED])
        assert CRASH_LOOP_PAUSED not in again.annotations


def test_what_is_tried_again_keeps_its_attempts() -> None:
    over = after(paused(0), plan(Observed(paused(0), TRIPLE), NOW))
    told = condition(over, over.metadata.annotations, NOW)
    assert told is not None
    assert (told.status, told.reason) == ("False", "TriedAgain")
    step = plan(Observed(over, (pod("a", crashed(5, began=19, over=20), created=5),)), later(20))
    assert acts(step) == [Act.FAILED, Act.PAUSED]
    (block,) = blocked_versions(after(over, step).metadata.annotations)
    assert (block.attempts, block.until) == (2, at(140))


def test_a_version_that_comes_back_within_its_time_waits() -> None:
    block = BlockedVersion("2.0.0", at(45), 2, mark(BAD))
    bad = web(annotations={**HELD, BLOCKED_VERSIONS: format_blocked_versions((block,))})
    step = plan(Observed(bad, ()), NOW)
    assert acts(step) == [Act.HELD_BACK]
    assert plan(Observed(after(bad, step), ()), NOW).recheck_after_s == 45
    assert acts(plan(Observed(after(bad, step), ()), later(45))) == [Act.LIFTED]


def test_one_pod_that_holds_clears_the_count_and_all_that_hold_are_a_success() -> None:
    state = format_counted(Counted(mark(BAD), 2, {"uid-a": Seen(2, 0)}))
    block = format_blocked_versions((BlockedVersion("2.0.0", at(-1), 3, mark(BAD)),))
    bad = web(annotations={**HELD, COUNTED_FAILURES: state, BLOCKED_VERSIONS: block})
    pods = (pod("a", crashed(3)), *(pod(name, ready=True) for name in "bc"))
    step = plan(Observed(bad, pods, HISTORY, held_for({"uid-b": 12, "uid-c": 3})), NOW)
    known = counted_of(after(bad, step).metadata.annotations)
    assert known is not None
    assert (known.count, known.since, acts(step)) == (0, NOW, [])

    done = web(annotations=dict(bad.metadata.annotations), complete=True)
    pods = tuple(pod(name, ready=True) for name in "abc")
    early = plan(Observed(done, pods, HISTORY, held_for({"uid-a": 10, "uid-b": 12, "uid-c": 3})), NOW)
    assert (acts(early), early.recheck_after_s) == ([], 7)
    step = plan(Observed(done, pods, HISTORY, held_for({"uid-a": 10, "uid-b": 12, "uid-c": 10})), NOW)
    assert acts(step) == [Act.SUCCEEDED]
    held = after(done, step).metadata.annotations
    assert (held[LAST_SUCCESSFUL_VERSION], held[LAST_SUCCESSFUL_TEMPLATE]) == ("2.0.0", mark(BAD))
    assert BLOCKED_VERSIONS not in held


def test_success_takes_as_long_as_the_deployment_asks() -> None:
    slow = web(complete=True, minReadySeconds=30)
    ready = tuple(pod(name, ready=True) for name in "abc")
    steady = {f"uid-{name}": 12.0 for name in "abc"}
    assert plan(Observed(slow, ready, steady=held_for(steady)), NOW).recheck_after_s == 18


def test_one_bad_pod_of_a_healthy_version_takes_nothing_back() -> None:
    pods = (*TRIPLE, *(pod(name, ready=True) for name in "bcd"))
    step = plan(Observed(web(annotations=HELD), pods, HISTORY, held_for({"uid-b": 60})), NOW)
    assert (step.template, acts(step)) == (None, [])


def test_a_deployment_without_pods_is_no_success() -> None:
    empty = deployment(0, status={"observedGeneration": 1})
    assert plan(Observed(empty), NOW) == Plan()


def test_protection_can_be_switched_off() -> None:
    marks = {**paused().metadata.annotations, CRASH_LOOP: '{"enabled": false}'}
    off = web(annotations=marks)
    step = plan(Observed(off, TRIPLE, HISTORY), NOW)
    assert set(after(off, step).metadata.annotations) == {CRASH_LOOP}


def test_what_is_known_of_a_former_template_is_dropped() -> None:
    state = format_counted(Counted(mark(GOOD), 2, {"uid-a": Seen(2, 0)}))
    step = plan(Observed(web(annotations={**HELD, COUNTED_FAILURES: state}), (pod("a", crashed()),)), NOW)
    assert step.annotations == {COUNTED_FAILURES: None}


def test_a_clock_that_is_set_back_keeps_nothing_paused_for_ever() -> None:
    far = format_counted(Counted(mark(BAD), since=later(7200), retry_at=later(86_400)))
    stopped = web(annotations={CRASH_LOOP_PAUSED: "why", COUNTED_FAILURES: far})
    mended = after(stopped, plan(Observed(stopped), NOW))
    assert plan(Observed(mended), NOW).recheck_after_s == 3600
    assert plan(Observed(mended), later(1800)).recheck_after_s == 1800
    assert acts(plan(Observed(mended), later(3600))) == [Act.LIFTED]


def test_a_block_that_lies_too_far_ahead_ends_after_its_own_time_all_the_same() -> None:
    far = BlockedVersion("2.0.0", at(864_000), 1, mark(BAD))
    held = web(GOOD, annotations={**HELD, BLOCKED_VERSIONS: format_blocked_versions((far,))})
    mended = after(held, plan(Observed(held), NOW))
    assert [each.until for each in blocked_versions(mended.metadata.annotations)] == [at(60)]
    assert plan(Observed(mended), later(30)).annotations == {}


def test_a_clock_that_was_set_back_hides_no_failures_of_pods_made_since() -> None:
    ahead = web(annotations={**HELD, COUNTED_FAILURES: format_counted(Counted(mark(BAD), since=later(7200)))})
    mended = after(ahead, plan(Observed(ahead), NOW))
    failed = pod("a", crashed(2, began=50, over=60), created=10)
    assert acts(plan(Observed(mended, (failed,), HISTORY), later(60))) == [Act.FAILED, Act.ROLLED_BACK]


@pytest.mark.parametrize("text", ["no", "[" * 100_000, '[{"version":"1","until":"x","attempts":1}]'])
def test_blocks_that_nobody_can_read_go_so_that_follow_latest_goes_on(text: str) -> None:
    broken = web(GOOD, annotations={**HELD, BLOCKED_VERSIONS: text}, complete=True)
    assert plan(Observed(broken), NOW).annotations == {BLOCKED_VERSIONS: None}


def test_attempts_are_forgotten_a_day_after_their_block() -> None:
    old = BlockedVersion("2.0.0", at(-86_401), 6, mark(BAD))
    bad = web(annotations={**HELD, BLOCKED_VERSIONS: format_blocked_versions((old,))})
    (block,) = blocked_versions(after(bad, plan(Observed(bad, TRIPLE, HISTORY), NOW)).metadata.annotations)
    assert (block.attempts, block.until) == (1, at(60))


@pytest.mark.parametrize("wrong_s", [-3600, 3600])
def test_a_node_whose_clock_is_wrong_delays_no_attempt_to_start(wrong_s: int) -> None:
    stuck = pod("a", container(waiting="ErrImagePull"), startTime=at(wrong_s), created=-31)
    assert counted(Counted("t"), stuck) == (1, {"uid-a": (0, 3)})


def test_a_node_whose_clock_is_slow_makes_up_no_readiness() -> None:
    assert Steadiness().look([pod("a", ready=True, created=-4)], 100, NOW).told_s == {"uid-a": 4}


def test_readiness_is_measured_without_a_break() -> None:
    steady = Steadiness()
    one = pod("a", ready=True)
    assert steady.look([], 90, NOW).seen_s == {}
    assert steady.look([one], 100, NOW).seen_s == {"uid-a": 0}
    assert steady.look([one], 107, NOW).seen_s == {"uid-a": 7}
    again = pod("a", container(1, ready=True, waiting=None), ready=True)
    assert steady.look([again], 108, NOW).seen_s == {"uid-a": 0}
    assert steady.look([pod("a")], 109, NOW).seen_s == {}
    assert steady.look([one], 110, NOW) == Steady({"uid-a": 0}, {"uid-a": 0})


def test_what_was_ready_before_the_first_look_is_believed_against_failures_of_others_only() -> None:
    steady = Steadiness().look([pod("a", ready=True)], 100, NOW)
    assert steady == Steady({"uid-a": 0}, {"uid-a": 60})
    pods = (pod("a", ready=True), *TRIPLE)
    assert acts(plan(Observed(web(annotations=HELD), pods, HISTORY, steady), NOW)) == []
    done = web(complete=True)
    assert plan(Observed(done, pods[:1], steady=steady), NOW).recheck_after_s == 10


@pytest.mark.parametrize(
    ("looked_at", "quiet"),
    [
        pytest.param(web(GOOD, annotations=HELD, complete=True), True, id="it runs and has held"),
        pytest.param(web(annotations=HELD), True, id="in the middle of a rollout"),
        pytest.param(web(annotations=HELD, complete=True), False, id="complete and not yet held"),
        pytest.param(paused(), False, id="paused"),
    ],
)
def test_pods_are_looked_at_only_when_something_hangs_on_it(looked_at: Deployment, quiet: bool) -> None:
    assert is_quiet(looked_at, fingerprint(looked_at.spec.template)) is quiet
