"""Put labels on objects, or take them off.

Examples:
  starkctl label pod web tier=front                   set one
  starkctl label pod/web tier=back --overwrite        replace its value
  starkctl label pods -l app=web tier-                take it off every pod of the app
  starkctl label pod web --list                       print them
"""

from __future__ import annotations

import argparse

from ..marking import Marks, add_options, mark
from ..options import Session

LABELS = Marks("labels", "label", "labeled")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, LABELS)


def run(args: argparse.Namespace, session: Session) -> int:
    """Patch the labels of each object."""
    return mark(args, session, LABELS)
