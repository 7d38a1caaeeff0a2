"""How often a pod has failed, read from its status alone, so that nothing is missed when nobody was looking. Pure.

A failure is a run that ended, or an attempt to start that came to nothing, for a reason that is the program's own. It is
known by the pod's uid and the number of the restart, so looking twice counts it once, and a restart that nobody saw counts
too. A pod that is Ready, on its way out or sent away is no evidence of anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stark.crds.crash_loop import Counted, Seen, Settings
from stark.crds.meta import to_wire
from stark.crds.podcontainers import container_named, is_sidecar
from stark.crds.podfacts import is_ready
from stark.crds.pods import ContainerStateTerminated, ContainerStatus, Pod
from stark.crds.podview import APPLICATION_REASONS, TERMINATION_REASONS, counts_as_crash

START_RETRY_S = 10.0
"""The agent's first pause between two attempts to start what cannot be started; each further one is twice as long."""
BEGINNING = frozenset({"ContainerCreating", "PodInitializing"})
"""Waiting reasons of a container whose next run is being made: whether it counts as begun cannot be told."""
SENT_AWAY = frozenset({"Unhealthy", "FailedPostStartHook"})
"""Why a container ended that the agent stopped because of its probe, or because of its hook."""
CAUSE_MAX = 200
"""Characters of a cause: it is kept in annotations."""


@dataclass(frozen=True, slots=True)
class Failing:
    """What a pod's status tells of its failures."""

    seen: Seen
    cause: str
    """The last one, for people."""
    at: datetime | None = None
    """When the last run ended, by the node's clock."""
    held: bool = False
    """The last run was long enough to be a success, so that nothing before it is in a row with it."""
    waits_until: float | None = None
    """Seconds until another attempt to start counts."""


def is_evidence(pod: Pod) -> bool:
    """Whether the pod could tell of a failure at all: cheap, for an index."""
    if pod.metadata.deletion_timestamp is not None:
        return False
    return pod.status.phase == "Failed" or any(map(_tells, _statuses(pod)))


def _statuses(pod: Pod) -> list[ContainerStatus]:
    """A release that cannot be initialized is as broken as one that cannot run."""
    return [*pod.status.init_container_statuses, *pod.status.container_statuses]


def _tells(status: ContainerStatus) -> bool:
    ended = status.state.terminated or status.last_state.terminated
    waiting = status.state.waiting
    return not status.ready and (ended is not None or (waiting is not None and waiting.reason not in BEGINNING))


def failing(pod: Pod, settings: Settings, hold_s: float, since: datetime | None, now: datetime) -> Failing | None:
    """The failures of a pod; None when there are none that count."""
    if pod.metadata.deletion_timestamp is not None or is_ready(pod):
        return None
    if pod.status.phase == "Failed":
        return _failed(pod, settings)
    found = [each for each in (_container(pod, s, settings, hold_s, since, now) for s in _broken(pod)) if each]
    if not found:
        return None
    last = max(found, key=lambda each: each.at.timestamp() if each.at else 0.0)
    seen = Seen(sum(each.seen.ends for each in found), sum(each.seen.waits for each in found))
    waits = [each.waits_until for each in found if each.waits_until is not None]
    return Failing(seen, last.cause, last.at, last.held, min(waits) if waits else None)


def _broken(pod: Pod) -> list[ContainerStatus]:
    return [status for status in _statuses(pod) if not status.ready]


def _failed(pod: Pod, settings: Settings) -> Failing | None:
    """A pod that has failed for good has failed once, whatever its containers went through."""
    if not counts_as_crash(to_wire(pod)):
        return None
    stopped = {container.name for container in pod.spec.init_containers if is_sidecar(container)}
    ends = [s.state.terminated for s in _statuses(pod) if s.state.terminated and s.name not in stopped]
    if not pod.status.reason and ends and not any(_counts(end, settings) for end in ends):
        return None
    at = max((end.finished_at for end in ends if end.finished_at is not None), default=None)
    said = pod.status.reason or next((_ended(end) for end in ends if _counts(end, settings)), "failed")
    return Failing(Seen(1, 0), said[:CAUSE_MAX], at)


def _container(
    pod: Pod, status: ContainerStatus, settings: Settings, hold_s: float, since: datetime | None, now: datetime
) -> Failing | None:
    end = status.state.terminated or status.last_state.terminated
    counts = end is not None and _counts(end, settings)
    waiting = status.state.waiting
    reason = waiting.reason or "" if waiting is not None else ""
    # The restart count rises when the next run begins: until then there is one end more.
    is_over = end is not None and status.state.running is None and reason not in BEGINNING
    ends = status.restart_count + (1 if is_over else 0)
    if TERMINATION_REASONS.get(reason) in APPLICATION_REASONS:
        began = (end.finished_at if end is not None else None) or pod.status.start_time
        tries, left_s = _attempts(_on_our_clock(pod, began, now), since, now)
        text = f"container {status.name}: {reason}"
        detail = waiting.message if waiting is not None else None
        cause = f"{text}: {detail}" if detail else text
        return Failing(Seen(ends if counts else 0, tries), cause[:CAUSE_MAX], None, waits_until=left_s)
    if end is None or not counts:
        return None
    # The wire's times have whole seconds: only what is more by one is surely as long.
    held = _lasted(end) > hold_s and _runs_to_be_ready(pod, status.name)
    return Failing(Seen(ends, 0), f"container {status.name}: {_ended(end)}"[:CAUSE_MAX], end.finished_at, held)


def _counts(end: ContainerStateTerminated, settings: Settings) -> bool:
    """Whether the end of a run is the program's own fault."""
    if end.reason and TERMINATION_REASONS.get(end.reason, "unknown") not in APPLICATION_REASONS | {"completed"}:
        return False
    if end.reason in SENT_AWAY and settings.counted_codes is None:
        return end.exit_code not in settings.ignored_codes  # that it went in peace is no excuse
    return settings.counts_code(end.exit_code)


def _ended(end: ContainerStateTerminated) -> str:
    return f"exit code {end.exit_code} ({end.reason})" if end.reason else f"exit code {end.exit_code}"


def _lasted(end: ContainerStateTerminated) -> float:
    if end.started_at is None or end.finished_at is None:
        return 0.0
    return (end.finished_at - end.started_at).total_seconds()


def _runs_to_be_ready(pod: Pod, name: str) -> bool:
    """Whether a long run proves that it works: readiness is no more than running, and it is there to run."""
    if any(each.name == name for each in pod.spec.init_containers if not is_sidecar(each)):
        return False
    container = container_named(pod.spec, name)
    return container is None or (container.readiness_probe or container.startup_probe) is None


def _on_our_clock(pod: Pod, began: datetime | None, now: datetime) -> datetime | None:
    """When a start was tried first, as a node says it; when the server made the pod, if the node's clock cannot be right."""
    created = pod.metadata.creation_timestamp
    if created is None or (began is not None and created <= began <= now):
        return began
    return created


def _attempts(began: datetime | None, since: datetime | None, now: datetime) -> tuple[int, float]:
    """How often the agent has tried to start it by now, at 0, 10, 30, 70 ... seconds; and when it tries next."""
    moments = [each for each in (began, since) if each is not None]
    gone_s = max(0.0, (now - max(moments)).total_seconds()) if moments else 0.0
    tries, next_s, pause_s = 1, START_RETRY_S, START_RETRY_S
    while gone_s >= next_s:
        pause_s *= 2
        tries, next_s = tries + 1, next_s + pause_s
    return tries, next_s - gone_s


@dataclass(frozen=True, slots=True)
class Count:
    """The failures in a row after a look at the pods."""

    count: int
    pods: Mapping[str, Seen] = field(default_factory=dict)
    cause: str = ""
    """The latest of those that are new; empty when none is."""
    at: datetime | None = None
    waits_until: float | None = None
    """Seconds until a pod that cannot be started has failed once more."""


def count(
    known: Counted,
    since: datetime | None,
    pods: Sequence[Pod],
    settings: Settings,
    hold_s: float,
    now: datetime,
    *,
    has_held: bool = False,
) -> Count:
    """Add what is new in the pods of the present template. Nothing that ended before `since` counts.

    `has_held`: the template is known to have held. Then the restarts of a pod that nothing is known of may be from any
    time, and only the last one is sure to be in a row with what comes.
    """
    found = [(pod, each) for pod in pods if (each := failing(pod, settings, hold_s, since, now)) is not None]
    found.sort(key=lambda item: (item[1].at.timestamp() if item[1].at else 0.0, item[0].metadata.name))
    total, seen, cause, at = known.count, {}, "", None
    here = {pod.uid for pod in pods}
    seen = {uid: before for uid, before in known.pods.items() if uid in here}
    for pod, each in found:
        fresh = _fresh(pod, each, known.pods.get(pod.uid), since, has_held=has_held)
        if not fresh:
            continue
        # What came before a run that held is not in a row with what came after it.
        total = fresh if each.held else total + fresh
        before = known.pods.get(pod.uid, Seen(0, 0))
        seen[pod.uid] = Seen(max(before.ends, each.seen.ends), max(before.waits, each.seen.waits))
        cause, at = each.cause, each.at
    waits = [each.waits_until for _, each in found if each.waits_until is not None]
    return Count(total, seen, cause, at, min(waits) if waits else None)


def _fresh(pod: Pod, now: Failing, before: Seen | None, since: datetime | None, *, has_held: bool) -> int:
    """How many failures of the pod are new."""
    waits = 1 if now.seen.waits > (before.waits if before else 0) else 0
    if before is not None:
        ends = max(0, now.seen.ends - before.ends)
    elif (since is None and not has_held) or (since is not None and _is_younger(pod, since)):
        ends = now.seen.ends
    else:
        # Of the restarts of an old pod only the last one has a time; the wire's times have whole seconds.
        is_new = since is None or now.at is None or now.at >= since.replace(microsecond=0)
        ends = 1 if now.seen.ends and is_new else 0
    return min(ends, 1) + waits if now.held else ends + waits


def _is_younger(pod: Pod, since: datetime) -> bool:
    created = pod.metadata.creation_timestamp
    return created is not None and created >= since.replace(microsecond=0)
