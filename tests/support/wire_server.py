"""A small HTTP server for discovery and OpenAPI, so that the real kubectl can be asked what it makes of them.

Objects come from a dict of paths; a PATCH is answered with what it was, for the test to look at.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson

from stark.apiserver.errors import ApiError, NotFound
from stark.apiserver.request import Response
from stark.apiserver.resources import Resources
from stark.apiserver.wire.discovery import Discovery
from stark.apiserver.wire.openapi import OpenApi


class WireServer(ThreadingHTTPServer):
    """Serves `resources`; `seen` lists what was asked, `bodies` what was sent."""

    daemon_threads = True

    def __init__(self, resources: Resources, minor: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.discovery = Discovery(resources)
        self.openapi = OpenApi(resources, f"v1.{minor}.0")
        self.minor = minor
        self.objects: dict[str, dict[str, Any]] = {}
        self.seen: list[str] = []
        self.bodies: list[tuple[str, str, bytes]] = []

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str, query: dict[str, list[str]], accept: str) -> Response:
        """The answer to a GET."""
        if path == "/version":
            version = {"major": "1", "minor": self.minor, "gitVersion": f"v1.{self.minor}.0"}
            return Response(200, orjson.dumps(version))
        found = self.discovery.respond(path, accept)
        found = found or self.openapi.respond(path, query.get("hash", [""])[0], accept)
        if found is not None:
            return found
        if path in self.objects:
            return Response(200, orjson.dumps(self.objects[path]))
        raise NotFound(f"{path} not found")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WireServer

    def _send(self, response: Response) -> None:
        body = response.body if isinstance(response.body, bytes) else b"".join(response.body)
        self.send_response(response.status)
        for name, value in {"Content-Type": response.content_type, **response.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.seen.append(f"{parts.path} {self.headers.get('Accept', '')}")
        try:
            self._send(self.server.answer(parts.path, parse_qs(parts.query), self.headers.get("Accept", "")))
        except ApiError as error:
            self._send(Response(error.code, error.encode()))

    def _write(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.bodies.append((self.command, self.headers.get("Content-Type", ""), body))
        path = urlsplit(self.path).path
        self._send(Response(200, orjson.dumps(self.server.objects[path]) if path in self.server.objects else body))

    do_POST = _write
    do_PATCH = _write

    def log_message(self, *args: Any) -> None:
        """Quiet: `seen` is the log."""


@contextmanager
def wire_server(resources: Resources, minor: str = "33") -> Iterator[WireServer]:
    """A running server, stopped at the end."""
    server = WireServer(resources, minor)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
