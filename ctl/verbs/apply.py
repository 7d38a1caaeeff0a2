"""Make the cluster match manifests: create what is missing, change what differs, leave alone what others have set.

What was applied is remembered on each object, so a field that disappears from the manifest disappears from the object,
and a field that somebody else set (a controller, `kubectl scale`) stays: a three-way merge, the same as kubectl's.
With --server-side the server keeps that record for every program that applies, and says so when two want different things.

Examples:
  starkctl apply -f hello.yaml
  starkctl apply -f manifests/ -R              a directory and its subdirectories
  generate | starkctl apply -f -               from standard input
  starkctl apply -f hello.yaml --dry-run=server    only ask whether it would be accepted
  starkctl apply -f hello.yaml --server-side       refused when another program owns a field
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from typing import Any

from stark.crds.patches import three_way_merge

from ..errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError, UsageError
from ..options import Session
from ..output import object_name, print_object
from ..resources import Kind
from ..targets import read_manifests

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's own annotation, so that both tools can take turns on the same object."""
FIELD_MANAGER = "starkctl"
CLIENT_SIDE_MANAGER = "starkctl-client-side-apply"
CONFLICT_TRIES = 5
"""Times we read again and redo the merge when somebody else changed the object in between."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="manifest, directory, or - for standard input",
    )
    parser.add_argument("-R", "--recursive", action="store_true", help="with a directory: its subdirectories too")
    parser.add_argument(
        "--dry-run",
        choices=("none", "server"),
        default="none",
        help="server: check everything, store nothing (default none)",
    )
    parser.add_argument(
        "--validate",
        choices=("strict", "warn", "ignore"),
        default="strict",
        help="what happens to fields the server does not know: strict refuses them (default), warn drops them and says so",
    )
    parser.add_argument("-o", "--output", choices=("name", "yaml", "json"), help="print the resulting objects")
    parser.add_argument("--show-managed-fields", action="store_true", help="with -o: who set which field, too")
    parser.add_argument(
        "--server-side", action="store_true", help="let the server merge and keep track of who set what"
    )
    parser.add_argument(
        "--force-conflicts",
        action="store_true",
        help="with --server-side: take over the fields that others own and that would change",
    )
    parser.add_argument(
        "--field-manager",
        default="",
        metavar="NAME",
        help=f"the name under which fields are ours (default {FIELD_MANAGER}, client-side {CLIENT_SIDE_MANAGER})",
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Apply every object; one that is refused does not keep the others from being applied."""
    if not args.filename:
        raise UsageError("say what to apply: -f FILE, -f DIRECTORY, or -f - for standard input")
    if args.force_conflicts and not args.server_side:
        raise UsageError("--force-conflicts needs --server-side")
    failed = False
    results: list[dict[str, Any]] = []
    for manifest in read_manifests(args.filename, recursive=args.recursive):
        try:
            kind, result, verb = _apply(args, session, manifest)
        except CommandError as error:
            failed = True
            print(f"error: {manifest['kind']} {manifest['metadata'].get('name', '')}: {error}", file=sys.stderr)
            continue
        results.append({"apiVersion": kind.api_version, "kind": kind.kind, **result})
        if args.output == "name":
            print(object_name(kind, result["metadata"]["name"]))
        elif not args.output:
            suffix = " (server dry run)" if args.dry_run == "server" else ""
            print(f"{object_name(kind, result['metadata']['name'])} {verb}{suffix}", flush=True)
        if not args.show_managed_fields:
            result["metadata"].pop("managedFields", None)
    if args.output in ("yaml", "json") and results:
        whole = results[0] if len(results) == 1 else {"apiVersion": "v1", "kind": "List", "items": results}
        print_object(whole, args.output)
    return EXIT_ERROR if failed else EXIT_OK


def _apply(args: argparse.Namespace, session: Session, manifest: dict[str, Any]) -> tuple[Kind, dict[str, Any], str]:
    """Bring one object to what the manifest says; the result and what was done: created, configured, unchanged."""
    kind = session.catalog.of_manifest(manifest["apiVersion"], manifest["kind"])
    if not manifest["metadata"].get("name"):
        raise CommandError("apply needs metadata.name; a generateName makes a new object each time: use kubectl create")
    namespace = manifest["metadata"].get("namespace") or session.namespace
    if kind.namespaced and session.args.namespace and namespace != session.args.namespace:
        raise CommandError(f"the manifest is for namespace {namespace}, the command line says {session.args.namespace}")
    manager = args.field_manager or (FIELD_MANAGER if args.server_side else CLIENT_SIDE_MANAGER)
    query = {"fieldManager": manager, "fieldValidation": args.validate.capitalize()}
    if args.dry_run == "server":
        query["dryRun"] = "All"
    if args.server_side:
        return kind, _server_side(args, session, kind, namespace, manifest, query), "serverside-applied"
    wanted = remembering(manifest, namespace if kind.namespaced else None)
    for _ in range(CONFLICT_TRIES):
        try:
            return kind, *_converge(session, kind, namespace, wanted, query)
        except ServerError as error:
            if error.reason not in ("Conflict", "AlreadyExists", "NotFound") or _namespace_missing(error):
                raise
            conflict = error
    raise conflict


def _server_side(
    args: argparse.Namespace,
    session: Session,
    kind: Kind,
    namespace: str,
    manifest: dict[str, Any],
    query: dict[str, str],
) -> dict[str, Any]:
    """Raises ServerError, Conflict when others own what would change."""
    if args.force_conflicts:
        query["force"] = "true"
    path = kind.path(namespace, manifest["metadata"]["name"])
    return session.api.request("PATCH", path, query=query, body=manifest, content_type="application/apply-patch+yaml")


def _converge(
    session: Session, kind: Kind, namespace: str, wanted: dict[str, Any], query: dict[str, str]
) -> tuple[dict[str, Any], str]:
    """One attempt. Raises ServerError; Conflict, AlreadyExists and NotFound mean that somebody was quicker."""
    path = kind.path(namespace, wanted["metadata"]["name"])
    try:
        current = session.api.get(path)
    except ServerError as error:
        if error.reason != "NotFound":
            raise
        return session.api.request("POST", kind.path(namespace), query=query, body=wanted), "created"
    patch = merge_for(session, kind, wanted, current)
    if not patch:
        return current, "unchanged"
    strategic = _is_strategic(kind)
    result = session.api.request(
        "PATCH",
        path,
        query=query,
        body=patch,
        content_type="application/strategic-merge-patch+json" if strategic else "application/merge-patch+json",
    )
    same = result["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]
    return result, "unchanged" if same else "configured"


def _namespace_missing(error: ServerError) -> bool:
    return error.reason == "NotFound" and (error.status.get("details") or {}).get("kind") == "namespaces"


def remembering(manifest: dict[str, Any], namespace: str | None) -> dict[str, Any]:
    """The manifest with a copy of itself in the last-applied annotation, as kubectl writes it: compact, with a newline."""
    wanted = copy.deepcopy(manifest)
    metadata = wanted["metadata"]
    if namespace:
        metadata["namespace"] = namespace
    annotations = metadata["annotations"] = dict(metadata.get("annotations") or {})
    annotations.pop(LAST_APPLIED, None)
    annotations[LAST_APPLIED] = json.dumps(wanted, separators=(",", ":"), sort_keys=True) + "\n"
    return wanted


def merge_for(session: Session, kind: Kind, wanted: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    """The patch that brings `current` to `wanted`, given what was applied last; empty when there is nothing to do."""
    annotations = current["metadata"].get("annotations") or {}
    try:
        original = json.loads(annotations.get(LAST_APPLIED) or "{}")
    except ValueError:
        original = {}  # somebody broke the annotation: nothing is known to be ours, so nothing is removed
    keys = None
    if _is_strategic(kind):
        from stark.crds.loader import merge_keys_of

        keys = merge_keys_of(kind.group, kind.kind)
    patch: dict[str, Any] = three_way_merge(original, wanted, current, keys)
    return patch


def _is_strategic(kind: Kind) -> bool:
    """Kubernetes' own kinds merge lists by key; Stark's and users' kinds replace them (RFC 7386)."""
    return "." not in kind.group or kind.group.endswith(".k8s.io")
