"""Change labels and taints of a node, and whether new pods are put on it.

A taint is KEY[=VALUE]:EFFECT and replaces one of the same key and effect; --remove-taint KEY
takes off every effect of the key, KEY:EFFECT that one. Every option may be repeated, and takes
several values.

Examples:
  starkctl node update worker-7 -l zone=b -l disk=ssd --remove-label old
  starkctl node update worker-7 --taint dedicated=gpu:NoSchedule --remove-taint maintenance
  starkctl node update worker-7 --unschedulable
"""

from __future__ import annotations

import argparse
from itertools import chain

from stark.crds.names import label_key_problems, label_value_problems
from stark.crds.taint_words import BadTaint, Removal, Taint, changed, parse_removal, parse_taint

from ..errors import EXIT_OK, CommandError, UsageError
from ..nodes import Object, add_dry_run, change, dry_run_mark, find, is_cordoned, pairs
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("node", metavar="NODE", help="the node, by name or uid")
    for names, metavar, text in (
        (("-l", "--label"), "KEY=VALUE", "put on a label"),
        (("--remove-label",), "KEY", "take off a label"),
        (("--taint",), "KEY[=VALUE]:EFFECT", "put on a taint"),
        (("--remove-taint",), "KEY[:EFFECT]", "take off taints"),
    ):
        parser.add_argument(*names, action="append", nargs="+", default=[], metavar=metavar, help=text)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--unschedulable", action="store_true", help="keep new pods off")
    which.add_argument("--schedulable", action="store_true", help="let new pods on")
    add_dry_run(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """All of it in one change."""
    labels = _labels(list(chain(*args.label)), list(chain(*args.remove_label)))
    try:
        added = [parse_taint(text) for text in chain(*args.taint)]
        removed = [parse_removal(text.removesuffix("-")) for text in chain(*args.remove_taint)]
    except BadTaint as error:
        raise UsageError(str(error)) from error
    cordoned = True if args.unschedulable else False if args.schedulable else None
    if not labels and not added and not removed and cordoned is None:
        raise UsageError(
            "say what to change: --label, --remove-label, --taint, --remove-taint, --unschedulable, --schedulable"
        )
    node = find(session, args.node)
    name = node["metadata"]["name"]
    try:
        done = change(session, node, lambda seen: _patch(seen, labels, added, removed, cordoned), dry_run=args.dry_run)
    except BadTaint as error:
        raise CommandError(f"node {name}: {error}") from error
    print(f"node/{name} {'updated' if done else 'unchanged'}{dry_run_mark(args.dry_run)}")
    return EXIT_OK


def _labels(put_on: list[str], taken_off: list[str]) -> dict[str, str | None]:
    given = pairs(put_on, "--label")
    both = given.keys() & set(taken_off)
    if both:
        raise UsageError(f"{', '.join(sorted(both))}: both --label and --remove-label")
    for key, value in given.items():
        for problem in (*label_key_problems(key), *label_value_problems(value)):
            raise UsageError(f"--label {key}={value}: {problem}")
    return {**given, **dict.fromkeys(taken_off, None)}


def _patch(
    seen: Object, labels: dict[str, str | None], added: list[Taint], removed: list[Removal], cordoned: bool | None
) -> Object | None:
    """The merge patch; None when everything is so already."""
    before = seen["metadata"].get("labels") or {}
    patch: Object = {}
    if any(before.get(key) != value for key, value in labels.items()):
        patch["metadata"] = {"labels": labels}
    spec: Object = {}
    taints = list((seen.get("spec") or {}).get("taints") or ())
    after = changed(taints, added, removed, overwrite=True)
    if after != taints:
        spec["taints"] = after
    if cordoned is not None and cordoned != is_cordoned(seen):
        spec["unschedulable"] = cordoned or None
    return {**patch, **({"spec": spec} if spec else {})} or None
