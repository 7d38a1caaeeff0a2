"""A whole Stark, started as its user starts it: `starkctl up` in a process of its own, driven by starkctl and kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
READY_TIMEOUT_S = 90.0
WORKERS = os.environ.get("STARK_TEST_WORKERS", "")
"""How many processes of the API server serve; set it to run any of these suites against several."""
WAIT_S = 60.0
"""Longest wait for the cluster to get somewhere; only ever reached by a test that fails."""


class Up:
    """One running `starkctl up`."""

    def __init__(self, directory: Path, store: str = "sqlite", *options: str) -> None:
        self.data_dir = directory / "data"
        self.directory = directory
        self.kubeconfig = self.data_dir / "admin.kubeconfig"
        self.environment = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.kubeconfig),
            "HOME": str(directory),
            "STARK_HOME": str(directory / "home"),
        }
        options = (*options, *(("--workers", WORKERS) if WORKERS and "--workers" not in options else ()))
        self._command = [str(BIN / "starkctl"), "up", "--data-dir", str(self.data_dir), "--store", store, *options]
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self.output: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread()

    def start(self, port: int = 0) -> None:
        """Return when it has said `ready`."""
        if self._process is not None:
            self._process.wait(timeout=60)
            self._reader.join(10)
        command = [*self._command, "--port", str(port)]
        self._ready.clear()
        self._process = subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=REPO
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._ready.wait(0.1):
            assert self._process.poll() is None, "".join(self.output)
            assert time.monotonic() < deadline, "".join(self.output) + self.logs()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it, and its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(timeout=60)
        self._reader.join(10)
        return code

    @property
    def pid(self) -> int:
        """The process id of `starkctl up` itself."""
        assert self._process is not None
        return self._process.pid

    def child(self, word: str) -> psutil.Process:
        """The child process whose command line contains `word`, e.g. `stark.agent`."""
        children = psutil.Process(self.pid).children()
        return next(child for child in children if word in " ".join(child.cmdline()))

    def processes(self) -> list[str]:
        """Command lines of all living processes that belong to this data directory, by argument, environment or cwd."""
        mark = str(self.data_dir)
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                    continue
                line = " ".join(process.cmdline())
                if mark in line or process.cwd().startswith(mark) or mark in " ".join(process.environ().values()):
                    found.append(f"{process.pid}: {line}")
        return found

    def run(self, *command: str, ok: bool = True, stdin: str | None = None, timeout: float = 60) -> str:
        """Run a command line as the user would and return what it printed; its exit code must be 0 if `ok`, else not."""
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout,
            cwd=REPO,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode == 0) == ok, (
            f"{' '.join(command)}: exit {done.returncode}\n{said}\n{self.logs() if ok else ''}"
        )
        assert "Traceback" not in said, said
        return said

    def starkctl(self, *words: str, ok: bool = True, stdin: str | None = None) -> str:
        """Run starkctl."""
        return self.run("starkctl", *words, ok=ok, stdin=stdin)

    def kubectl(self, *words: str, ok: bool = True, stdin: str | None = None) -> str:
        """Run stock kubectl."""
        assert shutil.which("kubectl"), "the tests need kubectl on the PATH"
        return self.run("kubectl", *words, ok=ok, stdin=stdin)

    def json(self, *words: str) -> Any:
        """What `kubectl get WORDS -o json` gives."""
        return json.loads(self.run("kubectl", "get", *words, "-o", "json"))

    def pods(self, selector: str = "", namespace: str = "default") -> list[dict[str, Any]]:
        """The pods of a namespace that are not being deleted."""
        items: list[dict[str, Any]] = self.json("pods", "-n", namespace, "-l", selector)["items"]
        return [pod for pod in items if "deletionTimestamp" not in pod["metadata"]]

    def until(self, what: str, holds: Callable[[], Any], timeout: float = WAIT_S) -> Any:
        """Ask until `holds()` is true, and what it gave."""
        deadline = time.monotonic() + timeout
        while True:
            found = holds()
            if found:
                return found
            assert time.monotonic() < deadline, f"never came true: {what}\n{self.story()}\n{self.logs()}"
            time.sleep(0.2)

    def story(self) -> str:
        """What the cluster looks like, for a failure's message."""
        words: Sequence[str] = ("kubectl", "get", "pods,deployments,replicasets,nodes,events", "-A", "-o", "wide")
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout[-6000:] + done.stderr[-1000:]

    def logs(self) -> str:
        """The ends of the programs' logs."""
        files = sorted((self.data_dir / "logs").glob("*.log")) if (self.data_dir / "logs").is_dir() else []
        return "".join(f"\n--- {file.name}\n{file.read_text(errors='replace')[-2500:]}" for file in files)

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as output:
            for line in output:
                self.output.append(line)
                if line.startswith("ready"):
                    self._ready.set()


def ready(pod: dict[str, Any]) -> bool:
    """The pod's Ready condition."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


@contextlib.contextmanager
def stark_up(directory: Path, store: str = "sqlite", *options: str) -> Iterator[Up]:
    """A running Stark that is stopped at the end and must have left nothing behind."""
    up = Up(directory, store, *options)
    try:
        up.start()
        yield up
    finally:
        if up._process is not None and up._process.poll() is None:
            code = up.stop()
            assert code == 0, "".join(up.output) + up.logs()
    left = up.processes()
    assert not left, left
