"""Take certificates back: one by its serial number, or all that a user or a node has so far.

It counts from the next request on, and ends what their holders have open. The user is not locked out: a certificate that is
issued from now on is good. `starkctl get certificaterevocations` lists what was revoked; deleting one takes it back.

Examples:
  starkctl certificate revoke --node worker-7
  starkctl certificate revoke --user jane --reason CessationOfOperation
  starkctl certificate revoke --serial 3f0c9e...
"""

from __future__ import annotations

import argparse

from ..errors import EXIT_OK
from ..options import Session

NAMESPACED = False
REVOCATIONS = "/apis/stark.dev/v1/certificaterevocations"
REASONS = ("Unspecified", "KeyCompromise", "Superseded", "CessationOfOperation")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--serial", metavar="HEX", help="the serial number of one certificate, as openssl prints it")
    which.add_argument("--user", metavar="NAME", help="all certificates that this user has now")
    which.add_argument("--node", metavar="NAME", help="all certificates that this node's agent has now")
    known = ", ".join(REASONS[:-1]) + f" or {REASONS[-1]}"
    parser.add_argument(
        "--reason", choices=REASONS, default="Unspecified", metavar="REASON", help=f"why: {known} (default Unspecified)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Create the CertificateRevocation."""
    spec = {"reason": args.reason}
    if args.serial:
        spec["serialNumber"] = args.serial.replace(":", "")
    else:
        spec["username"] = args.user or f"system:node:{args.node}"
    body = {
        "apiVersion": "stark.dev/v1",
        "kind": "CertificateRevocation",
        "metadata": {"generateName": "revoked-"},
        "spec": spec,
    }
    made = session.api.request("POST", REVOCATIONS, body=body)
    print(f"certificaterevocation.stark.dev/{made['metadata']['name']} created")
    return EXIT_OK
