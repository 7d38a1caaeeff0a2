"""The agent's HTTPS endpoint: logs, streams, usage, ports and metrics for the API server and administrators; health for all.

Who may have them is decided by the API server, which proxies here; the agent only makes sure that it is the API server
(CN system:apiserver) or an administrator (O system:masters) who asks, by certificates of the cluster's CA.
"""

from __future__ import annotations

import logging
import os
import re
import ssl
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest

from stark.client.config import ClientConfig

from .logs import LogOptions, LogShelf, NoLog, since_from, stream

log = logging.getLogger(__name__)

API_SERVER = "system:apiserver"
MASTERS = "system:masters"
_NAMES = re.compile(r"^[a-z0-9-]+ [a-z0-9][a-z0-9.-]* [a-z0-9-]+$")  # nothing that could leave the logs' folder
OPEN_PATHS = frozenset({"/healthz"})

IsCurrent = Callable[[str, str, int], bool]
"""Whether (pod uid, container, attempt) may still write: a follower waits for more."""


def tls_context(config: ClientConfig, folder: Path) -> ssl.SSLContext | None:
    """Our side of TLS, from the identity in the kubeconfig; None when it has no certificate."""
    if config.client_cert_data is None or config.client_key_data is None or config.ca_data is None:
        return None
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    # OpenSSL reads keys from files only.
    certificate, key = folder / "agent.crt", folder / "agent.key"
    for path, data in ((certificate, config.client_cert_data), (key, config.client_key_data)):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=config.ca_data.decode())
    context.verify_mode = ssl.CERT_OPTIONAL  # /healthz needs none; the rest is refused without one
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context


def renew(context: ssl.SSLContext, certificate: bytes, key: bytes, authorities: bytes) -> None:
    """Serve by another certificate from the next connection on, and trust these authorities, too. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix="stark-tls-") as folder:
        path = Path(folder) / "serving.pem"
        path.touch(mode=0o600)
        path.write_bytes(key.rstrip() + b"\n" + certificate)
        context.load_cert_chain(path)
    if authorities:
        context.load_verify_locations(cadata=authorities.decode())


def is_trusted(certificate: dict[str, Any] | None) -> bool:
    """Whether the peer's verified certificate is the API server's or an administrator's."""
    names = [pair for group in (certificate or {}).get("subject", ()) for pair in group]
    return ("commonName", API_SERVER) in names or ("organizationName", MASTERS) in names


@web.middleware
async def _only_trusted(request: web.Request, handler: Any) -> web.StreamResponse:
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    if request.path not in OPEN_PATHS and not is_trusted(certificate):
        status = 403 if certificate else 401
        return web.Response(status=status, text="a client certificate of the API server is required\n")
    answer: web.StreamResponse = await handler(request)
    return answer


class AgentServer:
    """Serves until closed.

    `healthy` says whether the agent works, `usage` gives what /stats/summary answers; `routes` are served beside its own.
    """

    def __init__(
        self,
        shelf: LogShelf,
        is_current: IsCurrent,
        healthy: Callable[[], bool],
        usage: Callable[[], bytes] = lambda: b"{}",
        routes: Iterable[web.AbstractRouteDef] = (),
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._shelf = shelf
        self._is_current = is_current
        self._healthy = healthy
        self._usage = usage
        self._routes = tuple(routes)
        self._registry = registry
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self, address: str, port: int, context: ssl.SSLContext) -> None:
        """Listen; `port` is then the port that was taken. Raises OSError."""
        app = web.Application(middlewares=[_only_trusted])
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/stats/summary", self._summary)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_routes(self._routes)
        # A follower must not hold up the end of the agent.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening and end followers."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _health(self, _request: web.Request) -> web.Response:
        if self._healthy():
            return web.Response(text="ok")
        return web.Response(status=503, text="the agent is starting or stopping\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _summary(self, _request: web.Request) -> web.Response:
        return web.Response(body=self._usage(), content_type="application/json")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        try:
            options = log_options(request)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        namespace, pod, container = (request.match_info[key] for key in ("namespace", "pod", "container"))
        uid = self._shelf.latest_uid(namespace, pod) if _NAMES.match(f"{namespace} {pod} {container}") else None
        if uid is None:
            return web.Response(status=404, text=f'pod "{pod}" has no logs on this node\n')
        folder = self._shelf.folder(namespace, pod, uid, container)
        attempts = self._shelf.attempts(folder)
        if options.previous:
            attempts = attempts[:-1]
        if not attempts:
            which = "previous terminated container" if options.previous else "container"
            return web.Response(status=400, text=f'{which} "{container}" in pod "{pod}" not found\n')
        attempt = attempts[-1]
        texts = stream(folder, attempt, options, lambda: not self._is_current(uid, container, attempt))
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        try:
            await response.prepare(request)
            async for text in texts:
                await response.write(text)
            await response.write_eof()
        except (ConnectionError, NoLog):
            pass  # the reader left, or the log was removed while it was being opened
        return response


def log_options(request: web.Request) -> LogOptions:
    """kubectl's parameters. Raises ValueError, naming the one that is wrong."""
    query = request.query

    def flag(name: str) -> bool:
        value = query.get(name, "false").lower()
        if value not in ("", "true", "false", "1", "0"):
            raise ValueError(f"{name}: expected true or false, got {value!r}")
        return name in query and value in ("", "true", "1")

    def count(name: str) -> int | None:
        if name not in query:
            return None
        if not query[name].isdigit():
            raise ValueError(f"{name}: expected a number that is zero or more, got {query[name]!r}")
        return int(query[name])

    return LogOptions(
        follow=flag("follow"),
        previous=flag("previous"),
        timestamps=flag("timestamps"),
        tail_lines=count("tailLines"),
        since=since_from(count("sinceSeconds"), query.get("sinceTime")),
        limit_bytes=count("limitBytes"),
    )
