"""Tell everything about a version of a pack: what runs it, its bundles, who signed it, and how it is called.

Examples:
  starkctl pack info hello
  starkctl pack info hello -V 1.0.0 -o yaml
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from stark.crds.annotations import OWNER
from stark.crds.printers import human_age

from ..errors import EXIT_OK
from ..finding_packs import chosen_version
from ..options import Session
from ..output import print_object

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="name of the pack")
    parser.add_argument("-V", "--ver", metavar="VERSION", help="which version (default the latest)")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Print it, a line a fact."""
    pack = chosen_version(session, args.name, args.ver)
    form = session.form(args.output)
    if form in ("json", "yaml"):
        print_object({"apiVersion": "stark.dev/v1", "kind": "Pack", **pack}, form)
        return EXIT_OK
    lines = _lines(pack)
    width = max(len(label) for label, _ in lines) + 2
    sys.stdout.write("".join(f"{label + ':':<{width}}{text}\n" for label, text in lines))
    return EXIT_OK


def _lines(pack: dict[str, Any]) -> list[tuple[str, str]]:
    spec, status = pack["spec"], pack.get("status") or {}
    meta = spec.get("metadata") or {}
    uploaded = status.get("uploaded") or ()
    lines = [
        ("Pack", spec["name"]),
        ("Version", spec["version"]),
        ("Runtime", spec["runtime"]),
        ("Visibility", spec.get("visibility", "private")),
        ("Owner", (pack["metadata"].get("annotations") or {}).get(OWNER) or "<none>"),
        ("Description", spec.get("description") or "<none>"),
        ("Status", status.get("phase") or "Pending"),
        *([("Deprecated", spec["deprecated"])] if spec.get("deprecated") else []),
        (
            "Registered",
            f"{pack['metadata']['creationTimestamp']} ({human_age(pack['metadata']['creationTimestamp'])} ago)",
        ),
        ("Image", f"pack.stark/{spec['name']}:{spec['version']}"),
        ("Entry point", meta.get("entrypoint") or "default"),
    ]
    lines += [(f"Metadata {key}", _text(value)) for key, value in sorted(meta.items()) if key != "entrypoint" and value]
    for bundle in spec.get("bundles") or ():
        state = "" if bundle["sha256"] in uploaded else ", not uploaded"
        lines.append(("Bundle", f"{bundle['architecture']}, {bundle['size']} bytes, sha256 {bundle['sha256']}{state}"))
    lines += [("Signed by", one["keyID"]) for one in spec.get("signatures") or ()]
    return lines


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
