"""Samples what is used, every few seconds, and keeps the last two samples: what lies between them is a rate.

A container is told only once it has been there at both ends of a window, so that no figure is ever a guess. Reading is
all that is done: whoever wants a history asks again and keeps what was said. (`observed` is where a sink would listen.)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import orjson

from ..cgroups import Cgroups
from .counters import Counters, Processes, container_counters, node_counters

log = logging.getLogger(__name__)

NANO: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Subject:
    """One run of a container. Another attempt is another subject: its counters may begin anew."""

    uid: str
    namespace: str
    pod: str
    container: str
    attempt: int
    pid: int


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters of the node and of all that ran at one moment."""

    at_s: float
    """On the monotonic clock, for the length of windows."""
    time: datetime
    node: Counters
    containers: Mapping[Subject, Counters]


def take_sample(subjects: Sequence[Subject], cgroups: Cgroups) -> Sample:
    """Read everything now. Touches the file system only."""
    at_s, at = time.monotonic(), datetime.now(UTC)
    # Where groups count everything nobody need be looked for; where they do not, all processes are read at once.
    processes = Processes({}) if cgroups.counts_cpu or not subjects else Processes.look()
    found = {
        subject: counters
        for subject in subjects
        if (counters := container_counters(cgroups, subject.uid, subject.container, subject.pid, processes))
    }
    return Sample(at_s, at, node_counters(), found)


def summary(node: str, before: Sample | None, after: Sample | None) -> dict[str, Any]:
    """What was used between two samples: of the node, and of each pod all of whose containers ran all the time."""
    if before is None or after is None or after.at_s <= before.at_s:
        return {"nodeName": node, "pods": []}
    window_s = after.at_s - before.at_s
    pods: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    unfinished: set[tuple[str, str, str]] = set()
    for subject, counters in after.containers.items():
        key = (subject.namespace, subject.pod, subject.uid)
        earlier = before.containers.get(subject)
        if earlier is None:
            unfinished.add(key)
            continue
        pods.setdefault(key, []).append({"name": subject.container, **_usage(earlier, counters, window_s)})
    return {
        "nodeName": node,
        "time": after.time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "windowSeconds": round(window_s, 3),
        "node": _usage(before.node, after.node, window_s),
        "pods": [
            {"podRef": dict(zip(("namespace", "name", "uid"), key, strict=True)), "containers": containers}
            for key, containers in pods.items()
            if key not in unfinished
        ],
    }


def _usage(before: Counters, after: Counters, window_s: float) -> dict[str, Any]:
    # A counter of a tree goes back when a process leaves it; nobody uses less than nothing.
    cores = max(0.0, after.cpu_s - before.cpu_s) / window_s
    return {
        "cpu": {"usageNanoCores": round(cores * NANO)},
        "memory": {"workingSetBytes": after.memory_bytes},
    }


class Sampler:
    """Keeps the last window. `subjects` says what runs now; `observed` is called with each summary."""

    def __init__(
        self,
        node: str,
        cgroups: Cgroups,
        subjects: Callable[[], Sequence[Subject]],
        period_s: float,
        observed: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self._node, self._cgroups, self._subjects = node, cgroups, subjects
        self._period_s = period_s
        self._observed = observed
        self._last: Sample | None = None
        self.encoded: bytes = orjson.dumps(summary(node, None, None))
        """The last window's summary, as it is served."""

    async def run(self) -> NoReturn:
        """Sample until cancelled."""
        while True:
            try:
                sample = await asyncio.to_thread(take_sample, self._subjects(), self._cgroups)
            except OSError as error:
                log.warning("usage could not be read", extra={"error": str(error)})
            else:
                said = summary(self._node, self._last, sample)
                self._last, self.encoded = sample, orjson.dumps(said)
                self._observed(said)
            await asyncio.sleep(self._period_s)
