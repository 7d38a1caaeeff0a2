"""All pods of the node: passes each stimulus to its pod, lets the pod decide, and keeps the one timer.

What holds: a process exists only for a pod that was seen or adopted and not yet released; a container has at most one;
repeating a stimulus changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .messages import (
    Adopted,
    Condemned,
    Effect,
    PodGone,
    PodSeen,
    Released,
    Retuned,
    SetTimer,
    Shutdown,
    Stimulus,
    SupervisorLost,
    Tick,
)
from .pod import PodLife
from .settings import MachineSettings


class Machine:
    """The agent's decisions. Not thread-safe; one stimulus at a time."""

    def __init__(self, settings: MachineSettings) -> None:
        self._settings = settings
        self._pods: dict[str, PodLife] = {}
        self._timer: float | None = None
        self._closing = False

    @property
    def uids(self) -> frozenset[str]:
        """Pods that are not yet released."""
        return frozenset(self._pods)

    @property
    def busy(self) -> bool:
        """Whether any pod has a process."""
        return any(life.has_process for pod in self._pods.values() for life in pod.lives)

    def pod(self, uid: str) -> PodLife | None:
        """One pod's life, to look at."""
        return self._pods.get(uid)

    def step(self, stimulus: Stimulus, now: float) -> list[Effect]:
        """Take one stimulus at time `now` (POSIX seconds) and say what is to be done, in order."""
        effects = list(self._take(stimulus, now))
        every = isinstance(stimulus, Tick | Shutdown)
        uid = _uid_of(stimulus)
        touched = list(self._pods.values()) if every else [p for p in (self._pods.get(uid or ""),) if p]
        for pod in touched:
            effects += pod.advance(now)
        effects += self._retime(now)
        return effects

    def shift(self, by_s: float) -> None:
        """The clock was set, by so many seconds: waits, graces and deadlines go by what has passed, not by what it shows."""
        for pod in self._pods.values():
            pod.shift(by_s)

    def _take(self, stimulus: Stimulus, now: float) -> Iterator[Effect]:
        if isinstance(stimulus, Tick):
            self._timer = None  # it has fired; whoever still waits must set it again
            return
        if isinstance(stimulus, Shutdown):
            self._closing = True
            for pod in self._pods.values():
                pod.close()
        elif isinstance(stimulus, Retuned):
            self._retune(stimulus)
        elif isinstance(stimulus, Adopted):
            if stimulus.pod.uid not in self._pods:
                self._pods[stimulus.pod.uid] = PodLife(stimulus.pod, self._settings, now, stimulus.containers)
        elif isinstance(stimulus, PodSeen):
            self._see(stimulus, now)
        elif (pod_life := self._pods.get(stimulus.uid)) is None:
            return
        elif isinstance(stimulus, PodGone):
            pod_life.disappear(stimulus.grace_s)
        elif isinstance(stimulus, Condemned):
            pod_life.fail((stimulus.reason, stimulus.message))
        elif isinstance(stimulus, SupervisorLost):
            pod_life.lost(stimulus.runs, now)
        elif isinstance(stimulus, Released):
            if pod_life.gone:
                del self._pods[stimulus.uid]
        else:
            yield from pod_life.hear(stimulus, now)

    def _retune(self, waits: Retuned) -> None:
        self._settings = replace(
            self._settings, backoff_initial_s=waits.backoff_initial_s, backoff_max_s=waits.backoff_max_s
        )
        for pod in self._pods.values():
            pod.retune(self._settings)

    def _see(self, stimulus: PodSeen, now: float) -> None:
        known = self._pods.get(stimulus.pod.uid)
        if known is not None:
            known.seen(stimulus.pod, now)
        elif not self._closing:
            self._pods[stimulus.pod.uid] = PodLife(stimulus.pod, self._settings, now)

    def _retime(self, now: float) -> Iterator[Effect]:
        times = [at for pod in self._pods.values() for at in pod.wake_times(now)]
        at = max(min(times), now) if times else None
        if at is not None and at != self._timer:
            yield SetTimer(at)
        self._timer = at


def _uid_of(stimulus: Stimulus) -> str | None:
    if isinstance(stimulus, Adopted | PodSeen):
        return stimulus.pod.uid
    return getattr(stimulus, "uid", None)
