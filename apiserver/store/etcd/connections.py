"""Calls to whichever member of etcd answers: one channel each, failover, deadlines, the leader's presence, the token.

gRPC could balance over the members by itself, but not tell us which requests were never sent, and that decides whether
a write may be sent again. So there is one channel per member and the choice is ours: all traffic goes to the current
one until a call there fails, and then to the next.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import grpc
import grpc.aio
import structlog

from ..protocol import Compacted, Unavailable
from .address import Access
from .messages import AUTHENTICATE, METHODS, STATUS, WATCH, Message, Method
from .settings import EtcdSettings
from .trouble import EtcdUnusable, Meaning, Refusal, meaning_of, said

log = structlog.get_logger(__name__)

VERSION_MIN = (3, 4)
TOKEN_RENEWALS_MAX = 3
"""How often one call authenticates anew: once is usual, and a token that is never taken is an error to be told."""
RECONNECT_MIN_MS, RECONNECT_MAX_MS = 100, 2_000


class Answer(NamedTuple):
    """`doubtful`: an attempt before the one that was answered may have been carried out too."""

    response: Message
    doubtful: bool


class Ambiguous(Unavailable):
    """The call may or may not have been carried out, and was not to be repeated."""


class _Member:
    """One channel, connected when it is first used and again whenever it breaks."""

    def __init__(self, url: str, target: str, access: Access, settings: EtcdSettings) -> None:
        self.url = url
        options = (
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", int(settings.keepalive_interval_s * 1000)),
            ("grpc.keepalive_timeout_ms", int(settings.keepalive_timeout_s * 1000)),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MIN_MS),
            ("grpc.min_reconnect_backoff_ms", RECONNECT_MAX_MS),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_MAX_MS),
            # Repeating is decided here, not in gRPC; and a cluster is never reached through a web proxy.
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        )
        if access.credentials is None:
            self.channel = grpc.aio.insecure_channel(target, options)
        else:
            self.channel = grpc.aio.secure_channel(target, access.credentials, options)
        self._calls: dict[str, Any] = {}
        for method in METHODS:
            make = self.channel.stream_stream if method.is_stream else self.channel.unary_unary
            self._calls[method.path] = make(method.path, method.request.SerializeToString, method.response.FromString)

    async def call(self, method: Method, request: Message, timeout_s: float, metadata: Any) -> Message:
        """One attempt. Raises AioRpcError."""
        if not method.is_stream:
            return await self._calls[method.path](request, timeout=timeout_s, metadata=metadata)
        call = self._calls[method.path](timeout=timeout_s, metadata=metadata)
        try:
            await call.write(request)
            response = await call.read()
            if response is grpc.aio.EOF:
                raise Unavailable(f"etcd at {self.url} ended the stream without an answer")
            return response
        finally:
            call.cancel()

    def stream(self, method: Method, metadata: Any) -> Any:
        """Both directions, open until cancelled."""
        return self._calls[method.path](metadata=metadata)


class Connections:
    """All members. `ask` calls one of them; `watch` opens a stream on one of them."""

    def __init__(self, access: Access, settings: EtcdSettings) -> None:
        self._access, self._settings = access, settings
        self._loop = asyncio.get_running_loop()
        places = zip(access.urls, access.targets, strict=True)
        self._members = [_Member(url, target, access, settings) for url, target in places]
        self._current = 0
        self._attempt_s = settings.attempt_timeout_s if len(self._members) > 1 else settings.request_timeout_s
        self._token: str | None = None
        self._metadata: tuple[tuple[str, str], ...] = (("hasleader", "true"),)
        self._authenticating = asyncio.Lock()
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    @property
    def names(self) -> str:
        """The members' URLs, for messages."""
        return ", ".join(self._access.urls)

    @property
    def current_url(self) -> str:
        """The member in use."""
        return self._members[self._current].url

    async def ask(self, method: Method, request: Message, *, repeat: bool = True) -> Answer:
        """Call until a member answers or the time is over; after an unclear failure only if `repeat`.

        Raises Refusal, Ambiguous, Unavailable.
        """
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._ask(method, request, repeat)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def _ask(self, method: Method, request: Message, repeat: bool) -> Answer:
        deadline = self._loop.time() + self._settings.request_timeout_s
        failures = renewals = 0
        doubtful = False
        while True:
            number, metadata = self._current, self._metadata
            try:
                timeout_s = min(self._attempt_s, deadline - self._loop.time())
                response = await self._call(number, method, request, timeout_s, metadata)
            except grpc.aio.AioRpcError as error:
                meaning = meaning_of(error)
                if meaning is Meaning.TOKEN and self._access.username and renewals < TOKEN_RENEWALS_MAX:
                    renewals += 1
                    await self._authenticate(metadata)
                    continue
                if meaning not in (Meaning.UNSENT, Meaning.UNKNOWN):
                    raise Refusal(meaning, self._refused(error, meaning), doubtful) from error
                self.give_up(number, said(error))
                doubtful = doubtful or meaning is Meaning.UNKNOWN
                if doubtful and not repeat:
                    raise Ambiguous(f"etcd failed during the request ({said(error)})") from error
                failures += 1
                await self._pause(failures, deadline, error)
            else:
                return Answer(response, doubtful)

    async def _call(self, number: int, method: Method, request: Message, timeout_s: float, metadata: Any) -> Message:
        if self._closed:
            raise Unavailable("the store is closed")
        try:
            return await self._members[number].call(method, request, timeout_s, metadata)
        except asyncio.CancelledError:
            raise self._explained() from None

    def _explained(self) -> BaseException:
        """gRPC cancels the calls of a channel that is closed, although nobody cancelled their tasks."""
        task = asyncio.current_task()
        if self._closed and task is not None and not task.cancelling():
            return Unavailable("the store is closed")
        return asyncio.CancelledError()

    def _refused(self, error: Any, meaning: Meaning) -> str:
        if meaning is Meaning.TOKEN and not self._access.username:
            return "authentication is enabled and no user was given: use --etcd-username and STARK_ETCD_PASSWORD"
        return said(error)

    async def _pause(self, failures: int, deadline: float, error: Any) -> None:
        """Before the next attempt: none until every member has failed. Raises Unavailable when the time is over."""
        rounds, within_round = divmod(failures, len(self._members))
        delay_s = 0.0 if within_round else jittered(self._settings, rounds)
        if self._loop.time() + delay_s >= deadline:
            raise Unavailable(f"etcd does not answer at {self.names} ({said(error)})") from error
        await asyncio.sleep(delay_s)

    def give_up(self, number: int, reason: str) -> None:
        """Use the next member, unless someone has moved on from this one already."""
        if number == self._current and len(self._members) > 1:
            self._current = (number + 1) % len(self._members)
            log.info("another member of etcd is used", failed=self._members[number].url, reason=reason)

    async def _authenticate(self, refused: tuple[tuple[str, str], ...]) -> None:
        """Get a token, unless someone got one since `refused` was used. Raises Refusal, Unavailable."""
        async with self._authenticating:
            if self._metadata is not refused:
                return
            token = await self._new_token()
            if token is not None:
                self._metadata = (*self._metadata[:1], ("token", token))

    async def _new_token(self) -> str | None:
        """From the first member that answers; None if etcd asks nobody who they are. Raises Refusal, Unavailable."""
        request = AUTHENTICATE.request(name=self._access.username, password=self._access.password)
        failure = ""
        for _ in self._members:
            number = self._current
            try:
                return str((await self._call(number, AUTHENTICATE, request, self._attempt_s, self._metadata[:1])).token)
            except grpc.aio.AioRpcError as error:
                failure = said(error)
                if "authentication is not enabled" in failure:
                    return None
                if meaning_of(error) not in (Meaning.UNSENT, Meaning.UNKNOWN):
                    raise Refusal(Meaning.REFUSED, f"{failure}, for user {self._access.username}", False) from error
                self.give_up(number, failure)
        raise Unavailable(f"etcd does not answer at {self.names} ({failure})")

    async def greet(self) -> None:
        """Wait for a member that answers, and see whether we can work with it. Raises EtcdUnusable."""
        deadline = self._loop.time() + self._settings.start_timeout_s
        while True:
            try:
                if self._access.username:
                    await self._authenticate(self._metadata)
                status = (await self._ask(STATUS, STATUS.request(), repeat=True)).response
                break
            except Unavailable as error:
                if self._loop.time() >= deadline:
                    raise EtcdUnusable(
                        f"{error}: start it, or correct the address in --store and the --etcd-*file flags"
                    ) from error
                await asyncio.sleep(self._settings.retry_delay_max_s)
            except Refusal as error:
                raise EtcdUnusable(f"etcd at {self.names} refuses us: {error}") from error
        version = status.version.split(".")
        if tuple(int(part) for part in version[:2]) < VERSION_MIN:
            raise EtcdUnusable(f"etcd at {self.current_url} is {status.version}: upgrade it to 3.4 or later")

    @asynccontextmanager
    async def watch(self, start_revision: int) -> AsyncIterator[EventStream]:
        """Events of the whole key space from a revision on. Raises Unavailable, Compacted."""
        if self._closed:
            raise Unavailable("the store is closed")
        number, metadata = self._current, self._metadata
        call = self._members[number].stream(WATCH, metadata)
        stream = EventStream(call, start_revision)
        try:
            async with asyncio.timeout(self._attempt_s):
                await stream.begin()
            yield stream
        except grpc.aio.AioRpcError as error:
            self.give_up(number, said(error))
            if meaning_of(error) is Meaning.TOKEN:
                await self.renew_token(metadata)
            raise Unavailable(f"etcd's watch failed ({said(error)})") from error
        except WatchRefused as error:
            self.give_up(number, str(error))
            await self.renew_token(metadata)
            raise Unavailable(f"etcd refuses the watch ({error})") from error
        except TimeoutError as error:
            self.give_up(number, "its watch is silent")
            raise Unavailable(f"etcd's watch is silent at {self._members[number].url}") from error
        except asyncio.CancelledError:
            raise self._explained() from None
        finally:
            call.cancel()

    async def renew_token(self, refused: tuple[tuple[str, str], ...]) -> None:
        """A watch was refused; its token may be why. Raises Unavailable."""
        if not self._access.username:
            return
        try:
            await self._authenticate(refused)
        except Refusal as error:
            raise Unavailable(f"etcd refuses: {error}") from error

    async def close(self) -> None:
        """Wait for what is under way, which has deadlines, and disconnect."""
        await self._idle.wait()
        self._closed = True
        for member in self._members:
            await member.channel.close(None)


class WatchRefused(Exception):
    """etcd cancelled the watch for another reason than compaction; the text is etcd's."""


class EventStream:
    """One watch of the whole key space: whole responses, put together from their fragments."""

    def __init__(self, call: Any, start_revision: int) -> None:
        self._call, self._start_revision = call, start_revision

    async def begin(self) -> None:
        """Ask for the watch and wait until etcd has it. Its header is no progress: it comes before a refusal."""
        create = {
            "key": b"\0",
            "range_end": b"\0",
            "start_revision": self._start_revision,
            "prev_kv": True,
            "fragment": True,
        }
        await self._call.write(WATCH.request(create_request=create))
        await self._read()

    async def read(self) -> list[Message]:
        """The next events, oldest first and never part of a revision. Raises Compacted, WatchRefused, AioRpcError."""
        response = await self._read()
        if not response.fragment:
            return response.events  # type: ignore[no-any-return]
        events = list(response.events)
        while response.fragment:
            response = await self._read()
            events += response.events
        return events

    async def _read(self) -> Message:
        response = await self._call.read()
        if response is grpc.aio.EOF:
            raise WatchRefused("etcd ended the stream")
        if response.compact_revision:
            raise Compacted(self._start_revision, response.compact_revision)
        if response.canceled:
            raise WatchRefused(response.cancel_reason or "etcd cancelled it without a reason")
        return response


def jittered(settings: EtcdSettings, failures: int) -> float:
    """Seconds to wait after so many failures in a row, half of it by chance so that clients spread out."""
    longest = min(settings.retry_delay_min_s * 2.0 ** min(failures, 10), settings.retry_delay_max_s)
    return longest * (0.5 + random.random() / 2)
