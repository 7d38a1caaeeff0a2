"""Explain where a pod goes and why, node by node; or what the fields of a kind mean.

A pod that exists is judged as if it were new. With -f, a pod that does not exist yet, or the pods
that a workload in the manifest would make. Who would have to make way, what the pod's group lacks
and for whom room is kept is told, too. A type without a name is explained field by field.

Examples:
  starkctl explain pod/web-7d9c-x2x
  starkctl explain deployment/web
  starkctl explain -f pod.yaml -o yaml
  starkctl explain pods.spec.containers
  starkctl explain deployments --recursive
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from ..errors import EXIT_OK, CommandError, UsageError
from ..options import Session
from ..output import print_object
from ..placing import placement_text
from ..resources import Kind
from ..schema_text import Schemas, explained
from ..targets import parse_targets, read_manifests

PLACEMENT = "stark.dev/placement"
COLUMNS = 200
"""Width where there is no terminal."""
Object = dict[str, Any]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="?", metavar="TYPE/NAME | TYPE[.FIELD...]", help="a pod or workload, or fields")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="pods of a manifest")
    parser.add_argument(
        "-o", "--output", default="table", choices=("table", "json", "yaml"), help="how a placement is shown"
    )
    parser.add_argument(
        "--recursive", action="store_true", help="list the fields of fields, without their descriptions"
    )
    parser.add_argument("--api-version", default="", metavar="VERSION", help="of the type, e.g. apps/v1")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print the explanation."""
    if bool(args.filename) is bool(args.what):
        raise UsageError("say what: `pod/NAME`, a manifest with -f, or a type such as `pods.spec`")
    if args.what and "/" not in args.what:
        sys.stdout.write(_fields(args, session))
        return EXIT_OK
    placements = _of_manifests(args, session) if args.filename else [_of_object(args.what, session)]
    if args.output != "table":
        items = [{"apiVersion": "stark.dev/v1", "kind": "PodPlacement", **body} for _, body in placements]
        print_object(items[0] if len(items) == 1 else {"apiVersion": "v1", "kind": "List", "items": items}, args.output)
        return EXIT_OK
    width = shutil.get_terminal_size((COLUMNS, 24)).columns
    texts = [placement_text(what, body["status"], width) for what, body in placements]
    sys.stdout.write("\n".join(texts))
    return EXIT_OK


def _of_object(word: str, session: Session) -> tuple[str, Object]:
    (target,) = parse_targets([word], session.catalog)
    kind, (name,) = target.kind, target.names
    if kind.full_name == "pods":
        return f"pod/{name}", session.api.get(kind.path(session.namespace, name, "placement"))
    found = session.api.get(kind.path(session.namespace, name))
    return _foretold({"apiVersion": kind.api_version, "kind": kind.kind, **found}, session)


def _of_manifests(args: argparse.Namespace, session: Session) -> list[tuple[str, Object]]:
    return [_foretold(manifest, session) for manifest in read_manifests(args.filename)]


def _foretold(manifest: Object, session: Session) -> tuple[str, Object]:
    """What a dry run says about the pod, or about one of those that a workload makes."""
    meta, name = manifest["metadata"], manifest["metadata"].get("name") or manifest["metadata"].get("generateName", "")
    template = _template(manifest)
    if template is None:
        raise CommandError(f"{manifest['kind']} {name} makes no pods")
    of = template.get("metadata") or {}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        # Under a name that is free: the pod itself may be there already.
        "metadata": {
            "generateName": f"{name.rstrip('-')}-",
            **{field: of[field] for field in ("labels", "annotations") if of.get(field)},
        },
        "spec": template.get("spec") or {},
    }
    namespace = meta.get("namespace") or session.namespace
    path = f"/api/v1/namespaces/{namespace}/pods"
    answer = session.api.request("POST", path, query={"dryRun": "All"}, body=pod)
    status = json.loads((answer["metadata"].get("annotations") or {}).get(PLACEMENT) or "null")
    if status is None:
        raise CommandError("this server does not say where a pod would go")
    what = f"{manifest['kind'].lower()}/{name}"
    return what, {"metadata": {"name": name, "namespace": namespace}, "status": status}


def _template(manifest: Object) -> Object | None:
    spec = manifest.get("spec") or {}
    if manifest["kind"] == "Pod":
        return manifest
    job = (spec.get("jobTemplate") or {}).get("spec") or spec
    template: Object | None = job.get("template")
    return template


def _fields(args: argparse.Namespace, session: Session) -> str:
    first, *path = args.what.split(".")
    kind = _kind(first, args.api_version, session)
    root = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
    schemas = Schemas(session.api.get(f"/openapi/v3/{root}"))
    return explained(schemas, (kind.group, kind.version, kind.kind), path, recursive=args.recursive)


def _kind(name: str, api_version: str, session: Session) -> Kind:
    kind = session.catalog.resolve(name)
    if not api_version or kind.api_version == api_version:
        return kind
    return session.catalog.of_manifest(api_version, kind.kind)
