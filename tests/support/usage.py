"""Agents that say what their nodes use, over the agent's real endpoint with a node's own certificate."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stark.agent.logs import LogShelf
from stark.agent.server import AgentServer, tls_context
from stark.apiserver.auth.identities import node_identity
from stark.apiserver.auth.pki import Authority
from stark.client.config import ClientConfig

TIME = "2026-01-02T03:04:05.678901Z"


def usage(nanocores: int, memory: int) -> dict[str, Any]:
    """As a summary has it."""
    return {"cpu": {"usageNanoCores": nanocores}, "memory": {"workingSetBytes": memory}}


@dataclass
class Said:
    """What an agent says, and how often it was asked."""

    node: dict[str, Any] = field(default_factory=lambda: usage(250_000_000, 1 << 30))
    pods: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By name in the namespace `default`."""
    asked: int = 0
    raw: bytes | None = None
    """Said instead of a summary."""
    port: int = 0
    name: str = "n1"

    def answer(self) -> bytes:
        """The body of /stats/summary."""
        self.asked += 1
        if self.raw is not None:
            return self.raw
        pods = [
            {"podRef": {"namespace": "default", "name": name, "uid": name}, "containers": containers}
            for name, containers in self.pods.items()
        ]
        return json.dumps({"time": TIME, "windowSeconds": 10.003, "node": self.node, "pods": pods}).encode()

    def object(self, **status: Any) -> dict[str, Any]:
        """The Node."""
        where = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
        }
        meta = {"name": self.name, "labels": {"disk": "fast" if self.name == "n1" else "slow"}}
        return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {**where, **status}}


def node_context(authority: Authority, directory: Path, name: str) -> ssl.SSLContext:
    """What an agent of node `name` listens with."""
    credential = authority.issue(node_identity(name))
    config = ClientConfig(
        "https://unused",
        ca_data=authority.certificate_pem,
        client_cert_data=credential.certificate_pem,
        client_key_data=credential.key_pem,
    )
    context = tls_context(config, directory)
    assert context is not None
    return context


@asynccontextmanager
async def agent_saying(authority: Authority, directory: Path, name: str, certified: str = "") -> AsyncIterator[Said]:
    """An agent of node `name`, with the certificate of `certified` (its own unless said otherwise)."""
    said = Said(name=name)
    context = await asyncio.to_thread(node_context, authority, directory / f"agent-{name}", certified or name)
    shelf = LogShelf(directory / f"logs-{name}")
    server = AgentServer(shelf, lambda _uid, _name, _attempt: False, lambda: True, said.answer)
    await server.start("127.0.0.1", 0, context)
    said.port = server.port
    try:
        yield said
    finally:
        await server.close()
