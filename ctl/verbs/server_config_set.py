"""Change the server's configuration; for administrators.

With registration enabled people may create users for themselves (`starkctl auth register`). Every field can be given as
FIELD=VALUE, too, with the names that `starkctl server-config get` prints.

Examples:
  starkctl server-config set --enable-registration
  starkctl server-config set --disable-registration
  starkctl server-config set maxPodsPerNode=60 schedulingPolicy=spread
  starkctl server-config set 'defaultResources={"requests": {"cpu": "100m"}}'
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..errors import EXIT_OK, UsageError
from ..options import Session
from .server_config_get import CONFIG, show_config

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="fields to change; values as in JSON, or text")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--enable-registration", action="store_true", help="let people register themselves")
    choice.add_argument(
        "--disable-registration", action="store_true", help="only administrators create users (default)"
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format (default table)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Send what changes, print what is."""
    changes = dict(_field(item) for item in args.fields)
    if args.enable_registration or args.disable_registration:
        changes["enablePublicRegistration"] = args.enable_registration
    if not changes:
        raise UsageError("say what to change: --enable-registration, --disable-registration or FIELD=VALUE")
    show_config(session.api.request("PUT", CONFIG, body=changes)["data"]["config"], session.form(args.output))
    return EXIT_OK


def _field(item: str) -> tuple[str, Any]:
    key, equals, text = item.partition("=")
    if not equals or not key:
        raise UsageError(f"{item!r} is not FIELD=VALUE")
    try:
        return key, json.loads(text)
    except ValueError:
        return key, text
