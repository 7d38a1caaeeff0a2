"""Set how many replicas a Deployment or ReplicaSet keeps.

Examples:
  starkctl scale deployment/web --replicas 5
  starkctl scale deployment web --replicas 5 --current-replicas 3    only if it is 3 now
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK, CommandError, UsageError
from ..options import Session
from ..targets import parse_targets


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="+", metavar="TYPE[/NAME] [NAME...]", help="what to scale, e.g. deployment/web")
    parser.add_argument("--replicas", type=int, required=True, metavar="N", help="how many there should be")
    parser.add_argument("--current-replicas", type=int, metavar="N", help="refuse unless there are that many now")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the scale subresource of each object."""
    if args.replicas < 0:
        raise UsageError("--replicas must be zero or more")
    targets = parse_targets(args.what, session.catalog)
    if not any(target.names for target in targets):
        raise UsageError("name what to scale, e.g. `starkctl scale deployment/web --replicas 5`")
    for target in targets:
        if "scale" not in target.kind.subresources:
            raise CommandError(f"a {target.kind.kind} cannot be scaled: it has no replicas")
        for name in target.names:
            path = target.kind.path(session.namespace, name, "scale")
            if args.current_replicas is not None:
                _expect(session, path, name, args.current_replicas)
            session.api.request(
                "PATCH", path, body={"spec": {"replicas": args.replicas}}, content_type="application/merge-patch+json"
            )
            print(f"{target.kind.label}/{name} scaled")
    return EXIT_OK


def _expect(session: Session, path: str, name: str, wanted: int) -> None:
    current = (session.api.get(path).get("spec") or {}).get("replicas", 0)
    if current != wanted:
        raise CommandError(f"{name} has {current} replicas, not {wanted}: nothing was changed")
