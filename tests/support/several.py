"""An API server in several processes, started as the program is, and clients with a connection for each request."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from stark.apiserver.auth.identities import parse_identity
from stark.apiserver.auth.pki import Authority

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0


@dataclass
class Several:
    """The supervisor, and where its workers answer."""

    data_dir: Path
    process: subprocess.Popen[str]
    url: str

    def child(self, name: str) -> psutil.Process:
        """`keeper`, or `worker-0` and so on."""
        return next(child for child in self.children() if _name(child) == f"stark-{name}")

    def children(self) -> list[psutil.Process]:
        """All of them."""
        return psutil.Process(self.process.pid).children()

    def stop(self) -> int:
        """Its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def command(data_dir: Path, *options: str) -> list[str]:
    """How the program is started."""
    words = ["--data-dir", str(data_dir), "--listen", "127.0.0.1:0", "--access-log", "none", *options]
    return [sys.executable, "-m", "stark.apiserver", *words]


@contextmanager
def several(data_dir: Path, workers: int = 2, *options: str) -> Iterator[Several]:
    """A server that is stopped at the end and leaves nothing behind."""
    words = command(data_dir, "--workers", str(workers), *options)
    with (data_dir / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line.startswith("ready "), (data_dir / "log").read_text()
        found = Several(data_dir, process, line.split()[1])
        yield found
        if process.poll() is None:
            assert found.stop() == 0, (data_dir / "log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
    until_gone(data_dir)


def until_gone(data_dir: Path) -> None:
    """Wait until no process of the server is left."""
    deadline = time.monotonic() + PATIENCE_S
    while left := [each for each in psutil.process_iter() if str(data_dir) in " ".join(_words(each))]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []


@dataclass
class Answer:
    """What came back."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Client:
    """Asks on a new connection each time, so that the kernel chooses a worker each time."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url, self.session = url, session

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.request(method, self.url + path, json=body, headers=given) as got:
            text = await got.text()
            return Answer(got.status, json.loads(text) if text.startswith("{") else text, got.headers)


def _name(process: psutil.Process) -> str:
    """Its name; empty when it has ended since it was listed."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@asynccontextmanager
async def client(server: Several, identity: str = "admin") -> AsyncIterator[Client]:
    """A client with that identity's certificate; empty: without one."""
    authority = Authority.open(server.data_dir / "pki")
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    if identity:
        credential = authority.issue(parse_identity(identity))
        pem = server.data_dir / f"{identity}.pem"
        pem.write_bytes(credential.certificate_pem + credential.key_pem)
        context.load_cert_chain(pem)
    # Before 3.12.7 Python does not end every TLS connection that is closed (CPython issue 118960): aiohttp does it then.
    connector = aiohttp.TCPConnector(ssl=context, force_close=True, limit=0, enable_cleanup_closed=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Client(server.url, session)
