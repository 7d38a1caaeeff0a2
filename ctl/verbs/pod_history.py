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

from stark.crds.podhistory import Entry, history_of, of_event

from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..output import print_object, text_table
from ..paging import every
from ..pods import find_pod


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
    return history_of(pod, list(_events(session, metadata["namespace"], f"involvedObject.uid={metadata['uid']}")))


def _events(session: Session, namespace: str, selector: str) -> Iterator[Entry]:
    for event in every(session, f"/api/v1/namespaces/{namespace}/events", fieldSelector=selector):
        yield of_event(event)
