"""Fetch a bundle, and check its digest. Where the server has it in an object storage it comes from there directly, if that
can be reached, and else through the server.

Examples:
  starkctl pack download hello:1.0.0 --out hello.js
  starkctl pack download tool:2.1.0 --arch arm64 --out tool
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..bundle_files import PACKS, registered_pack
from ..elsewhere import Elsewhere
from ..errors import EXIT_OK, CommandError
from ..options import Session
from ..progress import Progress

NAMESPACED = False
ARCHITECTURES = ("any", "amd64", "arm64", "riscv64")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("pack", metavar="NAME:VERSION", help="which version, e.g. hello:1.0.0")
    parser.add_argument("--arch", choices=ARCHITECTURES, help="of several bundles, the one for these machines")
    parser.add_argument("--out", required=True, metavar="PATH", type=Path, help="the file to write")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the file; under its name there is never a part of it, or a wrong one."""
    pack = registered_pack(session, args.pack)
    bundle = _bundle(pack, args.arch, args.pack)
    path = f"{PACKS}/{pack['metadata']['name']}/bundles/{bundle['sha256']}"
    part = args.out.with_name(f".{args.out.name}.{os.getpid()}")
    try:
        with part.open("xb") as file, Progress(f"downloading {args.pack}", bundle["size"]) as progress:
            try:
                actual = _fetch(session.api.chunks(path, direct=True), file, progress)
                trouble = "" if actual == bundle["sha256"] else f"expected sha256 {bundle['sha256']}, got {actual}"
            except Elsewhere as error:
                trouble = str(error)
            if trouble:
                print(f"the object storage failed ({trouble}): downloading from the server", file=sys.stderr)
                file.seek(0)
                file.truncate()
                actual = _fetch(session.api.chunks(path), file, progress)
        if actual != bundle["sha256"]:
            raise CommandError(f"expected sha256 {bundle['sha256']}, got {actual}: try again")
        part.replace(args.out)
    except OSError as error:
        raise CommandError(f"cannot write {args.out}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    print(f"{args.out}: {bundle['size']} bytes, sha256 {bundle['sha256'][:12]}", file=sys.stderr)
    return EXIT_OK


def _fetch(chunks: Iterator[bytes], file: BinaryIO, progress: Progress) -> str:
    """Write what comes; returns its digest."""
    digest, done = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        file.write(chunk)
        done += len(chunk)
        progress.reached(done)
    return digest.hexdigest()


def _bundle(pack: dict[str, Any], architecture: str | None, named: str) -> dict[str, Any]:
    bundles: list[dict[str, Any]] = pack["spec"]["bundles"]
    fit = [one for one in bundles if architecture in (None, one["architecture"])]
    if len(fit) != 1:
        there = ", ".join(one["architecture"] for one in bundles)
        raise CommandError(f"pack {named} has bundles for {there}: choose one with --arch")
    return fit[0]
