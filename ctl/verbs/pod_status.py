"""Tell how one pod stands; it may be named by its name or its uid.

Examples:
  starkctl pod status hello-x7k2p
  starkctl pod status 0b6c3c1e-5d0e-4a51-9c1c-2f6a3f0b7a11
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from stark.crds.annotations import CREATED_BY
from stark.crds.packpods import message_of, packs_of
from stark.crds.podview import pod_state, termination_reason

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, visible
from ..pods import Object, controller_of, find_pod

TITLE_WIDTH = 13


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pod", metavar="POD", help="name or uid of the pod")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print the object instead")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print what is known."""
    pod = find_pod(session, args.pod)
    if args.output:
        print_object({"apiVersion": "v1", "kind": "Pod", **pod}, args.output)
        return EXIT_OK
    for title, value in told(pod, controller_of(session, pod)):
        print(visible(f"{title + ':':<{TITLE_WIDTH}} {value}"))
    return EXIT_OK


def told(pod: Object, controller: str) -> Iterator[tuple[str, str]]:
    """The lines, as name and value."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    yield "Name", metadata["name"]
    yield "Id", metadata["uid"]
    yield "Status", pod_state(pod)
    reason, message = termination_reason(pod), message_of(pod)
    if reason:
        yield "Reason", reason
    if message:
        yield "Message", message
    for _, pack, version in packs_of(spec):
        yield "Pack", f"{pack} {version}"
    yield "Node", spec.get("nodeName") or "<none>"
    yield "Namespace", metadata["namespace"]
    yield "Priority", str(spec.get("priority") or 0)
    yield "Restarts", str(sum(each.get("restartCount") or 0 for each in status.get("containerStatuses") or ()))
    if controller:
        yield "Kept by", controller
    yield "Created by", (metadata.get("annotations") or {}).get(CREATED_BY) or "<unknown>"
    yield "Created", metadata["creationTimestamp"]
    if status.get("startTime"):
        yield "Started", status["startTime"]
    if metadata.get("deletionTimestamp"):
        yield "Deleted", metadata["deletionTimestamp"]
    labels = metadata.get("labels") or {}
    yield "Labels", ", ".join(f"{key}={labels[key]}" for key in sorted(labels)) or "<none>"
