"""Wait until a rollout is over, and tell how far it is meanwhile.

Exit code 0 when it is complete, 1 when it failed (its deadline passed, or a crash loop stopped it or took it back
meanwhile) or the timeout passed.

Examples:
  starkctl rollout status deployment/web
  starkctl rollout status deployment/web --timeout 2m
  starkctl rollout status daemonset/logs --watch=false      how far it is now
"""

from __future__ import annotations

import argparse
import json
import time

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..rollouts import Workload, progress_of, why_taken_back, workloads
from .logs import seconds

ROUND_S = 60.0
"""How long one watch lasts: after it the object is read again, in case something was missed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="TYPE/NAME", help="what is rolled out, e.g. deployment/web")
    parser.add_argument(
        "-w", "--watch", default="true", choices=("true", "false"), help="wait for the end (default true)"
    )
    parser.add_argument("--timeout", metavar="DURATION", help="longest wait, e.g. 30s or 2m (default: no limit)")
    parser.add_argument("--revision", type=int, default=0, metavar="N", help="fail when another revision takes over")


def run(args: argparse.Namespace, session: Session) -> int:
    """Follow each rollout to its end."""
    limit = seconds(args.timeout) if args.timeout else 0
    deadline = time.monotonic() + limit if limit else None
    for workload in workloads(args.what, session):
        follow(session, workload, deadline, watch=args.watch == "true", revision=args.revision)
    return EXIT_OK


def follow(
    session: Session, workload: Workload, deadline: float | None = None, *, watch: bool = True, revision: int = 0
) -> None:
    """Print the progress until there is none to come. Raises CommandError."""
    told, first = "", None
    while True:
        live = session.api.get(workload.path)
        first = first or live
        kind = {"kind": workload.kind.kind}
        while True:
            _is_revision(live, revision)
            taken_back = why_taken_back(first, live)
            if taken_back:
                raise CommandError(f"{workload.label} was rolled back: {taken_back}")
            progress = progress_of({**live, **kind})
            if progress.text != told:
                told = progress.text
                print(told, flush=True)
            if progress.done or not watch:
                return
            change = _next(session, workload, live, deadline)
            if change is None:
                break
            live = change


def _is_revision(live: dict[str, object], revision: int) -> None:
    from stark.crds.annotations import REVISION

    notes = (live.get("metadata") or {}).get("annotations") or {}  # type: ignore[attr-defined]  # JSON of an object
    if revision and notes.get(REVISION) not in (None, str(revision)):
        raise CommandError(f"desired revision ({revision}) is different from the running revision ({notes[REVISION]})")


def _next(
    session: Session, workload: Workload, live: dict[str, object], deadline: float | None
) -> dict[str, object] | None:
    """The object after its next change; None when the watch ended and it should be read again. Raises CommandError."""
    left = ROUND_S if deadline is None else min(ROUND_S, deadline - time.monotonic())
    if left <= 0:
        raise CommandError("timed out waiting for the condition")
    query = {
        "watch": "true",
        "fieldSelector": f"metadata.name={workload.name}",
        "resourceVersion": str(live["metadata"]["resourceVersion"]),  # type: ignore[index]  # JSON of an object
        "timeoutSeconds": str(max(1, int(left))),
    }
    for line in session.api.lines(workload.kind.path(workload.namespace), query=query):
        event = json.loads(line)
        if event["type"] == "DELETED":
            raise CommandError(f"{workload.label} was deleted")
        if event["type"] == "ERROR":
            return None
        found: dict[str, object] = event["object"]
        return found
    return None
