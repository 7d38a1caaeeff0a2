"""Put annotations on objects, or take them off.

Examples:
  starkctl annotate deployment web team='the shop'           set one
  starkctl annotate deployment/web team=support --overwrite  replace its value
  starkctl annotate pods --all team-                         take it off every pod of the namespace
  starkctl annotate -f web.yaml --list                       print them
"""

from __future__ import annotations

import argparse

from ..marking import Marks, add_options, mark
from ..options import Session

ANNOTATIONS = Marks("annotations", "annotate", "annotated")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_options(parser, ANNOTATIONS)


def run(args: argparse.Namespace, session: Session) -> int:
    """Patch the annotations of each object."""
    return mark(args, session, ANNOTATIONS)
