"""/healthz, /livez and /readyz: alive is "do not restart me", ready is "send me requests".

/health, /live and /ready say the same as JSON, as Stark Orchestrator did; /health is about being ready, since whoever asks
wants to know whether what they send will be answered.

The store being away makes us not ready but never not alive: restarting the API server does not bring a store back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import orjson

from stark.crds.version import VERSION

from .request import Query, Response
from .times import timestamp

PLAIN: Final = {"/health": ("healthy", "unhealthy"), "/ready": ("ready", "not ready"), "/live": ("alive", "not alive")}
"""What each says, of good and of bad."""
CHECK_TIMEOUT_S: Final = 2.0
"""A check that takes longer has failed."""

Check = Callable[[], Awaitable[str]]
"""The reason why it fails; empty when all is well."""


class Health:
    """The checks by name, in the order they are shown."""

    def __init__(self) -> None:
        self._live: dict[str, Check] = {"ping": _pong}
        self._ready: dict[str, Check] = {"ping": _pong}
        self._began = time.monotonic()

    def add_ready(self, name: str, check: Check) -> None:
        """One more condition of being ready."""
        self._ready[name] = check

    async def respond(self, path: str, query: Query) -> Response | None:
        """The answer for `/readyz`, `/readyz/<check>` and so on; None for another path."""
        if path in PLAIN:
            return await self._plain(path)
        _, endpoint, *rest = path.split("/")
        if endpoint not in ("healthz", "livez", "readyz") or len(rest) > 1:
            return None
        checks = self._ready if endpoint == "readyz" else self._live
        if rest and rest[0]:
            if rest[0] not in checks:
                return None
            checks = {rest[0]: checks[rest[0]]}
        excluded = set(query.all("exclude"))
        results = {name: await _result(check) for name, check in checks.items() if name not in excluded}
        return _answer(endpoint, results, verbose="verbose" in query)

    async def _plain(self, path: str) -> Response:
        """As JSON; 503 when it is not so."""
        checks = self._live if path == "/live" else self._ready
        results = {name: await _result(check) for name, check in checks.items()}
        good = not any(results.values())
        good_word, bad_word = PLAIN[path]
        told = {
            "status": good_word if good else bad_word,
            "timestamp": timestamp(datetime.now(UTC)),
            "version": VERSION,
            "uptime": round(time.monotonic() - self._began, 3),
            "checks": {name: reason or "ok" for name, reason in results.items()},
        }
        return Response(200 if good else 503, orjson.dumps(told))

    async def is_ready(self) -> bool:
        """All conditions of being ready hold."""
        return not any([await _result(check) for check in self._ready.values()])


async def _pong() -> str:
    return ""


async def _result(check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            return await check()
    except TimeoutError:
        return f"no answer in {CHECK_TIMEOUT_S:g} s"


def _answer(endpoint: str, results: dict[str, str], *, verbose: bool) -> Response:
    failed = any(results.values())
    if not failed and not verbose:
        return Response(body=b"ok", content_type="text/plain; charset=utf-8")
    lines = [f"[-]{name} failed: {reason}" if reason else f"[+]{name} ok" for name, reason in results.items()]
    lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
    status = 500 if failed else 200
    return Response(status, "\n".join([*lines, ""]).encode(), "text/plain; charset=utf-8")
