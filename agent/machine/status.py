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

OWN_CONDITIONS = ("Initialized", "ContainersReady", "Ready")
"""What the agent concludes; PodScheduled is the scheduler's, and other types are other people's."""

MESSAGE_MAX = 4096


def at_time(seconds: float) -> datetime:
    """POSIX seconds as the API's time, which has whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC)


def phase_of(policy: RestartPolicy, containers: Sequence[ContainerStatus]) -> PodPhase:
    """The phase that follows from the containers' states (kubelet's getPhase)."""
    waiting = running = stopped = succeeded = 0
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
        reason, message = life.show(now) if life.stage is Stage.WAITING else ("ContainerCreating", "")
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
    containers = [container_status(life, now) for life in lives]
    phase: PodPhase = phase_of(pod.spec.restart_policy, containers)
    busy = any(life.has_process for life in lives)
    if verdict is not None:
        # Kubernetes shows the failure at once but calls the pod failed only when nothing of it runs any more.
        phase = "Running" if busy else "Failed"
    elif pod.metadata.deletion_timestamp is not None and not busy:
        phase = _phase_of_deleted(containers, phase)
    conditions = list(previous.conditions if previous else pod.status.conditions)
    for condition in _conclusions(pod, phase, containers):
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
        container_statuses=containers,
    )


def _phase_of_deleted(containers: Sequence[ContainerStatus], phase: PodPhase) -> PodPhase:
    """A pod that was stopped before it was removed: failed unless everything ended well."""
    ends = [c.state.terminated or c.last_state.terminated for c in containers]
    if all(end is not None and end.exit_code == 0 for end in ends):
        return "Succeeded"
    return "Failed" if any(end is not None for end in ends) else phase


def _conclusions(pod: Pod, phase: PodPhase, containers: Sequence[ContainerStatus]) -> list[PodCondition]:
    generation = pod.metadata.generation
    unready = [status.name for status in containers if not status.ready]
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    reason: str | None = None
    message: str | None = None
    if done is not None:
        reason = done
    elif unready:
        reason, message = "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    ready = "True" if reason is None else "False"
    initialized = "PodCompleted" if phase == "Succeeded" else None
    own = [
        PodCondition(type="Initialized", status="True", reason=initialized, observed_generation=generation),
        *(
            PodCondition(type=name, status=ready, reason=reason, message=message, observed_generation=generation)
            for name in ("ContainersReady", "Ready")
        ),
    ]
    if find_condition(pod.status.conditions, "PodScheduled") is None:
        own.append(PodCondition(type="PodScheduled", status="True", observed_generation=generation))
    return own


def is_reported(ours: PodStatus, seen: PodStatus) -> bool:
    """Whether the API server shows what we concluded; when it doesn't, somebody else wrote and we say it again."""

    def gist(status: PodStatus) -> tuple[object, ...]:
        conditions = sorted((c.type, c.status) for c in status.conditions if c.type in OWN_CONDITIONS)
        containers = [(c.name, c.ready, c.restart_count) for c in status.container_statuses]
        return status.phase, conditions, containers

    return gist(ours) == gist(seen)
