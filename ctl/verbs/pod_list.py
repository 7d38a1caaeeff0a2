"""List pods with the pack and version they run, their state and their node.

The states: pending (no node yet), scheduled, starting, running, stopping, stopped (it ended well), failed, evicted (sent
away), unknown (its node is silent).

Examples:
  starkctl pod list
  starkctl pod ls -A -s failed
  starkctl pod list --pack hello -n machine-7
"""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from stark.crds.packpods import packs_of, version_of
from stark.crds.podview import PodState, pod_state
from stark.crds.printers import human_age

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, text_table
from ..paging import add_list_options, every, page_of
from ..pods import Object, pods_path

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_list_options(parser, get_args(PodState))
    parser.add_argument("-n", "--node", metavar="NODE", help="only on this node")
    parser.add_argument("--pack", metavar="PACK", help="only of this pack")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a pod."""
    path = pods_path(None if args.all_namespaces else session.namespace)
    query = {"fieldSelector": f"spec.nodeName={args.node}"} if args.node else {}
    found = [pod for pod in every(session, path, **query) if _fits(pod, args)]
    found.sort(key=lambda pod: (pod["metadata"]["namespace"], pod["metadata"]["name"]))
    form = session.form(args.output)
    shown = page_of(found, args)
    if form in ("json", "yaml"):
        items = [{"apiVersion": "v1", "kind": "Pod", **pod} for pod in shown]
        print_object({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}, form)
    elif form == "name":
        sys.stdout.write("".join(f"pod/{pod['metadata']['name']}\n" for pod in shown))
    elif not found:
        where = "" if args.all_namespaces else f" in namespace {session.namespace}"
        print(f"No such pods{where}: see `starkctl pod create --help`", file=sys.stderr)
    else:
        heading = ["NAME", "PACK", "VERSION", "STATUS", "NODE", "NAMESPACE", "AGE"]
        rows = [_row(pod) for pod in shown]
        sys.stdout.write(text_table(heading, rows, headings=not args.no_headers, plain=form == "plain"))
    return EXIT_OK


def _fits(pod: Object, args: argparse.Namespace) -> bool:
    if args.status not in (None, pod_state(pod)):
        return False
    return args.pack is None or any(name == args.pack for _, name, _ in packs_of(pod["spec"]))


def _row(pod: Object) -> list[str]:
    metadata, spec = pod["metadata"], pod["spec"]
    packs = packs_of(spec)
    return [
        metadata["name"],
        packs[0][1] if packs else "<none>",
        version_of(spec),
        pod_state(pod),
        spec.get("nodeName") or "<none>",
        metadata["namespace"],
        human_age(metadata["creationTimestamp"]),
    ]
