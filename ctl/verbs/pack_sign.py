"""Sign a registered version of a pack, so that PackTrustPolicies let it run.

What is signed is its name and version, how it is called, and the digests of its bundles. Give the bundles as you have them:
otherwise you sign what the server says they are, and must say so with --as-registered.

Examples:
  starkctl pack sign hello:1.0.0 --key release.key --bundle bundle.js
  starkctl pack sign tool:2.0.0 --key release.key --bundle tool-amd64 --bundle tool-arm64
  starkctl pack sign hello:1.0.0 --key release.key --as-registered
"""

from __future__ import annotations

import argparse
from typing import Any

from ..bundle_files import PACKS, compare, registered_pack
from ..errors import EXIT_OK, CommandError, ServerError, UsageError
from ..options import Session
from ..signing_keys import read_private_key

NAMESPACED = False
CONFLICT_TRIES = 5
"""Times we read the pack again when somebody else signed it in between."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pack", metavar="NAME:VERSION", help="which version, e.g. hello:1.0.0")
    parser.add_argument("--key", required=True, metavar="FILE", help="private key, from `starkctl pack keygen`")
    parser.add_argument(
        "--bundle", action="append", default=[], metavar="FILE", help="a bundle as you know it, may be repeated"
    )
    parser.add_argument("--as-registered", action="store_true", help="sign what the server says, without the bundles")


def run(args: argparse.Namespace, session: Session) -> int:
    """Compare, sign, add the signature."""
    if bool(args.bundle) == args.as_registered:
        raise UsageError("say what you vouch for: --bundle FILE, or --as-registered for what the server has")
    pack = registered_pack(session, args.pack)
    if args.bundle:
        _all_given(pack, compare(pack, args.bundle))
    from stark.crds.signing import sign, statement

    entry = sign(read_private_key(args.key), pack["spec"])
    added = add_signature(session, pack, entry, statement(pack["spec"]))
    print(f"pack {args.pack} {'signed' if added else 'was signed already'} by {entry['keyID'][:12]}")
    return EXIT_OK


def _all_given(pack: dict[str, Any], found: set[str]) -> None:
    missing = [one["architecture"] for one in pack["spec"]["bundles"] if one["sha256"] not in found]
    if missing:
        raise CommandError(f"the pack has bundles for {', '.join(missing)}, too: give each with --bundle")


def add_signature(session: Session, pack: dict[str, Any], entry: dict[str, str], said: bytes) -> bool:
    """Put the signature over `said` on the pack; False when it is there. Raises CommandError when the pack says else."""
    from stark.crds.signing import statement

    path = f"{PACKS}/{pack['metadata']['name']}"
    for _ in range(CONFLICT_TRIES):
        if statement(pack["spec"]) != said:
            raise CommandError("the pack is not what was signed: look at it, and sign again")
        there = pack["spec"].get("signatures") or []
        if entry in there:
            return False
        others = [one for one in there if one["keyID"] != entry["keyID"]]
        version = pack["metadata"]["resourceVersion"]
        body = {"metadata": {"resourceVersion": version}, "spec": {"signatures": [*others, entry]}}
        try:
            session.api.request("PATCH", path, body=body, content_type="application/merge-patch+json")
            return True
        except ServerError as error:
            if error.reason != "Conflict":
                raise
            pack = session.api.get(path)
    raise CommandError("others change the pack all the time: try again")
