"""`POST` and `GET pods/<name>/log` of pods that run in browsers: taken from the agent, kept here, read as any other."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson
import structlog

from stark.crds.incarnations import STALE, incarnation_of

from ..auth.nodes import Lookup, node_name
from ..errors import BadRequest, Cause, Conflict, Forbidden
from ..proxy.agents import choose_container, find_pod, is_browser
from ..proxy.logs import require_started
from ..proxy.options import LogOptions, parse_log_options
from ..request import Request, Response, Stream
from .logshelf import Line, LogShelf

PUSH_BYTES_MAX: Final = 1024 * 1024
LINES_MAX: Final = 5_000
TEXT_MAX: Final = 16 * 1024
"""Characters of a line; longer ones are cut, with a mark."""
FOLLOW_PAUSE_S: Final = 0.25
"""A follower sees a line so much later: it may have been brought to another process of this server."""
SWEEP_PERIOD_S: Final = 600.0
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
NUMBER_MAX: Final = 2**53

log = structlog.get_logger(__name__)


class BrowserLogs:
    """The handlers."""

    def __init__(self, lookup: Lookup, shelf: LogShelf) -> None:
        self._lookup, self._shelf = lookup, shelf

    async def has(self, namespace: str, name: str) -> bool:
        """Whether the pod is on a browser. Raises NotFound."""
        pod = await find_pod(self._lookup, namespace, name)
        node_of_pod = pod["spec"].get("nodeName")
        node = await self._lookup.get("", "nodes", "", node_of_pod) if node_of_pod else None
        return node is not None and is_browser(node)

    async def take(self, request: Request, namespace: str, name: str) -> Response:
        """Lines from the pod's agent. Raises NotFound, Forbidden, Conflict, BadRequest."""
        pod = await find_pod(self._lookup, namespace, name)
        await self._judge(request, pod)
        try:
            body = orjson.loads(await request.body.read(PUSH_BYTES_MAX))
            uid, container, attempt = str(body["uid"]), str(body["container"]), int(body["attempt"])
            lines = [_line(*entry) for entry in body["lines"][:LINES_MAX]]
            ended = body.get("ended") is True
        except (ValueError, TypeError, KeyError) as error:
            raise BadRequest(f"not a push of log lines: {error}") from error
        if uid != pod["metadata"]["uid"]:
            raise Conflict(f'pods "{name}": these are lines of another pod of that name', kind="pods", name=name)
        known = [one["name"] for key in ("containers", "initContainers") for one in pod["spec"].get(key) or ()]
        if container not in known or not 0 <= attempt < NUMBER_MAX:
            raise BadRequest(f"container {container} is not valid for pod {name}")
        last = await asyncio.to_thread(partial(self._shelf.append, uid, container, attempt, lines, ended=ended))
        return Response(body=orjson.dumps({"last": last}))

    async def _judge(self, request: Request, pod: Mapping[str, Any]) -> None:
        assert request.user is not None, request.path
        node = node_name(request.user)
        if not node or pod["spec"].get("nodeName") != node:
            raise Forbidden("only the agent of a pod's node brings its log", kind="pods", name=pod["metadata"]["name"])
        found = await self._lookup.get("", "nodes", "", node)
        if found is None or request.headers.get("stark-incarnation", "") != incarnation_of(found["metadata"]).header:
            why = f'this is a report of a life of node "{node}" that is over'
            raise Conflict(why, kind="pods", name=pod["metadata"]["name"], causes=[Cause("", why, STALE)])

    async def get_log(self, request: Request, namespace: str, name: str) -> Stream:
        """The container's log as text/plain. Raises NotFound, BadRequest, Invalid."""
        options = parse_log_options(request.query)
        pod = await find_pod(self._lookup, namespace, name)
        container = choose_container(pod, options.container)
        require_started(pod, container)
        uid = pod["metadata"]["uid"]
        attempts = await asyncio.to_thread(self._shelf.attempts, uid, container)
        wanted = _restarts(pod, container) - (1 if options.previous else 0)
        if options.previous and wanted not in attempts:
            raise BadRequest(f'previous terminated container "{container}" in pod "{name}" not found')
        chunks = self._chunks(namespace, name, uid, container, max(wanted, 0), options)
        return Stream(chunks, 200, "text/plain", {"Cache-Control": "no-cache, private"})

    async def _chunks(
        self, namespace: str, name: str, uid: str, container: str, attempt: int, options: LogOptions
    ) -> AsyncIterator[bytes]:
        left = options.limit_bytes
        follow = options.follow and not options.previous
        lines, ended = await asyncio.to_thread(self._shelf.read, uid, container, attempt)
        after, seen = lines[-1].number if lines else 0, None
        lines = _chosen(lines, options)
        while True:
            data = "".join(f"{line.at} {line.text}\n" if options.timestamps else f"{line.text}\n" for line in lines)
            chunk = data.encode() if left is None else data.encode()[:left]
            if chunk:
                yield chunk
            left = left - len(chunk) if left is not None else None
            if not follow or ended or left == 0:
                return
            pod = await self._lookup.get("", "pods", namespace, name)
            if pod is None or pod["metadata"]["uid"] != uid or _restarts(pod, container) > attempt:
                follow = False  # one last look
            else:
                await asyncio.sleep(FOLLOW_PAUSE_S)
            now = await asyncio.to_thread(self._shelf.size, uid, container, attempt)
            lines = []
            if now != seen:
                seen = now
                lines, ended = await asyncio.to_thread(self._shelf.read, uid, container, attempt, after)
                after = lines[-1].number if lines else after


def _line(number: Any, at: Any, text: Any) -> Line:
    """Raises ValueError."""
    if type(number) is not int or not 0 < number < NUMBER_MAX or not TIME.fullmatch(str(at)):
        raise ValueError("a line is [number, RFC 3339 time, text]")
    plain = str(text).replace("\r", "").replace("\n", " ")
    return Line(number, str(at), plain if len(plain) <= TEXT_MAX else plain[:TEXT_MAX] + " [cut]")


def _restarts(pod: Mapping[str, Any], container: str) -> int:
    status = pod.get("status") or {}
    both = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    return int(next((one.get("restartCount") or 0 for one in both if one["name"] == container), 0))


def _chosen(lines: list[Line], options: LogOptions) -> list[Line]:
    """What of the past is wanted."""
    since = time.time() - options.since_seconds if options.since_seconds is not None else None
    if options.since_time:
        since = datetime.fromisoformat(options.since_time).timestamp()
    if since is not None:
        lines = [line for line in lines if datetime.fromisoformat(line.at).timestamp() >= since]
    if options.tail_lines is not None:
        lines = lines[-options.tail_lines :] if options.tail_lines else []
    return lines


async def sweep_logs_forever(shelf: LogShelf, lookup: Lookup, synced: asyncio.Event) -> None:
    """Remove what is kept for too long, from time to time."""
    await synced.wait()
    while True:
        alive = {str(pod["metadata"]["uid"]) for pod in await lookup.list("", "pods")}
        try:
            gone = await asyncio.to_thread(shelf.sweep, alive)
            if gone:
                log.info("logs of browsers' pods removed", pods=len(gone))
        except OSError as error:
            log.warning("logs of browsers' pods were not swept", error=str(error))
        await asyncio.sleep(SWEEP_PERIOD_S)
