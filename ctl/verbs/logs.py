"""Print what a pod's container wrote, or follow it.

Examples:
  starkctl logs web-7d9c-x2x            everything kept of the pod's only container
  starkctl logs deployment/web -f       one pod of the deployment, and go on as it writes
  starkctl logs deployment/web --all-pods -f
  starkctl logs web-7d9c-x2x --previous --tail 50
  starkctl logs -l app=web --since 10m --timestamps
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
from typing import Any

from stark.crds.podcontainers import every_written

from ..errors import EXIT_ERROR, EXIT_OK, CommandError, UsageError
from ..options import Session
from ..resources import Kind
from ..targets import parse_targets

FOLLOW_MAX = 5
"""Logs followed at once, kubectl's default: each is a connection of its own to an agent."""
SELECTOR_TAIL = 10
"""Lines shown of each pod when several are chosen by label and --tail is not given, as kubectl does."""
UNITS_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what", nargs="*", metavar="POD | TYPE/NAME", help="a pod, or a workload such as deployment/web"
    )
    parser.add_argument("-f", "--follow", action="store_true", help="go on as new lines are written")
    parser.add_argument("-p", "--previous", action="store_true", help="of the run before the last restart")
    parser.add_argument("-c", "--container", default="", metavar="NAME", help="which container of the pod")
    parser.add_argument("--all-containers", action="store_true", help="every container of the pod")
    parser.add_argument(
        "--all-pods", action="store_true", help="every pod of the workload, each line with its pod's name"
    )
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="the pods with these labels")
    parser.add_argument("--since", metavar="DURATION", help="only what is newer than this, e.g. 5s, 10m, 1h30m")
    parser.add_argument("--since-time", metavar="TIME", help="only what is newer than this moment (RFC 3339)")
    parser.add_argument("--tail", type=int, metavar="LINES", help="only this many of the last lines")
    parser.add_argument("--timestamps", action="store_true", help="begin each line with the time it was written")
    parser.add_argument("--prefix", action="store_true", help="begin each line with its pod and container")
    parser.add_argument("--limit-bytes", type=int, metavar="BYTES", help="stop after this many bytes")
    parser.add_argument(
        "--max-log-requests", type=int, default=FOLLOW_MAX, metavar="N", help=f"logs followed at once ({FOLLOW_MAX})"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print the chosen logs, one after the other, or side by side when following."""
    pods = _pods(args, session)
    sources = [(pod, container) for pod in pods for container in _containers(args, pod)]
    if args.follow and len(sources) > args.max_log_requests:
        raise CommandError(
            f"{len(sources)} logs are to be followed, but at most {args.max_log_requests}: raise --max-log-requests"
        )
    printer = Printer(prefix=args.prefix or args.all_pods)
    query = _query(args)
    if not args.follow or len(sources) == 1:
        for pod, container in sources:
            _print_log(session, pod, container, query, printer)
        return EXIT_OK
    return _follow_all(session, sources, query, printer)


class Printer:
    """Writes whole lines, from several threads, each with the name of its source if asked."""

    def __init__(self, *, prefix: bool) -> None:
        self._prefix = prefix
        self._lock = threading.Lock()

    def write(self, pod: str, container: str, line: bytes) -> None:
        """One line, flushed when it is complete so that a pipe sees it at once."""
        with self._lock:
            head = f"[pod/{pod}/{container}] ".encode() if self._prefix else b""
            sys.stdout.buffer.write(head + line)
            sys.stdout.buffer.flush()


def _print_log(session: Session, pod: dict[str, Any], container: str, query: dict[str, str], printer: Printer) -> None:
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
    for line in session.api.lines(path, query={**query, "container": container}, accept="*/*"):
        printer.write(metadata["name"], container, line)


def _follow_all(
    session: Session, sources: list[tuple[dict[str, Any], str]], query: dict[str, str], printer: Printer
) -> int:
    failures: list[CommandError] = []

    def follow(pod: dict[str, Any], container: str) -> None:
        try:
            _print_log(session, pod, container, query, printer)
        except CommandError as error:
            failures.append(error)
            print(f"{pod['metadata']['name']}/{container}: {error}", file=sys.stderr)

    threads = [threading.Thread(target=follow, args=source, daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return EXIT_ERROR if failures else EXIT_OK


def _pods(args: argparse.Namespace, session: Session) -> list[dict[str, Any]]:
    if args.selector:
        if args.what:
            raise UsageError("give either a pod or -l LABELS, not both")
        found = _listed(session, args.selector)
        if not found:
            raise CommandError(f"no pod in namespace {session.namespace} has the labels {args.selector}")
        args.tail = SELECTOR_TAIL if args.tail is None and not args.follow else args.tail
        return found
    if not args.what:
        raise UsageError("say whose log: a pod, or a workload such as deployment/web")
    words = args.what if "/" in args.what[0] else [f"pods/{args.what[0]}", *args.what[1:]]
    if len(words) == 2 and "/" not in words[1]:
        args.container = args.container or words.pop()  # `logs POD CONTAINER`, as kubectl still accepts
    (target,) = parse_targets(words, session.catalog)
    name = target.names[0]
    if target.kind.plural == "pods":
        return [session.api.get(target.kind.path(session.namespace, name))]
    return _of_workload(args, session, target.kind, name)


def _of_workload(args: argparse.Namespace, session: Session, kind: Kind, name: str) -> list[dict[str, Any]]:
    workload = session.api.get(kind.path(session.namespace, name))
    selector = ((workload.get("spec") or {}).get("selector") or {}).get("matchLabels")
    if not selector:
        raise CommandError(f"a {kind.kind} has no pods to read logs from")
    pods = _listed(session, ",".join(f"{key}={value}" for key, value in selector.items()))
    if not pods:
        raise CommandError(f"{kind.label}/{name} has no pods yet: `starkctl describe {kind.singular}/{name}` tells why")
    pods.sort(key=lambda pod: (not _ready(pod), pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    if args.all_pods or len(pods) == 1:
        return pods
    print(f"Found {len(pods)} pods, using pod/{pods[0]['metadata']['name']}", file=sys.stderr)
    return pods[:1]


def _listed(session: Session, selector: str) -> list[dict[str, Any]]:
    path = f"/api/v1/namespaces/{session.namespace}/pods"
    items: list[dict[str, Any]] = session.api.get(path, labelSelector=selector).get("items") or []
    return items


def _ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)


def _containers(args: argparse.Namespace, pod: dict[str, Any]) -> list[str]:
    names = [container["name"] for container in every_written(pod["spec"])]
    if args.all_containers:
        return names
    if args.container:
        if args.container not in names:
            raise CommandError(
                f"pod {pod['metadata']['name']} has no container {args.container}; it has {', '.join(names)}"
            )
        return [args.container]
    default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    lasting = [container["name"] for container in pod["spec"]["containers"]]
    if len(lasting) > 1 and default not in names:
        raise CommandError(f"pod {pod['metadata']['name']} has the containers {', '.join(names)}: choose one with -c")
    return [str(default) if default in names else lasting[0]]


def _query(args: argparse.Namespace) -> dict[str, str]:
    if args.since and args.since_time:
        raise UsageError("--since and --since-time exclude each other")
    query = {name: "true" for name in ("follow", "previous", "timestamps") if getattr(args, name)}
    if args.since:
        query["sinceSeconds"] = str(max(1, round(seconds(args.since))))
    if args.since_time:
        query["sinceTime"] = args.since_time
    if args.tail is not None and args.tail >= 0:
        query["tailLines"] = str(args.tail)
    if args.limit_bytes is not None:
        query["limitBytes"] = str(args.limit_bytes)
    return query


def seconds(text: str) -> float:
    """A duration such as `90s`, `10m` or `1h30m` in seconds. Raises UsageError."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"{text!r} is not a duration such as 90s, 10m or 1h30m")
    return sum(float(number) * UNITS_S[unit] for number, unit in parts)
