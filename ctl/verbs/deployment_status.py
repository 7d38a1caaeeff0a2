"""Tell how a deployment stands: version, pods, rollout, and what is known of its crashes.

Examples:
  starkctl deployment status web
  starkctl deployment status web -o yaml      the object itself
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from stark.crds.annotations import CHANGE_CAUSE, FOLLOW_LATEST, REVISION, flag
from stark.crds.crash_loop import lines as crash_lines
from stark.crds.crash_loop import view
from stark.crds.deploymentview import status_of
from stark.crds.packpods import packs_of
from stark.crds.podview import pod_state
from stark.crds.printers import human_age
from stark.crds.selectors import from_label_selector

from ..deployments import Object, read, ready_of, workload
from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, visible
from ..paging import every

TITLE_WIDTH = 16


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="the deployment")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print the object instead")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print what is known."""
    found = workload(session, args.name)
    live = read(session, found)
    if args.output:
        print_object(live, args.output)
        return EXIT_OK
    selector = str(from_label_selector(live["spec"]["selector"]))
    pods = list(every(session, f"/api/v1/namespaces/{found.namespace}/pods", labelSelector=selector))
    for line in told(live, pods, datetime.now(UTC)):
        print(visible(line))
    return EXIT_OK


def told(deployment: Object, pods: list[Object], now: datetime) -> Iterator[str]:
    """The lines, `Name:  value` each."""
    metadata, status = deployment["metadata"], deployment.get("status") or {}
    notes = metadata.get("annotations") or {}
    yield _line("Name", metadata["name"])
    yield _line("Namespace", metadata["namespace"])
    yield _line("Status", status_of(deployment))
    for _, pack, version in packs_of(deployment["spec"]["template"]["spec"]):
        yield _line("Pack", f"{pack} {version}")
    yield _line("Follows latest", "yes" if flag(notes, FOLLOW_LATEST) else "no")
    yield _line("Ready", ready_of(deployment))
    numbers = (status.get(f"{each}Replicas") or 0 for each in ("updated", "available", "unavailable"))
    yield _line("Pods", "{} updated, {} available, {} unavailable".format(*numbers))
    states = Counter(pod_state(pod) for pod in pods)
    if states:
        yield _line("Pod states", ", ".join(f"{number} {state}" for state, number in sorted(states.items())))
    cause = notes.get(CHANGE_CAUSE)
    yield _line("Revision", f"{notes.get(REVISION, '<none>')}{f' ({cause})' if cause else ''}")
    yield _line("Age", human_age(metadata["creationTimestamp"]))
    for line in crash_lines(view(deployment, now)):
        title, _, value = line.partition(": ")
        yield _line(title, value)
    yield "Conditions:"
    for each in status.get("conditions") or ():
        yield f"  {each['type']}={each['status']}  {each.get('reason') or ''}: {each.get('message') or ''}"


def _line(title: str, value: str) -> str:
    return f"{title + ':':<{TITLE_WIDTH}}{'' if len(title) < TITLE_WIDTH - 1 else ' '}{value}"
