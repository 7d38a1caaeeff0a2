"""What happened to a pod, as the originals tell it: from what the pod itself remembers and from its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .annotations import CREATED_BY
from .packpods import version_of, version_steps

ACTIONS: Mapping[str, str] = {
    "Scheduled": "scheduled",
    "Started": "started",
    "Killing": "stopping",
    "BackOff": "failed",
    "Failed": "failed",
    "FailedScheduling": "pending",
    "Preempted": "evicted",
    "Evicted": "evicted",
    "TaintManagerEviction": "evicted",
}
"""What an event's reason means; others stand for themselves."""

FIRST = ("created", "scheduled")
"""What comes before everything else that happened in the same second."""

Mapped = Mapping[str, Any]


class Entry(NamedTuple):
    """One thing that happened."""

    at: str
    action: str
    actor: str
    text: str


def history_of(pod: Mapped, events: list[Entry]) -> list[Entry]:
    """Everything that is known, the oldest first: the pod's own memory fills in for events that are gone."""
    told = {entry.action for entry in events}
    known = [*events, *(entry for entry in of_pod(pod) if entry.action not in told)]
    return sorted(
        known, key=lambda entry: (entry.at, FIRST.index(entry.action) if entry.action in FIRST else len(FIRST))
    )


def of_pod(pod: Mapped) -> Iterator[Entry]:
    """What the pod itself remembers."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    creator = (metadata.get("annotations") or {}).get(CREATED_BY, "")
    steps = version_steps(pod)
    yield Entry(
        metadata["creationTimestamp"], "created", creator, steps[0].before if steps else version_of(pod["spec"])
    )
    for step in steps:
        why = f": {step.reason}" if step.reason else ""
        yield Entry(step.at, "rolled_back", "", f"{step.before} -> {step.after}{why}")
    for each in status.get("conditions") or ():
        if each["type"] == "PodScheduled" and each.get("status") == "True":
            node = pod["spec"].get("nodeName", "")
            yield Entry(each.get("lastTransitionTime") or "", "scheduled", "scheduler", f"to node {node}")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        yield from _of_container(container, pod["spec"].get("nodeName") or "")
    if metadata.get("deletionTimestamp"):
        yield Entry(metadata["deletionTimestamp"], "deleted", "", "")


def _of_container(container: Mapped, node: str) -> Iterator[Entry]:
    state, last = container.get("state") or {}, (container.get("lastState") or {}).get("terminated")
    count = container.get("restartCount") or 0
    if last:
        text = f"{last.get('reason', '')}, exit code {last.get('exitCode')}; restart {count}"
        yield Entry(last.get("finishedAt") or "", "restarted", node, text)
    running, ended = state.get("running"), state.get("terminated")
    if running:
        yield Entry(running.get("startedAt") or "", "started", node, container["name"])
    if ended:
        action = "stopped" if ended.get("exitCode") == 0 else "failed"
        text = f"{ended.get('reason', '')}, exit code {ended.get('exitCode')}"
        yield Entry(ended.get("finishedAt") or "", action, node, text)


def of_event(event: Mapped) -> Entry:
    """What an Event says."""
    at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""
    actor = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
    times = f" ({event['count']} times)" if (event.get("count") or 1) > 1 else ""
    reason = event.get("reason") or ""
    return Entry(at, ACTIONS.get(reason, reason), actor, f"{event.get('message') or ''}{times}")
