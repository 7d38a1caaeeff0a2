"""Run a pack as pods of their own: nothing replaces them when they end, and one that failed stays failed.

To be kept alive, a pack is run by `starkctl deployment create`. With --replicas N there are N independent pods; the first
that cannot be made ends the command with exit code 1, and those made before it stay.

Examples:
  starkctl pod create --pack hello
  starkctl pod run hello -V 1.2.0 -n machine-7          on that node
  starkctl pod run hello -r 3 -l team=blue -s disk=ssd
  starkctl pod create --pack hello -t dedicated=batch:NoSchedule --cpu 250 --memory 256
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from stark.crds.packpods import label_of

from ..errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError, UsageError
from ..options import Session
from ..output import print_object
from ..paging import every
from ..pods import UID, pods_path
from ..priorities import class_of, priority, usual_class
from ..running import REPLICAS_MAX, add_pack_options, checked_name, pack_of, pairs, pod_spec, positive

NAMESPACED = False
NODES = "/api/v1/nodes"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("packs", nargs="*", metavar="PACK", help="the pack to run")
    add_pack_options(parser)
    parser.add_argument("-n", "--node", metavar="NODE", help="run it on this node, by name or uid (default: the best)")
    parser.add_argument(
        "-p", "--priority", type=priority, metavar="N", help="0 to 1000; higher goes first (default 100)"
    )
    parser.add_argument(
        "-l", "--label", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="a label; may be repeated"
    )
    parser.add_argument("-r", "--replicas", type=positive, default=1, metavar="N", help="how many pods (default 1)")
    parser.add_argument("--name", metavar="NAME", help="the pod's name (default: the pack's, and a few letters)")
    parser.add_argument("--dry-run", action="store_true", help="only ask whether it would work")
    parser.add_argument("-o", "--output", choices=("json", "yaml", "name"), help="print what was made")


def run(args: argparse.Namespace, session: Session) -> int:
    """Create the pods one after the other."""
    pack = pack_of(args.packs, args.pack)
    if args.replicas > REPLICAS_MAX:
        raise UsageError(f"--replicas: at most {REPLICAS_MAX} pods at once")
    if args.name and args.replicas > 1:
        raise UsageError("--name: only one pod can have a name; leave it out for several")
    wanted = body(args, session, pack)
    made: list[dict[str, Any]] = []
    query = {"dryRun": "All"} if args.dry_run else {}
    for _ in range(args.replicas):
        try:
            made.append(session.api.request("POST", pods_path(session.namespace), query=query, body=wanted))
        except ServerError as error:
            if args.replicas == 1:
                raise
            print(f"{len(made)} of {args.replicas} pods were made, then: {error}", file=sys.stderr)
            return EXIT_ERROR
        _show(made[-1], args)
    return EXIT_OK


def body(args: argparse.Namespace, session: Session, pack: str) -> dict[str, Any]:
    """The Pod. Raises UsageError, CommandError."""
    name = {"name": checked_name(args.name)} if args.name else {"generateName": f"{label_of(pack)}-"}
    spec = {**pod_spec(args, pack), "restartPolicy": "Never"}
    if args.node:
        spec["nodeName"] = node_name(session, args.node)
    if args.priority is not None:
        spec["priorityClassName"] = class_of(session, args.priority)
    elif usual := usual_class(session):
        spec["priorityClassName"] = usual
    labels = {"app": label_of(pack), **pairs(args.label, "--label")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {**name, "labels": labels}, "spec": spec}


def node_name(session: Session, word: str) -> str:
    """The name of the node with that name or uid. Raises CommandError."""
    if not UID.fullmatch(word):
        try:
            return str(session.api.get(f"{NODES}/{word}")["metadata"]["name"])
        except ServerError as error:
            if error.reason != "NotFound":
                raise
    nodes = [node["metadata"] for node in every(session, NODES)]
    for node in nodes:
        if node["uid"] == word:
            return str(node["name"])
    import difflib

    close = difflib.get_close_matches(word, [node["name"] for node in nodes], n=1)
    raise CommandError(f"no node is called {word}" + (f"; did you mean `{close[0]}`?" if close else ""))


def _show(pod: dict[str, Any], args: argparse.Namespace) -> None:
    name = pod["metadata"]["name"]
    if args.output == "name":
        print(f"pod/{name}", flush=True)
    elif args.output:
        print_object(pod, args.output)
    else:
        image = pod["spec"]["containers"][0]["image"]
        print(f"pod/{name} created: {image}{' (server dry run)' if args.dry_run else ''}", flush=True)
