"""Go through the CIS Kubernetes Benchmark (version 1.9; control plane and policies) and say what is met on this server.

Each item is looked at on the running server where that is possible; of the others it is told what Stark does and why.
Files are looked at with --data-dir, on the server's machine.

  met, not met    found out on this server
  (met)           by how Stark is made, not looked at; the same in parentheses for the others
  yours           only whoever runs the cluster can see to it

Exit code 1: something that Stark meets as it comes was found not to be met here.

Examples:
  starkctl audit cis
  starkctl audit cis --data-dir /var/lib/stark --only "not met"
  starkctl audit cis -o json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..cis.checks import CHECKS
from ..cis.items import ITEMS, MET, NOT_APPLICABLE, NOT_MET, YOURS, Item
from ..cis.probe import Probe, Unknown
from ..errors import EXIT_ERROR, EXIT_OK, ServerError
from ..options import Session
from ..output import print_object, text_table

NAMESPACED = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the server's data directory, on its machine")
    parser.add_argument(
        "--only", choices=(MET, NOT_MET, YOURS, NOT_APPLICABLE), help="only items that came out like this"
    )
    parser.add_argument(
        "-o", "--output", choices=("table", "plain", "json", "yaml"), help="output format (default table)"
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Print one row an item, and the sum."""
    form = session.form(args.output)
    probe = Probe(session, args.data_dir)
    try:
        results = [_judged(item, probe) for item in ITEMS]
    finally:
        probe.close()
    shown = [each for each in results if args.only in (None, each["status"])]
    if form in ("json", "yaml"):
        print_object({"benchmark": "CIS Kubernetes Benchmark 1.9", "items": shown}, form)
    else:
        rows = [[each["id"], _shown(each), each["asks"], each["evidence"]] for each in shown]
        sys.stdout.write(text_table(["ITEM", "STATUS", "ASKS FOR", "BECAUSE"], rows, plain=form == "plain"))
        if form != "plain":
            sys.stdout.write(f"\n{_sum(results)}\n")
    return EXIT_ERROR if any(each["regressed"] for each in results) else EXIT_OK


def _judged(item: Item, probe: Probe) -> dict[str, Any]:
    status, evidence, looked = item.status, item.reason, False
    if item.check:
        try:
            finding = CHECKS[item.check](probe)
        except Unknown as why:
            evidence = f"{item.reason} (not looked at: {why})"
        except (ServerError, OSError, KeyError) as error:
            evidence = f"{item.reason} (not looked at: {error})"
        else:
            status, looked = MET if finding.met else NOT_MET, True
            # Why is told of what holds by itself; what to do, of what does not hold and is somebody's to do.
            is_told = finding.met == (item.status == MET)
            evidence = f"{finding.evidence}; {item.reason}" if is_told else finding.evidence
    regressed = looked and status == NOT_MET and item.status == MET
    return {
        "id": item.id,
        "asks": item.asks,
        "status": status,
        "lookedAt": looked,
        "regressed": regressed,
        "evidence": evidence,
    }


def _shown(result: dict[str, Any]) -> str:
    status = str(result["status"])
    return status if result["lookedAt"] or status in (YOURS, NOT_APPLICABLE) else f"({status})"


def _sum(results: list[dict[str, Any]]) -> str:
    counts = {
        status: sum(each["status"] == status for each in results) for status in (MET, NOT_MET, YOURS, NOT_APPLICABLE)
    }
    looked = sum(each["lookedAt"] for each in results)
    return ", ".join(f"{count} {status}" for status, count in counts.items()) + f"; {looked} looked at on this server"
