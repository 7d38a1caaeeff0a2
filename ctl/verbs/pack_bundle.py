"""Make one self-contained file from a project, ready for `starkctl pack register`.

SOURCE is a script (.js, .ts, .py), an executable, or a folder: with a package.json it is bundled by esbuild, with a
nuxt.config generated as a static page, with a pyproject.toml, requirements.txt or main.py packed as a zipapp with its
dependencies. The same sources give the same bytes. Executables must be linked statically.

Examples:
  starkctl pack bundle ./web --out web.js
  starkctl pack bundle src/worker.ts --runtime universal
  starkctl pack bundle ./report                      a Python project: writes bundle.pyz
  starkctl pack bundle target/release/tool --out tool-amd64
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object

NAMESPACED = False
RUNTIMES = ("node", "browser", "universal", "python", "binary")
SHOWN = 10
"""Largest parts that are listed; the others are counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("source", metavar="SOURCE", type=Path, help="a script, an executable, or the project's folder")
    parser.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        help="where to write it (default ./bundle.js; of Python ./bundle.pyz; an executable stays where it is)",
    )
    parser.add_argument(
        "-r", "--runtime", choices=RUNTIMES, help="what shall run it (default: what the source suggests)"
    )
    parser.add_argument(
        "-n", "--name", metavar="NAME", help="name of the pack (default: what the project calls itself)"
    )
    parser.add_argument("--entrypoint", metavar="NAME", default="default", help="exported function to call")
    parser.add_argument("--minify", action="store_true", help="make JavaScript small")
    parser.add_argument("--skip-install", action="store_true", help="take the dependencies as they are installed")
    parser.add_argument("--skip-build", action="store_true", help="take SOURCE for built already, and only check it")
    parser.add_argument("-o", "--output", choices=("text", "json", "yaml"), default="text", help="output format")


def run(args: argparse.Namespace, session: Session) -> int:
    """Bundle, and tell what came of it. No server is asked."""
    from ..bundling import Bundled, Wishes, bundle

    wishes = Wishes(
        out=args.out,
        runtime=args.runtime,
        name=args.name,
        entrypoint=args.entrypoint,
        install=not args.skip_install,
        build=not args.skip_build,
        minify=args.minify,
    )
    made: Bundled = bundle(args.source, wishes)
    if args.output != "text":
        print_object(_as_object(made), args.output)
        return EXIT_OK
    print(f"{_shown_path(made.path)}  {made.size} bytes  sha256 {made.sha256}")
    for name, size in made.included[:SHOWN]:
        print(f"  {size:>10}  {name}")
    if len(made.included) > SHOWN:
        rest = made.included[SHOWN:]
        print(f"  {sum(size for _, size in rest):>10}  {len(rest)} more")
    for remark in made.left_out:
        print(f"  note: {remark}")
    if made.source_map is not None:
        print(f"source map: {_shown_path(made.source_map)}")
    arch = f" --arch {made.architecture}" if made.architecture != "any" else ""
    more = "".join(f" --metadata {key}={value}" for key, value in made.metadata.items())
    path = _shown_path(made.path)
    print(f"next: starkctl pack register {path} --name {made.name} --ver 1.0.0 --runtime {made.runtime}{arch}{more}")
    return EXIT_OK


def _shown_path(path: Path) -> str:
    """As somebody in the working directory would write it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _as_object(made: object) -> dict[str, object]:
    from ..bundling import Bundled

    assert isinstance(made, Bundled)
    return {
        "path": str(made.path),
        "name": made.name,
        "runtime": made.runtime,
        "architecture": made.architecture,
        "size": made.size,
        "sha256": made.sha256,
        "metadata": made.metadata,
        "sourceMap": str(made.source_map) if made.source_map else None,
        "included": [{"name": name, "size": size} for name, size in made.included],
        "leftOut": made.left_out,
    }
