"""Run a pack as a deployment: so many pods, kept alive, or with --replicas 0 one on every matching node.

Examples:
  starkctl deployment create web --pack hello
  starkctl deployment create web --pack hello -V 1.2.0 -r 3 --cpu 250 --memory 256
  starkctl deployment create logs --pack log-shipper --replicas 0 -s disk=ssd   on every such node
  starkctl deployment create web --pack hello --follow-latest               and newer releases
"""

from __future__ import annotations

import argparse

from stark.crds.annotations import FOLLOW_LATEST, MODE, MODE_DAEMON_SET

from ..errors import EXIT_OK, UsageError
from ..options import Session
from ..output import print_object
from ..rollouts import DEPLOYMENT, Workload
from ..running import add_pack_options, checked_name, count, generated_name, pack_of, pairs, pod_spec
from .rollout_status import follow

SELECTOR_LABEL = "app"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="its name (default: the pack's, and a few letters)")
    parser.add_argument("--name", dest="named", metavar="NAME", help="the same as NAME")
    add_pack_options(parser)
    parser.add_argument(
        "-r", "--replicas", type=count, default=1, metavar="N", help="how many pods; 0: one on every node (default 1)"
    )
    for option, what in (("--label", "the deployment"), ("--pod-label", "its pods")):
        names = ("-l", option) if option == "--label" else (option,)
        parser.add_argument(
            *names,
            nargs="+",
            action="extend",
            default=[],
            metavar="KEY=VALUE",
            help=f"a label of {what}; may be repeated",
        )
    parser.add_argument("--follow-latest", action="store_true", help="roll out every newer release of the pack")
    parser.add_argument("--wait", action="store_true", help="wait until it is rolled out")
    parser.add_argument("--dry-run", action="store_true", help="only ask whether it would work")
    parser.add_argument("-o", "--output", choices=("json", "yaml", "name"), help="print what was made")


def run(args: argparse.Namespace, session: Session) -> int:
    """Create it."""
    if args.name and args.named and args.name != args.named:
        raise UsageError(f"two names are given, {args.name} and {args.named}")
    pack = pack_of((), args.pack)
    name = checked_name(args.name or args.named or generated_name(pack))
    query = {"dryRun": "All"} if args.dry_run else {}
    made = session.api.request("POST", DEPLOYMENT.path(session.namespace), query=query, body=body(args, name, pack))
    if args.output == "name":
        print(f"{DEPLOYMENT.label}/{name}")
    elif args.output:
        print_object(made, args.output)
    else:
        where = "on every matching node" if args.replicas == 0 else f"with {args.replicas} replicas"
        image = made["spec"]["template"]["spec"]["containers"][0]["image"]
        print(f"{DEPLOYMENT.label}/{name} created: {image} {where}{' (server dry run)' if args.dry_run else ''}")
    if args.wait and not args.dry_run:
        follow(session, Workload(DEPLOYMENT, session.namespace, name))
    return EXIT_OK


def body(args: argparse.Namespace, name: str, pack: str) -> dict[str, object]:
    """The Deployment. Raises UsageError."""
    labels = {SELECTOR_LABEL: name, **pairs(args.label, "--label")}
    pod_labels = {**pairs(args.pod_label, "--pod-label"), SELECTOR_LABEL: name}
    annotations = {MODE: MODE_DAEMON_SET} if args.replicas == 0 else {}
    if args.follow_latest:
        annotations[FOLLOW_LATEST] = "true"
    return {
        "apiVersion": DEPLOYMENT.api_version,
        "kind": DEPLOYMENT.kind,
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {
            "replicas": args.replicas,
            "selector": {"matchLabels": {SELECTOR_LABEL: name}},
            "template": {"metadata": {"labels": pod_labels}, "spec": pod_spec(args, pack)},
        },
    }
