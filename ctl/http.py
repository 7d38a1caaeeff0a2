"""Requests to the API server over TLS, and nothing that takes long to import.

One kept-alive connection for plain requests, and one connection of its own for each stream. A request that reached a
kept connection the server had just closed is sent once more on a fresh one, but only if it is a GET.
"""

from __future__ import annotations

import io
import json
import os
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from stark.crds.version import VERSION

from .elsewhere import chunks_at
from .errors import CommandError, ServerError, Unreachable
from .http1 import SWITCHING, Connection, ConnectionClosed, ProtocolError, Response
from .identity import Given

if TYPE_CHECKING:
    from stark.client.config import ClientConfig

    from .identity import Identity
    from .links import Link

CONNECT_TIMEOUT_S = 30.0
"""Also how long a plain request may stay silent; `--request-timeout` changes it."""

STREAM_CHUNK_BYTES = 65_536
SETTLING_S = 300.0
"""How long an upload may go unanswered once it is sent: the server may have to read all parts back from a storage and hash
them, and to send the whole there."""
POINTED = 307
"""What was asked for is elsewhere."""
RESUME_INCOMPLETE = 308
"""A part was taken, and others are missing."""
LINE_BYTES_MAX = 8 * 1024 * 1024
"""Longest watch frame or log line accepted: five times the largest object the server stores."""

TABLE = (
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
)


class Api:
    """Requests to one server with one identity."""

    def __init__(
        self, config: ClientConfig, identity: Identity | None = None, *, timeout_s: float = CONNECT_TIMEOUT_S
    ) -> None:
        self.config = config
        self.identity = identity or Given(config)
        self.timeout_s = timeout_s
        wrong = CommandError(f"the server address {config.server!r} is not a URL like https://127.0.0.1:6443")
        try:
            url = urlsplit(config.server)
            port = url.port
        except ValueError as error:
            raise wrong from error
        if url.scheme not in ("https", "http") or not url.hostname:
            raise wrong
        self.host, self.secure = url.hostname, url.scheme == "https"
        self.port = port or (443 if self.secure else 80)
        self.base = url.path.rstrip("/")
        self._kept: Connection | None = None
        self._context: ssl.SSLContext | None = None

    def get(self, path: str, *, accept: str = "application/json", **query: str) -> dict[str, Any]:
        """GET an object. Raises ServerError, Unreachable."""
        return self.request("GET", path, query=query, accept=accept)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> dict[str, Any]:
        """One request and its JSON answer. Warnings of the server go to stderr. Raises ServerError, Unreachable."""
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        target, kind = self._target(path, query), content_type if data is not None else None
        response, payload = self._exchange(method, target, data, self._headers(accept, kind))
        if response.status == 401 and self._renewed():
            response, payload = self._exchange(method, target, data, self._headers(accept, kind))
        self._warn(response)
        self._check(response.status, payload)
        return self._object(payload)

    def probe(self, path: str) -> tuple[int, str, str]:
        """The status of a GET, the server's Date, and the text, whatever it says. Raises Unreachable."""
        response, payload = self._exchange("GET", self.base + path, None, self._headers("*/*", None))
        return response.status, next(iter(response.all("date")), ""), payload.decode("utf-8", "replace")

    def server_certificate(self) -> bytes | None:
        """What the server has shown on the connection that is open (DER); None without one."""
        return self._kept.peer_certificate() if self._kept is not None else None

    def lines(
        self, path: str, *, query: Mapping[str, str] | None = None, accept: str = "application/json"
    ) -> Iterator[bytes]:
        """The answer line by line as it arrives: a watch or a log. Ends when the server ends it."""
        connection, response = self._opened(self._target(path, query), accept)
        try:
            self._warn(response)
            if response.status >= 300:
                self._check(response.status, response.body.read())
            connection.patience(None)
            while line := response.body.readline(LINE_BYTES_MAX):
                yield line
        except (OSError, ProtocolError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def chunks(self, path: str, *, direct: bool = False) -> Iterator[bytes]:
        """The body of a GET in pieces, whatever it is. With `direct` the server may point to another one that has it.

        Raises ServerError, Unreachable, and Elsewhere for what the other one does not give.
        """
        connection, response = self._opened(self._target(path, {"direct": "true"} if direct else None), "*/*")
        try:
            if direct and response.status == POINTED:
                yield from chunks_at(next(iter(response.all("location")), ""), self.timeout_s)
                return
            if response.status >= 300:
                self._check(response.status, response.body.read())
            while chunk := response.body.read(STREAM_CHUNK_BYTES):
                yield chunk
        except (OSError, ProtocolError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def websocket(self, path: str, query: Iterable[tuple[str, str]], protocols: Iterable[str]) -> Link:
        """Upgrade a GET to a WebSocket that speaks one of `protocols`. Raises ServerError, Unreachable."""
        from .links import Link
        from .websocket import accept_of, new_key

        key, offered = new_key(), list(protocols)
        fields = (
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Protocol", ", ".join(offered)),
        )
        target = self._target(path, None) + "?" + urlencode(list(query))
        connection, response = self._opened(target, "*/*", fields)
        try:
            if response.status != SWITCHING:
                self._check(response.status, response.body.read())
                raise self._no_server(f"answered HTTP {response.status} instead of opening a stream")
            chosen = next(iter(response.all("sec-websocket-protocol")), "")
            if response.all("sec-websocket-accept") != [accept_of(key)] or chosen not in offered:
                raise self._no_server("opened a stream that nobody asked for")
            return Link(*connection.upgraded(), chosen)
        except (OSError, ProtocolError) as error:
            connection.close()
            raise self._unreachable(error) from error
        except CommandError:
            connection.close()
            raise

    def broken(self, error: Exception) -> Unreachable:
        """What to say when a stream that was open ends before its time."""
        return self._unreachable(error)

    def _opened(self, target: str, accept: str, more: Iterable[tuple[str, str]] = ()) -> tuple[Connection, Response]:
        """A connection of its own with the answer to a GET on it, whose body is still to come."""
        connection, response = self._asked(target, accept, more)
        if response.status == 401 and self._renewed():
            connection.close()
            return self._asked(target, accept, more)
        return connection, response

    def _asked(self, target: str, accept: str, more: Iterable[tuple[str, str]]) -> tuple[Connection, Response]:
        headers = [*self._headers(accept, None), *more]
        connection = self._connect()
        try:
            connection.request("GET", target, headers, None)
            return connection, connection.response()
        except (OSError, ProtocolError) as error:
            connection.close()
            raise self._unreachable(error) from error

    def upload(self, path: str, source: IO[bytes], size: int, progress: Callable[[int], None]) -> dict[str, Any]:
        """PUT a file of `size` bytes, telling `progress` how many have gone. Raises ServerError, Unreachable."""
        response, payload = self._put(path, source, (0, size), None, progress)
        self._check(response.status, payload)
        return self._object(payload)

    def uploaded(self, path: str, size: int) -> int:
        """Of a file that is uploaded in parts, the bytes that the server has. Raises ServerError, Unreachable."""
        response, payload = self._put(path, io.BytesIO(), (0, 0), f"bytes */{size}", lambda _: None)
        return self._reached(response, payload, size)

    def upload_part(
        self, path: str, source: IO[bytes], part: tuple[int, int, int], progress: Callable[[int], None]
    ) -> int:
        """PUT the bytes from `part[0]` to before `part[1]` of `part[2]`; returns how many the server has then."""
        start, end, size = part
        response, payload = self._put(path, source, (start, end), f"bytes {start}-{end - 1}/{size}", progress)
        return self._reached(response, payload, size)

    def _reached(self, response: Response, payload: bytes, size: int) -> int:
        if response.status != RESUME_INCOMPLETE:
            self._check(response.status, payload)
            return size
        last = next((value.rpartition("-")[2] for value in response.all("range")), "")
        return int(last) + 1 if last.isdecimal() else 0

    def _put(
        self,
        path: str,
        source: IO[bytes],
        part: tuple[int, int],
        content_range: str | None,
        progress: Callable[[int], None],
    ) -> tuple[Response, bytes]:
        response, payload = self._put_once(path, source, part, content_range, progress)
        if response.status == 401 and self._renewed():
            response, payload = self._put_once(path, source, part, content_range, progress)
        return response, payload

    def _put_once(
        self,
        path: str,
        source: IO[bytes],
        part: tuple[int, int],
        content_range: str | None,
        progress: Callable[[int], None],
    ) -> tuple[Response, bytes]:
        start, end = part
        fields = [*self._headers("application/json", "application/octet-stream"), ("Content-Length", str(end - start))]
        if content_range is not None:
            fields.append(("Content-Range", content_range))
        connection = self._connect()
        try:
            try:
                connection.request("PUT", self._target(path, None), fields, _counted(source, start, end, progress))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the server refused before it had read everything: its reason is waiting to be read
            connection.patience(max(self.timeout_s, SETTLING_S))
            response = connection.response()
            return response, response.body.read()
        except (OSError, ProtocolError) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _exchange(
        self, method: str, target: str, data: bytes | None, headers: list[tuple[str, str]]
    ) -> tuple[Response, bytes]:
        reused = self._kept is not None
        connection = self._kept or self._connect()
        self._kept = connection
        try:
            connection.request(method, target, headers, data)
            response = connection.response()
            payload = response.body.read()
        except (OSError, ProtocolError) as error:
            self.close()
            if reused and method == "GET" and isinstance(error, (ConnectionClosed, ConnectionError)):
                return self._exchange(method, target, data, headers)
            raise self._unreachable(error) from error
        if "close" in response.all("connection"):
            self.close()
        return response, payload

    def _connect(self) -> Connection:
        """An open connection on which the other side may be silent for `timeout_s`."""
        context = self._tls_context() if self.secure else None
        name = self.config.tls_server_name or self.host
        try:
            return Connection(self.host, self.port, context=context, server_name=name, timeout_s=self.timeout_s)
        except OSError as error:
            raise self._unreachable(error) from error

    def _tls_context(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context(self.config, self.identity.certificate())
        return self._context

    def _target(self, path: str, query: Mapping[str, str] | None) -> str:
        given = {key: value for key, value in (query or {}).items() if value != ""}
        return self.base + quote(path, safe="/:@!$&'()*+,;=-._~") + (f"?{urlencode(given)}" if given else "")

    def _headers(self, accept: str, content_type: str | None) -> list[tuple[str, str]]:
        headers = [("Accept", accept), ("User-Agent", f"starkctl/{VERSION}")]
        if content_type:
            headers.append(("Content-Type", content_type))
        token = self.identity.token()
        if token:
            headers.append(("Authorization", f"Bearer {token}"))
        return headers + self.config.impersonate.headers()

    def _renewed(self) -> bool:
        """Whether to ask again after a 401: then everything made with the former identity is gone."""
        if not self.identity.renew():
            return False
        self.close()
        self._context = None
        return True

    @staticmethod
    def _warn(response: Response) -> None:
        for value in response.all("warning"):
            text = value.partition('"')[2].rpartition('"')[0].replace('\\"', '"').replace("\\\\", "\\")
            os.write(2, f"Warning: {text or value}\n".encode())

    def _check(self, status: int, payload: bytes) -> None:
        """Raises ServerError for a refusal, Unreachable for a redirect: no token goes where somebody else points."""
        if status >= 400:
            raise self._failure(status, payload)
        if status >= 300:
            raise self._no_server(f"sends us elsewhere (HTTP {status}), and we do not go")

    def _object(self, payload: bytes) -> dict[str, Any]:
        """Raises Unreachable for what is no object in JSON."""
        try:
            parsed = json.loads(payload or b"{}")
        except (ValueError, RecursionError) as error:
            raise self._no_server("answered with something else than JSON") from error
        if not isinstance(parsed, dict):
            raise self._no_server("answered with JSON that is no object")
        return parsed

    def _no_server(self, why: str) -> Unreachable:
        return Unreachable(f"{self.host}:{self.port} {why}: is there a Stark API server, or a proxy before it?")

    @staticmethod
    def _failure(code: int, payload: bytes) -> ServerError:
        try:
            status = json.loads(payload)
        except (ValueError, RecursionError):
            status = None
        if isinstance(status, dict) and isinstance(status.get("error"), dict):
            status = _status_of(status["error"])
        if not isinstance(status, dict):
            status = {"message": payload[:500].decode("utf-8", "replace").strip() or f"HTTP {code}"}
        if code == 401 and status.get("reason") in ("Unauthorized", "AUTHENTICATION_REQUIRED"):
            status = {**status, "message": "the server does not know you: log in with `starkctl auth login`"}
        return ServerError(code, status)

    def _unreachable(self, error: Exception) -> Unreachable:
        where = f"{self.host}:{self.port}"
        if isinstance(error, ConnectionRefusedError):
            return Unreachable(
                f"nothing answers at {where}: start the control plane with `starkctl up`, or name another server"
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            return Unreachable(
                f"the certificate of {where} is not trusted ({error.verify_message}): give the cluster's CA with --ca-file"
            )
        if isinstance(error, ssl.SSLError):
            return Unreachable(f"{where} does not speak TLS as we do ({error.reason or error}): is the port right?")
        if isinstance(error, socket.gaierror):
            return Unreachable(f"the host name {self.host} is unknown: check the server address in your kubeconfig")
        if isinstance(error, TimeoutError):
            return Unreachable(
                f"{where} did not answer within {self.timeout_s:g} s: try again, or raise --request-timeout"
            )
        return Unreachable(f"the connection to {where} broke ({error or type(error).__name__}): try again")


def tls_context(config: ClientConfig, identity: tuple[bytes, bytes] | None) -> ssl.SSLContext:
    """Trust exactly the cluster's CA (the machine's own list when none is given) and show our certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif config.ca_data:
        try:
            context.load_verify_locations(cadata=config.ca_data.decode("ascii"))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise CommandError("the CA certificate in the kubeconfig is not PEM: get a new kubeconfig") from error
    else:
        context.load_default_certs()
    if identity is not None:
        _load_identity(context, *identity)
    return context


def _load_identity(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """ssl wants files; an anonymous one in memory keeps the private key off every disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("identity")
        path = f"/proc/self/fd/{descriptor}"
    else:
        import tempfile

        descriptor, path = tempfile.mkstemp()
    try:
        os.write(descriptor, certificate + b"\n" + key)
        context.load_cert_chain(path)
    except ssl.SSLError as error:
        raise CommandError(
            "the client certificate and key in the kubeconfig do not fit together: get a new one"
        ) from error
    finally:
        os.close(descriptor)
        if not path.startswith("/proc/"):
            os.unlink(path)


def _status_of(error: dict[str, Any]) -> dict[str, Any]:
    """The Status that says what an error of the REST endpoints (`{success, error: {code, message, details}}`) says."""
    return {"reason": str(error.get("code") or ""), "message": error.get("message"), "details": error.get("details")}


def _counted(source: IO[bytes], start: int, end: int, progress: Callable[[int], None]) -> Iterable[bytes]:
    """The bytes from `start` to before `end`, telling how far it has come."""
    source.seek(start)
    while start < end and (chunk := source.read(min(STREAM_CHUNK_BYTES, end - start))):
        yield chunk
        start += len(chunk)
        progress(start)
