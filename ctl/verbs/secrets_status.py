"""Say under which keys the store's Secrets are, and how many under each; for administrators.

Examples:
  starkctl secrets status
  starkctl secrets status -o json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, text_table

NAMESPACED = False
ENCRYPTION = "/encryption"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-o", "--output", choices=("table", "json", "yaml"), default="table", help="output format (default table)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a key, and how far a re-encryption is."""
    show_keys(session.api.get(ENCRYPTION)["data"]["encryption"], args.output)
    return EXIT_OK


def show_keys(status: Mapping[str, Any], form: str) -> None:
    """Print the answer in the form that was asked for."""
    if form != "table":
        print_object(status, form)
        return
    writing = {rule["writes"]: ",".join(rule["resources"]) for rule in status["resources"]}
    rows = [[key["name"], str(key["values"]), writing.get(key["name"], "")] for key in status["keys"]]
    rows.append(["(in clear)", str(status["valuesInClear"]), writing.get("", "")])
    sys.stdout.write(text_table(["KEY", "VALUES", "ENCRYPTS"], rows))
    progress = status["reencryption"]
    state = f"re-encryption: {progress['state']}, {status['valuesToRewrite']} values to rewrite"
    sys.stdout.write(f"\n{state}{': ' + progress['message'] if progress['message'] else ''}\n")
