"""What an informer costs: CPU per watch event and per listed object, against `orjson.loads` of the same bytes.

A child process serves prepared bytes over loopback HTTP: a list of 10,000 pods in pages, then watch events, each in its
own HTTP chunk as the API server writes them. We count this process's CPU time, which holds the HTTP client, the framing,
the JSON, the cache, an index by node and one subscriber. The floor parses the same bytes in the same process, between
our runs: as any program would, and (`gc_off`) with the garbage collector off, which is the hardest floor there is.
`looked at` adds a subscriber that decodes every object into its model.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import orjson

from stark.client.api import PAGE, Client
from stark.client.config import ClientConfig
from stark.client.indexes import FieldIndex
from stark.client.informer import Informer
from stark.crds.pods import Pod

OBJECTS = 10_000


def pod(number: int, version: int) -> dict[str, Any]:
    """A pod of about 2 KB, as an agent has left it."""
    name = f"web-6d4cf56db6-{number:05d}"
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web-6d4cf56db6",
        "uid": "5f0c2c1e-8f0e-4f3e-9a0d-7d1b7d0e2b11",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    conditions = [
        {"type": t, "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"}
        for t in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    state = {"running": {"startedAt": "2026-01-02T03:04:05Z"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"0b5f2c1e-8f0e-4f3e-9a0d-{number:012d}",
            "resourceVersion": str(version),
            "generation": 1,
            "creationTimestamp": "2026-01-02T03:04:00Z",
            "labels": {"app": "web", "pod-template-hash": "6d4cf56db6", "tier": "front", "team": "payments"},
            "annotations": {"stark.dev/ports": '{"http":31234}', "example.com/note": "x" * 200},
            "ownerReferences": [owner],
        },
        "spec": {
            "nodeName": f"node-{number % 200}",
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "containers": [
                {
                    "name": "main",
                    "image": "pack.stark/web:1.2.0",
                    "args": ["--listen", "0.0.0.0"],
                    "env": [{"name": f"SETTING_{i}", "value": f"value number {i}"} for i in range(8)],
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                    "imagePullPolicy": "IfNotPresent",
                }
            ],
        },
        "status": {
            "phase": "Running",
            "conditions": conditions,
            "hostIP": "10.0.0.1",
            "podIP": "10.0.0.1",
            "startTime": "2026-01-02T03:04:00Z",
            "containerStatuses": [
                {
                    "name": "main",
                    "image": "pack.stark/web:1.2.0",
                    "imageID": "sha256:" + "ab" * 32,
                    "ready": True,
                    "restartCount": 0,
                    "started": True,
                    "state": state,
                }
            ],
        },
    }


def list_pages() -> list[bytes]:
    """The list as the server sends it, page by page."""
    items = [pod(number, number + 1) for number in range(OBJECTS)]
    pages = []
    for begin in range(0, OBJECTS, PAGE):
        meta: dict[str, Any] = {"resourceVersion": str(OBJECTS)}
        if begin + PAGE < OBJECTS:
            meta["continue"] = str(begin + PAGE)
        body = {"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": items[begin : begin + PAGE]}
        pages.append(orjson.dumps(body))
    return pages


def event_lines(events: int) -> list[bytes]:
    """Modifications of the listed pods."""
    return [
        orjson.dumps({"type": "MODIFIED", "object": pod(i % OBJECTS, OBJECTS + 1 + i)}) + b"\n" for i in range(events)
    ]


def serve(pipe: Connection, events: int) -> None:
    """The child process: HTTP by hand, because only the client's cost is of interest."""
    pages, lines = list_pages(), event_lines(events)
    stream = [b"%x\r\n%s\r\n" % (len(line), line) for line in lines]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            if b"watch=true" in head:
                break
            at = int(head.split(b"continue=")[1].split(b"&")[0].split(b" ")[0]) // PAGE if b"continue=" in head else 0
            body = pages[at]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        for chunk in stream:
            writer.write(chunk)
            await writer.drain()
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


async def follow(port: int, events: int, *, look: bool) -> tuple[float, float]:
    """CPU seconds of the first list and of the events."""
    async with Client(ClientConfig(server=f"http://127.0.0.1:{port}")) as api:
        began = time.process_time()
        informer = Informer(api, Pod, indexers={"by-node": FieldIndex("spec.nodeName")})
        seen: list[str | None] = []
        if look:
            informer.subscribe(lambda change: seen.append(change.new.status.phase if change.new else None))
        else:
            informer.subscribe(lambda change: seen.append(change.key))
        task = asyncio.create_task(informer.run())
        await informer.synced()
        listed = time.process_time()
        await informer.caught_up(OBJECTS + events)
        ended = time.process_time()
        task.cancel()
        await asyncio.wait({task})
        assert len(seen) == OBJECTS + events, len(seen)
        return listed - began, ended - listed


def cpu(work: Callable[[], None], *, collect: bool = True) -> float:
    """CPU seconds of `work`, with the garbage collector as Python has it, or off."""
    if not collect:
        gc.disable()
    began = time.process_time()
    work()
    ended = time.process_time()
    gc.enable()
    return ended - began


def parse_lines(lines: list[bytes]) -> None:
    """The floor of an event."""
    for line in lines:
        orjson.loads(line)


def parse_pages(pages: list[bytes]) -> None:
    """The floor of the list; the objects are kept, as a cache has to."""
    kept = [orjson.loads(page) for page in pages]
    assert len(kept) == len(pages)


def main() -> None:
    """Measure, alternating ours and the floor, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="finish in 50 s")
    rounds, events = (5, 10_000) if parser.parse_args().quick else (15, 30_000)
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=serve, args=(there, events), daemon=True)
    child.start()
    try:
        port = here.recv()
        pages, lines = list_pages(), event_lines(events)
        gc.collect()
        gc.freeze()
        results: dict[str, list[float]] = {name: [] for name in ("list", "event", "looked", "page", "bare", "line")}
        for _ in range(rounds):
            listed, ours = asyncio.run(follow(port, events, look=False))
            results["list"].append(listed)
            results["event"].append(ours)
            results["line"].append(cpu(lambda: parse_lines(lines)))
            results["page"].append(cpu(lambda: parse_pages(pages)))
            results["bare"].append(cpu(lambda: parse_pages(pages), collect=False))
            results["looked"].append(asyncio.run(follow(port, events, look=True))[1])
            gc.collect()
    finally:
        child.terminate()
        child.join()
    report({name: statistics.median(values) for name, values in results.items()}, events, len(lines[0]))


def report(median: dict[str, float], events: int, size: int) -> None:
    """The lines that are compared over time."""
    print(f"event_bytes: {size}")
    print(f"informer_event_us: {median['event'] / events * 1e6:.2f}")
    print(f"informer_event_looked_at_us: {median['looked'] / events * 1e6:.2f}")
    print(f"orjson_event_us: {median['line'] / events * 1e6:.2f}")
    print(f"informer_ingest_10k_ms: {median['list'] * 1e3:.1f}")
    print(f"orjson_10k_ms: {median['page'] * 1e3:.1f}")
    print(f"orjson_10k_gc_off_ms: {median['bare'] * 1e3:.1f}")
    print(f"peak_rss_mib: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
    print(f"informer_event_ratio: {median['event'] / median['line']:.2f}")
    print(f"informer_event_looked_at_ratio: {median['looked'] / median['line']:.2f}")
    print(f"informer_ingest_ratio: {median['list'] / median['page']:.2f}")
    print(f"informer_ingest_gc_off_ratio: {median['list'] / median['bare']:.2f}")


if __name__ == "__main__":
    main()
