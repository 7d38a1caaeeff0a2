"""The queue of the audit log is bounded, whoever asks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stark.apiserver.audit.events import Encoder
from stark.apiserver.audit.journal import Journal
from stark.apiserver.audit.policy import parse_policy
from stark.apiserver.audit.recording import Audit
from stark.apiserver.audit.settings import AuditSettings
from stark.apiserver.audit.signing import Signer
from stark.apiserver.audit.writer import Writer
from stark.apiserver.http.bodies import NO_BODY
from stark.apiserver.registry.bodies import decode
from stark.apiserver.request import Peer, Query, Request, Response, User
from stark.apiserver.routes import parse

POLICY = "{apiVersion: audit.k8s.io/v1, kind: Policy, omitStages: [RequestReceived], rules: [{level: Metadata}]}"
ROOM = 4


async def test_refused_strangers_and_the_throttled_do_not_fill_memory_when_the_log_cannot_be_written(
    tmp_path: Path,
) -> None:
    settings = AuditSettings(queue_records_max=ROOM, flush_interval_s=3_600)
    encoder = Encoder(partial(decode, protobuf=None), settings.body_bytes_max)
    journal = Journal(tmp_path / "audit", settings, Signer.open(tmp_path))
    writer = Writer(journal, encoder, settings)
    audit = Audit(parse_policy(POLICY), writer, settings)
    writer.start({})
    for code in (401, 429, 499) * ROOM:
        request = Request("GET", "/api/v1/pods", Query(""), {}, NO_BODY, Peer("10.0.0.7:4711"), None)
        recording = audit.begin(request, parse(request.method, request.path, request.query))
        if code == 401:
            recording.answered(Response(code, b""))
            continue
        recording.is_by(User("alice", ()))
        if code == 429:
            recording.answered(Response(code, b""))
        else:
            recording.left()
    assert writer.queued == ROOM
    await writer.close()
    lines = b"".join(path.read_bytes() for path in (tmp_path / "audit").glob("*.log"))
    assert lines.count(b'"auditID"') == ROOM
    assert b'"count":8' in lines, "how many were left out"
