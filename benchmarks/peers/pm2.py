"""PM2: one daemon of Node.js for all programs, which are its children and whose logs it writes."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from . import INSTALL, NEEDS, Missing, Sizes, cpu_percent, cpu_s, found, lateness_ms, rss_mib, ticker, waited

APP: Final = "if (process.send) process.send('ready');\nsetInterval(() => {}, 1 << 30);\n"
"""Says that it is ready, as PM2 wants to hear it, and idles."""
SETTLING_S: Final = 2.0
"""Until a program of Node.js takes no more memory."""


class Pm2:
    """A daemon with a home of its own, spoken to by its own programming interface."""

    def __init__(
        self, folder: Path, driver: subprocess.Popen[bytes], program: str, environment: dict[str, str]
    ) -> None:
        self.folder, self._driver, self._program, self._environment = folder, driver, program, environment
        self.daemon = psutil.Process(int((folder / "home" / "pm2.pid").read_text()))

    def obey(self, **command: Any) -> float:
        """Carry out a command; milliseconds it took."""
        assert self._driver.stdin is not None
        assert self._driver.stdout is not None
        self._driver.stdin.write(json.dumps(command).encode() + b"\n")
        self._driver.stdin.flush()
        return float(self._driver.stdout.readline())

    def app(self, name: str, script: Path, **more: Any) -> dict[str, Any]:
        """How a program is described."""
        file = str(self.folder / f"{name}.log")
        return {"name": name, "script": str(script), "exec_mode": "fork", "out_file": file, "error_file": file, **more}

    @contextmanager
    def following(self, name: str) -> Iterator[Iterator[bytes]]:
        """The lines of `pm2 logs`."""
        words = [self._program, "logs", "--raw", "--lines", "0", name]
        with subprocess.Popen(words, env=self._environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            try:
                yield iter(process.stdout)
            finally:
                process.kill()


@contextmanager
def pm2(folder: Path) -> Iterator[Pm2]:
    """A daemon of PM2 in a folder. Raises Missing."""
    modules = NEEDS / "pm2" / "node_modules"
    if not (modules / "pm2" / "package.json").exists():
        raise Missing(f"it is not in {modules}; run: {INSTALL['pm2']}")
    node, home = found("node", "pm2"), folder / "home"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PM2_HOME": str(home)}
    words = [node, str(Path(__file__).with_name("pm2.js")), str(modules / "pm2")]
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        assert driver.stdin is not None
        driver.stdout.readline()
        try:
            yield Pm2(folder, driver, str(modules / ".bin" / "pm2"), environment)
        finally:
            driver.stdin.close()
            driver.wait()


def measure(folder: Path, sizes: Sizes) -> None:
    """Print the figures. Raises Missing."""
    app = folder / "app.js"
    app.write_text(APP)
    with pm2(folder) as peer:
        print(f"pm2_idle_rss_mib: {rss_mib(peer.daemon):.1f}")
        _measure_starts(peer, app, sizes)
        _measure_overhead(peer, app)
        _measure_logs(peer, sizes)
        _measure_crowd(peer, sizes)


def _measure_starts(peer: Pm2, app: Path, sizes: Sizes) -> None:
    took = []
    for number in range(sizes.rounds):
        took.append(peer.obey(start=[peer.app(f"one-{number}", app, wait_ready=True)]))
        peer.obey(stop=f"one-{number}")
    print(f"pm2_start_to_ready_node_ms: {statistics.median(took):.1f}")


def _measure_overhead(peer: Pm2, app: Path) -> None:
    """What PM2's container in the same process adds to a program of Node.js."""
    peer.obey(start=[peer.app("idle", app, wait_ready=True)])
    (child,) = peer.daemon.children()
    bare = psutil.Popen([found("node", "pm2"), str(app)])
    try:
        time.sleep(SETTLING_S)
        print(f"pm2_overhead_of_a_node_process_mib: {rss_mib(child) - rss_mib(bare):.1f}")
    finally:
        bare.kill()
        bare.wait()
    peer.obey(stop="idle")


def _measure_logs(peer: Pm2, sizes: Sizes) -> None:
    writer, ticking = (
        _script(peer, "writer", sizes.writer),
        _script(peer, "ticker", f"#!/bin/sh\n{ticker('sleep')}".encode()),
    )
    file, before, begun = peer.folder / "writer.log", cpu_s([peer.daemon]), time.perf_counter()
    peer.obey(start=[peer.app("writer", writer, interpreter="none")])
    lines = sizes.log_lines
    size = -1
    while not file.exists() or size != file.stat().st_size or not size:
        size = file.stat().st_size if file.exists() else -1
        ended = time.perf_counter()
        time.sleep(0.25)
    print(f"pm2_log_lines_per_second: {lines / (ended - begun):.0f}")
    print(f"pm2_log_cpu_us_per_line: {(cpu_s([peer.daemon]) - before) / lines * 1e6:.2f}")
    peer.obey(stop="writer", start=[peer.app("ticker", ticking, interpreter="none")])
    with peer.following("ticker") as seen:
        print(f"pm2_log_follow_ms: {lateness_ms(seen):.1f}")
    peer.obey(stop="ticker")


def _script(peer: Pm2, name: str, text: bytes) -> Path:
    path = peer.folder / f"{name}.sh"
    path.write_bytes(text)
    path.chmod(0o755)
    return path


def _measure_crowd(peer: Pm2, sizes: Sizes) -> None:
    sleep, crowd = Path(found("sleep", "pm2", "/bin")), sizes.crowd
    apps = [peer.app(f"crowd-{n}", sleep, interpreter="none", args=["1000000"]) for n in range(crowd)]
    print(f"pm2_started_per_second: {crowd / peer.obey(start=apps, online=crowd) * 1000:.1f}")
    waited("all run", lambda: len(peer.daemon.children()) >= crowd)
    print(f"pm2_cpu_of_{crowd}_idle_percent: {cpu_percent([peer.daemon], sizes.idle_s):.2f}")
    print(f"pm2_rss_with_{crowd}_mib: {rss_mib(peer.daemon):.1f}")
    peer.obey(stop="all")
