"""Tell what happened to a pod: created, scheduled, started, restarted, rolled back, evicted, stopped; by whom and why.

Made of the pod itself and of its events, which the server keeps for an hour. A pod that is gone is told of by its events.
The audit log (`starkctl audit list`) knows every change for longer, for administrators.

Examples:
  starkctl pod history hello-x7k2p
  starkctl pod history hello-x7k2p -o json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import NamedTuple

from stark.crds.annotations import CREATED_BY

from ..deployments import version_of
from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..output import print_object, text_table
from ..paging import every
from ..pods import Object, find_pod, version_steps

ACTIONS = {
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


class Entry(NamedTuple):
    """One thing that happened."""

    at: str
    action: str
    actor: str
    text: str


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pod", metavar="POD", help="name or uid of the pod")
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row an action, the oldest first."""
    form = session.form(args.output)
    entries = history(session, args.pod)
    if form in ("json", "yaml"):
        print_object({"items": [entry._asdict() for entry in entries]}, form)
        return EXIT_OK
    rows = [[entry.at, entry.action, entry.actor, entry.text] for entry in entries]
    heading = ["TIME", "ACTION", "BY", "WHAT"]
    sys.stdout.write(text_table(heading, rows, headings=not args.no_headers, plain=form == "plain"))
    return EXIT_OK


def history(session: Session, word: str) -> list[Entry]:
    """What is known of the pod. Raises CommandError when nothing is."""
    try:
        pod = find_pod(session, word)
    except CommandError:
        entries = list(_events(session, session.namespace, f"involvedObject.kind=Pod,involvedObject.name={word}"))
        if not entries:
            raise
        return sorted(entries)
    metadata = pod["metadata"]
    events = list(_events(session, metadata["namespace"], f"involvedObject.uid={metadata['uid']}"))
    told = {entry.action for entry in events}
    return sorted([*events, *(entry for entry in of_pod(pod) if entry.action not in told)])


def of_pod(pod: Object) -> Iterator[Entry]:
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


def _of_container(container: Object, node: str) -> Iterator[Entry]:
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


def _events(session: Session, namespace: str, selector: str) -> Iterator[Entry]:
    for event in every(session, f"/api/v1/namespaces/{namespace}/events", fieldSelector=selector):
        at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or ""
        actor = (event.get("source") or {}).get("component") or event.get("reportingComponent") or ""
        times = f" ({event['count']} times)" if (event.get("count") or 1) > 1 else ""
        reason = event.get("reason") or ""
        yield Entry(at, ACTIONS.get(reason, reason), actor, f"{event.get('message') or ''}{times}")
