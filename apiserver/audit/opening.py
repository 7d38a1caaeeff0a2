"""The audit log of one server, put together from its settings."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

from stark.crds.version import VERSION

from .events import Encoder, ReadBody
from .journal import Journal
from .policy import read_policy
from .recording import Audit
from .settings import AuditSettings
from .signing import Signer
from .writer import Writer

FOLDER = "audit"
"""Of the data directory."""


def make_audit(data_dir: Path, settings: AuditSettings, read_body: ReadBody) -> Audit:
    """The log, not yet open. Raises PolicyError, SigningKeyError."""
    policy, text = read_policy(settings.policy_file)
    journal = Journal(data_dir / FOLDER, settings, Signer.open(data_dir / "pki"))
    audit = Audit(policy, Writer(journal, Encoder(read_body, settings.body_bytes_max), settings), settings)
    audit.policy_digest = sha256(text.encode()).hexdigest()
    return audit


@asynccontextmanager
async def writing(audit: Audit) -> AsyncIterator[None]:
    """Have the log open until the block ends, and say in it when that was. Raises OSError, JournalHeld."""
    details = {"pid": os.getpid(), "version": VERSION, "policySha256": audit.policy_digest, "sync": audit.settings.sync}
    audit.writer.start(details)
    try:
        yield
    finally:
        await audit.writer.close()
