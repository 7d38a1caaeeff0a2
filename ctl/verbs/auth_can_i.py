"""Ask the server whether you may do something. Exit code 0 for yes and 1 for no.

Examples:
  starkctl auth can-i create pods
  starkctl auth can-i get pods/web --subresource log
  starkctl auth can-i delete nodes --as ada@example.com
  starkctl auth can-i get /metrics
  starkctl auth can-i --list -n team
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import EXIT_ERROR, EXIT_OK, UsageError
from ..options import Session
from ..output import text_table

OWN_ONLY = "owns only"
"""In the reason of a yes that is one for the asker's own objects: see own-scoped roles."""
REVIEWS = "/apis/authorization.k8s.io/v1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", nargs="*", metavar="VERB TYPE[/NAME]", help="e.g. `create pods`, or `get /metrics`")
    parser.add_argument("-A", "--all-namespaces", action="store_true", help="in all namespaces")
    parser.add_argument("--subresource", default="", metavar="NAME", help="a part of the object, e.g. log or scale")
    parser.add_argument("--list", action="store_true", help="everything you may do in the namespace")
    parser.add_argument("-q", "--quiet", action="store_true", help="say it by the exit code alone")
    parser.add_argument("--no-headers", action="store_true", help="with --list: without the heading line")


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask."""
    if args.list:
        if args.what:
            raise UsageError("--list takes neither verb nor type")
        return _list(args, session)
    if len(args.what) not in (2, 3):
        raise UsageError("say a verb and a type, e.g. `starkctl auth can-i create pods`")
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": _spec(args, session)}
    status = session.api.request("POST", f"{REVIEWS}/selfsubjectaccessreviews", body=body).get("status") or {}
    allowed, reason = status.get("allowed") is True, str(status.get("reason") or "")
    if not args.quiet:
        answer = "yes" if allowed else "no"
        print(f"{answer} - {reason}" if reason and not allowed else answer)
        if allowed and OWN_ONLY in reason:
            print(f"note: {reason}", file=sys.stderr)
        if status.get("evaluationError"):
            print(f"warning: {status['evaluationError']}", file=sys.stderr)
    return EXIT_OK if allowed else EXIT_ERROR


def _spec(args: argparse.Namespace, session: Session) -> dict[str, Any]:
    verb, what, *names = args.what
    if what.startswith("/"):
        if names or args.subresource:
            raise UsageError("a path has neither name nor subresource")
        return {"nonResourceAttributes": {"verb": verb, "path": what}}
    type_, slash, name = what.partition("/")
    if slash and names:
        raise UsageError("give the name once: TYPE/NAME or TYPE NAME")
    asked: dict[str, str] = {"verb": verb, "subresource": args.subresource, "name": name or (names or [""])[0]}
    if type_ == "*":
        asked |= {"group": "*", "resource": "*"}
        namespaced = True
    else:
        kind = session.catalog.resolve(type_)
        asked |= {"group": kind.group, "version": kind.version, "resource": kind.plural}
        namespaced = kind.namespaced
    if namespaced and not args.all_namespaces:
        asked["namespace"] = session.namespace
    return {"resourceAttributes": {key: value for key, value in asked.items() if value}}


def _list(args: argparse.Namespace, session: Session) -> int:
    namespace = session.namespace
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    status = session.api.request("POST", f"{REVIEWS}/selfsubjectrulesreviews", body=body).get("status") or {}
    rows = [_row(rule) for key in ("resourceRules", "nonResourceRules") for rule in status.get(key) or ()]
    if status.get("incomplete"):
        print(
            f"warning: the list is not complete: {status.get('evaluationError') or 'no reason given'}", file=sys.stderr
        )
    heading = ["RESOURCES", "PATHS", "NAMES", "VERBS"]
    sys.stdout.write(text_table(heading, sorted(rows), headings=not args.no_headers))
    return EXIT_OK


def _row(rule: dict[str, Any]) -> list[str]:
    groups = rule.get("apiGroups") or [""]
    resources = [
        f"{resource}.{group}" if group else resource for resource in rule.get("resources") or () for group in groups
    ]
    lists = (resources, rule.get("nonResourceURLs"), rule.get("resourceNames"), rule.get("verbs"))
    return [",".join(one or ()) for one in lists]
