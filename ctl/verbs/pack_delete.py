"""Delete a version of a pack: without --ver the latest. What is in use is kept, unless --force is said.

Its bundles go an hour later, when no other pack has the same bytes. Pods that run go on from their node's own copy, but
cannot start on another node.

Examples:
  starkctl pack delete hello -V 1.0.0
  starkctl pack rm hello --all-versions --force
"""

from __future__ import annotations

import argparse

from ..bundle_files import PACKS
from ..errors import EXIT_OK, CommandError, ServerError, UsageError
from ..finding_packs import chosen_version, versions_of
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="name of the pack")
    parser.add_argument("-V", "--ver", metavar="VERSION", help="which version (default the latest)")
    parser.add_argument("--all-versions", action="store_true", help="every version")
    parser.add_argument("-f", "--force", action="store_true", help="even when something uses it")


def run(args: argparse.Namespace, session: Session) -> int:
    """Delete, the lowest version first, and say which."""
    if args.all_versions and args.ver:
        raise UsageError("say --ver or --all-versions, not both")
    found = (
        versions_of(session, args.name)[::-1] if args.all_versions else [chosen_version(session, args.name, args.ver)]
    )
    for pack in found:
        body: dict[str, object] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": pack["metadata"]["uid"]},
            **({"gracePeriodSeconds": 0} if args.force else {}),
        }
        version = pack["spec"]["version"]
        try:
            session.api.request("DELETE", f"{PACKS}/{pack['metadata']['name']}", body=body)
        except ServerError as error:
            if error.reason != "Conflict":
                raise
            reason = str(error.status.get("message") or "").partition(": ")[2].partition(";")[0]
            raise CommandError(
                f"pack {args.name} {version} was kept: {reason}; --force deletes it all the same"
            ) from error
        print(f"pack {args.name} {version} deleted")
    return EXIT_OK
