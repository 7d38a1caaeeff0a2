"""Deny certificate requests, for good.

Examples:
  starkctl certificate deny csr-8x2kd
"""

from __future__ import annotations

import argparse

from ..approving import decide
from ..options import Session

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="names of CertificateSigningRequests")
    parser.add_argument("--force", action="store_true", help="write the decision even if it was taken already")


def run(args: argparse.Namespace, session: Session) -> int:
    """Write the approval subresource of each."""
    return decide(session, args.names, "Denied", "StarkctlDeny", force=args.force)
