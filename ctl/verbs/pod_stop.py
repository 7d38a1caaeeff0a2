"""Stop pods and delete them: asked to end first, killed when their grace period is over.

Examples:
  starkctl pod stop hello-x7k2p
  starkctl pod stop hello-x7k2p --force      at once, without waiting for the agent to confirm
"""

from __future__ import annotations

import argparse
import sys

from ..errors import EXIT_OK
from ..options import Session
from ..pods import controller_of, find_pod, pod_path
from ..resources import Kind
from .delete import wait_gone

POD = Kind("", "v1", "Pod", "pods", "pod", True)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pod", nargs="+", metavar="POD", help="name or uid of the pod")
    parser.add_argument("-f", "--force", action="store_true", help="no grace period")
    parser.add_argument(
        "--wait", default="true", choices=("true", "false"), help="wait until it is gone (default true)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask for every deletion first, then wait for all."""
    found = [find_pod(session, word) for word in args.pod]
    for pod in found:
        keeper = controller_of(session, pod)
        if keeper:
            name = pod["metadata"]["name"]
            print(f"pod/{name} is kept by {keeper}, which will replace it", file=sys.stderr)
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": pod["metadata"]["uid"]},
            **({"gracePeriodSeconds": 0} if args.force else {}),
        }
        session.api.request("DELETE", pod_path(pod), body=options)
        print(
            f"pod/{pod['metadata']['name']} stopped" if args.force else f"pod/{pod['metadata']['name']} stopping",
            flush=True,
        )
    for pod in found:
        if args.wait == "true" and not args.force:
            metadata = pod["metadata"]
            wait_gone(session, POD, metadata["namespace"], metadata["name"], metadata["uid"], None)
    return EXIT_OK
