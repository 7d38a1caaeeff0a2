"""Make a folder with a small pack that runs: its source, a manifest, and the commands that bring it to a cluster.

Examples:
  starkctl pack init hello
  starkctl pack init report --runtime python
  starkctl pack init ticker --runtime universal     for Node.js and for browsers
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from ..errors import EXIT_OK, CommandError, UsageError
from ..options import Session

NAMESPACED = False
RUNTIMES = ("node", "universal", "browser", "python", "binary")
NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
"""A pack's name that is a DNS label as well, since the Deployment is called the same."""
NAME_MARK = "@NAME@"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="name of the pack and of the folder")
    parser.add_argument("-r", "--runtime", choices=RUNTIMES, default="node", help="what shall run it (default node)")
    parser.add_argument("--dir", metavar="PATH", type=Path, help="the folder to make (default ./NAME)")


def run(args: argparse.Namespace, session: Session) -> int:
    """Copy the example under the name. No server is asked."""
    if not NAME.fullmatch(args.name):
        raise UsageError(f"{args.name!r} must consist of at most 63 lower-case letters, digits and '-', a letter first")
    target: Path = args.dir or Path(args.name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandError(f"{target} is there already: choose another name, or another folder with --dir")
    with resources.as_file(resources.files("stark.manifests") / "packs" / args.runtime) as example:
        _copy(example, target, args.name)
    for path in sorted(path for path in target.rglob("*") if path.is_file()):
        print(f"  {path}")
    print(f"next: cd {target}, and the commands in README.md")
    return EXIT_OK


def _copy(example: Path, target: Path, name: str) -> None:
    """All of it or nothing: a folder that is half there would be in the way of the next try."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
            made = Path(folder) / "made"
            shutil.copytree(example, made)
            for path in made.rglob("*"):
                if path.is_file():
                    path.write_text(path.read_text(encoding="utf-8").replace(NAME_MARK, name), encoding="utf-8")
            if target.is_dir():
                target.rmdir()
            made.rename(target)
    except OSError as error:
        raise CommandError(f"cannot make {target}: {error.strerror}") from error
