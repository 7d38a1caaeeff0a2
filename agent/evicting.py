"""Keep pods within the disk: measure what they have on it, and let go of what is beyond its limits or too much for it.

While the disk runs out, first goes what nobody needs (what ended pods left, bundles that no pod uses), then one pod a
round. A pod that went for the disk leaves its logs and nothing else. Measuring takes place in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from prometheus_client import Counter, Gauge

from stark.crds.podcontainers import every_container
from stark.crds.pods import Pod

from .accounts import ENDED
from .diskuse import PodUsage, beyond_limits, first_to_go, is_limited, low_message
from .host import DiskSpace, disk_space
from .launch import Workshop
from .machine import Condemned, Emit
from .settings import AgentSettings
from .trees import remove_tree, usage_bytes

log = logging.getLogger(__name__)

EVICTED = "Evicted"
EVICTIONS = Counter("stark_agent_evictions", "Pods that this agent evicted", ["cause"])
DISK_FREE = Gauge("stark_agent_disk_free_bytes", "Bytes free where the data directory lies")

Post = Callable[[Condemned], None]
Tell = Callable[[Emit, Pod], None]


class Evictor:
    """Looks after the disk. `pods` is the agent's own mapping, by uid; `runs` whether a pod has a process."""

    def __init__(
        self,
        settings: AgentSettings,
        workshop: Workshop,
        pods: Mapping[str, Pod],
        runs: Callable[[str], bool],
        post: Post,
        tell: Tell,
    ) -> None:
        self._settings, self._workshop, self._pods = settings, workshop, pods
        self._runs, self._post, self._tell = runs, post, tell
        self._gone: set[str] = set()

    async def run(self) -> None:
        """Round after round, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.usage_period_s)
            try:
                await self.look()
            except OSError as error:
                log.error("the disk could not be looked at", extra={"error": str(error)})

    async def look(self) -> None:
        """One round. Raises OSError."""
        self._gone &= set(self._pods)
        space = await asyncio.to_thread(self._make_room)
        DISK_FREE.set(space.free)
        alive = [pod for pod in self._pods.values() if pod.status.phase not in ENDED and pod.uid not in self._gone]
        pods = alive if space.is_low else [pod for pod in alive if is_limited(pod)]
        usage = await asyncio.to_thread(self._measure, pods)
        for pod in pods:
            message = beyond_limits(pod, usage[pod.uid])
            if message is not None:
                self._evict(pod, message, "limit")
        if space.is_low:
            self._relieve(pods, usage, space)

    def _make_room(self) -> DiskSpace:
        """Remove what evicted pods wrote, and what ended ones did if space is needed; says what is free then."""
        self._clear(False)
        space = self._space()
        if space.is_low:
            self._clear(True)
            space = self._space()
        return space

    def _space(self) -> DiskSpace:
        return disk_space(self._settings.data_dir, self._settings.disk_pressure_free)

    def _measure(self, pods: list[Pod]) -> dict[str, PodUsage]:
        return {pod.uid: self._usage(pod) for pod in pods}

    def _usage(self, pod: Pod) -> PodUsage:
        folder, meta = self._workshop.records.folder(pod.uid), pod.metadata
        logs = self._workshop.shelf
        return PodUsage(
            containers={
                one.name: usage_bytes(folder / "work" / one.name)
                + self._workshop.endings.usage_bytes(pod.uid, one.name)
                + usage_bytes(logs.folder(meta.namespace or "", meta.name, pod.uid, one.name))
                for one in every_container(pod.spec)
            },
            volumes={
                volume.name: usage_bytes(self._workshop.volumes.folder(pod.uid) / volume.name)
                for volume in pod.spec.volumes
                if volume.empty_dir is not None and volume.empty_dir.medium != "Memory"
            },
            temporary=usage_bytes(self._workshop.records.temporary_folder(pod.uid)),
        )

    def _relieve(self, pods: list[Pod], usage: Mapping[str, PodUsage], space: DiskSpace) -> None:
        if gone := self._workshop.bundles.clear():
            log.warning("the disk runs out: unused bundles were removed", extra={"bundles": gone})
            return
        if any(self._runs(uid) for uid in self._gone):
            return  # what the last one had is not free yet
        pod = first_to_go([pod for pod in pods if pod.uid not in self._gone], usage)
        if pod is not None:
            self._evict(pod, low_message(pod, usage[pod.uid], space.threshold, space.free), "node")

    def _evict(self, pod: Pod, message: str, cause: str) -> None:
        self._gone.add(pod.uid)
        EVICTIONS.labels(cause).inc()
        log.warning("pod is evicted", extra={"podId": pod.uid, "detail": message})
        self._tell(Emit(pod.uid, "", "Warning", EVICTED, message), pod)
        self._post(Condemned(pod.uid, EVICTED, message))

    def _clear(self, everything: bool) -> None:
        for uid, pod in list(self._pods.items()):
            has_ended = pod.status.phase in ENDED and (everything or pod.status.reason == EVICTED)
            if self._runs(uid) or not (has_ended or uid in self._gone):
                continue
            written = [self._workshop.volumes.folder(uid) / v.name for v in pod.spec.volumes if v.empty_dir is not None]
            folder = self._workshop.records.folder(uid)
            for path in (*written, folder / "work", self._workshop.records.temporary_folder(uid)):
                remove_tree(path)
            self._workshop.endings.shorten(uid)
