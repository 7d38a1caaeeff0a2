"""Upload bundles as a new version of a pack. Versions never change: the same bundles again are fine, others are refused.

An upload that was cut off goes on where it ended, by itself or when the command is run again. Bytes that the server has
are not sent again.

Examples:
  starkctl pack register bundle.js --name hello --ver 1.0.0 --runtime node
  starkctl pack register app.pyz --name report --ver 2.1.0 --runtime python --description "a report"
  starkctl pack register bundle.js --name hello --ver 1.0.0 --runtime node --sign-key release.key
  starkctl pack register ./tool-arm64 --name tool --ver 1.0.0 --runtime binary --arch arm64
  starkctl pack register --bundle amd64=x86 --bundle arm64=arm --name tool --ver 1.0.0 -r binary
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from stark.crds.images import pack_object_name

from ..bundle_files import PACKS, measure
from ..errors import EXIT_OK, CommandError, ServerError, UsageError
from ..options import Session
from ..sending import send
from ..signing_keys import read_private_key
from .pack_sign import add_signature

NAMESPACED = False
ARCHITECTURES = ("any", "amd64", "arm64", "riscv64")
RUNTIMES = ("node", "browser", "universal", "isomorphic", "python", "binary")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "bundle", nargs="?", metavar="BUNDLE", help="the file to upload: one bundled .js, .py, .pyz or executable"
    )
    parser.add_argument("-n", "--name", required=True, metavar="NAME", help="name of the pack")
    parser.add_argument("-V", "--ver", required=True, metavar="VERSION", help="version (semver), e.g. 1.2.0")
    parser.add_argument("-r", "--runtime", required=True, choices=RUNTIMES, help="what runs it")
    parser.add_argument("-d", "--description", metavar="TEXT", help="one line about it")
    parser.add_argument(
        "--visibility", choices=("private", "public"), default="private", help="who may deploy it (default private)"
    )
    parser.add_argument(
        "--arch",
        choices=ARCHITECTURES,
        help="the machines that BUNDLE runs on (default any)",
    )
    parser.add_argument(
        "--bundle",
        dest="bundles",
        action="append",
        default=[],
        metavar="ARCH=PATH",
        help="of a version with several bundles, the one for these machines; may be repeated",
    )
    parser.add_argument("--sign-key", metavar="FILE", help="sign it with this private key, from `starkctl pack keygen`")
    parser.add_argument("--entrypoint", metavar="NAME", help="the exported function to call (default `default`)")
    parser.add_argument("--timeout", type=int, metavar="MS", help="milliseconds after which a run has failed")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of every pod, may be repeated"
    )
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what else the program is told, may be repeated; true, false and numbers are what they look like",
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Make the Pack object, then send the bundles; all of it may have been done before."""
    files = _files(args)
    measured = {architecture: measure(path) for architecture, path in files.items()}
    wanted = _pack(args, measured)
    if args.sign_key:
        wanted["spec"]["signatures"] = [_signature(wanted, args.sign_key)]
    pack = _create(session, wanted)
    if args.sign_key:
        _ensure_signed(session, pack, wanted)
    told = f"pack {args.name} {args.ver}"
    shown = ", ".join(digest[:12] for _, digest in measured.values())
    if _send_missing(session, pack, files, measured):
        print(f"{told} registered ({sum(size for size, _ in measured.values())} bytes, sha256 {shown})")
    else:
        print(f"{told} unchanged ({shown})")
    return EXIT_OK


def _send_missing(
    session: Session, pack: dict[str, Any], files: dict[str, str], measured: dict[str, tuple[int, str]]
) -> bool:
    """Send what the server does not have; False when it had everything."""
    there = set((pack.get("status") or {}).get("uploaded") or ())
    missing = {digest: (files[architecture], size) for architecture, (size, digest) in measured.items()}
    missing = {digest: one for digest, one in missing.items() if digest not in there}
    for digest, (path, size) in missing.items():
        send(session, f"{PACKS}/{pack['metadata']['name']}/bundles/{digest}", path, size)
    return bool(missing)


def _files(args: argparse.Namespace) -> dict[str, str]:
    """The file of each architecture. Raises UsageError."""
    files: dict[str, str] = {args.arch or "any": args.bundle} if args.bundle else {}
    if bool(files) == bool(args.bundles) or (args.arch and args.bundles):
        raise UsageError("give one BUNDLE, or several as --bundle ARCH=PATH")
    for given in args.bundles:
        architecture, equals, path = given.partition("=")
        if architecture not in ARCHITECTURES or not equals or not path:
            raise UsageError(f"--bundle {given}: expected ARCH=PATH with {', '.join(ARCHITECTURES)}")
        if architecture in files:
            raise UsageError(f"--bundle {given}: there is a bundle for {architecture} already")
        files[architecture] = path
    return files


def _metadata(args: argparse.Namespace) -> dict[str, Any]:
    """What the pack says of how it is called. Raises UsageError."""
    found: dict[str, Any] = {}
    for given in args.metadata:
        key, equals, text = given.partition("=")
        if not key or not equals or key in ("entrypoint", "timeout", "env"):
            raise UsageError(
                f"--metadata {given}: expected KEY=VALUE; entrypoint, timeout and env have options of their own"
            )
        found[key] = _value(text)
    if args.entrypoint:
        found["entrypoint"] = args.entrypoint
    if args.timeout is not None:
        found["timeout"] = args.timeout
    for given in args.env:
        name, equals, text = given.partition("=")
        if not name or not equals:
            raise UsageError(f"--env {given}: expected NAME=VALUE")
        found.setdefault("env", {})[name] = text
    return found


def _value(text: str) -> object:
    """`true` and `8` are no texts; whatever is no JSON scalar is one."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float)) else text


def _signature(wanted: dict[str, Any], key: str) -> dict[str, str]:
    from stark.crds.signing import sign

    return sign(read_private_key(key), wanted["spec"])


def _ensure_signed(session: Session, pack: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Of a version that was registered before, the signature may be new."""
    from stark.crds.signing import statement

    add_signature(session, pack, wanted["spec"]["signatures"][0], statement(wanted["spec"]))


def _pack(args: argparse.Namespace, measured: dict[str, tuple[int, str]]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "name": args.name,
        "version": args.ver,
        "runtime": "universal" if args.runtime == "isomorphic" else args.runtime,
        "visibility": args.visibility,
        "bundles": [
            {"architecture": architecture, "sha256": digest, "size": size}
            for architecture, (size, digest) in measured.items()
        ],
    }
    if args.description:
        spec["description"] = args.description
    if metadata := _metadata(args):
        spec["metadata"] = metadata
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
    known = {one["sha256"] for one in found["spec"].get("bundles") or ()}
    same = {one["sha256"] for one in wanted["spec"]["bundles"]} <= known
    if not same or found["spec"]["runtime"] != wanted["spec"]["runtime"]:
        raise CommandError(
            f"pack {wanted['spec']['name']} {wanted['spec']['version']} is registered already, with other contents: "
            "versions never change, so choose the next version"
        )
    return found
