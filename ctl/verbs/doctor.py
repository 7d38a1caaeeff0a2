"""Look at everything that is usually wrong, and say what to do: the way to the server, its clock, certificates,
store and audit log, the controllers, machines and pods; with --data-dir, the disk and the runtimes of this machine, too.

What you may not see is left out, and that is said. Exit code 1 when something is bad, 0 when there are notes at most.

Examples:
  starkctl doctor
  starkctl doctor --data-dir /var/lib/stark       on a machine of the cluster
  starkctl doctor -o json                         for a monitor
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from stark.crds.version import GIT_VERSION

from ..colors import GREEN, RED, YELLOW, painted, wanted
from ..doctor import (
    Finding,
    of_answer,
    of_audit,
    of_certificate,
    of_clock,
    of_controllers,
    of_disk,
    of_nodes,
    of_pods,
    of_ready,
    of_versions,
)
from ..errors import EXIT_ERROR, EXIT_OK, CommandError, ServerError, Unreachable
from ..options import Session
from ..output import print_object, visible
from ..paging import every
from .auth_whoami import user_of

NAMESPACED = False
MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}
COLORS = {"ok": GREEN, "note": YELLOW, "bad": RED}
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
UNKNOWN_USER = 401
PROGRAMS = ("node", "python3")
ENGINES = ("docker", "podman")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", metavar="FOLDER", help="also look at this machine, which keeps its data here")
    parser.add_argument("-q", "--quiet", action="store_true", help="only what is not well")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="print the findings as JSON or YAML")


def run(args: argparse.Namespace, session: Session) -> int:
    """Tell each finding as soon as it is there."""
    found: list[Finding] = []
    colored = wanted(refused=args.no_color)
    for finding in look(args, session):
        found.append(finding)
        if not args.output and not (args.quiet and finding.verdict == "ok"):
            _tell(finding, colored=colored)
    bad, notes = (sum(each.verdict == verdict for each in found) for verdict in ("bad", "note"))
    if args.output:
        shown = [each._asdict() for each in found if not (args.quiet and each.verdict == "ok")]
        print_object({"findings": shown}, args.output)
    else:
        print("All is well" if not bad and not notes else f"{bad} bad, {notes} to note")
    return EXIT_ERROR if bad else EXIT_OK


def _tell(finding: Finding, *, colored: bool) -> None:
    mark = MARKS[finding.verdict]
    print(f"{painted(mark, COLORS[finding.verdict]) if colored else mark} {finding.subject}: {visible(finding.text)}")
    if finding.advice:
        print(f"     -> {visible(finding.advice)}")
    sys.stdout.flush()


def look(args: argparse.Namespace, session: Session) -> Iterator[Finding]:
    """Everything, the nearest first: what is far is of no use where the way there is broken."""
    if args.data_dir:
        yield from _of_machine(args.data_dir)
    api = session.api
    began, here = time.monotonic(), datetime.now(UTC)
    try:
        status, date, text = api.probe("/readyz?verbose")
    except Unreachable as error:
        yield Finding("server", "bad", str(error), f"the address is {api.config.server}")
        return
    took = time.monotonic() - began
    yield of_answer(took)
    if status != UNKNOWN_USER:  # of that we hear more below
        yield from of_ready(status, text)
    yield of_clock(_date(date), here, took)
    yield from _of_certificates(session)
    version = ""
    try:
        version = str(api.get("/version").get("gitVersion") or "")
        yield of_versions(GIT_VERSION, version)
        yield Finding("you", "ok", f"are {user_of(session).get('username')} to the server")
    except ServerError as error:
        yield Finding("you", "bad", str(error), "`starkctl auth login`, or name a kubeconfig")
        return
    now = datetime.now(UTC)
    yield from _seen("controllers", lambda: of_controllers(every(session, LEASES), now))
    yield from _seen("nodes", lambda: of_nodes(list(every(session, "/api/v1/nodes")), version))
    yield from _seen("pods", lambda: of_pods(list(every(session, "/api/v1/pods")), now))
    yield from _seen("audit", lambda: of_audit(api.get("/audit/logs/settings").get("data") or {}))


def _seen(subject: str, ask: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    try:
        yield from list(ask())
    except ServerError as error:
        if error.code not in (401, 403, 404):
            yield Finding(subject, "bad", str(error), "look at the server's log")
        else:
            yield Finding(subject, "note", "you may not look at them", "ask an administrator to run this")


def _date(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError):
        return None


def _of_certificates(session: Session) -> Iterator[Finding]:
    from cryptography import x509

    now = datetime.now(UTC)
    shown = session.api.server_certificate()
    if shown is not None:
        expires = x509.load_der_x509_certificate(shown).not_valid_after_utc
        yield of_certificate("server", expires, now, "it renews itself while it runs: look at its log, restart it")
    own: Any = session.api.identity.certificate()
    if own is not None:
        expires = x509.load_pem_x509_certificate(own[0]).not_valid_after_utc
        yield of_certificate("you", expires, now, "make a new kubeconfig: `stark-apiserver kubeconfig` on the server")


def _of_machine(folder: str) -> Iterator[Finding]:
    import shutil

    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        raise CommandError(f"--data-dir {folder}: {error.strerror}") from error
    yield of_disk(folder, usage.free, usage.total)
    there = [name for name in PROGRAMS if shutil.which(name)]
    if there:
        yield Finding("runtimes", "ok", f"{' and '.join(there)} are on this machine's PATH")
    missing = [name for name in PROGRAMS if name not in there]
    if missing:
        advice = "install it where packs of that kind are to run, then restart stark-agent"
        yield Finding("runtimes", "note", f"this machine has no {' and no '.join(missing)}", advice)
    if not any(shutil.which(name) for name in ENGINES):
        yield Finding(
            "runtimes", "note", "there is no container engine", "install Podman or Docker to run container images"
        )
