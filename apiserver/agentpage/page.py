"""The files of the page at `/agent/`, as `make browser` built them; without them, a page that says how to build it.

They are read once, since there are few and they are small. Assets have their content's hash in their names and are never
asked for again; the page itself is, and by its ETag costs nothing when it is the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import NotFound
from ..facade.facade import Route
from ..request import Answer, Request, Response

DIST: Final = Path(__file__).parent / "dist"
FILES_MAX: Final = 64
FILE_BYTES_MAX: Final = 4 * 1024 * 1024
TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; worker-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The agent talks to its own server and to nobody else, and runs no code but its own."""
SANDBOX_POLICY: Final = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval' blob:; worker-src blob:; "
    "style-src 'unsafe-inline' blob: data: https:; img-src blob: data: https:; font-src blob: data: https:; "
    "media-src blob: data: https:; connect-src blob: data: https: wss: http: ws:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
"""A pack runs whatever it brings, in an origin of its own: no storage and no token of the page are in its reach."""
SANDBOX: Final = "sandbox.html"
FOREVER: Final = "public, max-age=31536000, immutable"
NOT_BUILT: Final = (
    b"<!doctype html><html lang=en><meta charset=utf-8><title>Stark</title><h1>The browser agent is not built</h1>"
    b"<p>This server was installed without it. With npm there, run <code>make browser</code> in the checkout, "
    b"or install the wheel that <code>make wheel</code> makes.</p>"
)


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    etag: str
    type: str
    headers: Mapping[str, str]


class AgentPage:
    """The handlers."""

    def __init__(self, directory: Path = DIST) -> None:
        self._files = _read(directory)

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return tuple(
            Route(method, path, self.get)
            for path in ("/agent", "/agent/*", "/agent/assets/*")
            for method in ("GET", "HEAD")
        )

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """A file. Raises NotFound."""
        if request.path == "/agent":
            return Response(308, headers={"Location": "/agent/"})
        if not self._files:
            return Response(503, NOT_BUILT, TYPES[".html"], {"Cache-Control": "no-store"})
        file = self._files.get(request.path.removeprefix("/agent/") or "index.html")
        if file is None:
            raise NotFound(f"there is nothing at {request.path}")
        headers = {**file.headers, "ETag": file.etag}
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(304, headers=headers)
        if request.method == "HEAD":
            return Response(200, b"", file.type, {**headers, "Content-Length": str(len(file.body))})
        return Response(200, file.body, file.type, headers)


def _read(directory: Path) -> Mapping[str, _File]:
    if not (directory / "index.html").is_file():
        return {}
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file() and path.suffix in TYPES]
    assert len(paths) <= FILES_MAX, (directory, len(paths))
    return {str(path.relative_to(directory)): _file(path, directory) for path in paths}


def _file(path: Path, directory: Path) -> _File:
    body = path.read_bytes()
    assert len(body) <= FILE_BYTES_MAX, (path, len(body))
    headers = {"Referrer-Policy": "no-referrer"}
    if path.parent.name == "assets":
        headers["Cache-Control"] = FOREVER
    else:
        headers["Cache-Control"] = "no-cache"
        headers["Content-Security-Policy"] = SANDBOX_POLICY if path.name == SANDBOX else PAGE_POLICY
    return _File(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', TYPES[path.suffix], headers)
