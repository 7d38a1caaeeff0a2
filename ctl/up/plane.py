"""The programs that make up one machine's Stark, the order they start in, and the order they stop in.

Start: API server, then controllers and agents together. Stop: agents first, so that their pods end and say so, then
controllers, then the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import CommandError, ServerError, Unreachable
from .child import Child, ChildFailed

SERVER_READY_S = 60.0
OTHERS_READY_S = 60.0
POLL_S = 0.1
NODE_NAME_CHARS_MAX = 48
"""A node's name goes into the common name of its certificate, which has room for 52, and may get a number."""


SERVER = "stark.apiserver"
STORAGE_KEYS = "AWS_"
"""How the variables begin that say who we are to an object storage: only the server is told them, no agent beside pods."""


@dataclass(frozen=True, slots=True)
class PlaneSettings:
    """What `starkctl up` was told."""

    data_dir: Path
    """Where everything is kept."""
    address: str
    """Address the API server listens on."""
    port: int
    """Port it listens on."""
    store: str
    """`sqlite` or `etcd=URL[,URL...]`."""
    blobs: str
    """Where bundles are kept: a folder, `s3://BUCKET/PREFIX`, or nothing for one in the data directory."""
    workers: int
    """How many processes of the API server serve."""
    agents: int
    """How many agents run on this machine, each with a node of its own."""
    agent_options: tuple[str, ...] = ()
    """Further options of every agent."""
    echo_logs: bool = False
    """Copy the programs' logs to our stderr."""


class Plane:
    """A control plane and its agents, as children of this process."""

    def __init__(self, settings: PlaneSettings) -> None:
        self.settings = settings
        self.kubeconfig = settings.data_dir / "admin.kubeconfig"
        self._server: Child | None = None
        self._controllers: Child | None = None
        self._agents: list[Child] = []

    @property
    def url(self) -> str:
        """Where the API server answers."""
        host = self.settings.address
        return f"https://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    def node_names(self) -> list[str]:
        """The machine's name for the first agent, numbered after that."""
        base = re.sub(r"[^a-z0-9.-]", "-", socket.gethostname().lower())[:NODE_NAME_CHARS_MAX].strip("-.")
        base = "node" if base in ("", "localhost") else base
        return [base if number == 1 else f"{base}-{number}" for number in range(1, self.settings.agents + 1)]

    async def start(self) -> None:
        """Return when everything runs and the agents' nodes are Ready. Raises CommandError."""
        try:
            await self._start_server()
            await self._start_others()
        except ChildFailed as error:
            raise CommandError(str(error)) from error

    async def run(self) -> None:
        """Keep all children running until cancelled."""
        async with asyncio.TaskGroup() as group:
            for child in self._children():
                group.create_task(child.keep_running())

    async def stop(self) -> None:
        """Stop agents, controllers and server, in this order."""
        await asyncio.gather(*(agent.stop() for agent in self._agents))
        for child in (self._controllers, self._server):
            if child is not None:
                await child.stop()

    def _children(self) -> list[Child]:
        return [child for child in (self._server, self._controllers, *self._agents) if child is not None]

    async def _start_server(self) -> None:
        settings = self.settings
        host = f"[{settings.address}]" if ":" in settings.address else settings.address
        options = [
            "--data-dir",
            str(settings.data_dir),
            "--listen",
            f"{host}:{settings.port}",
            "--store",
            settings.store,
            "--workers",
            str(settings.workers),
            *(["--blobs", settings.blobs] if settings.blobs else []),
        ]
        for name in self.node_names():
            directory = settings.data_dir / "agents" / name
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            options += ["--node-kubeconfig", f"{name}={directory / 'kubeconfig'}"]
        self._server = self._child("apiserver", SERVER, *options)
        await self._server.start()
        await self._server.ready(SERVER_READY_S)

    async def _start_others(self) -> None:
        settings = self.settings
        self._controllers = self._child(
            "controllers", "stark.controllers", "--kubeconfig", str(settings.data_dir / "controllers.kubeconfig")
        )
        await self._controllers.start()
        for name in self.node_names():
            directory = settings.data_dir / "agents" / name
            agent = self._child(
                f"agent-{name}", "stark.agent", "--kubeconfig", str(directory / "kubeconfig"), "--data-dir", str(directory),
                "--hide", str(settings.data_dir),
                "--name", name, "--on-stop", "stop", *settings.agent_options,
            )  # fmt: skip
            self._agents.append(agent)
            await agent.start()
        # Each says so itself first: after a crash the stored nodes may still look ready while nobody is there.
        await asyncio.gather(*(child.ready(OTHERS_READY_S) for child in (self._controllers, *self._agents)))
        await self._nodes_ready()

    async def _nodes_ready(self) -> None:
        """Wait until every agent's node is Ready, or an agent has failed."""
        wanted = set(self.node_names())
        try:
            async with asyncio.timeout(OTHERS_READY_S):
                while not wanted <= await asyncio.to_thread(self._ready_nodes):
                    for child in self._children():
                        child.raise_if_ended()
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            logs = self.settings.data_dir / "logs"
            raise ChildFailed(f"the agents were not ready within {OTHERS_READY_S:g} s: see {logs}") from error

    def _ready_nodes(self) -> set[str]:
        from stark.client.config import load_kubeconfig

        from ..http import Api

        api = Api(load_kubeconfig(self.kubeconfig))
        try:
            nodes = api.get("/api/v1/nodes").get("items") or ()
        except (ServerError, Unreachable):
            return set()
        finally:
            api.close()
        ready = ("Ready", "True")
        return {
            node["metadata"]["name"]
            for node in nodes
            if any((c["type"], c["status"]) == ready for c in (node.get("status") or {}).get("conditions") or ())
        }

    def _child(self, name: str, module: str, *arguments: str) -> Child:
        log = self.settings.data_dir / "logs" / f"{name}.log"
        echo: Callable[[bytes], None] | None = _echo if self.settings.echo_logs else None
        keeps_bundles = module == SERVER
        environment = {
            key: value for key, value in os.environ.items() if keeps_bundles or not key.startswith(STORAGE_KEYS)
        }
        return Child(name, (sys.executable, "-m", module, *arguments), log, environment=environment, on_line=echo)


def _echo(line: bytes) -> None:
    os.write(2, line)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the data directory against a second `starkctl up`. Raises CommandError."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (directory / "up.lock").open("a+")
    except OSError as error:
        raise CommandError(
            f"cannot write the data directory {directory}: {error.strerror}; choose another with --data-dir"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise CommandError(
                f"another `starkctl up` (pid {file.read().strip()}) uses {directory}: stop it, or choose another --data-dir"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
