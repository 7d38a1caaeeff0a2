"""Tell how one node is: its state and why, what it has, what is used, what runs there.

The node is named by its name or its uid.

Examples:
  starkctl node status worker-7
  starkctl node info worker-7 -o yaml
"""

from __future__ import annotations

import argparse

from stark.crds.incarnations import incarnation_of
from stark.crds.nodestate import last_seen, node_state, why
from stark.crds.printers import human_age
from stark.crds.taint_words import shown

from ..errors import EXIT_OK, ServerError
from ..nodes import LEASES, Object, find, is_cordoned, pods_on
from ..options import Session
from ..output import print_object, text_table
from .node_list import USAGE, ago, runtimes, share

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("node", metavar="NODE", help="the node, by name or uid")
    parser.add_argument("-o", "--output", choices=("table", "json", "yaml"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print it."""
    node = find(session, args.node)
    if args.output in ("json", "yaml"):
        print_object(node, args.output)
        return EXIT_OK
    name = node["metadata"]["name"]
    usage = (_tolerant(session, f"{USAGE}/{name}") or {}).get("usage")
    facts = _facts(node, _tolerant(session, f"{LEASES}/{name}"), usage)
    for label, text in facts:
        first, *others = text.split("\n")
        print(f"{label + ':':<15}{first}")
        for line in others:
            print(f"{'':<15}{line}")
    try:
        pods = pods_on(session, name)
    except ServerError as error:
        print(f"Pods:          cannot be shown: {error}")
        return EXIT_OK
    print(f"Pods ({len(pods)}):")
    rows = [[pod["metadata"]["namespace"], pod["metadata"]["name"], _phase(pod), _age(pod)] for pod in pods]
    print(text_table(["  NAMESPACE", "NAME", "STATUS", "AGE"], [[f"  {row[0]}", *row[1:]] for row in rows]), end="")
    return EXIT_OK


def _tolerant(session: Session, path: str) -> Object | None:
    try:
        return session.api.get(path)
    except ServerError:
        return None


def _facts(node: Object, lease: Object | None, usage: Object | None) -> list[tuple[str, str]]:
    meta, spec, status = node["metadata"], node.get("spec") or {}, node.get("status") or {}
    life, seen = incarnation_of(meta), last_seen(node, lease)
    allocatable, info = status.get("allocatable") or {}, status.get("nodeInfo") or {}
    held = f"held by {life.holder}" if life.holder else "waits for its agent" if life.number else ""
    annotations = meta.get("annotations") or {}
    return [
        ("Name", meta["name"]),
        ("Id", meta["uid"]),
        ("Status", node_state(node) + (" (cordoned)" if is_cordoned(node) else "")),
        ("Why", "\n".join(why(node)) or "nothing unusual"),
        ("Last seen", ago(seen) if seen is not None else "never"),
        ("Incarnation", f"{life.number} ({held})" if life.number else "none yet"),
        ("Owner", annotations.get("stark.dev/owner") or "<none>"),
        ("Runtimes", ", ".join(runtimes(node)) or "<none>"),
        (
            "Machine",
            f"{info.get('architecture', '?')}, {info.get('osImage', '?')}, agent {info.get('kubeletVersion', '?')}",
        ),
        ("CPU", _amount("cpu", usage, allocatable)),
        ("Memory", _amount("memory", usage, allocatable)),
        ("Taints", "\n".join(map(shown, spec.get("taints") or ())) or "<none>"),
        (
            "Labels",
            "\n".join(f"{key}={value}" for key, value in sorted((meta.get("labels") or {}).items())) or "<none>",
        ),
        ("Created", f"{meta['creationTimestamp']} ({human_age(meta['creationTimestamp'])} ago)"),
    ]


def _amount(what: str, usage: Object | None, allocatable: Object) -> str:
    from stark.crds.quantity import milli_cpu, parse_quantity

    there, used = allocatable.get(what, "?"), (usage or {}).get(what)
    percent = share(used, allocatable.get(what), milli_cpu if what == "cpu" else parse_quantity)
    return f"{used} of {there} used ({percent})" if used else f"{there}, use unknown"


def _phase(pod: Object) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status") or {}
    return str(status.get("reason") or status.get("phase") or "")


def _age(pod: Object) -> str:
    return human_age(pod["metadata"]["creationTimestamp"])
