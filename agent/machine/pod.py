"""One pod's life: runs its containers, or winds them down because it is deleted, gone, overdue or failed."""

from __future__ import annotations

from collections.abc import Iterator

from stark.crds.podcontainers import container_named, is_sidecar
from stark.crds.pods import Container, ContainerStatus, Pod, PodStatus

from .container import (
    CREATING,
    INITIALIZING,
    KILLED_EXIT,
    LOST_REASON,
    MOUNT_FAILED,
    OWN_FAULTS,
    ContainerLife,
    start_effect,
)
from .messages import (
    Called,
    DeletePod,
    Effect,
    Emit,
    Exit,
    Exited,
    Hooked,
    Prepared,
    PrepareFailed,
    Probed,
    Release,
    Remembered,
    Retire,
    Started,
    WriteStatus,
)
from .ordering import Role, due, has_failed_to_initialize, is_initialized, may_stop, policy_of
from .settings import MachineSettings
from .status import is_reported, pod_status

DEADLINE = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
LOST_HERE = "the node knows nothing of the container that the API server says was running"


class PodLife:
    """The state of one pod. `advance` says what is to be done now; everything else only takes note."""

    def __init__(self, pod: Pod, settings: MachineSettings, now: float, known: tuple[Remembered, ...] = ()) -> None:
        self.pod = pod
        self.uid = pod.uid
        self._settings = settings
        start = pod.status.start_time
        self._started_at = start.timestamp() if start is not None else now
        self._active_since = self._started_at
        """From when the deadline counts: the same, as the clock shows it now."""
        self._verdict = _foreign_verdict(pod)
        self._written: PodStatus | None = None
        self._seen_stale = False
        self._gone_grace_s: float | None = None
        self.gone = False
        self._closing = False
        self._released = self._retired = self._deleted = False
        remembered = {memory.name: memory for memory in known}
        begun = [
            *((spec, Role.SIDECAR if is_sidecar(spec) else Role.INIT) for spec in pod.spec.init_containers),
            *((spec, Role.MAIN) for spec in pod.spec.containers),
        ]
        self.lives = [self._begin(spec, role, remembered.get(spec.name), now) for spec, role in begun]
        initial = [life for life in self.lives if life.role is Role.INIT]
        self._initialized = any(life.runs for life in self._mains) and all(life.succeeded for life in initial)
        if not known and any(life.exit and life.exit.reason == LOST_REASON for life in self._mains):
            self._initialize_again(now)

    # -- stimuli --------------------------------------------------------------------------------------------------

    def retune(self, settings: MachineSettings) -> None:
        """The node's settings have changed."""
        self._settings = settings

    def seen(self, pod: Pod, now: float) -> None:
        """The API server has a newer version of the pod."""
        self.pod = pod
        self._verdict = self._verdict or _foreign_verdict(pod, self._written)
        for life in self.lives:
            spec = container_named(pod.spec, life.name)
            if spec is not None:
                life.respec(spec, now)
        self._seen_stale = self._written is not None and not is_reported(self._written, pod.status)

    def disappear(self, grace_s: float | None) -> None:
        """The API server no longer has the pod."""
        self.gone = True
        self._gone_grace_s = grace_s

    def close(self) -> None:
        """The agent is leaving and takes the processes with it; the pod itself stays, and runs again when it is back."""
        self._closing = True

    def fail(self, verdict: tuple[str, str]) -> None:
        """Stop everything and call the pod failed, unless it has finished."""
        if self._verdict is None and not self._finished():
            self._verdict = verdict

    def shift(self, by_s: float) -> None:
        """The clock was set: what is due is due as long from now as before."""
        self._active_since += by_s
        for life in self.lives:
            life.shift(by_s)

    def lost(self, runs: tuple[tuple[str, int], ...], now: float) -> None:
        """A supervisor died with these runs."""
        for life in self.lives:
            if (life.name, life.attempt) in runs:
                life.lost(now)
        if runs:
            self._initialize_again(now)

    def hear(
        self, news: Prepared | PrepareFailed | Started | Called | Exited | Probed | Hooked, now: float
    ) -> Iterator[Effect]:
        """News about one container."""
        life = next((life for life in self.lives if life.name == news.container), None)
        if life is None:
            return
        if isinstance(news, Prepared):
            if life.prepared(news.ticket, news.image_id):
                if news.note:
                    yield Emit(self.uid, life.name, "Normal", "Pulled", news.note)
                yield start_effect(life)
        elif isinstance(news, PrepareFailed):
            if life.prepare_failed(news.ticket, news.reason, news.message, now, self._settings):
                if news.reason == MOUNT_FAILED:
                    yield Emit(self.uid, "", "Warning", MOUNT_FAILED, news.message)
                else:
                    yield Emit(self.uid, life.name, "Warning", "Failed", f"Error: {news.reason}: {news.message}")
        elif isinstance(news, Started):
            life.process_started(news.attempt, news.at, news.execution)
        elif isinstance(news, Called):
            if life.entry_called(news.attempt, news.at):
                yield Emit(self.uid, life.name, "Normal", "Started", f"Started container {life.name}")
        elif isinstance(news, Exited):
            asked_to = life.wish is not None and life.wish.reason not in OWN_FAULTS
            ended = life.ended(news.attempt, news.exit)
            if ended and not asked_to and life.called_at is None and news.exit.code != 0:
                yield Emit(self.uid, life.name, "Warning", "Failed", _never_called(news.exit))
        elif isinstance(news, Hooked):
            yield from life.hooked(news.attempt, news.kind, news.ok, self._own_grace_s(), now)
        elif life.probed(news.attempt, news.kind, news.ok, now) and not news.ok:
            text = f"{news.kind.capitalize()} probe failed: {news.message}"
            yield Emit(self.uid, life.name, "Warning", "Unhealthy", text)

    # -- decisions ------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> Iterator[Effect]:
        """What is to be done now. Calling it again without news asks for nothing new."""
        limit = self.pod.spec.active_deadline_seconds
        if limit is not None and now >= self._active_since + limit:
            if self._verdict is None and not self._finished():
                yield Emit(self.uid, "", "Normal", DEADLINE[0], DEADLINE[1])
            self.fail(DEADLINE)
        if self._ending():
            yield from self._wind_down(now)
        else:
            policy = self.pod.spec.restart_policy
            self._initialized = self._initialized or is_initialized(self.lives)
            for life in due(self.lives, self._initialized):
                yield from life.proceed(policy_of(life.role, policy), self._own_grace_s(), now, self._settings)
        if self.gone:
            if not self._busy() and not self._released:
                self._released = True
                yield Release(self.uid)
            return
        yield from self._report(now)
        if (self._finished() or self._closing) and not self._busy() and not self._retired:
            self._retired = True
            yield Retire(self.uid)
        if self.pod.metadata.deletion_timestamp is not None and not self._busy() and not self._deleted:
            self._deleted = True
            yield DeletePod(self.uid)

    def wake_times(self, now: float) -> Iterator[float]:
        """When something becomes due."""
        if self._ending():
            for life in self.lives:
                yield from life.stop_times()
            return
        limit = self.pod.spec.active_deadline_seconds
        if limit is not None and not self._finished():
            yield self._active_since + limit
        for life in due(self.lives, self._initialized):
            yield from life.wake_times(now)

    @property
    def _mains(self) -> list[ContainerLife]:
        return [life for life in self.lives if life.role is Role.MAIN]

    def _ending(self) -> bool:
        deleted = self.pod.metadata.deletion_timestamp is not None
        return self.gone or self._closing or deleted or self._verdict is not None or self._work_is_over()

    def _busy(self) -> bool:
        return any(life.has_process for life in self.lives)

    def _work_is_over(self) -> bool:
        """Whether no container will run again: all have ended for good, or will never have their turn."""
        policy = self.pod.spec.restart_policy
        return has_failed_to_initialize(self.lives, policy) or all(life.is_over(policy) for life in self._mains)

    def _finished(self) -> bool:
        """Whether the pod has come to its end, sidecars and all."""
        return not self._busy() and (self._verdict is not None or self._work_is_over())

    def _initialize_again(self, now: float) -> None:
        """Everything that ran was killed, and what init containers had prepared may be gone with it (as Kubernetes has
        it when a sandbox is lost): they run again before any container does."""
        if not self._busy() and not self._work_is_over():
            self._initialized = False
            for life in self.lives:
                life.abandon()  # whoever was about to start waits for its turn again
                if life.role is Role.INIT and life.succeeded:
                    life.run_again(now)

    def _wind_down(self, now: float) -> Iterator[Effect]:
        grace_s = self._grace_s()
        for life in self.lives:
            life.abandon()
            if life.has_process:
                life.want_stop(grace_s, self._stop_reason(), f"Stopping container {life.name}", now)
            yield from life.carry_out_stop(now, may_stop(life, self.lives))

    def _own_grace_s(self) -> float:
        return self._capped(self.pod.spec.termination_grace_period_seconds)

    def _grace_s(self) -> float:
        asked = self.pod.metadata.deletion_grace_period_seconds
        if self.gone and self._gone_grace_s is not None:
            asked = int(self._gone_grace_s)
        return self._own_grace_s() if asked is None else self._capped(asked)

    def _capped(self, grace_s: float) -> float:
        return min(float(grace_s), self._settings.grace_max_s)

    def _stop_reason(self) -> str:
        if self._verdict is not None:
            return self._verdict[0]
        if self._closing:
            return "NodeShutdown"
        return "Completed" if self._work_is_over() else "Deleted"

    def _report(self, now: float) -> Iterator[Effect]:
        status = pod_status(
            self.pod,
            self.lives,
            started_at=self._started_at,
            node_ip=self._settings.node_ip,
            previous=self._written,
            verdict=self._verdict,
            now=now,
        )
        if status != self._written or self._seen_stale:
            self._written, self._seen_stale = status, False
            yield WriteStatus(self.uid, status)

    def _begin(self, spec: Container, role: Role, known: Remembered | None, now: float) -> ContainerLife:
        meta, status = self.pod.metadata, self.pod.status
        creating = INITIALIZING if self.pod.spec.init_containers else CREATING
        life = ContainerLife(self.uid, f"{meta.name}_{meta.namespace}({self.uid})", spec, role, creating)
        told = (*status.init_container_statuses, *status.container_statuses)
        reported = next((c for c in told if c.name == spec.name), None)
        if known is None and reported is not None:
            known = _from_report(reported, spec, now)
        if known is not None:
            life.remember(known)
            if reported is not None:
                life.believe(reported)
        return life


def _never_called(ended: Exit) -> str:
    """Why a program ended before it began its work; one that says nothing has at least an exit code."""
    message = ended.message or f"it ended with exit code {ended.code} before it was called"
    return f"Error: {ended.reason or 'Error'}: {message}"


def _foreign_verdict(pod: Pod, ours: PodStatus | None = None) -> tuple[str, str] | None:
    """Somebody else called the pod failed (an eviction, a lost node): then it must stop here."""
    if pod.status.phase != "Failed" or (ours is not None and ours.phase == "Failed"):
        return None
    if pod.status.reason is None and pod.status.container_statuses:
        return None  # our own report of an earlier life: the containers tell the same story
    return pod.status.reason or "Failed", pod.status.message or ""


def _from_report(reported: ContainerStatus, spec: Container, now: float) -> Remembered | None:
    """What the API server remembers of a container about which this node's disk is silent (data directory lost)."""
    state = reported.state
    ended: Exit | None = None
    if state.terminated is not None:
        t = state.terminated
        begun = t.started_at.timestamp() if t.started_at else now
        until = t.finished_at.timestamp() if t.finished_at else now
        ended = Exit(t.exit_code, t.signal or 0, t.reason or "", t.message or "", begun, until)
    elif state.running is not None:
        begun = state.running.started_at.timestamp() if state.running.started_at else now
        ended = Exit(KILLED_EXIT, 9, LOST_REASON, LOST_HERE, begun, now)
    elif reported.last_state.terminated is not None:
        t = reported.last_state.terminated
        begun = t.started_at.timestamp() if t.started_at else now
        ended = Exit(t.exit_code, t.signal or 0, t.reason or "", t.message or "", begun, now)
    if ended is None:
        return None
    return Remembered(
        name=reported.name,
        attempt=reported.restart_count,
        image=reported.image or spec.image or "",
        image_id=reported.image_id,
        execution=(reported.container_id or "").partition("://")[2],
        started_at=ended.started_at,
        called_at=None,
        exit=ended,
    )
