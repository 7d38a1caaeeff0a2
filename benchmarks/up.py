"""How long `starkctl up --example` takes until it is ready and until its first pod runs, and what it then occupies.

Each round starts from nothing in an empty data directory. The floor is an empty Python, started as often as the programs
that `up` consists of: nothing in Python is ready sooner. Memory is resident memory, a minute of idling not included.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

ROUNDS, QUICK_ROUNDS = 7, 3
PROGRAMS = 4
"""`starkctl up`, API server, controllers, agent."""
TIMEOUT_S = 60.0
MIB = 1 << 20


@dataclass
class Round:
    """What one start took and occupied."""

    ready_s: float
    running_s: float
    memory_mib: dict[str, float]


def floor_s() -> float:
    """As many empty Pythons, one after the other."""
    began = time.perf_counter()
    for _ in range(PROGRAMS):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def first_running(environment: dict[str, str], deadline: float) -> None:
    """Return when a pod of the example is ready."""
    command = [sys.executable, "-m", "stark.ctl", "get", "pods", "-o", "json"]
    while time.perf_counter() < deadline:
        listed = json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
        for pod in listed.get("items") or ():
            if any((c["type"], c["status"]) == ("Ready", "True") for c in pod.get("status", {}).get("conditions", ())):
                return
    raise TimeoutError("no pod of the example became ready")


def memory_mib(pid: int) -> dict[str, float]:
    """Resident memory of each program by name."""
    names = {"stark.apiserver": "apiserver", "stark.controllers": "controllers", "stark.agent": "agent"}
    found: dict[str, float] = {}
    for child in psutil.Process(pid).children():
        line = " ".join(child.cmdline())
        for module, name in names.items():
            if module in line:
                found[name] = child.memory_info().rss / MIB
    return found


def measure(directory: Path) -> Round:
    """Start, wait, look, stop."""
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**compiled, "KUBECONFIG": str(directory / "admin.kubeconfig"), "STARK_HOME": str(directory / "home")}
    command = [sys.executable, "-m", "stark.ctl", "up", "--data-dir", str(directory), "--port", "0", "--example"]
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("ready"):
                break
        ready_s = time.perf_counter() - began
        first_running(environment, began + TIMEOUT_S)
        return Round(ready_s, time.perf_counter() - began, memory_mib(process.pid))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    count = QUICK_ROUNDS if parser.parse_args().quick else ROUNDS
    rounds: list[Round] = []
    floors: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(count + 1):
            floors.append(floor_s())
            rounds.append(measure(Path(name) / str(number)))
    del rounds[0], floors[0]  # the first start compiles modules
    ready, running = (
        statistics.median(values) for values in zip(*((r.ready_s, r.running_s) for r in rounds), strict=True)
    )
    print(f"up_ready_ms: {ready * 1000:.0f}")
    print(f"up_first_pod_ready_ms: {running * 1000:.0f}")
    print(f"up_ready_vs_empty_pythons: {ready / statistics.median(floors):.1f}")
    for program in ("apiserver", "controllers", "agent"):
        print(f"{program}_rss_mib: {statistics.median(r.memory_mib[program] for r in rounds):.0f}")


if __name__ == "__main__":
    main()
