"""Delete deployments and stop their pods, then wait until they are gone.

Without --force nothing is deleted: it says what would be, and ends with exit code 1.

Examples:
  starkctl deployment delete web --force
  starkctl deployment rm web --force --wait=false
"""

from __future__ import annotations

import argparse
import sys

from ..deployments import read, ready_of, workload
from ..errors import EXIT_ERROR, EXIT_OK
from ..options import Session
from .delete import wait_gone


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="+", metavar="NAME", help="the deployment")
    parser.add_argument("-f", "--force", action="store_true", help="do it")
    parser.add_argument(
        "--wait", default="true", choices=("true", "false"), help="wait until it and its pods are gone (default true)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Delete each one in the foreground, so that its end is the end of its pods."""
    found = [workload(session, name) for name in args.name]
    live = [read(session, each) for each in found]
    if not args.force:
        for each, one in zip(found, live, strict=True):
            print(f"{each.label} and its pods ({ready_of(one)} ready) would be deleted", file=sys.stderr)
        print("Nothing was deleted: say --force to delete", file=sys.stderr)
        return EXIT_ERROR
    for each, one in zip(found, live, strict=True):
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": one["metadata"]["uid"]},
        }
        session.api.request("DELETE", each.path, body=options)
        print(f'{each.kind.label} "{each.name}" deleted', flush=True)
    for each, one in zip(found, live, strict=True):
        if args.wait == "true":
            wait_gone(session, each.kind, each.namespace, each.name, one["metadata"]["uid"], None)
    return EXIT_OK
