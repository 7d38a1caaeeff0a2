"""Print the server's configuration.

Examples:
  starkctl server-config get
  starkctl server-config get -o json
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import EXIT_OK
from ..options import Session
from ..output import print_object, text_table

NAMESPACED = False
CONFIG = "/api/config"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format (default table)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row a field."""
    show_config(session.api.get(CONFIG)["data"]["config"], session.form(args.output))
    return EXIT_OK


def show_config(config: Mapping[str, Any], form: str) -> None:
    """Print it in the form that was asked for."""
    if form in ("json", "yaml"):
        print_object(config, form)
        return
    rows = [[key, value if isinstance(value, str) else json.dumps(value)] for key, value in config.items()]
    sys.stdout.write(text_table(["FIELD", "VALUE"], rows, plain=form == "plain"))
