"""List objects as a table, or print them whole; with -w, go on with every change.

Examples:
  starkctl get pods                      the pods of the namespace
  starkctl get pods -o wide -w           with nodes and addresses, and every change from now on
  starkctl get deployment/web -o yaml    one object, whole
  starkctl get pods,deployments -A       two kinds, in all namespaces
  starkctl get pods -l app=web --field-selector spec.nodeName=node-1
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError, UsageError
from ..http import TABLE
from ..options import Session
from ..output import TablePrinter, check_format, object_name, print_object
from ..resources import Kind
from ..targets import Target, parse_targets, read_manifests

CHUNK = 500
"""Objects a request, as kubectl's --chunk-size; the pages of a list are read at one resource version."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "what", nargs="*", metavar="TYPE[/NAME] [NAME...]", help="what to show, e.g. `pods` or `pod/web`"
    )
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="FILE", help="show the objects of a manifest"
    )
    parser.add_argument(
        "-o", "--output", metavar="FORMAT", help="table, wide, plain (tabs, no heading), yaml, json or name"
    )
    parser.add_argument(
        "-w", "--watch", action="store_true", help="after the list, print every change until interrupted"
    )
    parser.add_argument("--watch-only", action="store_true", help="print only changes, not the list first")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument(
        "-l", "--selector", default="", metavar="LABELS", help="only these labels, e.g. app=web,tier!=db"
    )
    parser.add_argument(
        "--field-selector", default="", metavar="FIELDS", help="only these fields, e.g. status.phase=Running"
    )
    parser.add_argument("--no-headers", action="store_true", help="without the heading line")
    parser.add_argument("--show-labels", action="store_true", help="with a column of labels")
    parser.add_argument(
        "--show-managed-fields", action="store_true", help="with yaml and json: who set which field, too"
    )
    parser.add_argument("--ignore-not-found", action="store_true", help="a name that does not exist is no error")
    parser.add_argument(
        "--chunk-size", type=int, default=CHUNK, metavar="N", help=f"objects a request (default {CHUNK}; 0: all)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print what was asked for."""
    form = check_format(session.form(args.output))
    targets = _targets(args, session)
    if args.watch or args.watch_only:
        if len(targets) != 1 or len(targets[0].names) > 1:
            raise UsageError("-w watches one type, or one object")
        return Watcher(args, session, targets[0], form).run()
    if form in ("yaml", "json", "name"):
        return _print_whole(args, session, targets, form)
    return _print_tables(args, session, targets, form)


def _targets(args: argparse.Namespace, session: Session) -> list[Target]:
    if not args.filename:
        return parse_targets(args.what, session.catalog)
    if args.what:
        raise UsageError("give either types and names, or -f, not both")
    objects = read_manifests(args.filename)
    return [Target(session.catalog.of_manifest(o["apiVersion"], o["kind"]), (o["metadata"]["name"],)) for o in objects]


def _namespace(args: argparse.Namespace, session: Session, kind: Kind) -> str | None:
    return None if args.all_namespaces or not kind.namespaced else session.namespace


def _selectors(args: argparse.Namespace) -> dict[str, str]:
    return {"labelSelector": args.selector, "fieldSelector": args.field_selector}


def _fetch(
    args: argparse.Namespace, session: Session, target: Target, accept: str, **query: str
) -> list[dict[str, Any]]:
    """The answers that make up the target: one for each name, or the pages of the collection."""
    namespace = _namespace(args, session, target.kind)
    if target.names:
        if args.selector or args.field_selector:
            raise UsageError("a selector cannot be combined with names")
        if args.all_namespaces and target.kind.namespaced:
            raise UsageError("a name cannot be looked up in all namespaces; say -n NAMESPACE")
        found = (_one(args, session, target.kind.path(namespace, name), accept, query) for name in target.names)
        return [answer for answer in found if answer is not None]
    pages: list[dict[str, Any]] = []
    token = ""
    while True:
        limit = str(args.chunk_size) if args.chunk_size > 0 else ""
        more = {**query, **_selectors(args), "limit": limit, "continue": token}
        pages.append(session.api.request("GET", target.kind.path(namespace), query=more, accept=accept))
        token = (pages[-1].get("metadata") or {}).get("continue") or ""
        if not token:
            return pages


def _one(
    args: argparse.Namespace, session: Session, path: str, accept: str, query: dict[str, str]
) -> dict[str, Any] | None:
    try:
        return session.api.request("GET", path, query=query, accept=accept)
    except ServerError as error:
        if error.reason == "NotFound" and args.ignore_not_found:
            return None
        if error.reason != "NotFound":
            raise
        print(error, file=sys.stderr)
        args.missing = True
        return None


def _printer(args: argparse.Namespace, form: str, kind: Kind) -> TablePrinter:
    return TablePrinter(
        wide=form == "wide",
        plain=form == "plain",
        namespace_column=args.all_namespaces and kind.namespaced,
        labels_column=args.show_labels,
        headings=not args.no_headers,
    )


def _print_tables(args: argparse.Namespace, session: Session, targets: list[Target], form: str) -> int:
    args.missing = False
    several = len({target.kind for target in targets}) > 1
    printed = 0
    for target in _merged(targets):
        answers = _fetch(args, session, target, TABLE)
        if any(answer.get("rows") for answer in answers):
            if printed and several:
                print()
            printer = _printer(args, form, target.kind)
            prefix = f"{target.kind.label}/" if several else ""
            printed += _print_pages(printer, answers, prefix)
    if not printed and not args.missing and not args.ignore_not_found:
        where = (
            ""
            if args.all_namespaces or not any(t.kind.namespaced for t in targets)
            else f" in {session.namespace} namespace"
        )
        print(f"No resources found{where}", file=sys.stderr)
    return EXIT_ERROR if args.missing else EXIT_OK


def _print_pages(printer: TablePrinter, answers: list[dict[str, Any]], prefix: str) -> int:
    """All pages as one table, so that the columns fit every row."""
    whole = {**answers[0], "rows": [row for answer in answers for row in answer.get("rows") or ()]}
    return printer.print(whole, prefix=prefix)


def _merged(targets: list[Target]) -> list[Target]:
    names: dict[Kind, tuple[str, ...]] = {}
    for target in targets:
        names[target.kind] = names.get(target.kind, ()) + target.names
    return [Target(kind, given) for kind, given in names.items()]


def _print_whole(args: argparse.Namespace, session: Session, targets: list[Target], form: str) -> int:
    args.missing = False
    items: list[dict[str, Any]] = []
    for target in targets:
        for answer in _fetch(args, session, target, "application/json"):
            listed = answer.get("items") if not target.names else [answer]
            for item in listed or ():
                items.append(_shown(args, target.kind, item))
                if form == "name":
                    print(object_name(target.kind, item["metadata"]["name"]))
    if form != "name":
        if len(targets) == 1 and len(targets[0].names) == 1:
            for item in items:
                print_object(item, form)
        else:
            print_object(
                {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items}, form
            )
    return EXIT_ERROR if args.missing else EXIT_OK


def _shown(args: argparse.Namespace, kind: Kind, item: dict[str, Any]) -> dict[str, Any]:
    """An object as it is printed: with its kind, which lists leave out, and without the long record of who set what."""
    if not args.show_managed_fields:
        item["metadata"].pop("managedFields", None)
    return {"apiVersion": kind.api_version, "kind": kind.kind, **item}


class Watcher:
    """The list, then every change; when the server ends the watch it is resumed where it stopped, so nothing is missed."""

    def __init__(self, args: argparse.Namespace, session: Session, target: Target, form: str) -> None:
        self.args, self.session, self.target, self.form = args, session, target, form
        self.printer = _printer(args, form, target.kind)
        self.accept = TABLE if form in ("table", "wide", "plain") else "application/json"
        self.version = ""

    def run(self) -> int:
        """Print until interrupted."""
        self._list(show=not self.args.watch_only)
        while True:
            if not self._follow():
                self._list(show=True)

    def _list(self, *, show: bool) -> None:
        kind = self.target.kind
        path = kind.path(_namespace(self.args, self.session, kind))
        answer = self.session.api.request("GET", path, query=self._query(), accept=self.accept)
        self.version = answer["metadata"]["resourceVersion"]
        if show:
            self._show(answer if self.accept == TABLE else answer.get("items") or [])

    def _query(self) -> dict[str, str]:
        selectors = _selectors(self.args)
        if self.target.names:
            selectors["fieldSelector"] = f"metadata.name={self.target.names[0]}"
        return selectors

    def _show(self, shown: Any) -> None:
        if self.accept == TABLE:
            self.printer.print(shown)
            return
        for item in shown:
            item = _shown(self.args, self.target.kind, item)
            if self.form == "name":
                print(object_name(self.target.kind, item["metadata"]["name"]), flush=True)
            else:
                sys.stdout.write("---\n" if self.form == "yaml" else "")
                print_object(item, self.form)
                sys.stdout.flush()

    def _follow(self) -> bool:
        """Print changes until the server ends the watch; False when what we knew is too old to go on from."""
        kind = self.target.kind
        path = kind.path(_namespace(self.args, self.session, kind))
        query = {**self._query(), "watch": "true", "resourceVersion": self.version, "allowWatchBookmarks": "true"}
        for line in self.session.api.lines(path, query=query, accept=self.accept):
            event = json.loads(line)
            body = event["object"]
            if event["type"] == "ERROR":
                if body.get("code") == 410:
                    return False
                raise CommandError(str(body.get("message") or body))
            if event["type"] != "BOOKMARK":
                self._show(body if self.accept == TABLE else [body])
            self.version = _version_of(body) or self.version
        return True


def _version_of(body: dict[str, Any]) -> str:
    version = (body.get("metadata") or {}).get("resourceVersion") or ""
    for row in body.get("rows") or ():
        version = ((row.get("object") or {}).get("metadata") or {}).get("resourceVersion") or version
    return str(version)
