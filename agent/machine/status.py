"""How a pod looks in the API: phase, conditions and container states, by kubelet's rules, from the containers' lives."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from stark.crds.conditions import find_condition, set_condition
from stark.crds.pods import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    Pod,
    PodCondition,
    PodIP,
    PodPhase,
    PodStatus,
    RestartPolicy,
)

from .container import ContainerLife, Stage
from .messages import Exit
from .ordering import Role

OWN_CONDITIONS = ("Initialized", "ContainersReady", "Ready")
"""What the agent concludes; PodScheduled is the scheduler's, and other types are other people's."""

MESSAGE_MAX = 4096


def at_time(seconds: float) -> datetime:
    """POSIX seconds as the API's time, which has whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC)


def phase_of(
    policy: RestartPolicy, containers: Sequence[ContainerStatus], initial: Sequence[tuple[ContainerStatus, Role]] = ()
) -> PodPhase:
    """The phase that follows from the containers' states (kubelet's getPhase)."""
    failed = [status for status, role in initial if role is Role.INIT and _has_failed(status)]
    if failed and policy == "Never":
        return "Failed"
    if failed or (not has_begun(containers) and not all(_is_done(status, role) for status, role in initial)):
        return "Pending"
    waiting = running = stopped = succeeded = 0
    # How a sidecar ended says nothing about the pod.
    running += sum(role is Role.SIDECAR and status.state.running is not None for status, role in initial)
    waiting += sum(role is Role.SIDECAR and _is_new(status) for status, role in initial)
    for status in containers:
        state = status.state
        if state.running is not None:
            running += 1
        elif state.terminated is not None:
            stopped += 1
            succeeded += state.terminated.exit_code == 0
        elif status.last_state.terminated is not None:
            stopped += 1
        else:
            waiting += 1
    if waiting:
        return "Pending"
    if running or policy == "Always":
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def has_begun(containers: Sequence[ContainerStatus]) -> bool:
    """Whether a container has had its turn: then the pod was initialized, whatever became of that."""
    return any(status.state.running is not None or status.state.terminated is not None for status in containers)


def _is_new(status: ContainerStatus) -> bool:
    """Whether it has never run."""
    return status.state.running is None and status.state.terminated is None and status.last_state.terminated is None


def _has_failed(status: ContainerStatus) -> bool:
    if status.state.running is not None:
        return False
    end = status.state.terminated or status.last_state.terminated
    return end is not None and end.exit_code != 0


def _is_done(status: ContainerStatus, role: Role) -> bool:
    """Whether an init container holds up the next one no more."""
    return bool(status.started) if role is Role.SIDECAR else status.ready


def terminated(ended: Exit, runtime: str) -> ContainerStateTerminated:
    """A run that is over."""
    reason = ended.reason or ("Completed" if ended.code == 0 else "Error")
    return ContainerStateTerminated(
        exit_code=ended.code,
        **({"signal": ended.signal} if ended.signal else {}),
        reason=reason,
        **({"message": ended.message[:MESSAGE_MAX]} if ended.message else {}),
        started_at=at_time(ended.started_at),
        finished_at=at_time(ended.finished_at),
        **({"container_id": f"{runtime}://{ended.execution}"} if ended.execution else {}),
    )


def container_status(life: ContainerLife, now: float, runtime: str = "stark") -> ContainerStatus:
    """One container's entry."""
    state = ContainerState()
    if life.is_running:
        assert life.called_at is not None, life.name
        state = ContainerState(running=ContainerStateRunning(started_at=at_time(life.called_at)))
    elif life.exit is not None:
        state = ContainerState(terminated=terminated(life.exit, runtime))
    else:
        reason, message = life.show(now) if life.stage is Stage.WAITING else (life.creating, "")
        state = ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message or None))
    last = ContainerState(terminated=terminated(life.last, runtime)) if life.last else ContainerState()
    return ContainerStatus(
        name=life.name,
        state=state,
        last_state=last,
        ready=life.ready,
        restart_count=life.attempt,
        image=life.spec.image or "",
        image_id=life.image_id,
        container_id=f"{runtime}://{life.execution}" if life.execution else None,
        started=life.started,
    )


def pod_status(
    pod: Pod,
    lives: Sequence[ContainerLife],
    *,
    started_at: float,
    node_ip: str,
    previous: PodStatus | None,
    verdict: tuple[str, str] | None,
    now: float,
) -> PodStatus:
    """The whole status. `verdict` is (reason, message) of a pod that fails whatever its containers say."""
    containers = [container_status(life, now) for life in lives if life.role is Role.MAIN]
    initial = [(container_status(life, now), life.role) for life in lives if life.role is not Role.MAIN]
    phase: PodPhase = phase_of(pod.spec.restart_policy, containers, initial)
    busy = any(life.has_process for life in lives)
    if verdict is not None:
        # Kubernetes shows the failure at once but calls the pod failed only when nothing of it runs any more.
        phase = "Running" if busy else "Failed"
    elif pod.metadata.deletion_timestamp is not None and not busy:
        phase = _phase_of_deleted(containers, phase)
    conditions = list(previous.conditions if previous else pod.status.conditions)
    for condition in _conclusions(pod, phase, containers, initial):
        conditions = set_condition(conditions, condition, at_time(now))
    return PodStatus(
        observed_generation=pod.metadata.generation,
        phase=phase,
        conditions=conditions,
        reason=verdict[0] if verdict else None,
        message=verdict[1] if verdict else None,
        host_ip=node_ip,
        pod_ip=node_ip,
        pod_ips=[PodIP(ip=node_ip)],
        start_time=at_time(started_at),
        init_container_statuses=[status for status, _ in initial],
        container_statuses=containers,
    )


def _phase_of_deleted(containers: Sequence[ContainerStatus], phase: PodPhase) -> PodPhase:
    """A pod that was stopped before it was removed: failed unless everything ended well."""
    ends = [c.state.terminated or c.last_state.terminated for c in containers]
    if all(end is not None and end.exit_code == 0 for end in ends):
        return "Succeeded"
    return "Failed" if any(end is not None for end in ends) else phase


def _conclusions(
    pod: Pod, phase: PodPhase, containers: Sequence[ContainerStatus], initial: Sequence[tuple[ContainerStatus, Role]]
) -> list[PodCondition]:
    generation = pod.metadata.generation
    lasting = [*(status for status, role in initial if role is Role.SIDECAR), *containers]
    unready = [status.name for status in lasting if not status.ready]
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    reason: str | None = None
    message: str | None = None
    if done is not None:
        reason = done
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    ready = "True" if reason is None else "False"
    own = [
        _initialized(phase, containers, initial, generation),
        *(
            PodCondition(type=name, status=ready, reason=reason, message=message, observed_generation=generation)
            for name in ("ContainersReady", "Ready")
        ),
    ]
    if find_condition(pod.status.conditions, "PodScheduled") is None:
        own.append(PodCondition(type="PodScheduled", status="True", observed_generation=generation))
    return own


def _initialized(
    phase: PodPhase,
    containers: Sequence[ContainerStatus],
    initial: Sequence[tuple[ContainerStatus, Role]],
    generation: int | None,
) -> PodCondition:
    waited_for = [status.name for status, role in initial if not _is_done(status, role)]
    if phase == "Succeeded" or has_begun(containers) or not waited_for:
        reason = "PodCompleted" if phase == "Succeeded" else None
        return PodCondition(type="Initialized", status="True", reason=reason, observed_generation=generation)
    message = f"containers with incomplete status: [{' '.join(waited_for)}]"
    return PodCondition(
        type="Initialized",
        status="False",
        reason="ContainersNotInitialized",
        message=message,
        observed_generation=generation,
    )


def is_reported(ours: PodStatus, seen: PodStatus) -> bool:
    """Whether the API server shows what we concluded; when it doesn't, somebody else wrote and we say it again."""

    def gist(status: PodStatus) -> tuple[object, ...]:
        conditions = sorted((c.type, c.status) for c in status.conditions if c.type in OWN_CONDITIONS)
        told = (*status.init_container_statuses, *status.container_statuses)
        containers = [(c.name, c.ready, c.restart_count) for c in told]
        return status.phase, conditions, containers

    return gist(ours) == gist(seen)
