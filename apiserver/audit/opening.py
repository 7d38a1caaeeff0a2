"""The audit log of one server, put together from its settings."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from stark.crds.version import VERSION

from .events import Encoder, Entry, ReadBody
from .journal import Journal
from .policy import read_policy
from .queueing import EntryQueue
from .recording import Audit
from .relayed import RelayedWriter, Send
from .settings import AuditSettings
from .signing import Signer
from .writer import Writer

FOLDER = "audit"
"""Of the data directory."""


def make_audit(data_dir: Path, settings: AuditSettings, read_body: ReadBody, send: Send | None = None) -> Audit:
    """The log, not yet open; with `send`, that of a worker, whose records go there. Raises PolicyError, SigningKeyError."""
    policy, text = read_policy(settings.policy_file)
    encoder = Encoder(read_body, settings.body_bytes_max)
    writer: EntryQueue[Entry]
    if send is not None:
        writer = RelayedWriter(send, encoder, settings)
    else:
        writer = Writer(Journal(data_dir / FOLDER, settings, Signer.open(data_dir / "pki")), encoder, settings)
    audit = Audit(policy, writer, settings)
    audit.policy_digest = _digest(text)
    return audit


@asynccontextmanager
async def writing(audit: Audit) -> AsyncIterator[None]:
    """Have the log open until the block ends, and say in it when that was. Raises OSError, JournalHeld."""
    audit.writer.start(_details(audit.policy_digest, audit.settings))
    try:
        yield
    finally:
        await audit.writer.close()


@asynccontextmanager
async def keeping(data_dir: Path, settings: AuditSettings) -> AsyncIterator[EntryQueue[bytes]]:
    """Have the log open for records that others made. Raises OSError, JournalHeld, PolicyError, SigningKeyError."""
    _, text = read_policy(settings.policy_file)
    writer = Writer(Journal(data_dir / FOLDER, settings, Signer.open(data_dir / "pki")), _Made(), settings)
    writer.start(_details(_digest(text), settings))
    try:
        yield writer
    finally:
        await writer.close()


class _Made:
    """Records of workers are bytes already."""

    def encode(self, entry: bytes, /) -> bytes:
        """The same."""
        return entry


def _digest(policy: str) -> str:
    return sha256(policy.encode()).hexdigest()


def _details(policy_digest: str, settings: AuditSettings) -> Mapping[str, Any]:
    return {"pid": os.getpid(), "version": VERSION, "policySha256": policy_digest, "sync": settings.sync}
