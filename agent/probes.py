"""Carrying out one probe or hook: a command beside the container, an HTTP GET, a TCP connection, a gRPC call, or a pause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp

from stark.crds.pods import Container, GRPCAction, HTTPGetAction, LifecycleHandler, Probe

from .grpc_health import NotHealthy, check_health
from .supervisor.link import ExecResult, SupervisorError

MESSAGE_MAX = 1024
BODY_MAX = 10 * 1024
NO_ANSWER = 0  # in place of a status

RunCommand = Callable[[list[str], float], Awaitable[ExecResult]]
"""Runs a command in the container's surroundings: (argv, timeout in seconds)."""


def host_port(container: Container, port: int | str, ports: Mapping[str, int]) -> int | None:
    """The port on the host for a probe's port, which is a name or the number in the spec."""
    for declared in container.ports:
        if port in (declared.name, declared.container_port, str(declared.container_port)):
            return ports.get(declared.name or str(declared.container_port))
    return int(port) if str(port).isdigit() else None


class Prober:
    """Runs probes from the node, as kubelet does. Use as an async context manager."""

    def __init__(self, node_ip: str) -> None:
        self._node_ip = node_ip
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Prober:
        connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=False)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(
        self, probe: Probe, container: Container, ports: Mapping[str, int], command: RunCommand
    ) -> tuple[bool, str]:
        """Whether it succeeded, and what to tell a person when it did not. Never raises for a failing probe."""
        timeout_s = float(probe.timeout_seconds)
        try:
            if probe.exec_ is not None:
                return await _exec(probe.exec_.command, timeout_s, command)
            if probe.http_get is not None:
                port = host_port(container, probe.http_get.port, ports)
                status, message = await self._http(probe.http_get, port, timeout_s)
                return 200 <= status < 400, message or f"HTTP probe failed with statuscode: {status}"
            if probe.tcp_socket is not None:
                port = host_port(container, probe.tcp_socket.port, ports)
                return await self._tcp(probe.tcp_socket.host, port, timeout_s)
            if probe.grpc is not None:
                return await self._grpc(probe.grpc, host_port(container, probe.grpc.port, ports), timeout_s)
        except SupervisorError as error:
            return False, str(error)
        return True, "the probe names nothing to check"

    async def carry_out(
        self,
        handler: LifecycleHandler,
        container: Container,
        ports: Mapping[str, int],
        command: RunCommand,
        timeout_s: float,
    ) -> tuple[bool, str]:
        """Do what a hook asks for: whether it succeeded, and what went wrong. Never raises for a failing hook."""
        try:
            if handler.exec_ is not None:
                return await _exec(handler.exec_.command, timeout_s, command)
            if handler.http_get is not None:
                port = host_port(container, handler.http_get.port, ports)
                status, message = await self._http(handler.http_get, port, timeout_s)
                return status != NO_ANSWER, message  # it was told; what it answers is its own affair, as in Kubernetes
            if handler.tcp_socket is not None:
                port = host_port(container, handler.tcp_socket.port, ports)
                return await self._tcp(handler.tcp_socket.host, port, timeout_s)
            if handler.sleep is not None:
                await asyncio.sleep(min(float(handler.sleep.seconds), timeout_s))
        except SupervisorError as error:
            return False, str(error)
        return True, ""

    async def _http(self, action: HTTPGetAction, port: int | None, timeout_s: float) -> tuple[int, str]:
        """The answer's status, or `NO_ANSWER` and why there was none."""
        assert self._session is not None, "use the prober as an async context manager"
        if port is None:
            return NO_ANSWER, f"the container has no port {action.port}"
        host = action.host or self._node_ip
        path = action.path if action.path.startswith("/") else f"/{action.path}"
        url = f"{action.scheme.lower()}://{f'[{host}]' if ':' in host else host}:{port}{path}"
        headers = {"User-Agent": "stark-probe/1", **{header.name: header.value for header in action.http_headers}}
        try:
            async with self._session.get(
                url, headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s), allow_redirects=False
            ) as response:
                await response.content.read(BODY_MAX)
                return response.status, ""
        except TimeoutError:
            return NO_ANSWER, f'Get "{url}": no answer within {timeout_s:g} s'
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return NO_ANSWER, f'Get "{url}": {error}'[:MESSAGE_MAX]

    async def _grpc(self, action: GRPCAction, port: int | None, timeout_s: float) -> tuple[bool, str]:
        if port is None:
            return False, f"the container has no port {action.port}"
        where = f"{self._node_ip}:{port}"
        try:
            await asyncio.wait_for(check_health(self._node_ip, port, action.service or ""), timeout_s)
        except TimeoutError:
            return False, f'timeout: failed to connect service "{where}" within {timeout_s:g} s'
        except OSError as error:
            return False, f'failed to connect service "{where}": {error.strerror or error}'
        except NotHealthy as error:
            return False, str(error)
        return True, ""

    async def _tcp(self, host: str | None, port: int | None, timeout_s: float) -> tuple[bool, str]:
        if port is None:
            return False, "the container has no such port"
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host or self._node_ip, port), timeout_s)
        except TimeoutError:
            return False, f"dial tcp {host or self._node_ip}:{port}: no answer within {timeout_s:g} s"
        except OSError as error:
            return False, f"dial tcp {host or self._node_ip}:{port}: {error.strerror or error}"
        writer.close()
        return True, ""


async def _exec(argv: list[str], timeout_s: float, command: RunCommand) -> tuple[bool, str]:
    if not argv:
        return False, "the command is empty"
    done = await command(argv, timeout_s)
    if done.timed_out:
        return False, f"command timed out after {timeout_s:g} s"
    return done.code == 0, done.output[:MESSAGE_MAX] or f"command exited with {done.code}"
