"""Where audit events come from: the server, page by page, or the files of a log that lie here."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from stark.crds.audit.files import numbers_in
from stark.crds.audit.reading import read_page
from stark.crds.audit.selecting import OUTCOMES, Selection, moment

from .errors import CommandError, UsageError
from .options import Session

LOGS: Final = "/audit/logs"
PAGE: Final = 500
"""Events the server gives at once."""


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The options that say which events are wanted."""
    group = parser.add_argument_group("which events")
    group.add_argument("--user", metavar="NAME", default="", help="of this user, or acting as this user")
    group.add_argument(
        "--verb", default="", help="get, list, watch, create, update, patch, delete, ... or an HTTP method"
    )
    group.add_argument("--resource", default="", help="pods, pods/log, deployments.apps, ...")
    group.add_argument("--name", default="", help="about the object of this name")
    group.add_argument(
        "--since", metavar="TIME", default="", help="from a time (RFC 3339), or a span before now: 30m, 7d"
    )
    group.add_argument("--until", metavar="TIME", default="", help="before a time or a span")
    group.add_argument("--outcome", choices=OUTCOMES, default="", help="how it ended; denied is 401 or 403")
    parser.add_argument(
        "--files", metavar="DIR", type=Path, help="read the log in this directory instead of asking the server"
    )


def selection_of(args: argparse.Namespace) -> Selection:
    """What the options say. Raises UsageError."""
    now = datetime.now(UTC)
    try:
        since, until = (moment(text, now) if text else "" for text in (args.since, args.until))
    except ValueError as error:
        raise UsageError(str(error)) from error
    namespace = args.namespace or ""
    return Selection(args.user, args.verb, args.resource, namespace, args.name, since, until, args.outcome)


def events(args: argparse.Namespace, session: Session, limit: int | None) -> Iterator[dict[str, Any]]:
    """The newest first, so many at most. Raises CommandError."""
    wanted = selection_of(args)
    pages = _from_files(args.files, wanted) if args.files else _from_server(session, wanted, limit)
    left = limit
    for page in pages:
        for event in page:
            if left == 0:
                return
            left = left and left - 1
            yield event


def _from_files(directory: Path, wanted: Selection) -> Iterator[list[dict[str, Any]]]:
    log_directory(directory)
    before = 0
    while True:
        try:
            page = read_page(directory, wanted, limit=PAGE, before=before)
        except OSError as error:
            raise CommandError(f"{directory} cannot be read: {error.strerror}") from error
        yield page.events
        before = page.before
        if not before:
            return


def _from_server(session: Session, wanted: Selection, limit: int | None) -> Iterator[list[dict[str, Any]]]:
    query = {
        name: str(getattr(wanted, name))
        for name in ("user", "verb", "resource", "namespace", "name", "since", "until", "outcome")
    }
    query["limit"] = str(min(limit or PAGE, PAGE))
    while True:
        data = session.api.request("GET", LOGS, query=query)["data"]
        yield data["logs"]
        query["continue"] = data.get("continue", "")
        if not query["continue"]:
            return


def log_directory(directory: Path) -> Path:
    """The same. Raises CommandError when there is no log."""
    try:
        if numbers_in(directory) or (directory / "head").exists():
            return directory
    except OSError as error:
        raise CommandError(f"{directory} cannot be read: {error.strerror}") from error
    raise CommandError(f"there is no audit log in {directory}: name the directory `audit` of a server, or a copy of it")
