"""List nodes: how they are, what runs on them, what is used, and when they were last heard of.

STATUS is one of online, suspect (missed heartbeats), unhealthy, offline, draining, maintenance.
CPU and MEMORY are what is used of what there is; RUNTIMES what kinds of packs a node runs.

Examples:
  starkctl node list
  starkctl node ls --status offline
  starkctl node list --runtime python -l topology.kubernetes.io/zone=b -o wide
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from stark.crds.annotations import RUNTIME_PREFIX
from stark.crds.nodestate import ALIASES, STATES, last_seen, node_state
from stark.crds.printers import human_age
from stark.crds.quantity import milli_cpu, parse_quantity

from ..errors import EXIT_OK, ServerError, UsageError
from ..nodes import LEASES, NODES, PODS, Object, by_node, is_cordoned, listed
from ..options import Session
from ..output import print_object, text_table

NAMESPACED = False
USAGE = "/apis/metrics.k8s.io/v1beta1/nodes"
PAGE, PAGE_MAX = 20, 100
HEADING = ("NAME", "STATUS", "RUNTIMES", "CPU", "MEMORY", "PODS", "LAST SEEN", "AGE")
WIDE = ("VERSION", "ADDRESS", "ARCH", "OWNER", "INCARNATION")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-s", "--status", choices=(*STATES, *ALIASES), metavar="STATUS", help=f"only nodes that are {', '.join(STATES)}"
    )
    parser.add_argument("-r", "--runtime", metavar="RUNTIME", help="only nodes that run packs of this runtime")
    parser.add_argument(
        "-l", "--label", "--selector", default="", metavar="LABELS", help="only nodes with these labels"
    )
    parser.add_argument("-p", "--page", type=int, metavar="N", help=f"one page of the list, {PAGE} nodes by default")
    parser.add_argument("--limit", type=int, metavar="N", help=f"nodes a page, at most {PAGE_MAX}")
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument(
        "-o", "--output", choices=("table", "plain", "wide", "json", "yaml", "name"), help="output format"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print the nodes that are asked for."""
    form = session.form(args.output)
    nodes = selected(session, args.status, args.runtime, args.label)
    nodes = page_of(nodes, args.page, args.limit)
    if form in ("json", "yaml"):
        items = [{"apiVersion": "v1", "kind": "Node", **node} for node in nodes]
        print_object({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}, form)
    elif form == "name":
        sys.stdout.write("".join(f"node/{node['metadata']['name']}\n" for node in nodes))
    elif not nodes:
        print("No nodes found", file=sys.stderr)
    else:
        sys.stdout.write(
            table(session, nodes, wide=form == "wide", headings=not args.no_headers, plain=form == "plain")
        )
    return EXIT_OK


def selected(session: Session, status: str | None, runtime: str | None, labels: str) -> list[Object]:
    """The nodes that are so, by name."""
    wanted = ALIASES.get(status, status) if status else None
    nodes = listed(session, NODES, labels=labels)
    return [
        node
        for node in sorted(nodes, key=lambda each: str(each["metadata"]["name"]))
        if wanted in (None, node_state(node)) and (runtime is None or runtime in runtimes(node))
    ]


def page_of(nodes: list[Object], page: int | None, limit: int | None) -> list[Object]:
    """One page of them; all when none was asked for. Raises UsageError."""
    if page is None and limit is None:
        return nodes
    size, number = limit or PAGE, page or 1
    if limit is not None and not 1 <= limit <= PAGE_MAX:
        raise UsageError(f"--limit must be between 1 and {PAGE_MAX}")
    if number < 1:
        raise UsageError("--page counts from 1")
    return nodes[(number - 1) * size : number * size]


def table(session: Session, nodes: Sequence[Object], *, wide: bool, headings: bool = True, plain: bool = False) -> str:
    """The nodes as a table."""
    seen = _tolerant(session, PODS)
    pods = by_node(seen) if seen is not None else None
    leases = {lease["metadata"]["name"]: lease for lease in _tolerant(session, LEASES) or ()}
    usage = {each["metadata"]["name"]: each["usage"] for each in _tolerant(session, USAGE) or ()}
    rows = []
    for node in nodes:
        name = node["metadata"]["name"]
        count = str(len(pods.get(name, ()))) if pods is not None else "?"
        row = _row(node, count, leases.get(name), usage.get(name))
        rows.append([*row, *_wide(node)] if wide else row)
    return text_table([*HEADING, *WIDE] if wide else HEADING, rows, headings=headings, plain=plain)


def _tolerant(session: Session, path: str) -> list[Object] | None:
    """What not everybody may see, and what not every server has; None then."""
    try:
        return listed(session, path)
    except ServerError:
        return None


def _row(node: Object, pods: str, lease: Object | None, usage: Object | None) -> list[str]:
    meta, allocatable = node["metadata"], (node.get("status") or {}).get("allocatable") or {}
    state = node_state(node) + (",cordoned" if is_cordoned(node) else "")
    seen = last_seen(node, lease)
    return [
        meta["name"],
        state,
        ",".join(runtimes(node)) or "<none>",
        share((usage or {}).get("cpu"), allocatable.get("cpu"), milli_cpu),
        share((usage or {}).get("memory"), allocatable.get("memory"), parse_quantity),
        f"{pods}/{allocatable.get('pods', '?')}",
        ago(seen) if seen is not None else "never",
        human_age(meta["creationTimestamp"]),
    ]


def _wide(node: Object) -> list[str]:
    meta, status = node["metadata"], node.get("status") or {}
    info, annotations = status.get("nodeInfo") or {}, meta.get("annotations") or {}
    addresses = {each["type"]: each["address"] for each in status.get("addresses") or ()}
    return [
        info.get("kubeletVersion") or "<unknown>",
        addresses.get("InternalIP") or "<none>",
        info.get("architecture") or (meta.get("labels") or {}).get("kubernetes.io/arch") or "<unknown>",
        annotations.get("stark.dev/owner") or "<none>",
        annotations.get("stark.dev/incarnation") or "<none>",
    ]


def runtimes(node: Object) -> list[str]:
    """What kinds of packs the node runs."""
    labels = node["metadata"].get("labels") or {}
    return sorted(label.removeprefix(RUNTIME_PREFIX) for label in labels if label.startswith(RUNTIME_PREFIX))


def share(used: Any, there: Any, amount: Any) -> str:
    """`37%`."""
    if not used or not there or not float(amount(there)):
        return "<unknown>"
    return f"{100 * float(amount(used)) / float(amount(there)):.0f}%"


def ago(then: datetime) -> str:
    """`5s ago`."""
    return f"{human_age(then.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ'))} ago"
