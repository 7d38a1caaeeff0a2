"""Write audit events to a file, as JSON or for a spreadsheet, the newest first; for administrators.

In CSV no cell is a formula, whatever a user agent or a name looks like.

Examples:
  starkctl audit export --format csv --since 30d -f january.csv
  starkctl audit export --files /backup/audit --format json > events.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Any

from stark.crds.audit.selecting import csv_lines

from ..auditing import add_selection, events
from ..errors import EXIT_OK, CommandError
from ..options import Session

FILE_MODE = 0o600
"""Who did what is not for everybody."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selection(parser)
    parser.add_argument("--format", choices=("json", "csv"), default="json", help="default %(default)s")
    parser.add_argument("-f", "--file", metavar="FILE", help="write there instead of to standard output")


def run(args: argparse.Namespace, session: Session) -> int:
    """Page by page, so that a year does not have to fit into memory."""
    found = events(args, session, None)
    # The first is asked for before the file is touched: what cannot be read does not empty it.
    first = list(_first(found))
    lines = csv_lines(chain(first, found)) if args.format == "csv" else _json_lines(chain(first, found))
    if not args.file:
        _write(sys.stdout, lines)
        return EXIT_OK
    try:
        handle = os.open(args.file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with open(handle, "w", encoding="utf-8", newline="") as file:
            _write(file, lines)
    except OSError as error:
        raise CommandError(f"{args.file} cannot be written: {error.strerror}") from error
    return EXIT_OK


def _first(found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for event in found:
        yield event
        return


def _json_lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    joint = "[\n"
    for event in found:
        yield joint + json.dumps(event, ensure_ascii=False)
        joint = ",\n"
    yield "[]\n" if joint == "[\n" else "\n]\n"


def _write(file: IO[str], lines: Iterable[str]) -> None:
    for line in lines:
        file.write(line)
