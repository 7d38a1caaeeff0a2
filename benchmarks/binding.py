"""Pods bound a second, end to end: 5,000 nodes, the API server on durable SQLite and the scheduler as two processes.

Two waves. *Ahead*: the pods are there before the scheduler starts, and the clock runs from the first binding that a watcher
sees to the last: what the two can do when nobody else wants the processors. *Arriving*: pods are created while the scheduler
runs, and the clock runs from the first that is visible to the last that is bound, as Kubernetes' scheduler_perf measures.
Beside them stands, in the same run, what the bare store commits of bytes like a pod's with as many writers.
Processor time is the processes' own, in microseconds a pod, until the last binding and until the last Event.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil
import uvloop
from wire.client import CLIENTS, Client, Target
from wire.server import server

from stark.apiserver.cache.entry import encode_object
from stark.apiserver.store.protocol import Expect, Put, Revision
from stark.apiserver.store.sqlite import open_sqlite

NODES = 5_000
PODS = "/api/v1/namespaces/default/pods"
EVENTS = "/api/v1/namespaces/default/events"
JSON = "Content-Type: application/json\r\n"
BOUND = b'{"type":"MODIFIED"'
MADE = b'{"type":"ADDED"'
DONE_MAX_S = 900.0
STORE_S = 2.0

Figures = AsyncIterator[tuple[str, float]]


@dataclass(frozen=True)
class Extent:
    """How much is measured."""

    waves: int
    pods: int
    nodes: int = NODES


QUICK = Extent(waves=1, pods=4_000)
FULL = Extent(waves=3, pods=10_000)


def node(number: int) -> dict[str, object]:
    """A node that is ready and on which nothing ever runs."""
    amounts = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    name, now = f"node-{number:05}", "2025-01-01T00:00:00Z"
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "topology.kubernetes.io/zone": f"zone-{number % 5}",
        "stark.dev/runtime-container": "1",
        "stark.dev/runtime-node": "22",
    }
    ready = {"type": "Ready", "status": "True", "reason": "AgentReady", "lastTransitionTime": now}
    metadata = {
        "name": name,
        "uid": f"00000000-0000-4000-8000-{number:012}",
        "creationTimestamp": now,
        "labels": labels,
    }
    status = {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}, "status": status}


def pod(name: str) -> bytes:
    """A pod as scheduler_perf's basic ones."""
    resources = {"requests": {"cpu": "100m", "memory": "500Mi"}, "limits": {"cpu": "100m", "memory": "500Mi"}}
    container = {"name": "pause", "image": "registry.example/pause:3.10", "resources": resources}
    labels = {"app": "bench", "pod-template-hash": "5d4f8c7b9"}
    metadata = {"name": name, "labels": labels}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    ).encode()


async def seed(data: Path, nodes: int = NODES) -> None:
    """Put the nodes into the store before there is a server: only their creation is not measured."""
    store = await open_sqlite(data / "store")
    for start in range(0, nodes, 100):
        numbers = range(start, min(start + 100, nodes))
        await store.txn([], [Put(b"/registry/core/nodes/node-%05d" % n, encode_object(node(n))) for n in numbers])
    await store.close()


class Watcher(asyncio.Protocol):
    """Counts the pods that were made and bound, and knows when the first and the last were."""

    def __init__(self) -> None:
        self._rest = b""
        self.made = self.bound = self.wanted = 0
        self.first_made = self.first_bound = self.last_bound = 0.0
        self.begun, self.done = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def expect(self, pods: int) -> None:
        """Count from zero to `pods`."""
        self.made = self.bound = 0
        self.wanted = pods
        self.begun.clear()
        self.done.clear()

    def data_received(self, data: bytes) -> None:
        whole = self._rest + data
        made, bound = whole.count(MADE), whole.count(BOUND)
        kept = max(len(MADE), len(BOUND)) - 1
        # What is cut in two is found with the next bytes; what was found must not be found again.
        self._rest = whole[-kept:] if MADE not in whole[-kept:] else b""
        now = time.perf_counter()
        if made and not self.made:
            self.first_made = now
        if bound and not self.bound:
            self.first_bound = now
            self.begun.set()
        self.made += made
        self.bound += bound
        if self.bound >= self.wanted:
            self.last_bound = now
            self.done.set()


async def watch(target: Target) -> Watcher:
    """A watch of every pod, from now on."""
    _, watcher = await asyncio.get_running_loop().create_connection(
        Watcher, "127.0.0.1", target.port, ssl=target.context, server_hostname=target.name
    )
    _, body = await (await target.client()).ask("GET", PODS + "?limit=1")
    version = json.loads(body)["metadata"]["resourceVersion"]
    request = f"GET {PODS}?watch=1&resourceVersion={version} HTTP/1.1\r\nHost: x\r\n\r\n"
    watcher.transport.write(request.encode())
    return watcher


async def create(target: Target, wave: str, pods: int) -> None:
    """Create them with as many clients as a busy controller has requests under way."""
    clients = [await target.client() for _ in range(CLIENTS)]
    names = iter(range(pods))

    async def work(client: Client) -> None:
        for number in names:
            status, answer = await client.ask("POST", PODS, pod(f"{wave}-{number:05}"), JSON)
            assert status == 201, answer

    await asyncio.gather(*(work(client) for client in clients))
    for client in clients:
        client.writer.close()


@contextlib.contextmanager
def scheduler(data: Path) -> Iterator[psutil.Process]:
    """The scheduler as a process."""
    kubeconfig = str(data / "controllers.kubeconfig")
    command = [sys.executable, "-m", "stark.controllers", "scheduler", "--kubeconfig", kubeconfig]
    process = subprocess.Popen([*command, "--log-level", "warning"], stdout=subprocess.DEVNULL)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def spent_us(process: psutil.Process) -> float:
    """Processor time so far, microseconds."""
    times = process.cpu_times()
    return (times.user + times.system) * 1e6


async def store_rate(directory: Path) -> float:
    """Commits a second of the bare store: pods that are changed, as binding changes them, by as many writers."""
    store = await open_sqlite(directory)
    value, names, count = (
        encode_object(json.loads(pod("x")) | {"status": {"phase": "Pending" * 60}}),
        itertools.count(),
        0,
    )
    end = time.perf_counter() + STORE_S

    async def work() -> None:
        nonlocal count
        while time.perf_counter() < end:
            key = b"/registry/core/pods/default/%d" % next(names)
            await store.txn([Expect(key, Revision(0))], [Put(key, value)])
            count += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    elapsed = time.perf_counter() - began
    await store.close()
    return count / elapsed


async def events_written(target: Target) -> int:
    """How many Events there are once no more come."""
    client, known = await target.client(), -1
    while True:
        _, body = await client.ask("GET", EVENTS + "?limit=1")
        found = json.loads(body)
        count = len(found["items"]) + found["metadata"].get("remainingItemCount", 0)
        if count == known:
            return int(count)
        known = count
        await asyncio.sleep(1)


async def ahead(target: Target, pid: int, data: Path, pods: int, so_far: int) -> dict[str, float]:
    """One wave of pods that wait for the scheduler."""
    await create(target, f"ahead-{so_far}", pods)
    watcher = await watch(target)
    watcher.expect(pods)
    began = time.perf_counter()
    api = psutil.Process(pid)
    with scheduler(data) as process:
        async with asyncio.timeout(DONE_MAX_S):
            await watcher.begun.wait()
            at_first = spent_us(api), spent_us(process)
            await watcher.done.wait()
        at_last = spent_us(api), spent_us(process)
        events = await events_written(target)
        at_end = spent_us(api), spent_us(process)
        at_rest = api.memory_info().rss, process.memory_info().rss
    watcher.transport.close()
    return {
        "binds_per_s": pods / (watcher.last_bound - watcher.first_bound),
        "server_us_per_bind": (at_last[0] - at_first[0]) / pods,
        "scheduler_us_per_bind": (at_last[1] - at_first[1]) / pods,
        "server_us_with_event": (at_end[0] - at_first[0]) / pods,
        "scheduler_us_with_event": (at_end[1] - at_first[1]) / pods,
        "events_per_bind": events / (so_far + pods),
        "server_rss_mib": at_rest[0] / (1 << 20),
        "scheduler_rss_mib": at_rest[1] / (1 << 20),
        "first_bind_after_start_ms": (watcher.first_bound - began) * 1e3,
    }


async def arriving(target: Target, data: Path, pods: int, so_far: int) -> dict[str, float]:
    """One wave of pods that are created while the scheduler runs."""
    watcher = await watch(target)
    with scheduler(data):
        watcher.expect(1)
        await create(target, f"first-{so_far}", 1)
        async with asyncio.timeout(DONE_MAX_S):
            await watcher.done.wait()
            watcher.expect(pods)
            await create(target, f"arriving-{so_far}", pods)
            await watcher.done.wait()
    watcher.transport.close()
    return {"arriving_per_s": pods / (watcher.last_bound - watcher.first_made)}


async def measure(directory: Path, extent: Extent) -> Figures:
    """Name and value of every figure; medians of the waves, each on a cluster of its own."""
    found: dict[str, list[float]] = {}
    for wave in range(extent.waves):
        data = directory / f"wave-{wave}"
        await seed(data, extent.nodes)
        with server(data) as (pid, target):
            figures = await ahead(target, pid, data, extent.pods, 0)
            figures |= await arriving(target, data, extent.pods // 2, extent.pods)
        figures["store_per_s"] = await store_rate(directory / f"store-{wave}")
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        yield f"scheduler_{name}", statistics.median(values)
    yield "scheduler_binds_vs_store", statistics.median(found["binds_per_s"]) / statistics.median(found["store_per_s"])


async def run(extent: Extent) -> None:
    """Measure and print."""
    directory = Path(tempfile.mkdtemp(prefix="stark-bench-binding-"))
    try:
        async for name, value in measure(directory, extent):
            print(f"{name}: {value:.3g}" if value < 100 else f"{name}: {value:.0f}", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--pods", type=int, metavar="N", help="pods of a wave")
    parser.add_argument(
        "--nodes", type=int, default=NODES, metavar="N", help=f"nodes of the cluster, {NODES} unless told"
    )
    parser.add_argument("--waves", type=int, metavar="N", help="how often, each time on a cluster of its own")
    given = parser.parse_args()
    extent = QUICK if given.quick else FULL
    extent = Extent(given.waves or extent.waves, given.pods or extent.pods, given.nodes)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(extent))


if __name__ == "__main__":
    main()
