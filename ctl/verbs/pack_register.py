"""Upload a bundle as a new version of a pack. Versions never change: the same bundle again is fine, another one is refused.

Examples:
  starkctl pack register bundle.js --name hello --ver 1.0.0 --runtime node
  starkctl pack register app.pyz --name report --ver 2.1.0 --runtime python --description "nightly report"
  starkctl pack register bundle.js --name hello --ver 1.0.0 --runtime node --sign-key release.key
  starkctl pack register ./tool-arm64 --name tool --ver 1.0.0 --runtime binary --arch arm64
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from stark.crds.images import pack_object_name

from ..bundle_files import PACKS, measure
from ..errors import EXIT_OK, CommandError, ServerError
from ..options import Session
from ..progress import Progress
from ..signing_keys import read_private_key
from .pack_sign import add_signature

NAMESPACED = False
RUNTIMES = ("node", "browser", "universal", "isomorphic", "python", "binary")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the file to upload: one bundled .js, .py, .pyz or executable")
    parser.add_argument("-n", "--name", required=True, metavar="NAME", help="name of the pack")
    parser.add_argument("-V", "--ver", required=True, metavar="VERSION", help="version (semver), e.g. 1.2.0")
    parser.add_argument("-r", "--runtime", required=True, choices=RUNTIMES, help="what runs it")
    parser.add_argument("-d", "--description", metavar="TEXT", help="one line about it")
    parser.add_argument(
        "--visibility", choices=("private", "public"), default="private", help="who may deploy it (default private)"
    )
    parser.add_argument(
        "--arch",
        choices=("any", "amd64", "arm64", "riscv64"),
        default="any",
        help="the machines it runs on (default any)",
    )
    parser.add_argument("--sign-key", metavar="FILE", help="sign it with this private key, from `starkctl pack keygen`")
    parser.add_argument("--entrypoint", metavar="NAME", help="the exported function to call (default `default`)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Make the Pack object, then send the bundle; both may have been done before."""
    size, digest = measure(args.bundle)
    wanted = _pack(args, size, digest)
    if args.sign_key:
        wanted["spec"]["signatures"] = [_signature(wanted, args.sign_key)]
    pack = _create(session, wanted)
    if args.sign_key:
        _ensure_signed(session, pack, wanted)
    name = pack["metadata"]["name"]
    if digest in ((pack.get("status") or {}).get("uploaded") or ()):
        print(f"pack {args.name} {args.ver} unchanged ({digest[:12]})")
        return EXIT_OK
    with open(args.bundle, "rb") as source, Progress(f"uploading {os.path.basename(args.bundle)}", size) as progress:
        session.api.upload(f"{PACKS}/{name}/bundles/{digest}", source, size, progress.reached)
    print(f"pack {args.name} {args.ver} registered ({size} bytes, sha256 {digest[:12]})")
    return EXIT_OK


def _signature(wanted: dict[str, Any], key: str) -> dict[str, str]:
    from stark.crds.signing import sign

    return sign(read_private_key(key), wanted["spec"])


def _ensure_signed(session: Session, pack: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Of a version that was registered before, the signature may be new."""
    from stark.crds.signing import statement

    add_signature(session, pack, wanted["spec"]["signatures"][0], statement(wanted["spec"]))


def _pack(args: argparse.Namespace, size: int, digest: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": args.name,
        "version": args.ver,
        "runtime": "universal" if args.runtime == "isomorphic" else args.runtime,
        "visibility": args.visibility,
        "bundles": [{"architecture": args.arch, "sha256": digest, "size": size}],
    }
    if args.description:
        spec["description"] = args.description
    if args.entrypoint:
        spec["metadata"] = {"entrypoint": args.entrypoint}
    name = pack_object_name(args.name, args.ver)
    return {"apiVersion": "stark.dev/v1", "kind": "Pack", "metadata": {"name": name}, "spec": spec}


def _create(session: Session, wanted: dict[str, Any]) -> dict[str, Any]:
    """The Pack, new or found; found with another bundle is an error, since a version never changes."""
    try:
        return session.api.request("POST", PACKS, body=wanted)
    except ServerError as error:
        if error.reason != "AlreadyExists":
            raise
    found = session.api.get(f"{PACKS}/{wanted['metadata']['name']}")
    (bundle,) = wanted["spec"]["bundles"]
    same = any(known["sha256"] == bundle["sha256"] for known in found["spec"].get("bundles") or ())
    if not same or found["spec"]["runtime"] != wanted["spec"]["runtime"]:
        raise CommandError(
            f"pack {wanted['spec']['name']} {wanted['spec']['version']} is registered already, with other contents: "
            "versions never change, so choose the next version"
        )
    if sys.stderr.isatty() and bundle["sha256"] not in ((found.get("status") or {}).get("uploaded") or ()):
        print("an earlier upload of this version did not finish; sending the bundle again", file=sys.stderr)
    return found
