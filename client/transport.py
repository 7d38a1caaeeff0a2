"""HTTP with bounds: one connection pool, limits on time and size, typed errors, and retries where they are safe."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

import aiohttp
import orjson
from prometheus_client import Counter
from yarl import URL

from .config import ClientConfig
from .errors import ApiError, Elsewhere, FrameTooLarge, Timeout, TooManyRequests, Unavailable, error_from_status
from .exchange import Answer, Pool, TooLarge, Uncertain, Unconnected
from .identity import Identity
from .kinds import JSON

log = logging.getLogger(__name__)

CONNECTIONS_MAX = 256  # to one server, for requests and as many for streams; the 257th waits for a free one
CONNECT_TIMEOUT_S = 10.0
REQUEST_TIMEOUT_S = 60.0  # the server's own limit for a request that is no watch
BODY_MAX = 512 * 1024 * 1024  # one answer; a list of 100,000 pods is 200 MB, and we page long before
ERROR_BODY_MAX = 1024 * 1024  # a Status is small; more than this of an error is not worth reading
RETRIES_MAX = 5  # with Retry-After of a second this outlasts a server's restart, and no caller hangs for long
RETRY_AFTER_MAX_S = 30.0  # a longer wait is the caller's decision: it gets the error with its retry_after_s
RETRY_DELAY_S = 0.1  # first pause after a broken connection; doubles, with jitter
CHUNK = 256 * 1024
POINTED = 307  # what was asked for is elsewhere

Body: TypeAlias = bytes | AsyncIterator[bytes] | None
Fence: TypeAlias = Callable[[], float]
"""Called before a write leaves: gives the seconds for which it may still be sent, or raises `Fenced`."""

_BROKEN = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientPayloadError)


class NeverSent(Unavailable):
    """No connection could be made: the server has seen nothing of the request."""


class Broken(Unavailable):
    """The connection ended before the whole answer was here."""


REQUESTS = Counter("rest_client_requests", "Answers of API servers to this program", ["method", "code"])


class RawResponse:
    """An answer whose body has not been read. Valid inside the `async with` that gave it."""

    def __init__(self, response: aiohttp.ClientResponse, *, is_elsewhere: bool = False) -> None:
        self._response = response
        self.is_elsewhere = is_elsewhere
        """Whether another server gave it than the one that was asked."""
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive. Raises Unavailable when the connection breaks on the way."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError) as error:
            what = f"{self._response.method} {self._response.url.path}: cut off: {_said(error)}"
            raise (Elsewhere if self.is_elsewhere else Broken)(what, code=0) from error

    async def read(self, limit: int = BODY_MAX) -> bytes:
        """The whole body. Raises FrameTooLarge over `limit` bytes."""
        announced = self._response.content_length
        if announced is not None and announced > limit:
            raise FrameTooLarge(f"{self._response.url.path}: the answer has {announced} bytes, the limit is {limit}")
        parts: list[bytes] = []
        size = 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                raise FrameTooLarge(f"{self._response.url.path}: the answer is over {limit} bytes")
            parts.append(chunk)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def keep_alive(self) -> None:
        """Let the kernel find out within a minute that the peer is gone: a silent watch would not notice for hours."""
        connection = self._response.connection
        transport = connection.transport if connection is not None else None
        sock = transport.get_extra_info("socket") if transport is not None else None
        if sock is None:
            return
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


class Transport:
    """Requests to one server. Paths are quoted already and begin with a slash."""

    def __init__(
        self, config: ClientConfig, *, user_agent: str, on_warning: Callable[[str], None] | None = None
    ) -> None:
        self._config = config
        self._user_agent = user_agent
        self._on_warning = on_warning or _log_warning
        self._identity = Identity(config)
        self._session: aiohttp.ClientSession | None = None
        self._pool: Pool | None = None
        self._former: list[Pool] = []
        self._presented: dict[str, str] = {}

    def present(self, header: str, value: str) -> None:
        """Send a header with every request from the next one on; an empty value takes it away."""
        self._presented.pop(header, None)
        if value:
            self._presented[header] = value

    def identify(self, config: ClientConfig) -> None:
        """Be who `config` says from the next request on: a certificate was renewed, or an authority came. The same server.

        What is under way goes on; connections made as before are given up when they fall idle. Raises ConfigError.
        """
        assert config.server == self._config.server, "another server is another client"
        self._identity, self._config = Identity(config), config

    async def open(self) -> None:
        """Make the pool; connections open when needed."""
        assert self._session is None, "opened twice"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX, keepalive_timeout=30),
            # Our programs are near the server: inflating a list would take longer than its transfer.
            headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
            read_bufsize=CHUNK,
        )

    async def close(self) -> None:
        """Close the pool and whatever is still open on it."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        for pool in (*self._former, *([self._pool] if self._pool is not None else ())):
            await pool.close()
        self._pool, self._former = None, []

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        accept: str = JSON,
        content_type: str = JSON,
        fence: Fence | None = None,
        limit_s: float = REQUEST_TIMEOUT_S,
    ) -> bytes:
        """The body of a 2xx answer. Raises an ApiError; retries as the module's docstring of `api` says."""
        fields = [("Accept", accept), *([("Content-Type", content_type)] if body is not None else [])]
        for attempt in range(RETRIES_MAX + 1):
            timeout_s = min(limit_s, fence()) if fence is not None else limit_s
            try:
                return (await self._exchange(method, path, fields, body, timeout_s)).body
            except ApiError as error:
                pause_s = _pause_before_retry(method, error, attempt)
                if pause_s is None:
                    raise
            await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def _exchange(
        self, method: str, path: str, fields: list[tuple[str, str]], body: bytes | None, timeout_s: float
    ) -> Answer:
        """One attempt, whole. Raises an ApiError."""
        try:
            async with asyncio.timeout(timeout_s):
                shown, fields = await self._identity.headers(), [*self._presented.items(), *fields]
                answer = await self._ask(method, path, [*shown, *fields], body)
                if answer.status == 401 and await self._identity.renew(shown):
                    answer = await self._ask(method, path, [*await self._identity.headers(), *fields], body)
        except TimeoutError as error:
            raise Timeout(f"{self._what(method, path)}: no answer in {timeout_s:.0f} s", code=0) from error
        REQUESTS.labels(method, answer.status).inc()
        for warning in answer.all(b"warning"):
            self._on_warning(_warning_text(warning))
        if not 200 <= answer.status < 300:
            raise _refused(method, path, answer)
        return answer

    async def _ask(self, method: str, path: str, fields: list[tuple[str, str]], body: bytes | None) -> Answer:
        try:
            return await self._connections().ask(method, path, fields, body, BODY_MAX)
        except Unconnected as error:
            cause = error.__cause__
            what = f"{self._what(method, path)}: {error}"
            # A wrong certificate does not become right by asking again.
            raise Unavailable(what, code=0) if isinstance(cause, ssl.SSLError) else NeverSent(what, code=0) from error
        except Uncertain as error:
            raise Broken(f"{self._what(method, path)}: {error}", code=0) from error
        except TooLarge as error:
            raise FrameTooLarge(f"{path.partition('?')[0]}: {error}") from error

    def _connections(self) -> Pool:
        """Those that show the certificate we show now."""
        assert self._session is not None, "use the client as an async context manager"
        tls, pool = self._identity.tls, self._pool
        if pool is None or pool.tls is not tls:
            if pool is not None:
                pool.retire()
                self._former = [former for former in self._former if former.is_used] + [pool]
            name = self._config.tls_server_name
            pool = self._pool = Pool(
                self._config.server, tls, name, self._user_agent, CONNECTIONS_MAX, CONNECT_TIMEOUT_S
            )
        return pool

    def _what(self, method: str, path: str) -> str:
        return f"{method} {self._config.server}{path.partition('?')[0]}"

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idle_timeout_s: float | None = None,
        may_point: bool = False,
    ) -> AsyncIterator[RawResponse]:
        """One attempt; the answer is a 2xx with its body unread, or with `may_point` a 307. Raises an ApiError."""
        given = {**self._presented, **(headers or {})}
        timeout = aiohttp.ClientTimeout(
            total=timeout_s, sock_connect=CONNECT_TIMEOUT_S, connect=None, sock_read=idle_timeout_s
        )
        shown = await self._identity.headers()
        response = await self._send(method, path, body, [*shown, *given.items()], timeout)
        # What is streamed has been used up; its sender must begin again.
        if response.status == 401 and (body is None or isinstance(body, bytes)) and await self._identity.renew(shown):
            response.close()
            shown = await self._identity.headers()
            response = await self._send(method, path, body, [*shown, *given.items()], timeout)
        async with response:
            REQUESTS.labels(method, response.status).inc()
            for warning in response.headers.getall("Warning", ()):
                self._on_warning(_warning_text(warning))
            if not 200 <= response.status < 300 and not (may_point and response.status == POINTED):
                raise await _refusal(method, path, response)
            yield RawResponse(response)

    @asynccontextmanager
    async def download(
        self, path: str, *, direct: bool, idle_s: float, idle_elsewhere_s: float
    ) -> AsyncIterator[RawResponse]:
        """One GET, whose answer may be that another server has it (307), if `direct` says that we would go there.

        That one is told nothing but the address: no token, no certificate, and it may send us nowhere else. Raises an
        ApiError; Elsewhere for what is the other one's fault.
        """
        location = ""
        asked = path + "?direct=true" if direct else path
        async with self.stream("GET", asked, idle_timeout_s=idle_s, may_point=direct) as response:
            location = response.headers.get("Location", "") if response.status == POINTED else ""
            if not location:
                yield response
        if location:
            async with self._elsewhere(location, idle_elsewhere_s) as response:
                yield response

    @asynccontextmanager
    async def _elsewhere(self, location: str, idle_s: float) -> AsyncIterator[RawResponse]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, connect=None, sock_read=idle_s)
        assert self._session is not None, "use the client as an async context manager"
        try:
            url = URL(location, encoded=True)
            if url.scheme not in ("http", "https") or not url.host:
                raise ValueError("not an address")
        except ValueError:
            raise Elsewhere("the server sends us to something that is no address", code=0) from None
        origin = str(url.origin())  # the rest is as good as a key
        try:
            response = await self._session.get(url, timeout=timeout, allow_redirects=False)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Elsewhere(f"{origin}: {type(error).__name__}", code=0) from error
        async with response:
            if response.status != 200:
                raise Elsewhere(f"{origin} answered {response.status}", code=0)
            yield RawResponse(response, is_elsewhere=True)

    async def _send(
        self, method: str, path: str, body: Body, fields: list[tuple[str, str]], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        assert self._session is not None, "use the client as an async context manager"
        tls = self._identity.tls
        try:
            return await self._session.request(
                method,
                URL(self._config.server + path, encoded=True),
                data=body,
                headers=fields,
                timeout=timeout,
                ssl=tls if tls is not None else True,
                server_hostname=self._config.tls_server_name,
                allow_redirects=False,
            )
        except (TimeoutError, aiohttp.ClientError) as error:
            raise _unanswered(method, path, self._config.server, error) from error


def _pause_before_retry(method: str, error: ApiError, attempt: int) -> float | None:
    if attempt >= RETRIES_MAX:
        return None
    refused = isinstance(error, TooManyRequests | Unavailable) and error.status_code in (429, 503)
    if refused and error.retry_after_s is not None:
        return error.retry_after_s * random.uniform(1.0, 1.2) if error.retry_after_s <= RETRY_AFTER_MAX_S else None
    if isinstance(error, NeverSent) or (isinstance(error, Broken) and method == "GET"):
        return float(RETRY_DELAY_S * 2**attempt * random.uniform(0.5, 1.5))
    return None


def _unanswered(method: str, path: str, server: str, error: Exception) -> ApiError:
    what = f"{method} {server}{path.partition('?')[0]}: {_said(error)}"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        certificate = isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError)
        # A wrong certificate does not become right by asking again.
        return Unavailable(what) if certificate else NeverSent(what, code=0)
    if isinstance(error, _BROKEN):
        return Broken(what, code=0)
    return Timeout(what, code=0) if isinstance(error, asyncio.TimeoutError) else Unavailable(what, code=0)


async def _refusal(method: str, path: str, response: aiohttp.ClientResponse) -> ApiError:
    try:
        text = await RawResponse(response).read(ERROR_BODY_MAX)
    except ApiError:
        text = b""
    retry_after = response.headers.get("Retry-After", "")
    return _error(method, path, response.status, response.reason or "", text, retry_after)


def _refused(method: str, path: str, answer: Answer) -> ApiError:
    text = answer.body if len(answer.body) <= ERROR_BODY_MAX else b""
    return _error(method, path, answer.status, answer.reason, text, answer.header(b"retry-after"))


def _error(method: str, path: str, status_code: int, reason: str, text: bytes, retry_after: str) -> ApiError:
    try:
        status = orjson.loads(text)
    except orjson.JSONDecodeError:
        status = None
    shown = _told_by_the_facade(status) or text[:200].decode(errors="replace").strip()
    return error_from_status(
        status_code,
        status if isinstance(status, dict) else None,
        fallback=f"{method} {path.partition('?')[0]}: {status_code} {reason}: {shown}",
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )


def _told_by_the_facade(status: object) -> str:
    """The message of a refusal in the envelope of `/auth/` and `/api/config`, which is no Status."""
    error = status.get("error") if isinstance(status, dict) else None
    return str(error.get("message") or "") if isinstance(error, dict) else ""


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


def _warning_text(header: str) -> str:
    """`299 - "text"` -> `text`."""
    first, last = header.find('"'), header.rfind('"')
    return header[first + 1 : last].replace('\\"', '"') if 0 <= first < last else header


def _log_warning(text: str) -> None:
    log.warning("the API server warns: %s", text)
