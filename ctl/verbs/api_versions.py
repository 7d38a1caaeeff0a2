"""List the versions of the API that the server has, a line each: GROUP/VERSION.

Examples:
  starkctl api-versions
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(args: argparse.Namespace, session: Session) -> int:
    """Print them sorted, as kubectl does."""
    found = [str(version) for version in session.api.get("/api").get("versions") or ()]
    for group in session.api.get("/apis").get("groups") or ():
        found += [str(each["groupVersion"]) for each in group.get("versions") or ()]
    for version in sorted(found):
        print(version)
    return EXIT_OK
