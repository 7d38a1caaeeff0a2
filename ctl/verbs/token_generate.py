"""Print a random bootstrap token without telling any server: for `starkctl token create TOKEN`, or a manifest.

Examples:
  starkctl token generate
"""

from __future__ import annotations

import argparse

from stark.crds.bootstrap_tokens import new_token

from ..errors import EXIT_OK
from ..options import Session

CONNECTS = False


def configure(parser: argparse.ArgumentParser) -> None:
    """There are no options."""


def run(args: argparse.Namespace, session: Session) -> int:
    """Print it."""
    print(new_token())
    return EXIT_OK
