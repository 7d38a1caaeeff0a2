"""List deployments: version, how many pods are ready of how many, and how they stand.

STATUS is `active` when all is well, `scaling` while something changes, `degraded` when too few pods are available, `paused`
by a person, `stopped` after a crash loop, `failed` when a rollout's deadline has passed, `deleting` on the way out.

Examples:
  starkctl deployment list
  starkctl deployment ls -A -s degraded
  starkctl deployment list --limit 100 -p 2
"""

from __future__ import annotations

import argparse
import sys

from stark.crds.deploymentview import STATUSES, status_of
from stark.crds.packpods import version_of
from stark.crds.printers import human_age

from ..deployments import Object, ready_of
from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, text_table
from ..paging import add_list_options, every, page_of
from ..rollouts import DEPLOYMENT


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_list_options(parser, STATUSES)


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a deployment."""
    path = DEPLOYMENT.path(None if args.all_namespaces else session.namespace)
    found = [each for each in every(session, path) if args.status in (None, status_of(each))]
    found.sort(key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"]))
    form = session.form(args.output)
    shown = page_of(found, args)
    if form in ("json", "yaml"):
        items = [{"apiVersion": "apps/v1", "kind": "Deployment", **each} for each in shown]
        print_object({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}, form)
    elif form == "name":
        sys.stdout.write("".join(f"{DEPLOYMENT.label}/{each['metadata']['name']}\n" for each in shown))
    elif not found:
        where = "" if args.all_namespaces else f" in namespace {session.namespace}"
        print(f"No deployments{where}: see `starkctl deployment create --help`", file=sys.stderr)
    else:
        heading = ["NAME", "VERSION", "READY", "STATUS", "NAMESPACE", "AGE"]
        rows = [_row(each) for each in shown]
        sys.stdout.write(text_table(heading, rows, headings=not args.no_headers, plain=form == "plain"))
    return EXIT_OK


def _row(deployment: Object) -> list[str]:
    metadata = deployment["metadata"]
    return [
        metadata["name"],
        version_of(deployment["spec"]["template"]["spec"]),
        ready_of(deployment),
        status_of(deployment),
        metadata["namespace"],
        human_age(metadata["creationTimestamp"]),
    ]
