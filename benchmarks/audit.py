"""What the audit log costs a request: on the event loop, altogether, and how long an answer waits for the disk.

loop: CPU time of the event loop's thread for the calls of the pipeline for one read at Metadata level, while the log is
written by its own thread, less the same with a policy that records nothing. total: CPU time of the whole process for one
record, with the thread's making, hashing and writing of the line. wait: from the call to the end of `written`, alone and
for 64 writers who share syncs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import uvloop

from stark.apiserver.audit.opening import make_audit, writing
from stark.apiserver.audit.policy import DEFAULT_POLICY, parse_policy
from stark.apiserver.audit.recording import DECISION, REASON, Audit
from stark.apiserver.audit.settings import AuditSettings
from stark.apiserver.registry.bodies import decode
from stark.apiserver.request import Peer, Query, Request, Response, User
from stark.apiserver.routes import parse
from stark.crds.audit.verifying import verify

USER = User("system:node:worker-1", ("system:nodes", "system:authenticated"))
PEER = Peer("10.0.0.7:50123", USER)
ANSWER = Response(200, b"{}" * 512)
SILENT = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []"
AT_ONCE = 100
"""Requests between two turns of the loop."""


class NoBody:
    """Of a read."""

    async def read(self, limit: int) -> bytes:
        """Nothing."""
        return b""

    def chunks(self) -> object:
        """Nothing."""
        raise NotImplementedError


def new_request(method: str = "GET") -> Request:
    """As the adapter makes it."""
    headers = {"audit-id": "0b4e3a52-7a1f-4d7c-8f3a-000000000001", "user-agent": "kubectl/v1.33.1 (linux/amd64)"}
    path = "/api/v1/namespaces/default/configmaps/web-1"
    return Request(method, path, Query(""), headers, NoBody(), PEER)  # type: ignore[arg-type]  # never read


def record(audit: Audit, request: Request) -> bool:
    """What the pipeline does for one request."""
    asked = parse(request.method, request.path, request.query)
    recording = audit.begin(request, asked)
    request.user = USER
    recording.is_by(USER)
    request.audit[DECISION] = "allow"
    request.audit[REASON] = ""
    return recording.answered(ANSWER)


async def reads(audit: Audit, count: int) -> tuple[float, float]:
    """CPU seconds of the loop's thread for one read, and of the process."""
    requests = [new_request() for _ in range(count)]
    on_loop, began = 0.0, time.process_time()
    for start in range(0, count, AT_ONCE):
        batch = requests[start : start + AT_ONCE]
        at = time.thread_time()
        for request in batch:
            record(audit, request)
        on_loop += time.thread_time() - at
        # As often as the clients of a busy server: the thread has its turns between.
        await asyncio.sleep(0.002)
    await audit.writer.synced()
    return on_loop / count, (time.process_time() - began) / count


async def waits(audit: Audit, writers: int, count: int) -> list[float]:
    """Seconds that each answer waited."""
    found: list[float] = []

    async def write() -> None:
        for _ in range(count // writers):
            request = new_request("PUT")
            parsed = parse(request.method, request.path, request.query)
            recording = audit.begin(request, parsed)
            recording.is_by(USER)
            recording.answered(ANSWER)
            at = time.perf_counter()
            await recording.written()
            found.append(time.perf_counter() - at)

    await asyncio.gather(*(write() for _ in range(writers)))
    return found


async def measure(count: int) -> Iterator[tuple[str, float]]:
    """All figures."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pki").mkdir()
        audit = make_audit(Path(folder), AuditSettings(), partial(decode, protobuf=None))
        async with writing(audit):
            loud, quiet = parse_policy(DEFAULT_POLICY), parse_policy(SILENT)
            rounds: dict[str, list[tuple[float, float]]] = {"loud": [], "quiet": []}
            for _ in range(5):
                for name, policy in (("quiet", quiet), ("loud", loud)):
                    audit.policy = policy
                    rounds[name].append(await reads(audit, count))
            loop, total = (
                statistics.median(each[at] for each in rounds["loud"])
                - statistics.median(each[at] for each in rounds["quiet"])
                for at in (0, 1)
            )
            figures["audit_read_loop_us"], figures["audit_read_total_us"] = loop * 1e6, total * 1e6
            for writers in (1, 64):
                found = await waits(audit, writers, count // 5)
                figures[f"audit_wait_{writers}_p50_ms"] = statistics.median(found) * 1e3
                figures[f"audit_wait_{writers}_p99_ms"] = statistics.quantiles(found, n=100)[98] * 1e3
        log = Path(folder) / "audit"
        size = sum(path.stat().st_size for path in log.glob("audit-*.log"))
        at = time.perf_counter()
        verdict = verify(log)
        assert verdict.is_whole, verdict.problems
        figures["audit_verify_mib_per_s"] = size / 1024 / 1024 / (time.perf_counter() - at)
        figures["audit_bytes_per_event"] = size / verdict.records
    return iter(figures.items())


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    count = 2_000 if parser.parse_args().quick else 20_000
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps({name: round(value, 3) for name, value in runner.run(measure(count))}))


if __name__ == "__main__":
    main()
