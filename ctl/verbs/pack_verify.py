"""Verify a pack: its bundles' digests, and who has signed it. Exit code 1 when it is not what was asked for.

With --key the signatures are judged by those keys; without, by the PackTrustPolicies that hold in the namespace. Bundles are
read from files, or with --download from the server, and their digests compared with what was signed.

Examples:
  starkctl pack verify hello:1.0.0 --key release.pub --bundle bundle.js
  starkctl pack verify hello:1.0.0 --key release.pub --key ops.pub --threshold 2 --download
  starkctl pack verify hello:1.0.0 --namespace production
"""

from __future__ import annotations

import argparse
import hashlib
from typing import Any

from ..bundle_files import PACKS, compare, registered_pack
from ..errors import EXIT_ERROR, EXIT_OK, CommandError, UsageError
from ..options import Session
from ..signing_keys import read_public_key

POLICIES = "/apis/stark.dev/v1/packtrustpolicies"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pack", metavar="NAME:VERSION", help="which version, e.g. hello:1.0.0")
    parser.add_argument("--key", action="append", default=[], metavar="FILE", help="public key, may be repeated")
    parser.add_argument(
        "--threshold", type=int, default=1, metavar="N", help="with --key: how many must have signed (default 1)"
    )
    parser.add_argument(
        "--bundle", action="append", default=[], metavar="FILE", help="a bundle as you have it, may be repeated"
    )
    parser.add_argument("--download", action="store_true", help="fetch the bundles from the server and hash them")


def run(args: argparse.Namespace, session: Session) -> int:
    """Check everything, say what holds."""
    if args.key and not 1 <= args.threshold <= len(args.key):
        raise UsageError("--threshold must be between 1 and the number of keys")
    pack = registered_pack(session, args.pack)
    compared = compare(pack, args.bundle) | (_downloaded(session, pack) if args.download else set())
    for one in pack["spec"]["bundles"]:
        state = "verified" if one["sha256"] in compared else "not compared"
        print(f"bundle {one['architecture']}: sha256 {one['sha256']} {state}")
    complaints = _by_keys(args, pack) if args.key else _by_policies(session, pack)
    if complaints is None:
        print(
            f"nobody asks for signatures on it in namespace {session.namespace}: no PackTrustPolicy is about it there"
        )
        return EXIT_OK
    for complaint in complaints:
        print(complaint)
    print(f"pack {args.pack} is {'NOT ' if complaints else ''}trusted")
    return EXIT_ERROR if complaints else EXIT_OK


def _downloaded(session: Session, pack: dict[str, Any]) -> set[str]:
    """The digests of the bundles that the server gives out as it should. Raises CommandError when it gives others."""
    good = set()
    for one in pack["spec"]["bundles"]:
        digest = hashlib.sha256()
        path = f"{PACKS}/{pack['metadata']['name']}/bundles/{one['sha256']}"
        for chunk in session.api.chunks(path):
            digest.update(chunk)
        if digest.hexdigest() != one["sha256"]:
            given = digest.hexdigest()
            raise CommandError(
                f"bundle {one['architecture']}: expected sha256 {one['sha256']}, got {given} from the server"
            )
        good.add(one["sha256"])
    return good


def _by_keys(args: argparse.Namespace, pack: dict[str, Any]) -> list[str]:
    from stark.crds.signing import public_key, signers

    keys = {path: read_public_key(path) for path in args.key}
    found = signers(pack["spec"], keys.values())
    for path, pem in keys.items():
        print(f"key {path}: {'signature good' if public_key(pem)[0] in found else 'no good signature'}")
    return [] if len(found) >= args.threshold else [f"{len(found)} of {args.threshold} needed signatures"]


def _by_policies(session: Session, pack: dict[str, Any]) -> list[str] | None:
    """The complaints of the policies; None when none is about the pack."""
    from stark.crds.signing import distrusts, is_about

    policies = session.api.get(POLICIES).get("items") or []
    labels = session.api.get(f"/api/v1/namespaces/{session.namespace}")["metadata"].get("labels") or {}
    about = [policy for policy in policies if is_about(policy["spec"], labels, pack["spec"]["name"])]
    if not about:
        return None
    unmet = {one.policy: one for one in distrusts(about, labels, pack["spec"])}
    for policy in about:
        name = policy["metadata"]["name"]
        print(f"PackTrustPolicy {name}: {unmet[name].message if name in unmet else 'met'}")
    return [f"PackTrustPolicy {one.policy} refuses it" for one in unmet.values() if one.action == "Enforce"]
