"""The settings of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYNCS: Final = ("always", "writes", "interval")


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What is recorded, where, and how surely."""

    policy_file: Path | None = None
    """An `audit.k8s.io/v1` Policy in YAML. Without it everything is recorded at Metadata level, except health probes."""
    sync: str = "writes"
    """Whose answer waits until its record is on disk: of requests that change something (`writes`), of all (`always`), or of
    none (`interval`). The others are on disk within a second. `writes`, because the store promises the same of the
    change."""
    file_bytes_max: int = 100 * 1024 * 1024
    """A file that has grown to this is sealed and the next begun. 100 MiB, as the CIS benchmark asks for."""
    files_max: int = 10
    """Sealed files that are kept; 0 keeps all. Ten, as the CIS benchmark asks for."""
    age_max_days: int = 30
    """Sealed files that are older are deleted; 0 keeps them. Thirty, as the CIS benchmark asks for."""
    body_bytes_max: int = 64 * 1024
    """Of a request's or answer's object that is recorded at the higher levels; a larger one is left out, and that is
    noted."""
    flush_interval_s: float = 0.1
    """How long the record of a read may wait for company before it is written: a thread woken for each would cost more than
    the read."""
    sync_interval_s: float = 1.0
    """How long what was written may be missing on disk when nobody's answer waits for it."""
    queue_records_max: int = 20_000
    """Records that are not written yet, past which requests wait, and are refused if writing fails."""
    queue_bytes_max: int = 64 * 1024 * 1024
    """The same in bytes of the objects they hold."""
    wait_max_s: float = 15.0
    """How long an answer waits for its record when writing fails, and a request for room. Then it is told that it failed."""
    reserve_bytes: int = 4 * 1024 * 1024
    """Held back on the disk, so that deletes can still be recorded when it is full."""
