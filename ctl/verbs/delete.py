"""Delete objects by name, by label, or the ones in a manifest, and wait until they are gone.

Examples:
  starkctl delete pod/web                 one object
  starkctl delete -f hello.yaml           everything the file names, last first
  starkctl delete pods -l app=web         by label
  starkctl delete pod web --now           with the shortest grace period
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError, UsageError
from ..options import Session
from ..output import object_name
from ..resources import Kind
from ..targets import parse_targets, read_manifests

WATCH_ROUND_S = 5
"""Longest single watch while waiting for an object to go: after each we look whether it is still there."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="*", metavar="TYPE[/NAME] [NAME...]", help="what to delete")
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="FILE", help="delete the objects of a manifest"
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="with -f DIRECTORY: its subdirectories too")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="delete what has these labels")
    parser.add_argument("--all", action="store_true", help="delete every object of the type in the namespace")
    parser.add_argument(
        "--grace-period", type=int, metavar="SECONDS", help="time a pod gets to stop (default: its own)"
    )
    parser.add_argument("--now", action="store_true", help="the same as --grace-period=1")
    parser.add_argument(
        "--force", action="store_true", help="with --grace-period=0: do not wait for the agent to confirm"
    )
    parser.add_argument(
        "--cascade",
        choices=("background", "foreground", "orphan"),
        default="background",
        help="what happens to what it owns",
    )
    parser.add_argument(
        "--wait", default="true", choices=("true", "false"), help="wait until it is gone (default true)"
    )
    parser.add_argument("--timeout", type=float, default=0, metavar="SECONDS", help="longest wait (default: no limit)")
    parser.add_argument("--ignore-not-found", action="store_true", help="what does not exist is no error")
    parser.add_argument("-o", "--output", choices=("name",), help="print only names")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask for every deletion first, then wait for all of them."""
    options = _delete_options(args)
    failed = False
    asked: list[tuple[Kind, str, str, str]] = []
    for kind, namespace, name in _objects(args, session):
        try:
            answer = session.api.request("DELETE", kind.path(namespace, name), body=options)
        except ServerError as error:
            if error.reason == "NotFound" and args.ignore_not_found:
                continue
            print(error, file=sys.stderr)
            failed = True
            continue
        print(object_name(kind, name) if args.output == "name" else f'{kind.label} "{name}" deleted')
        asked.append((kind, namespace, name, _uid(answer)))
    sys.stdout.flush()
    if args.wait == "true" and args.grace_period != 0:
        import time

        deadline = time.monotonic() + args.timeout if args.timeout else None
        for kind, namespace, name, uid in asked:
            wait_gone(session, kind, namespace, name, uid, deadline)
    if not asked and not failed and not args.ignore_not_found:
        print("No resources found", file=sys.stderr)
    return EXIT_ERROR if failed else EXIT_OK


def _delete_options(args: argparse.Namespace) -> dict[str, Any]:
    if args.now:
        if args.grace_period is not None:
            raise UsageError("--now and --grace-period exclude each other")
        args.grace_period = 1
    if args.grace_period == 0 and not args.force:
        args.grace_period = 1  # kubectl's rule: zero loses track of the running process, so it must be asked for twice
    if args.force and args.grace_period is None:
        args.grace_period = 0
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": args.cascade.capitalize(),
    }
    if args.grace_period is not None:
        options["gracePeriodSeconds"] = args.grace_period
    return options


def _objects(args: argparse.Namespace, session: Session) -> list[tuple[Kind, str, str]]:
    if args.filename:
        if args.what:
            raise UsageError("give either types and names, or -f, not both")
        manifests = reversed(read_manifests(args.filename, recursive=args.recursive))
        return [_of_manifest(session, manifest) for manifest in manifests]
    found: list[tuple[Kind, str, str]] = []
    for target in parse_targets(args.what, session.catalog):
        names = target.names
        if not names:
            if not (args.selector or args.all):
                raise UsageError("name the objects, or say -l LABELS or --all")
            path = target.kind.path(session.namespace)
            listed = session.api.request("GET", path, query={"labelSelector": args.selector})
            names = tuple(item["metadata"]["name"] for item in listed.get("items") or ())
        found.extend((target.kind, session.namespace, name) for name in names)
    return found


def _of_manifest(session: Session, manifest: dict[str, Any]) -> tuple[Kind, str, str]:
    metadata = manifest["metadata"]
    if not metadata.get("name"):
        raise CommandError(f"the {manifest['kind']} has only a generateName: it cannot be found again by its manifest")
    kind = session.catalog.of_manifest(manifest["apiVersion"], manifest["kind"])
    return kind, str(metadata.get("namespace") or session.namespace), str(metadata["name"])


def _uid(answer: dict[str, Any]) -> str:
    return str((answer.get("metadata") or {}).get("uid") or (answer.get("details") or {}).get("uid") or "")


def wait_gone(session: Session, kind: Kind, namespace: str, name: str, uid: str, deadline: float | None) -> None:
    """Return when the object we deleted is gone, or another one has taken its name."""
    import time

    while True:
        try:
            current = session.api.get(kind.path(namespace, name))
        except ServerError as error:
            if error.reason == "NotFound":
                return
            raise
        if uid and current["metadata"]["uid"] != uid:
            return
        remaining = WATCH_ROUND_S if deadline is None else min(WATCH_ROUND_S, deadline - time.monotonic())
        if remaining <= 0:
            raise CommandError(f'{kind.label} "{name}" is still there: its finalizers or its agent have not finished')
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": current["metadata"]["resourceVersion"],
            "timeoutSeconds": str(max(1, int(remaining))),
        }
        for line in session.api.lines(kind.path(namespace), query=query):
            if json.loads(line)["type"] in ("DELETED", "ERROR"):
                break
