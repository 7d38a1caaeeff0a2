"""Put taints on nodes, or take them off: pods that do not tolerate them keep away, or have to go.

A taint is KEY[=VALUE]:EFFECT; the effect is NoSchedule (no new pods), PreferNoSchedule (rather
none) or NoExecute (pods that run there go, too). With a `-` at the end it is taken off:
KEY:EFFECT-, or KEY- for every effect.

Examples:
  starkctl taint nodes worker-7 dedicated=gpu:NoSchedule
  starkctl taint nodes worker-7 dedicated:NoSchedule-
  starkctl taint nodes -l zone=b maintenance=now:NoExecute --overwrite
  starkctl taint nodes worker-7 node.kubernetes.io/out-of-service=off:NoExecute   # it is off
"""

from __future__ import annotations

import argparse
import sys

from stark.crds.taint_words import BadTaint, changed, parse_words

from ..errors import EXIT_OK, CommandError, UsageError
from ..nodes import NODES, Object, add_dry_run, change, dry_run_mark, find, listed
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("words", nargs="+", metavar="nodes NODE... TAINT...", help="the nodes, then what changes")
    parser.add_argument("-l", "--selector", default="", metavar="LABELS", help="the nodes with these labels")
    parser.add_argument("--all", action="store_true", help="every node")
    parser.add_argument("--overwrite", action="store_true", help="replace a taint of the same key and effect")
    add_dry_run(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Patch each node's list of taints."""
    names, words = split_words(args.words)
    try:
        added, removed = parse_words(words)
    except BadTaint as error:
        raise UsageError(str(error)) from error
    for node in _nodes(args, session, names):
        name = node["metadata"]["name"]

        def patch(seen: Object) -> Object:
            taints = list((seen.get("spec") or {}).get("taints") or ())
            return {"spec": {"taints": changed(taints, added, removed, overwrite=args.overwrite)}}

        try:
            change(session, node, patch, dry_run=args.dry_run)
        except BadTaint as error:
            raise CommandError(f"node {name}: {error}") from error
        word = "modified" if added and removed else "tainted" if added else "untainted"
        print(f"node/{name} {word}{dry_run_mark(args.dry_run)}")
    return EXIT_OK


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """The names of nodes, and the taints after them. Raises UsageError."""
    first, rest = words[0], words[1:]
    if first.startswith(("node/", "nodes/")):
        rest = [first.partition("/")[2], *rest]
    elif first not in ("node", "nodes", "no"):
        raise UsageError(f"only nodes have taints: write `starkctl taint nodes NODE TAINT`, not {first!r}")
    names: list[str] = []
    while rest and ":" not in rest[0] and "=" not in rest[0] and not rest[0].endswith("-"):
        names.append(rest.pop(0).removeprefix("node/"))
    if not rest:
        raise UsageError("say which taint: KEY[=VALUE]:EFFECT, or KEY[:EFFECT]- to take it off")
    return names, rest


def _nodes(args: argparse.Namespace, session: Session, names: list[str]) -> list[Object]:
    if sum((bool(names), bool(args.selector), args.all)) != 1:
        raise UsageError("say which nodes: names, or --selector, or --all")
    if names:
        return [find(session, name) for name in names]
    found = listed(session, NODES, labels=args.selector)
    if not found:
        print("No resources found", file=sys.stderr)
    return found
