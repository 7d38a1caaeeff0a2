"""Warn against a version of a pack. Who names it is warned; who names no version, or follows the latest, gets another one.

What runs goes on. The version can still be run on purpose, so that a rollback to it is possible.

Examples:
  starkctl pack deprecate hello:1.0.0 --reason "loses data, use 1.0.1"
  starkctl pack deprecate hello:1.0.0 --undo
"""

from __future__ import annotations

import argparse

from ..bundle_files import PACKS, registered_pack
from ..errors import EXIT_OK
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pack", metavar="NAME:VERSION", help="which version, e.g. hello:1.0.0")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--reason", metavar="TEXT", help="what people who use it are told")
    given.add_argument("--undo", action="store_true", help="take the warning back")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the reason, or remove it."""
    pack = registered_pack(session, args.pack)
    session.api.request(
        "PATCH",
        f"{PACKS}/{pack['metadata']['name']}",
        body={"spec": {"deprecated": None if args.undo else args.reason}},
        content_type="application/merge-patch+json",
    )
    print(f"pack {args.pack} {'is no longer deprecated' if args.undo else 'deprecated'}")
    return EXIT_OK
