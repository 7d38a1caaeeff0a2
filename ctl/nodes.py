"""Nodes for the commands about them: found by name, uid or label, and changed against exactly the version that was seen."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .errors import CommandError, ServerError, UsageError
from .options import Session

Object = dict[str, Any]
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
MERGE = "application/merge-patch+json"
ATTEMPTS_MAX = 5
"""How often a change is made again when the node changed meanwhile: its agent and the controllers write it, too."""


def listed(session: Session, path: str, *, labels: str = "", fields: str = "") -> list[Object]:
    """Every object of a list, page by page."""
    items: list[Object] = []
    token = ""
    while True:
        query = {"limit": "500", "continue": token, "labelSelector": labels, "fieldSelector": fields}
        page = session.api.request("GET", path, query=query)
        items.extend(page.get("items") or ())
        token = (page.get("metadata") or {}).get("continue") or ""
        if not token:
            return items


def find(session: Session, name: str) -> Object:
    """A node by its name, else by its uid. Raises CommandError."""
    try:
        return session.api.get(f"{NODES}/{name}")
    except ServerError as error:
        if error.reason != "NotFound":
            raise
        found = [node for node in listed(session, NODES) if node["metadata"]["uid"] == name]
        if not found:
            raise
        return {"apiVersion": "v1", "kind": "Node", **found[0]}


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Which nodes: names, or a label selector."""
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="names of nodes")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="the nodes with these labels")


def chosen(args: argparse.Namespace, session: Session) -> list[Object]:
    """The nodes that are meant. Raises UsageError, CommandError."""
    names = [name.removeprefix("node/").removeprefix("nodes/") for name in args.nodes]
    if args.selector and names:
        raise UsageError("give either names or --selector, not both")
    if args.selector:
        found = listed(session, NODES, labels=args.selector)
        if not found:
            raise CommandError(f"no node has the labels {args.selector}")
        return found
    if not names:
        raise UsageError("name the nodes, or choose them with --selector")
    return [find(session, name) for name in dict.fromkeys(names)]


def change(
    session: Session, node: Object, patch_of: Callable[[Object], Object | None], *, dry_run: str = "none"
) -> Object | None:
    """Patch the node with what `patch_of` makes of it; None when that is nothing. Made again when it changed meanwhile.

    `dry_run`: `none`, `client` (nothing is sent) or `server`.
    """
    for attempt in range(ATTEMPTS_MAX):
        patch = patch_of(node)
        if patch is None or dry_run == "client":
            return patch
        meta = {**patch.get("metadata", {}), "resourceVersion": node["metadata"]["resourceVersion"]}
        query = {"dryRun": "All"} if dry_run == "server" else {}
        path = f"{NODES}/{node['metadata']['name']}"
        try:
            return session.api.request("PATCH", path, query=query, body={**patch, "metadata": meta}, content_type=MERGE)
        except ServerError as error:
            if error.reason != "Conflict" or attempt + 1 == ATTEMPTS_MAX:
                raise
            node = session.api.get(path)
    raise AssertionError(ATTEMPTS_MAX)


def cordon(session: Session, node: Object, *, on: bool, dry_run: str = "none") -> str:
    """Keep new pods off the node, or let them on again. The line that tells it."""

    def patch(seen: Object) -> Object | None:
        return {"spec": {"unschedulable": on or None}} if is_cordoned(seen) != on else None

    changed = change(session, node, patch, dry_run=dry_run)
    word = "cordoned" if on else "uncordoned"
    return f"node/{node['metadata']['name']} {'' if changed else 'already '}{word}{dry_run_mark(dry_run)}"


def is_cordoned(node: Object) -> bool:
    """Whether no new pods are put on it."""
    return bool((node.get("spec") or {}).get("unschedulable"))


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """`--dry-run[=client|server|none]`, as kubectl has it."""
    parser.add_argument(
        "--dry-run",
        nargs="?",
        const="client",
        default="none",
        choices=("none", "client", "server"),
        help="only say what would be done; `server` lets the server check it",
    )


def dry_run_mark(dry_run: str) -> str:
    """What a message ends with when nothing was done."""
    return {"client": " (dry run)", "server": " (server dry run)"}.get(dry_run, "")


def pods_on(session: Session, name: str, labels: str = "") -> list[Object]:
    """The pods of a node, of every namespace."""
    return listed(session, PODS, labels=labels, fields=f"spec.nodeName={name}")


def by_node(pods: Iterable[Object]) -> dict[str, list[Object]]:
    """Pods by the node they are on; the finished ones take up nothing."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            found.setdefault(node, []).append(pod)
    return found


def pairs(words: Sequence[str], option: str) -> dict[str, str]:
    """`key=value`, split once: a value may have a `=` in it. Raises UsageError."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} {word!r} is not KEY=VALUE")
        found[key] = value
    return found
