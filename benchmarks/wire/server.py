"""API servers in processes of their own: the program as it is, and one without TLS to see what that costs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import multiprocessing
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvloop
import yaml

from stark.apiserver.app import serving
from stark.apiserver.settings import Settings
from stark.apiserver.stores import open_store

from .client import Target

TOKEN = "bench-token"


@contextlib.contextmanager
def server(directory: Path, workers: int = 1) -> Iterator[tuple[int, Target]]:
    """A running API server on SQLite: its process id (its supervisor's, with workers), and how to reach it as admin."""
    command = [sys.executable, "-m", "stark.apiserver", "--data-dir", str(directory), "--listen", "127.0.0.1:0"]
    command += ["--access-log", "none", "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().split()[1]
        config = yaml.safe_load((directory / "admin.kubeconfig").read_text())
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        pem = directory / "bench.pem"
        keys = ("client-certificate-data", "client-key-data")
        pem.write_bytes(b"".join(base64.b64decode(user[key]) for key in keys))
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(pem)
        yield process.pid, Target(urlsplit(url).port or 0, context)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextlib.contextmanager
def plain_server(directory: Path) -> Iterator[tuple[int, Target]]:
    """The same without TLS, where TOKEN is the way in."""
    ready: multiprocessing.SimpleQueue[int] = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(target=_serve_plain, args=(directory, ready), daemon=True)
    process.start()
    try:
        assert process.pid is not None
        yield process.pid, Target(ready.get(), None)
    finally:
        process.terminate()
        process.join()


def _serve_plain(directory: Path, ready: multiprocessing.SimpleQueue[int]) -> None:
    async def serve() -> None:
        (directory / "pki").mkdir(parents=True)
        tokens = directory / "pki" / "tokens.csv"
        tokens.touch(0o600)
        tokens.write_text(f'{TOKEN},admin,1,"system:masters"\n')
        settings = Settings(directory, port=0, store="memory", access_log="none")
        async with serving(settings, await open_store(settings), encrypted=False) as running:
            await running.ready()
            ready.put(running.port)
            await running.background

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
