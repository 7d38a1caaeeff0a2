"""The agent's decisions, without processes and without time: tables of histories and what must come of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from stark.agent.machine import (
    Adopted,
    Called,
    DeletePod,
    Effect,
    Emit,
    Exit,
    Machine,
    MachineSettings,
    PodGone,
    PodSeen,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    ProbeKind,
    ProbeNow,
    Release,
    Released,
    Remembered,
    Retire,
    Retuned,
    Shutdown,
    Start,
    Started,
    Stop,
    SupervisorLost,
    WriteStatus,
)
from stark.crds.conditions import find_condition
from stark.crds.pods import Pod
from tests.support.lives import T0, Life, phase, pod, reason


def test_a_pod_is_prepared_started_and_ready_once_its_entry_point_was_called() -> None:
    life = Life()
    assert (life.status and life.status.phase, reason(life)) == ("Pending", "ContainerCreating")
    life.prepared()
    start = life.one(Start)
    life.say(Started("u1", "main", start.attempt, life.now, "e"))
    assert (reason(life), life.condition("Ready")) == ("ContainerCreating", "False")
    life.say(Called("u1", "main", start.attempt, life.now))
    assert life.status is not None
    assert (life.status.phase, reason(life)) == ("Running", "Running")
    assert [life.condition(c) for c in ("PodScheduled", "Initialized", "ContainersReady", "Ready")] == ["True"] * 4
    assert (life.container.ready, life.container.started, life.container.restart_count) == (True, True, 0)
    assert life.container.container_id == "stark://e"


@pytest.mark.parametrize(
    ("policy", "code", "phase", "restarts"),
    [
        pytest.param("Always", 0, "Running", True, id="Always restarts success"),
        pytest.param("Always", 1, "Running", True, id="Always restarts failure"),
        pytest.param("OnFailure", 0, "Succeeded", False, id="OnFailure lets success be"),
        pytest.param("OnFailure", 1, "Running", True, id="OnFailure restarts failure"),
        pytest.param("Never", 0, "Succeeded", False, id="Never lets success be"),
        pytest.param("Never", 1, "Failed", False, id="Never lets failure be"),
    ],
)
def test_the_restart_policy_decides(policy: str, code: int, phase: str, restarts: bool) -> None:
    life = Life(pod(restartPolicy=policy))
    life.run()
    life.exit(code)
    assert bool(life.all(Prepare)) is restarts
    assert bool(life.all(Retire)) is not restarts
    assert life.status is not None
    assert life.status.phase == phase


@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [
        pytest.param(0, "", "Completed", id="success"),
        pytest.param(3, "", "Error", id="failure"),
        pytest.param(137, "OOMKilled", "OOMKilled", id="out of memory"),
        pytest.param(124, "DeadlineExceeded", "DeadlineExceeded", id="timeout"),
        pytest.param(65, "PackLoadError", "PackLoadError", id="load failure"),
        pytest.param(128, "InitError", "InitError", id="start failure"),
    ],
)
def test_a_terminated_container_says_why(code: int, given: str, expected: str) -> None:
    life = Life(pod(restartPolicy="Never"))
    life.run()
    life.exit(code, reason=given)
    ended = life.container.state.terminated
    assert ended is not None
    assert (ended.exit_code, ended.reason, ended.message) == (code, expected, "why" if given else None)


def test_restarts_are_immediate_then_wait_10_s_and_twice_as_long_each_time_up_to_5_minutes() -> None:
    life = Life()
    waits = []
    attempt = life.run()
    for _ in range(9):
        life.exit(1, attempt)
        before = life.now
        if not life.all(Prepare):
            assert reason(life) == "CrashLoopBackOff"
            assert life.container.last_state.terminated is not None
            assert life.timer is not None
            life.wait(life.timer - life.now - 0.01)
            assert not life.all(Prepare)
            life.wait(0.01)
        waits.append(round(life.now - before))
        attempt = life.run()
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300, 300]
    assert life.container.restart_count == 9


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_set_neither_stops_back_offs_and_probes_nor_hurries_them(hours: int) -> None:
    probed = {"livenessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 10}}
    waiting, running = Life(), Life(pod(container=probed))
    waiting.exit(1, waiting.run())
    waiting.exit(1, waiting.run())
    attempt = running.run()
    running.say(Probed("u1", "main", attempt, ProbeKind.LIVENESS, True, ""))
    for life, due in ((waiting, Prepare), (running, ProbeNow)):
        life.machine.shift(hours * 3600.0)
        life.now += hours * 3600.0
        life.wait(9)
        assert not life.all(due)
        life.wait(1.1)
        assert life.all(due)


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        pytest.param(Retuned(10, 30), [0, 10, 20, 30, 30], id="a lower ceiling"),
        pytest.param(Retuned(2, 300), [0, 2, 4, 8, 16], id="a shorter beginning"),
        pytest.param(Retuned(10, 1), [0, 1, 1, 1, 1], id="a ceiling below the beginning"),
    ],
)
def test_the_waits_can_be_changed_while_it_runs(waits: Retuned, expected: list[int]) -> None:
    life = Life()
    found, attempt = [], life.run()
    life.say(waits)
    for _ in range(5):
        life.exit(1, attempt)
        before = life.now
        if not life.all(Prepare):
            assert life.timer is not None
            life.wait(life.timer - life.now)
        found.append(round(life.now - before))
        attempt = life.run()
    assert found == expected


def test_a_wait_that_is_worked_out_already_keeps_to_a_new_ceiling() -> None:
    life = Life()
    for attempt in range(6):
        life.exit(1, life.run() if attempt == 0 else attempt)
        if not life.all(Prepare):
            life.wait(300)
        life.run()
    life.say(Retuned(10, 5))
    life.exit(1, 6)
    assert life.timer is not None
    assert life.timer - life.now == pytest.approx(5, abs=0.1)


def test_ten_minutes_of_running_forgive_earlier_failures() -> None:
    life = Life()
    for attempt in range(3):
        life.exit(1, life.run() if attempt == 0 else attempt)
        if not life.all(Prepare):
            life.wait(600)
        life.run()
    life.exit(1, 3, after=600)
    assert life.all(Prepare), "the next restart is immediate again"


@pytest.mark.parametrize("why", ["PackNotFound", "CreateContainerConfigError"])
def test_what_cannot_be_prepared_is_tried_again_with_back_off(why: str) -> None:
    life = Life()
    for delay in (10, 20, 40):
        order = life.one(Prepare)
        life.say(PrepareFailed("u1", "main", order.ticket, why, "missing"))
        assert (reason(life), life.status and life.status.phase) == (why, "Pending")
        life.wait(delay - 0.01)
        assert not life.all(Prepare)
        life.wait(0.02)
    assert life.run() == 0
    assert life.container.restart_count == 0


def test_a_failed_pull_is_shown_and_then_its_back_off() -> None:
    life = Life()
    life.say(PrepareFailed("u1", "main", life.one(Prepare).ticket, "ErrImagePull", "digest differs"))
    assert reason(life) == "ErrImagePull"
    life.wait(5)
    assert reason(life) == "ImagePullBackOff"
    assert "digest differs" in ((life.container.state.waiting and life.container.state.waiting.message) or "")


@pytest.mark.parametrize(
    ("reason_", "told"),
    [
        pytest.param("PackLoadError", ["Error: PackLoadError: why"], id="by its own words"),
        pytest.param("", ["Error: Error: it ended with exit code 3 before it was called"], id="by its exit code"),
    ],
)
def test_a_program_that_never_began_its_work_is_told_of_unless_it_was_stopped(reason_: str, told: list[str]) -> None:
    for is_stopped in (False, True):
        life = Life()
        life.prepared()
        life.say(Started("u1", "main", 0, life.now, "e"))
        if is_stopped:
            life.say(PodSeen(pod(meta={"deletionTimestamp": "2026-01-01T00:00:00Z"})))
        life.exit(3, reason=reason_)
        assert [event.message for event in life.all(Emit) if event.reason == "Failed"] == ([] if is_stopped else told)


PROBE = {"httpGet": {"port": 80}, "periodSeconds": 10}


def answer(life: Life, ok: bool) -> None:
    order = life.one(ProbeNow)
    life.say(Probed("u1", "main", order.attempt, order.kind, ok, "no answer"))


def test_a_readiness_probe_decides_readiness_and_never_restarts() -> None:
    life = Life(pod(container={"readinessProbe": {**PROBE, "failureThreshold": 2}}))
    life.run()
    assert (reason(life), life.condition("Ready")) == ("Running", "False")
    answer(life, True)
    assert life.condition("Ready") == "True"
    for expected in ("True", "False"):
        life.wait(10)
        answer(life, False)
        assert life.condition("Ready") == expected
    assert not life.all(Stop)


def test_a_liveness_probe_restarts_after_its_threshold_with_its_own_grace() -> None:
    liveness = {**PROBE, "failureThreshold": 2, "terminationGracePeriodSeconds": 3}
    life = Life(pod(container={"livenessProbe": liveness}))
    life.run()
    answer(life, False)
    assert not life.all(Stop)
    life.wait(10)
    answer(life, False)
    assert life.one(Stop).grace_s == 3
    life.exit(0, reason="")
    last = life.container.last_state.terminated
    assert last is not None
    assert (last.exit_code, last.reason) == (0, "Unhealthy"), "that it went in peace does not hide why it had to"
    assert last.message == "Container main failed liveness probe, will be restarted"
    assert life.run() == 1


def test_a_startup_probe_holds_the_others_back() -> None:
    life = Life(pod(container={"startupProbe": {**PROBE, "failureThreshold": 3}, "livenessProbe": PROBE}))
    life.run()
    assert life.one(ProbeNow).kind is ProbeKind.STARTUP
    assert life.container.started is False
    answer(life, False)
    life.wait(10)
    answer(life, True)
    assert life.container.started is True
    assert life.one(ProbeNow).kind is ProbeKind.LIVENESS


def test_an_answer_to_an_earlier_runs_probe_is_ignored() -> None:
    life = Life(pod(container={"readinessProbe": PROBE}))
    life.run()
    stale = life.one(ProbeNow)
    life.exit(1)
    life.run()
    life.say(Probed("u1", "main", stale.attempt, stale.kind, True))
    assert life.condition("Ready") == "False"


def deleted(grace: int = 7, **given: Any) -> Pod:
    meta = {"deletionTimestamp": datetime.now(UTC).isoformat(), "deletionGracePeriodSeconds": grace}
    return pod(meta=meta, **given)


def test_a_deletion_stops_reports_deletes_and_releases_in_this_order() -> None:
    life = Life()
    life.run()
    life.say(PodSeen(deleted(7)))
    assert life.one(Stop).grace_s == 7
    assert not life.all(DeletePod)
    life.exit(143)
    kinds = [type(effect) for effect in life.effects]
    assert kinds.index(WriteStatus) < kinds.index(DeletePod)
    assert not life.all(Prepare), "a deleted pod restarts nothing"
    life.say(PodGone("u1"))
    life.one(Release)
    life.say(Released("u1"))
    assert life.machine.uids == frozenset()


def test_a_shorter_grace_overrules_a_longer_one_and_not_the_other_way_round() -> None:
    life = Life()
    life.run()
    life.say(PodSeen(deleted(30)))
    life.say(PodSeen(deleted(0)))
    assert life.one(Stop).grace_s == 0
    life.say(PodSeen(deleted(30)))
    assert not life.all(Stop)


def test_a_pod_deleted_before_it_started_goes_at_once() -> None:
    life = Life()
    ticket = life.one(Prepare).ticket
    life.say(PodSeen(deleted()))
    life.one(DeletePod)
    life.say(Prepared("u1", "main", ticket, "x"))
    assert not life.all(Start), "the answer to the old question starts nothing"


def test_a_stop_wished_for_while_starting_is_told_once_it_runs() -> None:
    life = Life()
    life.prepared()
    life.say(PodSeen(deleted()))
    assert not life.all(Stop)
    life.say(Started("u1", "main", 0, life.now))
    life.one(Stop)


def test_a_pod_that_is_gone_from_the_api_is_stopped_and_not_deleted() -> None:
    life = Life(pod(terminationGracePeriodSeconds=5))
    life.run()
    life.say(PodGone("u1"))
    assert life.one(Stop).grace_s == 5
    life.exit(0)
    life.one(Release)
    assert not life.all(DeletePod)


def test_the_deadline_of_a_pod_stops_it_and_it_has_failed() -> None:
    life = Life(pod(activeDeadlineSeconds=60))
    life.run()
    assert life.timer == T0 + 60
    life.wait(60)
    life.one(Stop)
    life.exit(143)
    assert life.status is not None
    assert (life.status.phase, life.status.reason) == ("Failed", "DeadlineExceeded")
    assert not life.all(Prepare)


def test_a_pod_that_somebody_else_failed_is_stopped_and_keeps_that_reason() -> None:
    life = Life()
    life.run()
    life.say(PodSeen(pod(status={"phase": "Failed", "reason": "Evicted", "message": "no memory"})))
    life.one(Stop)
    life.exit(143)
    assert life.status is not None
    assert (life.status.phase, life.status.reason, life.status.message) == ("Failed", "Evicted", "no memory")


def test_another_image_restarts_the_container_without_back_off() -> None:
    life = Life(pod(restartPolicy="Never"))
    life.run()
    life.say(PodSeen(pod(restartPolicy="Never", container={"image": "pack.stark/hello:2.0.0"})))
    life.one(Stop)
    life.exit(143)
    assert life.run() == 1
    assert life.container.image == "pack.stark/hello:2.0.0"


def test_a_lost_supervisor_is_a_failed_run_that_is_restarted() -> None:
    life = Life()
    life.run()
    life.say(SupervisorLost("u1", (("main", 0),)))
    last = life.container.last_state.terminated
    assert last is not None
    assert (last.exit_code, last.reason) == (137, "ContainerStatusUnknown")
    assert life.run() == 1


def test_the_agents_own_end_stops_everything_but_fails_nothing() -> None:
    life = Life()
    life.run()
    life.say(Shutdown())
    life.one(Stop)
    life.exit(143)
    life.one(Retire)
    assert not life.all(Prepare)
    assert life.status is not None
    assert life.status.phase == "Running"
    life.say(PodSeen(pod("u2")))
    assert life.machine.uids == {"u1"}


def remembered(ended: Exit | None = None, attempt: int = 2) -> Remembered:
    return Remembered("main", attempt, "pack.stark/hello:1.0.0", "id", "e2", T0 - 50, T0 - 49, ended)


def test_an_adopted_pod_goes_on_as_it_was() -> None:
    life = Life.__new__(Life)
    life.machine, life.now, life.pod, life.timer, life.status = Machine(MachineSettings()), T0, pod(), None, None
    life.say(Adopted(pod(), (remembered(),)))
    assert not life.all(Prepare)
    assert not life.all(Start)
    assert (life.condition("Ready"), life.container.restart_count) == ("True", 2)
    life.say(PodSeen(pod()))
    assert not life.all(Prepare)
    life.exit(5, attempt=2)
    assert life.run() == 3


def test_an_exit_that_nobody_saw_is_reported_with_its_code() -> None:
    life = Life.__new__(Life)
    life.machine, life.now, life.pod, life.timer, life.status = Machine(MachineSettings()), T0, pod(), None, None
    seen = pod(restartPolicy="Never")
    life.say(Adopted(seen, (remembered(Exit(42, 0, "", "", T0 - 50, T0 - 20)),)))
    assert life.status is not None
    assert life.status.phase == "Failed"
    assert life.container.state.terminated is not None
    assert life.container.state.terminated.exit_code == 42


def test_a_pod_of_which_the_disk_knows_nothing_does_not_run_twice() -> None:
    reported = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "main", "restartCount": 1, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        ],
    }
    life = Life(pod(restartPolicy="Never", status=reported))
    assert not life.all(Prepare)
    assert life.status is not None
    assert life.status.phase == "Failed"
    life = Life(pod(status=reported))
    assert life.run() == 2, "the restart count goes on"


def test_two_containers_are_ready_together() -> None:
    life = Life(pod(more=[{"name": "side", "image": "pack.stark/side:1.0.0"}]))
    first, second = life.all(Prepare)
    life.say(Prepared("u1", first.container, first.ticket, "a"))
    life.say(Started("u1", "main", 0, life.now))
    life.say(Called("u1", "main", 0, life.now))
    assert life.status is not None
    assert phase(life) == "Pending", "one container still waits for the first time"
    ready = find_condition(life.status.conditions, "Ready")
    assert ready is not None
    assert (ready.status, ready.message) == ("False", "containers with unready status: [side]")
    life.say(Prepared("u1", second.container, second.ticket, "b"))
    life.say(Started("u1", "side", 0, life.now))
    life.say(Called("u1", "side", 0, life.now))
    assert phase(life) == "Running"
    assert life.condition("Ready") == "True"


def test_transition_times_move_only_with_the_status() -> None:
    life = Life()
    life.run()
    assert life.status is not None
    before = find_condition(life.status.conditions, "Initialized")
    life.exit(1, after=100)
    after = find_condition(life.status.conditions, "Initialized")
    assert before == after


def test_what_somebody_overwrote_is_said_again() -> None:
    life = Life()
    life.run()
    assert life.status is not None
    life.say(PodSeen(life.pod.model_copy(update={"status": life.status})))
    assert not life.all(WriteStatus)
    life.say(PodSeen(pod()))
    life.one(WriteStatus)


def test_events_tell_what_happened() -> None:
    life = Life()
    life.prepared()
    life.say(Started("u1", "main", 0, life.now))
    life.say(Called("u1", "main", 0, life.now))
    assert [e.reason for e in life.all(Emit)] == ["Started"]
    life.exit(1)
    life.run()
    life.exit(1, 1)
    assert [(e.type, e.reason) for e in life.all(Emit)] == [("Warning", "BackOff")]


def kinds(effects: Iterable[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def test_saying_the_same_thing_twice_changes_nothing() -> None:
    life = Life()
    life.say(PodSeen(life.pod))
    assert kinds(life.effects) in ([], ["WriteStatus"])
    assert "Prepare" not in kinds(life.effects)
