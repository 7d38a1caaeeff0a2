"""The real controllers against the real API server, in the test's own process, with hollow nodes to run on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from stark.apiserver.auth.identities import parse_identity
from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.controllers.catalog import CATALOG, builder_of
from stark.controllers.kit import Builder, InformerFactory, Runner, run_controllers

from .apiserver import Api, api_server
from .hollow import Hollow, hollow

T = TypeVar("T")
SETTLE_S = 20.0


def config_of(api: Api, identity: str) -> ClientConfig:
    """How `admin`, `controllers` or `node:<name>` reach the server."""
    authority = api.running.authority
    credential = authority.issue(parse_identity(identity))
    return ClientConfig(
        server=api.running.url,
        ca_data=authority.certificate_pem,
        client_cert_data=credential.certificate_pem,
        client_key_data=credential.key_pem,
    )


@asynccontextmanager
async def controllers(
    config: ClientConfig, names: Sequence[str] = (), builders: Mapping[str, Builder] | None = None
) -> AsyncIterator[None]:
    """The named controllers (default: all), without elections, as the user `system:stark-controllers`."""
    async with Client(config, user_agent="controllers") as api:
        informers = InformerFactory(api)
        chosen = {name: builder_of(name) for name in names or sorted(CATALOG)}
        runners = [Runner(name, builder, api, informers) for name, builder in {**chosen, **(builders or {})}.items()]
        task = asyncio.create_task(run_controllers(informers, runners))
        try:
            yield
            if task.done():
                task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


@dataclass
class Cluster:
    """A server, a client as admin, and nodes."""

    api: Client
    server: Api
    nodes: Hollow
    controllers_config: ClientConfig

    async def until(self, what: str, look: Callable[[], Awaitable[T | None]], timeout_s: float = SETTLE_S) -> T:
        """Look again and again until there is something that is not None or False."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            found = await look()
            if found is not None and found is not False:
                return found
            assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
            await asyncio.sleep(0.05)


@asynccontextmanager
async def cluster(directory: Path, nodes: Sequence[str] = ("n1", "n2", "n3")) -> AsyncIterator[Cluster]:
    """Everything but the controllers, which a test starts and stops as it likes."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(api_server(directory))
        api = await stack.enter_async_context(Client(config_of(server, "admin")))
        agents = await stack.enter_async_context(hollow(api, nodes))
        yield Cluster(api, server, agents, config_of(server, "controllers"))
