"""Tell everything about an object in words: what it should be, how it is, and what happened to it.

Examples:
  starkctl describe pod web-7d9c-x2x
  starkctl describe deployment/web
  starkctl describe nodes
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..describing import describe
from ..errors import EXIT_OK, CommandError, ServerError
from ..options import Session
from ..resources import Kind
from ..targets import Target, parse_targets, read_manifests


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what", nargs="*", metavar="TYPE[/NAME] [NAME...]", help="what to describe; a name may be a prefix"
    )
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="FILE", help="describe the objects of a manifest"
    )
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="what has these labels")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument(
        "--show-events", choices=("true", "false"), default="true", help="with the object's events (default true)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one description after the other, two lines apart."""
    if args.filename:
        manifests = read_manifests(args.filename)
        targets = [
            Target(session.catalog.of_manifest(m["apiVersion"], m["kind"]), (m["metadata"]["name"],)) for m in manifests
        ]
    else:
        targets = parse_targets(args.what, session.catalog)
    first = True
    for target in targets:
        for obj in _objects(args, session, target):
            events = _events(session, obj) if args.show_events == "true" else None
            sys.stdout.write(("" if first else "\n\n") + describe(obj, events, _related(session, target.kind, obj)))
            first = False
    if first:
        print("No resources found", file=sys.stderr)
    return EXIT_OK


def _objects(args: argparse.Namespace, session: Session, target: Target) -> list[dict[str, Any]]:
    kind = target.kind
    namespace = None if args.all_namespaces else session.namespace
    if not target.names:
        return _listed(session, kind, namespace, args.selector)
    found: list[dict[str, Any]] = []
    for name in target.names:
        try:
            found.append(
                {"apiVersion": kind.api_version, "kind": kind.kind, **session.api.get(kind.path(namespace, name))}
            )
        except ServerError as error:
            if error.reason != "NotFound":
                raise
            begins = [o for o in _listed(session, kind, namespace, "") if o["metadata"]["name"].startswith(name)]
            if not begins:
                raise CommandError(str(error).removeprefix("error: ")) from error
            found.extend(begins)
    return found


def _listed(session: Session, kind: Kind, namespace: str | None, selector: str) -> list[dict[str, Any]]:
    items = session.api.get(kind.path(namespace), labelSelector=selector).get("items") or []
    return [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in items]


def _events(session: Session, obj: dict[str, Any]) -> list[dict[str, Any]]:
    metadata = obj["metadata"]
    # Events about things without a namespace live in `default` (core/v1 Event's rule).
    path = f"/api/v1/namespaces/{metadata.get('namespace') or 'default'}/events"
    selector = f"involvedObject.kind={obj['kind']},involvedObject.name={metadata['name']}"
    events: list[dict[str, Any]] = session.api.get(path, fieldSelector=selector).get("items") or []
    return [e for e in events if e["involvedObject"].get("uid") in (None, "", metadata.get("uid"), metadata["name"])]


def _related(session: Session, kind: Kind, obj: dict[str, Any]) -> list[dict[str, Any]]:
    """What a description counts: the pods on a node, the ReplicaSets of a Deployment."""
    if kind.full_name == "nodes":
        return (
            session.api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={obj['metadata']['name']}").get("items") or []
        )
    if kind.full_name == "deployments.apps":
        path = f"/apis/apps/v1/namespaces/{obj['metadata']['namespace']}/replicasets"
        sets = session.api.get(path).get("items") or []
        uid = obj["metadata"]["uid"]
        return [s for s in sets if any(o.get("uid") == uid for o in s["metadata"].get("ownerReferences") or ())]
    return []
