"""What a rollout costs the controllers: processor seconds and requests a pod, for a Deployment of 1,000 replicas.

The API server (on durable SQLite) and the controllers `deployment` and `replicaset` are processes of their own. This one is
everything else: it binds every pod at once, reports it running and ready, and confirms every deletion. So what is
measured is what the two controllers do to create 1,000 pods, and then to roll them from one image to the next within
the default bounds (a quarter too many, a quarter missing).

Processor time is the controllers' process's own; requests are those it counts itself (`rest_client_requests`), lists and
watches left out.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import uvloop
from binding import NODES as STORED_NODES
from binding import seed
from wire.server import server

from stark.client.api import Client, PatchType
from stark.client.config import load_kubeconfig
from stark.client.errors import Conflict, NotFound
from stark.client.informer import Change, Informer
from stark.crds.apps import Deployment
from stark.crds.meta import decode
from stark.crds.pods import Pod

HANDS = 16
"""Requests of the hollow agents under way at once."""
DONE_MAX_S = 600.0
REQUESTS = re.compile(rb'^rest_client_requests_total\{code="[0-9]+",method="([A-Z]+)"\} ([0-9.e+]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    runs: int
    replicas: int


QUICK = Extent(runs=1, replicas=300)
FULL = Extent(runs=3, replicas=1_000)


class Agents:
    """Every node's agent, and the scheduler: a pod runs as soon as it is there."""

    def __init__(self, api: Client) -> None:
        self._api = api
        self._pods = Informer(api, Pod)
        self._work: asyncio.Queue[str] = asyncio.Queue()
        self._next = 0

    async def run(self) -> None:
        """Until cancelled."""
        self._pods.subscribe(self._noticed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run())
            for _ in range(HANDS):
                group.create_task(self._serve())

    def _noticed(self, change: Change[Pod]) -> None:
        if change.after is not None:
            self._work.put_nowait(change.key)

    async def _serve(self) -> None:
        while True:
            pod = self._pods.get(await self._work.get())
            if pod is not None:
                with contextlib.suppress(NotFound, Conflict):
                    await self._handle(pod)

    async def _handle(self, pod: Pod) -> None:
        name, namespace = pod.metadata.name, pod.metadata.namespace or "default"
        if pod.metadata.deletion_timestamp is not None:
            await self._api.delete(Pod, name, namespace, uid=pod.uid, grace_period_s=0)
        elif not pod.spec.node_name:
            self._next += 1
            await self._api.bind(namespace, name, f"node-{self._next % STORED_NODES:05}", uid=pod.uid)
        elif pod.status.phase == "Pending":
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": now}
            body = {"metadata": {"uid": pod.uid}, "status": {"phase": "Running", "conditions": [ready]}}
            await self._api.patch(Pod, name, body, namespace, type=PatchType.STRATEGIC, subresource="status")


@contextlib.contextmanager
def controllers(data: Path) -> Iterator[tuple[psutil.Process, str]]:
    """The two controllers as one process, and the address of its metrics."""
    kubeconfig = str(data / "controllers.kubeconfig")
    command = [sys.executable, "-m", "stark.controllers", "deployment", "replicaset", "--kubeconfig", kubeconfig]
    process = subprocess.Popen(
        [*command, "--no-leader-elect", "--log-level", "warning"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield psutil.Process(process.pid), process.stdout.readline().split()[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def requests_of(address: str) -> int:
    """Requests so far that the process has had an answer to, and that were no list or watch."""
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        return int(sum(float(number) for method, number in REQUESTS.findall(answer.read()) if method != b"GET"))


def spent_s(process: psutil.Process) -> float:
    """Processor time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def web(replicas: int) -> Deployment:
    """The deployment."""
    container = {"name": "main", "image": "registry.example/pause:1", "resources": {"requests": {"cpu": "10m"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return decode({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}, Deployment)


async def rolled_out(api: Client, replicas: int) -> None:
    """Until the deployment is complete and the last old pod is gone."""
    async with asyncio.timeout(DONE_MAX_S):
        while True:
            live = await api.get(Deployment, "web", "default")
            status = live.status
            counts = (status.updated_replicas, status.replicas, status.available_replicas)
            if status.observed_generation == live.metadata.generation and counts == (replicas,) * 3:
                return
            await asyncio.sleep(0.05)


async def phase(api: Client, replicas: int, process: psutil.Process, address: str) -> dict[str, float]:
    """What the controllers spend until the deployment is complete."""
    began, cpu, asked = time.perf_counter(), spent_s(process), requests_of(address)
    await rolled_out(api, replicas)
    return {
        "s": time.perf_counter() - began,
        "cpu_s": spent_s(process) - cpu,
        "requests_per_pod": (requests_of(address) - asked) / replicas,
    }


async def once(data: Path, replicas: int) -> dict[str, float]:
    """Create, then roll out another image."""
    await seed(data)
    figures: dict[str, float] = {}
    with server(data):
        async with Client(load_kubeconfig(data / "admin.kubeconfig")) as api:
            agents = asyncio.create_task(Agents(api).run())
            with controllers(data) as (process, address):
                await asyncio.sleep(1)  # the controllers' first lists are not what is measured
                await api.create(web(replicas))
                found = await phase(api, replicas, process, address)
                figures |= {f"create_{name}": value for name, value in found.items()}
                image: dict[str, Any] = {"containers": [{"name": "main", "image": "registry.example/pause:2"}]}
                body = {"spec": {"template": {"spec": image}}}
                await api.patch(Deployment, "web", body, "default", type=PatchType.STRATEGIC)
                found = await phase(api, replicas, process, address)
                figures |= {f"rollout_{name}": value for name, value in found.items()}
            agents.cancel()
            await asyncio.wait({agents})
    return figures


async def measure(directory: Path, extent: Extent) -> AsyncIterator[tuple[str, float]]:
    """Name and value of every figure; medians of the runs, each on a cluster of its own."""
    found: dict[str, list[float]] = {}
    for number in range(extent.runs):
        for name, value in (await once(directory / f"run-{number}", extent.replicas)).items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        yield f"rollout_{name.removeprefix('rollout_')}", statistics.median(values)


async def run(extent: Extent) -> None:
    """Measure and print."""
    directory = Path(tempfile.mkdtemp(prefix="stark-bench-rollout-"))
    try:
        async for name, value in measure(directory, extent):
            print(f"{name}: {value:.3g}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--replicas", type=int, metavar="N", help="pods of the deployment")
    given = parser.parse_args()
    extent = QUICK if given.quick else FULL
    if given.replicas:
        extent = Extent(1, given.replicas)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(extent))


if __name__ == "__main__":
    main()
