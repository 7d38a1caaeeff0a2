"""Init containers, sidecars and hooks in the machine: whose turn it is to start and to stop, and how that looks."""

from __future__ import annotations

from typing import Any

import pytest

from stark.agent.machine import (
    Adopted,
    Emit,
    Exit,
    HookKind,
    Prepare,
    Probed,
    ProbeKind,
    ProbeNow,
    Remembered,
    Retire,
    RunHook,
    Stop,
    SupervisorLost,
    Tick,
)
from stark.agent.machine.messages import PodSeen
from stark.crds.conditions import find_condition
from stark.crds.pods import Pod
from tests.support.lives import T0, Life, phase, pod, reason

IMAGE = "pack.stark/hello:1.0.0"
DELETED = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}


def first(name: str, **more: Any) -> dict[str, Any]:
    """An init container."""
    return {"name": name, "image": IMAGE, **more}


def beside(name: str, **more: Any) -> dict[str, Any]:
    """A sidecar."""
    return first(name, restartPolicy="Always", **more)


def hooks(**handlers: Any) -> dict[str, Any]:
    return {"lifecycle": handlers}


SLEEP = {"sleep": {"seconds": 5}}


def begun(*initial: dict[str, Any], **given: Any) -> Life:
    return Life(pod(initContainers=list(initial), **given))


def delete(life: Life, grace_s: int = 30) -> None:
    gone = {**DELETED, "deletionGracePeriodSeconds": grace_s}
    spec = life.pod.spec
    meta = life.pod.metadata.model_copy(update={"deletion_grace_period_seconds": grace_s})
    life.pod = life.pod.model_copy(
        update={"metadata": meta.model_copy(update={"deletion_timestamp": pod(meta=gone).metadata.deletion_timestamp})}
    )
    assert life.pod.spec is spec
    life.say(PodSeen(life.pod))


def test_init_containers_run_one_after_the_other_and_then_the_containers() -> None:
    life = begun(first("one"), first("two"))
    assert life.of(Prepare) == ["one"]
    assert (phase(life), reason(life, "one"), reason(life)) == ("Pending", "PodInitializing", "PodInitializing")
    life.run("one")
    assert (life.named("one").ready, life.named("one").started) == (False, True)
    life.exit(0, container="one")
    assert (life.named("one").ready, life.of(Prepare)) == (True, ["two"])
    life.run("two")
    life.exit(0, container="two")
    assert life.of(Prepare) == ["main"]
    assert (phase(life), reason(life)) == ("Pending", "PodInitializing")
    life.run()
    assert (phase(life), life.condition("Initialized"), life.condition("Ready")) == ("Running", "True", "True")


def test_a_pod_says_which_init_containers_it_waits_for() -> None:
    life = begun(first("one"), first("two"))
    assert life.status is not None
    found = find_condition(life.status.conditions, "Initialized")
    assert found is not None
    assert (found.status, found.reason) == ("False", "ContainersNotInitialized")
    assert found.message == "containers with incomplete status: [one two]"


@pytest.mark.parametrize("policy", ["Always", "OnFailure"])
def test_an_init_container_that_fails_is_tried_again_with_back_off(policy: str) -> None:
    life = begun(first("one"), restartPolicy=policy)
    life.run("one")
    life.exit(1, container="one")
    assert life.of(Prepare) == ["one"], "the first restart is immediate"
    life.run("one")
    life.exit(1, attempt=1, container="one")
    assert (reason(life, "one"), phase(life)) == ("CrashLoopBackOff", "Pending")
    life.wait(10)
    life.run("one")
    life.exit(0, attempt=2, container="one")
    assert life.of(Prepare) == ["main"]


def test_a_pod_that_never_restarts_fails_with_its_init_container_and_takes_its_sidecars_with_it() -> None:
    life = begun(beside("side"), first("one"), restartPolicy="Never")
    life.run("side")
    life.run("one")
    life.exit(3, container="one")
    assert phase(life) == "Failed"
    assert life.of(Stop) == ["side"]
    life.exit(0, container="side")
    assert life.all(Retire)
    assert not life.all(Prepare)
    assert reason(life) == "PodInitializing"


def test_an_init_container_that_has_succeeded_is_not_run_again_after_an_adoption() -> None:
    seen = pod(initContainers=[first("one")])
    done = Exit(0, 0, "", "", T0 - 9, T0 - 8)
    life = Life(pod("other"))
    life.say(
        Adopted(
            seen,
            (
                Remembered("one", 0, IMAGE, "id", "e", T0 - 9, T0 - 9, done),
                Remembered("main", 0, IMAGE, "id", "e", T0 - 7, T0 - 7, Exit(1, 0, "", "", T0 - 7, T0 - 1)),
            ),
        )
    )
    assert life.of(Prepare) == ["main"]


def test_what_was_killed_all_together_is_initialized_again() -> None:
    life = begun(first("one"))
    life.run("one")
    life.exit(0, container="one")
    life.run()
    life.say(SupervisorLost("u1", (("main", 0),)))
    assert life.of(Prepare) == ["one"], "what it had prepared may have gone with the rest"
    life.run("one")
    assert phase(life) == "Running"
    life.exit(0, attempt=1, container="one")
    assert life.of(Prepare) == ["main"]


def test_a_sidecar_holds_up_the_next_one_until_its_startup_probe_succeeds() -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    life = begun(beside("side", startupProbe=probe), first("one"))
    life.run("side")
    assert life.of(Prepare) == []
    assert life.of(ProbeNow) == ["side"]
    life.say(Probed("u1", "side", 0, ProbeKind.STARTUP, True))
    assert life.of(Prepare) == ["one"]
    life.run("one")
    life.exit(0, container="one")
    life.run()
    assert (phase(life), life.condition("Ready")) == ("Running", "True")


def test_a_sidecar_is_restarted_however_it_ended_and_whatever_the_pods_policy() -> None:
    life = begun(beside("side"), restartPolicy="Never")
    life.run("side")
    life.run()
    life.exit(0, container="side")
    assert life.of(Prepare) == ["side"]
    assert (phase(life), life.condition("Ready")) == ("Running", "False")
    assert life.condition("Initialized") == "True", "it was initialized before"


def test_a_sidecar_keeps_no_pod_from_finishing() -> None:
    life = begun(beside("a"), beside("b"), restartPolicy="OnFailure")
    life.run("a")
    life.run("b")
    life.run()
    life.exit(0)
    assert life.of(Stop) == ["b"], "the last one first"
    assert phase(life) == "Running"
    life.exit(143, container="b")
    assert life.of(Stop) == ["a"]
    life.exit(1, container="a")
    assert phase(life) == "Succeeded", "how a sidecar ended says nothing about the pod"
    assert life.all(Retire)


def test_sidecars_are_stopped_after_the_containers_in_reverse_order_with_what_is_left_of_the_grace() -> None:
    life = begun(beside("a"), beside("b"))
    for name in ("a", "b", "main"):
        life.run(name)
    delete(life)
    assert life.of(Stop) == ["main"]
    life.exit(0, after=10)
    assert [(stop.container, stop.grace_s) for stop in life.all(Stop)] == [("b", 20.0)]
    life.wait(20)
    assert [(stop.container, stop.grace_s) for stop in life.all(Stop)] == [("a", 2.0)], "the grace is over"


def test_a_pod_that_is_killed_waits_for_no_order() -> None:
    life = begun(beside("a", **hooks(preStop=SLEEP)))
    life.run("a")
    life.run()
    delete(life, 0)
    assert sorted((stop.container, stop.grace_s) for stop in life.all(Stop)) == [("a", 0.0), ("main", 0.0)]


def test_a_container_counts_as_running_when_its_post_start_hook_is_done() -> None:
    probe = {"exec": {"command": ["true"]}}
    life = Life(pod(container={**hooks(postStart=SLEEP), "readinessProbe": probe}))
    life.run()
    hook = life.one(RunHook)
    assert (hook.kind, hook.attempt) == (HookKind.POST_START, 0)
    assert reason(life) == "ContainerCreating"
    assert not life.all(ProbeNow)
    life.say(Tick())
    assert not life.all(RunHook), "it is asked for once"
    life.hooked(HookKind.POST_START)
    assert reason(life) == "Running"
    assert life.all(ProbeNow)


def test_a_container_whose_post_start_hook_fails_is_killed_and_says_why() -> None:
    life = Life(pod(container=hooks(postStart=SLEEP)))
    life.run()
    life.hooked(HookKind.POST_START, ok=False)
    assert life.one(Stop).reason == "FailedPostStartHook"
    warning = next(event for event in life.all(Emit) if event.type == "Warning")
    assert (warning.reason, warning.message) == ("FailedPostStartHook", "PostStartHook failed")
    assert not life.container.ready
    life.exit(143)
    assert life.of(Prepare) == ["main"]
    ended = life.container.last_state.terminated
    assert ended is not None
    assert ended.reason == "FailedPostStartHook"


def test_the_pre_stop_hook_runs_first_and_its_time_is_taken_from_the_grace() -> None:
    life = Life(pod(container=hooks(preStop=SLEEP)))
    life.run()
    delete(life)
    hook = life.one(RunHook)
    assert (hook.kind, hook.timeout_s) == (HookKind.PRE_STOP, 30.0)
    assert not life.all(Stop)
    life.now += 12
    life.hooked(HookKind.PRE_STOP)
    assert life.one(Stop).grace_s == 18.0


@pytest.mark.parametrize("ok", [True, False])
def test_a_program_gets_two_seconds_after_a_pre_stop_hook_however_long_that_took(ok: bool) -> None:
    life = Life(pod(container=hooks(preStop=SLEEP)))
    life.run()
    delete(life)
    assert life.timer == T0 + 30
    life.wait(30)
    assert life.one(Stop).grace_s == 2.0
    life.hooked(HookKind.PRE_STOP, ok)
    assert not life.all(Stop)


def test_a_pre_stop_hook_that_fails_is_told_and_holds_up_nothing() -> None:
    life = Life(pod(container=hooks(preStop=SLEEP)))
    life.run()
    delete(life)
    life.hooked(HookKind.PRE_STOP, ok=False)
    assert [event.reason for event in life.all(Emit)] == ["FailedPreStopHook"]
    assert life.one(Stop).grace_s == 30.0


def test_a_shorter_grace_ends_the_wait_for_a_pre_stop_hook() -> None:
    life = Life(pod(container=hooks(preStop=SLEEP)))
    life.run()
    delete(life)
    delete(life, 0)
    assert life.one(Stop).grace_s == 0.0
    assert not life.all(RunHook)


def test_no_pre_stop_hook_runs_for_a_container_that_ends_by_itself() -> None:
    life = Life(pod(container=hooks(preStop=SLEEP)))
    life.run()
    life.exit(1)
    assert not life.all(RunHook)
    assert life.all(Prepare)


def test_the_pre_stop_hook_runs_also_when_a_probe_sends_the_container_away() -> None:
    probe = {"exec": {"command": ["true"]}, "failureThreshold": 1, "terminationGracePeriodSeconds": 7}
    life = Life(pod(container={**hooks(preStop=SLEEP), "livenessProbe": probe}))
    life.run()
    life.say(Probed("u1", "main", 0, ProbeKind.LIVENESS, False, "no"))
    assert life.one(RunHook).timeout_s == 7.0
    life.hooked(HookKind.PRE_STOP)
    assert life.one(Stop).grace_s == 7.0


def test_a_deadline_counts_while_a_pod_initializes() -> None:
    life = begun(first("one"), activeDeadlineSeconds=60)
    life.run("one")
    life.wait(60)
    assert life.of(Stop) == ["one"]
    life.exit(143, container="one")
    assert life.status is not None
    assert (phase(life), life.status.reason) == ("Failed", "DeadlineExceeded")


def test_one_container_that_crashes_does_not_touch_the_other() -> None:
    life = Life(pod(more=[{"name": "side", "image": IMAGE}]))
    both = life.effects
    life.run("main")
    life.effects = both
    life.run("side")
    life.exit(1)
    assert life.of(Prepare) == ["main"]
    assert not life.all(Stop)
    assert (life.named("main").ready, life.named("side").ready) == (False, True)


def test_an_init_container_is_left_alone_when_its_image_changes() -> None:
    life = begun(first("one"))
    life.run("one")
    changed: Pod = pod(initContainers=[first("one") | {"image": "pack.stark/hello:2.0.0"}])
    life.say(PodSeen(changed))
    assert not life.all(Stop)
    life.exit(0, container="one")
    assert life.of(Prepare) == ["main"]


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_is_set_neither_shortens_a_grace_nor_lengthens_it(hours: int) -> None:
    life = Life(pod(container=hooks(preStop=SLEEP)))
    life.run()
    delete(life)
    life.machine.shift(hours * 3600.0)
    life.now += hours * 3600.0
    life.wait(12)
    assert not life.all(Stop)
    life.hooked(HookKind.PRE_STOP)
    assert life.one(Stop).grace_s == 18.0


@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_is_set_neither_brings_a_deadline_nor_puts_it_off(hours: int) -> None:
    life = Life(pod(activeDeadlineSeconds=60))
    life.run()
    life.wait(20)
    began = life.status.start_time if life.status else None
    life.machine.shift(hours * 3600.0)
    life.now += hours * 3600.0
    life.wait(39)
    assert not life.all(Stop)
    life.wait(1)
    assert life.one(Stop).reason == "DeadlineExceeded"
    assert life.status is not None
    assert life.status.start_time == began, "what was told of the past stays"


def adopted(execution: str, *, ready: bool) -> Life:
    """The successor of an agent that had last reported this of a container with probes."""
    probe = {"exec": {"command": ["true"]}, "failureThreshold": 2}
    told = {"name": "main", "containerID": "stark://e-1", "ready": ready, "started": True, "restartCount": 0}
    seen = pod(
        container={"readinessProbe": probe, "startupProbe": probe, "livenessProbe": probe},
        status={"phase": "Running", "containerStatuses": [{**told, "image": IMAGE, "imageID": "", "state": {}}]},
    )
    life = Life(pod("other"))
    life.say(Adopted(seen, (Remembered("main", 0, IMAGE, "", execution, T0 - 60, T0 - 60, None),)))
    return life


def test_what_was_ready_stays_ready_under_a_new_agent_until_its_probe_has_failed_often_enough() -> None:
    life = adopted("e-1", ready=True)
    assert life.container.ready
    assert sorted(probe.kind for probe in life.all(ProbeNow)) == [ProbeKind.LIVENESS, ProbeKind.READINESS]
    life.say(Probed("u1", "main", 0, ProbeKind.READINESS, False, ""))
    assert life.container.ready
    life.wait(10)
    life.say(Probed("u1", "main", 0, ProbeKind.READINESS, False, ""))
    assert not life.container.ready


@pytest.mark.parametrize(("execution", "ready"), [("e-1", False), ("e-2", True)])
def test_what_was_not_ready_or_was_another_run_must_show_it_to_a_new_agent(execution: str, ready: bool) -> None:
    assert not adopted(execution, ready=ready).container.ready
