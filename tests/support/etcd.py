"""A real etcd on free loopback ports, for as long as a `with` block lasts; clusters of them, and a cable to cut."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

START_TIMEOUT_S = 20.0
STARTS_MAX = 3
"""A free port may be someone else's by the time etcd binds it."""
CHUNK_BYTES = 1 << 16


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Etcd:
    """One etcd process that can be stopped, frozen, killed and started again on the same data and ports."""

    def __init__(
        self,
        directory: Path,
        *options: str,
        name: str = "one",
        peers: Mapping[str, int] | None = None,
        scheme: str = "http",
    ) -> None:
        program = shutil.which("etcd")
        assert program, "the tests need a real etcd: apt-get install etcd-server"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        peers = peers or {name: free_port()}
        self.name = name
        self.data = directory / "data"
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._health = f"http://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{peers[name]}"
        cluster = ",".join(f"{each}=http://127.0.0.1:{port}" for each, port in peers.items())
        self._command = [
            program, "--name", name, "--data-dir", str(self.data), "--logger", "zap",
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
            "--listen-metrics-urls", self._health, *options,
        ]  # fmt: skip
        self._log = directory / "etcd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        self.launch()
        self.wait_healthy()

    def launch(self) -> None:
        """Return at once: the first members of a cluster answer only when there is a majority of them."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    def wait_healthy(self) -> None:
        """Return when it answers."""
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._healthy():
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, "etcd does not answer"
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, e.g. SIGSTOP to freeze it."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, *, kill: bool = False) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        self._process.wait(timeout=20)
        self._process = None

    def ctl(self, *words: str) -> str:
        """Run etcdctl against this member; what it printed."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
        done = subprocess.run(
            ["etcdctl", "--endpoints", self.url, *words],
            env={**environment, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._health}/health", timeout=1) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def etcd(directory: Path, *options: str, scheme: str = "http") -> Iterator[Etcd]:
    """A running etcd with an empty data directory."""
    server = _started(directory, *options, scheme=scheme)
    try:
        yield server
    finally:
        server.stop(kill=True)


def _started(directory: Path, *options: str, scheme: str = "http") -> Etcd:
    for attempt in range(STARTS_MAX):
        server = Etcd(directory / str(attempt), *options, scheme=scheme)
        try:
            server.start()
        except AssertionError as error:
            server.stop(kill=True)
            if "address already in use" not in str(error):
                raise
        else:
            return server
    raise AssertionError("etcd found no free ports")


@contextlib.contextmanager
def etcd_cluster(directory: Path, members: int = 3) -> Iterator[Sequence[Etcd]]:
    """A running cluster."""
    peers = {f"member-{number}": free_port() for number in range(members)}
    servers = [Etcd(directory / name, name=name, peers=peers) for name in peers]
    try:
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_healthy()
        yield servers
    finally:
        for server in servers:
            server.stop(kill=True)


@cache
def shared_etcd() -> Etcd:
    """One for all tests of this process, which empty it before they use it; it ends with the process."""
    directory = tempfile.TemporaryDirectory(prefix="stark-etcd-")
    atexit.register(directory.cleanup)
    server = _started(Path(directory.name))
    atexit.register(server.stop, kill=True)
    return server


class Cable:
    """A TCP relay to an etcd: it can be cut, and it can swallow what passes in one direction."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._relays: set[asyncio.Task[None]] = set()
        self.loses_requests = self.loses_answers = self.refuses = False
        self.url = ""

    async def open(self) -> None:
        """Listen on a free port; `url` is the address then."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection."""
        for end in self._ends:
            end.transport.abort()

    def mend(self) -> None:
        """Reset what is spoilt; new connections work."""
        self.loses_requests = self.loses_answers = self.refuses = False
        self.cut()

    async def close(self) -> None:
        """End everything."""
        assert self._server is not None
        self._server.close()
        self.cut()
        await asyncio.gather(*self._relays, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._relays.add(task)
        self._ends.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            if not self.refuses:
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._port)
                self._ends.add(far)
                await asyncio.gather(
                    self._relay(reader, far, "loses_requests"), self._relay(far_reader, writer, "loses_answers")
                )
        except OSError:
            pass  # either side has gone: so does the other
        finally:
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()
                    self._ends.discard(end)
            self._relays.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, loses: str) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if not getattr(self, loses):
                writer.write(chunk)
                await writer.drain()
        raise ConnectionResetError


@contextlib.asynccontextmanager
async def cable(server: Etcd) -> AsyncIterator[Cable]:
    """A cable to the server, whole at first."""
    relay = Cable(server.port)
    await relay.open()
    try:
        yield relay
    finally:
        await relay.close()
