"""`GET pods/<name>/log`: find the container's agent, ask it, and pass its bytes on as they come.

Nothing is buffered beyond one read: a client that reads slowly slows the agent down, and one that leaves ends the
request to the agent.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from yarl import URL

from ..errors import ApiError, BadRequest, ServiceUnavailable
from ..request import Request, Stream
from .agents import ERROR_BYTES_MAX, Agent, Lookup, ProxySettings, choose_container, find_agent, find_pod, refusal
from .options import LogOptions, parse_log_options


class PodLogs:
    """The handler. `close` it at the end."""

    def __init__(self, lookup: Lookup, tls: ssl.SSLContext, settings: ProxySettings | None = None) -> None:
        self._lookup = lookup
        self._tls = tls
        self._settings = settings or ProxySettings()
        self._session: aiohttp.ClientSession | None = None

    async def get_log(self, request: Request, namespace: str, name: str) -> Stream:
        """The container's log as text/plain.

        Raises NotFound (no such pod or node), BadRequest (which container?, not started), Invalid, ServiceUnavailable
        (agent not reachable), or what the agent answered.
        """
        options = parse_log_options(request.query)
        pod = await find_pod(self._lookup, namespace, name)
        container = choose_container(pod, options.container)
        require_started(pod, container)
        agent = await find_agent(self._lookup, pod["spec"]["nodeName"])
        response = await self._ask(agent, f"/containerLogs/{namespace}/{name}/{container}", options)
        return Stream(PassedOn(agent, response), 200, "text/plain", {"Cache-Control": "no-cache, private"})

    async def close(self) -> None:
        """End the connections to agents."""
        if self._session is not None:
            await self._session.close()

    async def _ask(self, agent: Agent, path: str, options: LogOptions) -> aiohttp.ClientResponse:
        url = URL.build(scheme="https", host=agent.address, port=agent.port, path=path, query=options.to_query())
        try:
            async with asyncio.timeout(self._settings.answer_s):
                response = await self._connections().get(
                    url, ssl=self._tls, server_hostname=agent.node, allow_redirects=False
                )
        except aiohttp.ClientConnectorCertificateError as error:
            message = f"the agent of {agent} has a certificate that is not this node's: {error.certificate_error}"
            raise ServiceUnavailable(message) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            raise ServiceUnavailable(f"the agent of {agent} cannot be reached: {reason}") from error
        if response.status == 200:
            return response
        raise await _agent_error(agent, response)

    def _connections(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Made here and not in the constructor, because a session belongs to the running loop. No connection is
            # kept: most logs end with their connection, and an idle one would survive a change of certificates.
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_s)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session


def require_started(pod: Mapping[str, Any], container: str) -> None:
    """Raises BadRequest while the container has not run yet and so cannot have said anything."""
    status = pod.get("status") or {}
    statuses = (*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ()))
    known: Mapping[str, Any] = next((entry for entry in statuses if entry["name"] == container), {})
    state = known.get("state") or {}
    last = known.get("lastState") or {}
    runs = (state.get("running"), state.get("terminated"), last.get("terminated"))
    has_run = any(run is not None for run in runs)
    if pod["spec"].get("nodeName") and (has_run or status.get("phase") not in (None, "", "Pending", "Running")):
        return
    reason = (state.get("waiting") or {}).get("reason") or "ContainerCreating"
    raise BadRequest(f'container "{container}" in pod "{pod["metadata"]["name"]}" is waiting to start: {reason}')


async def _agent_error(agent: Agent, response: aiohttp.ClientResponse) -> ApiError:
    """The agent's refusal as ours."""
    async with response:
        try:
            text = (await response.content.read(ERROR_BYTES_MAX)).decode("utf-8", "replace").strip()
        except (aiohttp.ClientError, OSError):
            text = ""
    return refusal(agent, response.status, text)


class PassedOn:
    """The agent's bytes as they come. A class and not a generator, since one that was never begun cannot be closed."""

    def __init__(self, agent: Agent, response: aiohttp.ClientResponse) -> None:
        self._agent = agent
        self._response = response

    def __aiter__(self) -> PassedOn:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes. Raises ServiceUnavailable when the agent is lost: the log must not look complete then."""
        try:
            chunk = await self._response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            await self.aclose()
            raise ServiceUnavailable(f"the agent of {self._agent} was lost in the middle of the log") from error
        if not chunk:
            await self.aclose()
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """End the request to the agent."""
        self._response.close()
