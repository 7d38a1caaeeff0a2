"""Rewrite every Secret in the store that is not under the key that encrypts now; for administrators.

The server does so by itself at every start and when the file with its keys changes. This is for several servers on one
store: once each of them knows the new first key, ask one of them.

Examples:
  starkctl secrets reencrypt
"""

from __future__ import annotations

import argparse

from ..options import Session
from .secrets_rotate_key import add_wait_options, begin

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_wait_options(parser)


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask for it, wait, and print the keys."""
    return begin(args, session, "reencrypt")
