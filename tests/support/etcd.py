"""A real etcd on free loopback ports, for as long as a `with` block lasts."""

from __future__ import annotations

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
from collections.abc import Iterator
from functools import cache
from pathlib import Path

START_TIMEOUT_S = 20.0


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Etcd:
    """One etcd process that can be stopped, frozen, killed and started again on the same data and ports."""

    def __init__(self, directory: Path, *options: str) -> None:
        program = shutil.which("etcd")
        assert program, "the tests need a real etcd: apt-get install etcd-server"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.port, self._peer_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        peer = f"http://127.0.0.1:{self._peer_port}"
        self._command = [
            program, "--name", "one", "--data-dir", str(directory / "data"), "--logger", "zap",
            "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"one={peer}",
            "--experimental-watch-progress-notify-interval", "1s", *options,
        ]  # fmt: skip
        self._log = directory / "etcd.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)
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

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return b'"true"' in answer.read()
        except (urllib.error.URLError, OSError):
            return False


@contextlib.contextmanager
def etcd(directory: Path, *options: str) -> Iterator[Etcd]:
    """A running etcd with an empty data directory."""
    server = Etcd(directory, *options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@cache
def shared_etcd() -> Etcd:
    """One for all tests of this process, which empty it before they use it; it ends with the process."""
    directory = tempfile.TemporaryDirectory(prefix="stark-etcd-")
    server = Etcd(Path(directory.name))
    atexit.register(directory.cleanup)
    atexit.register(server.stop, kill=True)
    server.start()
    return server
