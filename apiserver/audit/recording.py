"""The audit log as the pipeline sees it: a recording is begun with each request, told what becomes of it, and ended.

On the event loop only references are taken; `events` makes an event of them later.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache, partial

from ..errors import ApiError, InternalError
from ..request import Answer, Body, ByteStream, Request, Response, Stream, User
from ..routes import Asked
from .events import CLIENT_LEFT, Entry, Outcome
from .policy import COMPLETE, NOTHING, PANIC, RECEIVED, STARTED, Judgement, Level, Policy
from .queueing import EntryQueue
from .settings import AuditSettings

DECISION = "authorization.k8s.io/decision"
REASON = "authorization.k8s.io/reason"
Relay = Callable[[ByteStream], Awaitable[None]]
FREEING = frozenset({"delete", "deletecollection"})
"""Verbs that are carried out when the disk is full: without them nobody could free it."""


class Audit:
    """Makes recordings."""

    def __init__(self, policy: Policy, writer: EntryQueue[Entry], settings: AuditSettings) -> None:
        self.policy, self.writer, self.settings = policy, writer, settings
        self.policy_digest = ""
        """SHA-256 of the policy's text, so that the log tells under which one it was written."""
        self.levels = [0, 0, 0, 0]
        """Requests by level."""
        self.rejected = 0
        """Requests that were refused because they could not be recorded."""

    def begin(self, request: Request, asked: Asked) -> Recording:
        """A request has come."""
        return Recording(self, request, asked)


@lru_cache(maxsize=64)
def _bare(code: int) -> Outcome:
    """Of an answer whose body is not looked at."""
    return Outcome(code)


class KeptBody:
    """A body that is passed on and kept, up to a bound."""

    def __init__(self, body: Body, limit: int) -> None:
        self._body, self._limit = body, limit
        self.kept = b""
        self.size = 0

    async def read(self, limit: int) -> bytes:
        """All of it."""
        data = await self._body.read(limit)
        self.size = len(data)
        if self.size <= self._limit:
            self.kept = data
        return data

    def chunks(self) -> AsyncIterator[bytes]:
        """An upload: nothing of it is an object, nothing is kept."""
        return self._body.chunks()


class Recording:
    """What becomes of one request."""

    __slots__ = (
        "_asked",
        "_audit",
        "_changes",
        "_has_room",
        "_judgement",
        "_kept",
        "_request",
        "_user",
        "panicked",
        "received_at",
    )

    def __init__(self, audit: Audit, request: Request, asked: Asked) -> None:
        self._audit, self._request, self._asked = audit, request, asked
        self._changes = not asked.is_read
        self._judgement: Judgement | None = None
        self._kept: KeptBody | None = None
        self._user: User | None = None
        self._has_room = False
        """For its record, whatever else comes. Whoever was refused before has none kept for it."""
        self.received_at = time.time()
        self.panicked = False
        """Something happened that nobody had foreseen."""

    def is_by(self, user: User) -> bool:
        """It is known who asks. True when the request may only go on once `admitted` has returned."""
        self._user = user
        judgement = self._judge(user)
        if judgement is NOTHING:
            return False
        if judgement.level >= Level.REQUEST:
            kept = self._kept = KeptBody(self._request.body, self._audit.settings.body_bytes_max)
            self._request.body = kept
        if RECEIVED not in judgement.omitted and self._audit.writer.has_room:
            self._add(RECEIVED, self.received_at, None)
        writer = self._audit.writer
        must_wait = not writer.has_room or (self._changes and writer.is_hampered)
        self._has_room = not must_wait
        return must_wait

    async def admitted(self) -> None:
        """Return when there is room for the record. Raises InsufficientStorage, ServiceUnavailable."""
        try:
            await self._audit.writer.admit(changes=self._changes, frees=self._asked.verb in FREEING)
        except ApiError:
            self._audit.rejected += 1
            raise
        self._has_room = True

    def _judge(self, user: User | None) -> Judgement:
        judgement = self._judgement = self._audit.policy.judge(user, self._asked)
        self._audit.levels[judgement.level] += 1
        return judgement

    def answered(self, answer: Answer) -> bool:
        """An answer is there. True when it must not be sent before `written` returns."""
        judgement = self._judgement or self._judge(None)
        if judgement is NOTHING:
            return False
        if isinstance(answer, Response):
            if answer.status < 400 and judgement.level is not Level.REQUEST_RESPONSE:
                self._end(COMPLETE, _bare(answer.status))
                return self._is_promised
            is_gzip = answer.headers.get("Content-Encoding") == "gzip"
            stage = PANIC if self.panicked else COMPLETE
            self._end(stage, Outcome(answer.status, answer.body, answer.content_type, is_gzip))
            return answer.status < 400 and self._is_promised
        if STARTED not in judgement.omitted:
            self._add(STARTED, time.time(), Outcome(answer.status))
        ended = partial(self._end, COMPLETE, Outcome(answer.status))
        if isinstance(answer, Stream):
            answer.on_close.append(ended)
        else:
            answer.relay = self._relayed(answer.relay, ended)
        return False

    @property
    def _is_promised(self) -> bool:
        """Whether nobody is told that it was done before its record is on disk."""
        sync = self._audit.settings.sync
        return sync == "always" or (sync == "writes" and self._changes)

    def _relayed(self, relay: Relay, ended: Callable[[], None]) -> Relay:
        """A connection into a pod: nothing passes before it is on disk that it was opened."""

        async def relayed(client: ByteStream) -> None:
            try:
                if self._is_promised and not self._audit.writer.trouble:
                    await self.written()
                await relay(client)
            finally:
                ended()

        return relayed

    def _end(self, stage: str, outcome: Outcome) -> None:
        judgement, request = self._judgement, self._request
        assert judgement is not None, self._asked
        if stage in judgement.omitted:
            return
        subject = request.subject
        if isinstance(subject, dict):
            # Its annotations may be megabytes, and are not to wait for the disk.
            of = subject.get
            request.subject = {"name": of("name"), "uid": of("uid"), "resourceVersion": of("resourceVersion")}
        writer = self._audit.writer
        if not writer.has_room and (outcome.code >= 500 or not self._has_room):
            writer.count_refused()
            return
        self._add(stage, time.time(), outcome)

    def left(self) -> None:
        """The client has gone before there was an answer. What it asked for may have been done."""
        judgement = self._judgement or self._judge(None)
        if judgement is not NOTHING:
            self._end(COMPLETE, Outcome(CLIENT_LEFT))

    async def written(self) -> None:
        """Return when the record is on disk. Raises InternalError when it cannot be."""
        try:
            await self._audit.writer.synced()
        except TimeoutError:
            raise InternalError(
                "the request was carried out, but cannot be recorded in the audit log: see the server's log"
            ) from None

    def _add(self, stage: str, at: float, outcome: Outcome | None) -> None:
        judgement = self._judgement
        assert judgement is not None, self._asked
        entry = Entry(self._request, self._asked, judgement, self._user, stage, self.received_at, at, outcome)
        if self._kept is not None:
            entry.sent, entry.sent_bytes = self._kept.kept, self._kept.size
        self._audit.writer.add(entry, entry.cost if judgement.level > Level.METADATA else 0)
