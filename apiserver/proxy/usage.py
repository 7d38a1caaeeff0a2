"""Asks agents what is used on their nodes: only when somebody wants to know, many at a time, each only for a moment.

What an agent said is kept for a few seconds, and who asks meanwhile shares it, also while it is still being fetched. An
agent that does not answer costs its own figures and nothing else.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import structlog
from yarl import URL

from ..errors import ServiceUnavailable
from ..usage.figures import NodeFigures, parse_summary
from .agents import Agent, Lookup, agent_of

log = structlog.get_logger(__name__)

SUMMARY_PATH: Final = "/stats/summary"
SUMMARY_BYTES_MAX: Final = 8 << 20
"""Of an agent's answer: ten thousand containers and more. A longer one counts as none."""


@dataclass(frozen=True, slots=True)
class UsageSettings:
    """How often and how long agents are asked."""

    kept_s: float = 15.0
    """Seconds for which an answer is good. Agents measure anew every ten."""
    answer_s: float = 5.0
    """Seconds an agent has for its whole answer."""
    all_s: float = 30.0
    """Seconds after which the agents that have not answered are left out of a list."""
    at_once: int = 64
    """Agents that are asked at the same time."""
    connection_idle_s: float = 30.0
    """Seconds a connection is kept, so that a second list does not cost thousands of handshakes."""


@dataclass(slots=True)
class _Asked:
    task: asyncio.Task[NodeFigures | None]
    until_s: float = float("inf")
    """When the answer is no longer good; set once it is there."""


class AgentUsage:
    """Remembers what agents said. `close` it at the end."""

    def __init__(self, lookup: Lookup, tls: ssl.SSLContext, settings: UsageSettings | None = None) -> None:
        self._lookup, self._tls = lookup, tls
        self._settings = settings or UsageSettings()
        self._asked: dict[str, _Asked] = {}
        self._turns = asyncio.Semaphore(self._settings.at_once)
        self._session: aiohttp.ClientSession | None = None

    async def of(self, nodes: Iterable[str]) -> Mapping[str, NodeFigures]:
        """The figures by node, of those that answered in time and have measured a whole window."""
        now_s = asyncio.get_running_loop().time()
        # Nodes come and go: what is no longer good is dropped here, so that there is never more than one look needs.
        self._asked = {node: asked for node, asked in self._asked.items() if asked.until_s > now_s}
        wanted = {node: self._ask(node) for node in nodes}
        if wanted:
            await asyncio.wait({asked.task for asked in wanted.values()}, timeout=self._settings.all_s)
        found = {node: asked.task.result() for node, asked in wanted.items() if asked.task.done()}
        return {node: figures for node, figures in found.items() if figures is not None}

    async def close(self) -> None:
        """End what is being asked, and the connections."""
        tasks = [asked.task for asked in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _ask(self, node: str) -> _Asked:
        known = self._asked.get(node)
        if known is None:
            # A task of its own and not the asker's: an asker that leaves must not take the others' answer along.
            known = self._asked[node] = _Asked(asyncio.create_task(self._pull(node), name=f"usage of {node}"))
        return known

    async def _pull(self, node: str) -> NodeFigures | None:
        try:
            async with self._turns:
                agent = await self._reachable(node)
                return None if agent is None else await self._read(agent)
        finally:
            asked = self._asked.get(node)
            if asked is not None and asked.task is asyncio.current_task():
                asked.until_s = asyncio.get_running_loop().time() + self._settings.kept_s

    async def _reachable(self, name: str) -> Agent | None:
        """Where to ask; None for a node that is gone, says nothing of its agent, or has not been heard of for long."""
        node = await self._lookup.get("", "nodes", "", name)
        if node is None or _is_lost(node):
            return None
        try:
            return agent_of(node)
        except ServiceUnavailable:
            return None

    async def _read(self, agent: Agent) -> NodeFigures | None:
        url = URL.build(scheme="https", host=agent.address, port=agent.port, path=SUMMARY_PATH)
        try:
            async with asyncio.timeout(self._settings.answer_s):
                # The certificate must be the node's: who took over its address does not speak for it. Nor does an agent
                # send us elsewhere: what it can make us ask, it asks with our rights and from where we stand.
                async with self._connections().get(
                    url, ssl=self._tls, server_hostname=agent.node, allow_redirects=False
                ) as response:
                    if response.status != 200:
                        raise ValueError(f"it answered {response.status}")
                    data = bytearray()
                    async for piece in response.content.iter_any():
                        data += piece
                        if len(data) > SUMMARY_BYTES_MAX:
                            raise ValueError(f"longer than {SUMMARY_BYTES_MAX} bytes")
                    return parse_summary(bytes(data))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            log.info("an agent's usage is not known", node=agent.node, error=str(error) or type(error).__name__)
            return None

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Made here and not in the constructor, because a session belongs to the running loop.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=self._settings.connection_idle_s)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Accept-Encoding": "identity"},
            )
        return self._session


def _is_lost(node: Mapping[str, Any]) -> bool:
    """Nobody has heard of the node for long: its agent would only be waited for."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "Unknown" for each in conditions)
