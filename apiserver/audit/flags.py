"""The options of the audit log, under the names they have in kube-apiserver."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from .settings import SYNCS, AuditSettings

MEBIBYTE: Final = 1024 * 1024


def add_audit_flags(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    defaults = AuditSettings()
    group = parser.add_argument_group("audit log")
    group.add_argument(
        "--audit-policy-file", type=Path, metavar="FILE", help="audit.k8s.io/v1 Policy; default: metadata of everything"
    )
    group.add_argument(
        "--audit-log-maxsize",
        type=_count,
        default=defaults.file_bytes_max // MEBIBYTE,
        metavar="MIB",
        help="size at which the next file is begun, default %(default)s",
    )
    group.add_argument(
        "--audit-log-maxbackup",
        type=_count,
        default=defaults.files_max,
        metavar="FILES",
        help="full files that are kept, 0 for all, default %(default)s",
    )
    group.add_argument(
        "--audit-log-maxage",
        type=_count,
        default=defaults.age_max_days,
        metavar="DAYS",
        help="how long full files are kept, 0 for ever, default %(default)s",
    )
    group.add_argument(
        "--audit-sync",
        choices=SYNCS,
        default=defaults.sync,
        help="whose answer waits until its record is on disk, default %(default)s",
    )


def audit_settings(parsed: argparse.Namespace) -> AuditSettings:
    """What they say."""
    return AuditSettings(
        policy_file=parsed.audit_policy_file,
        sync=parsed.audit_sync,
        file_bytes_max=max(1, parsed.audit_log_maxsize) * MEBIBYTE,
        files_max=parsed.audit_log_maxbackup,
        age_max_days=parsed.audit_log_maxage,
    )


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
