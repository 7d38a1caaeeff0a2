"""`pods/exec`, `pods/attach` and `pods/portforward`: who is meant, may they connect, and hand the connection to the agent.

The streams themselves (stdin, stdout, stderr, exit code, terminal size, forwarded connections) are the agent's business:
see `relay`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from ..admission.attributes import Attributes
from ..errors import BadRequest
from ..registry.options import Target
from ..request import Query, Request, Upgrade
from .agents import Lookup, choose_container, pod_and_agent
from .relay import Relays, upgrade_of

Admit = Callable[[Attributes], Awaitable[None]]
FLAGS: Final = ("stdin", "stdout", "stderr", "tty")
KINDS: Final = {"exec": "PodExecOptions", "attach": "PodAttachOptions"}


class PodStreams:
    """The handlers."""

    def __init__(self, lookup: Lookup, relays: Relays, admit: Admit) -> None:
        self._lookup, self._relays, self._admit = lookup, relays, admit

    async def exec(self, request: Request, target: Target) -> Upgrade:
        """Run a command in a container of the pod. Raises NotFound, BadRequest, and what admission or the agent says."""
        return await self._open(request, target, request.query.all("command"))

    async def attach(self, request: Request, target: Target) -> Upgrade:
        """Connect to the container's own program. Raises as `exec` does."""
        return await self._open(request, target, ())

    async def port_forward(self, request: Request, target: Target) -> Upgrade:
        """Connect to ports of the pod: those in the query over WebSocket, those of each stream over SPDY.

        Raises as `exec` does.
        """
        ports = ports_of(request.query)
        options = {"kind": "PodPortForwardOptions", "apiVersion": "v1"} | ({"ports": ports} if ports else {})
        await connect(self._admit, request, target, options)
        upgrade_of(request.headers)
        pod, agent = await pod_and_agent(self._lookup, target.namespace, target.name)
        path = quote(f"/portForward/{target.namespace}/{target.name}")
        query = urlencode([("uid", pod["metadata"]["uid"]), *(("ports", port) for port in ports)])
        return await self._relays.open(agent, f"{path}?{query}", request)

    async def _open(self, request: Request, target: Target, command: Sequence[str]) -> Upgrade:
        options = options_of(target.subresource, request.query, command)
        await connect(self._admit, request, target, options)
        upgrade_of(request.headers)
        pod, agent = await pod_and_agent(self._lookup, target.namespace, target.name)
        # From here on the options are what admission has left of them, not what was asked.
        container = choose_container(pod, options.get("container", ""))
        path = quote(f"/{target.subresource}/{target.namespace}/{target.name}/{container}")
        asked = [("command", word) for word in options.get("command", ())]
        asked += [(flag, "true") for flag in FLAGS if options.get(flag)]
        return await self._relays.open(agent, f"{path}?{urlencode([('uid', pod['metadata']['uid']), *asked])}", request)


def options_of(subresource: str, query: Query, command: Sequence[str]) -> dict[str, Any]:
    """The request's options as the object of their kind. Raises BadRequest."""
    options: dict[str, Any] = {"kind": KINDS[subresource], "apiVersion": "v1"}
    options |= {flag: query.flag(flag) for flag in FLAGS}
    if query.first("container"):
        options["container"] = query.first("container")
    if subresource == "exec":
        if not command:
            raise BadRequest("you must specify at least one command for the container")
        options["command"] = list(command)
    if not any(options[flag] for flag in ("stdin", "stdout", "stderr")):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return options


def ports_of(query: Query) -> list[int]:
    """The ports asked for, repeated or with commas between them. Raises BadRequest."""
    words = [word for value in query.all("ports") for word in value.split(",")]
    for word in words:
        if not word.isdecimal() or not 0 < int(word) < 1 << 16:
            raise BadRequest(f'ports: expected numbers from 1 to 65535, got "{word}"')
    return [int(word) for word in words]


async def connect(admit: Admit, request: Request, target: Target, options: dict[str, Any]) -> None:
    """Ask admission whether this connection may be made. Raises what a plugin raises."""
    assert request.user is not None, request.path
    attributes = Attributes(
        "CONNECT",
        target.resource,
        target.subresource,
        target.namespace,
        target.name,
        options,
        None,
        request.user,
        warnings=request.warnings,
        audit=request.audit,
        kind=("", "v1", options["kind"]),
    )
    await admit(attributes)
