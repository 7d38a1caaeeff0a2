"""One container's life: prepared, started, probed, stopped, started again; one process at most, ever.

The back-off is kubelet's: the first restart is immediate, the next waits 10 s, then twice as long up to five minutes, or
as the cluster's settings say; a run of ten minutes forgives everything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from stark.crds.pods import Container, ContainerStatus, RestartPolicy

from .hooks import FAILED_POST_START, FAILURES, GRACE_MIN_S, POST_START_MAX_S, HookRun, handler_of
from .messages import (
    Effect,
    Emit,
    Exit,
    HookKind,
    Prepare,
    ProbeKind,
    ProbeNow,
    Remembered,
    RunHook,
    Start,
    Stop,
)
from .ordering import Role
from .probing import ProbeRun
from .settings import MachineSettings, next_backoff_s

CREATING = "ContainerCreating"
INITIALIZING = "PodInitializing"
"""The same in a pod with init containers."""
CRASH_LOOP = "CrashLoopBackOff"
PULL_FAILED = "ErrImagePull"
PULL_BACKOFF = "ImagePullBackOff"
MOUNT_FAILED = "FailedMount"
"""A volume cannot be made: what is missing may appear at any time, so the waits are shorter. The kubelet's figures."""
MOUNT_BACKOFF_INITIAL_S = 0.5
MOUNT_BACKOFF_MAX_S = 122.0
UNHEALTHY = "Unhealthy"
"""Why a container is stopped whose probe failed too often, and why it ended then."""
OWN_FAULTS = (UNHEALTHY, FAILED_POST_START)
"""Reasons for a stop that are the reason of the end, too."""
LOST_REASON = "ContainerStatusUnknown"
LOST_MESSAGE = "the supervisor of the pod was killed, and the container with it"
KILLED_EXIT = 137
PULL_FAILED_SHOWN_S = 5.0  # how long ErrImagePull is shown before it becomes ImagePullBackOff


class Stage(Enum):
    """Where in its life a container is."""

    WAITING = auto()
    PREPARING = auto()
    STARTING = auto()
    RUNNING = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class StopWish:
    """Somebody wants the process to end."""

    grace_s: float
    reason: str
    message: str
    until: float
    """When the grace is over."""


def should_restart(policy: RestartPolicy, ended: Exit) -> bool:
    """Whether a container that ended is to run again."""
    return policy == "Always" or (policy == "OnFailure" and ended.code != 0)


@dataclass(slots=True)
class ContainerLife:
    """The state of one container of one pod."""

    uid: str
    pod_label: str
    """`name_namespace(uid)`, as kubelet's messages name a pod."""
    spec: Container
    role: Role = Role.MAIN
    creating: str = CREATING
    """Reason of the waiting state while nothing is wrong."""
    stage: Stage = Stage.WAITING
    waiting_reason: str = ""
    """Why it waits; empty while nothing is wrong."""
    waiting_message: str = ""
    runs: int = 0
    """Starts so far; the current attempt is one less, and so is the restart count."""
    ticket: int = 0
    retry_at: float = 0.0
    pull_delay_s: float = 0.0
    restart_delay_s: float = 0.0
    image: str = ""
    image_id: str = ""
    execution: str = ""
    started_at: float = 0.0
    called_at: float | None = None
    exit: Exit | None = None
    last: Exit | None = None
    wish: StopWish | None = None
    announced: bool = False
    """Whether people were told that it is being stopped."""
    held_up: bool = False
    """Whether its stop had to wait, so that less than the whole grace is left."""
    told_grace_s: float | None = None
    hooks: HookRun = field(default_factory=HookRun)
    probes: dict[ProbeKind, ProbeRun] = field(default_factory=dict)
    failed_at: float = 0.0

    # -- what others read -----------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The container's name."""
        return self.spec.name

    @property
    def attempt(self) -> int:
        """Number of the current or last run, from 0."""
        return max(0, self.runs - 1)

    @property
    def has_process(self) -> bool:
        """Whether a process exists or may exist."""
        return self.stage in (Stage.STARTING, Stage.RUNNING)

    @property
    def is_running(self) -> bool:
        """Whether the entry point was called, its postStart hook is done, and the process has not ended."""
        return self.stage is Stage.RUNNING and self.called_at is not None and self.hooks.let_run

    @property
    def succeeded(self) -> bool:
        """Whether its last run ended well."""
        return self.stage is Stage.ENDED and self.exit is not None and self.exit.code == 0

    def is_over(self, policy: RestartPolicy) -> bool:
        """Whether it has ended and is not started again: not by its policy, and not because it is to be something else."""
        over = self.stage is Stage.ENDED and self.exit is not None and not should_restart(policy, self.exit)
        return over and (self.role is Role.INIT or self.spec.image == self.image)

    @property
    def started(self) -> bool:
        """Whether it runs and its startup probe, if any, has succeeded."""
        probe = self.probes.get(ProbeKind.STARTUP)
        return self.is_running and (probe is None or probe.passing)

    @property
    def ready(self) -> bool:
        """Whether it runs, has started, and its readiness probe, if any, succeeds; an init container when it is done."""
        if self.role is Role.INIT:
            return self.succeeded
        probe = self.probes.get(ProbeKind.READINESS)
        return self.started and (probe is None or probe.passing)

    # -- stimuli --------------------------------------------------------------------------------------------------

    def remember(self, known: Remembered) -> None:
        """Take over a container that an earlier agent started."""
        self.runs = known.attempt + 1
        self.image, self.image_id, self.execution = known.image, known.image_id, known.execution
        self.started_at, self.called_at = known.started_at, known.called_at
        self.exit, self.last = known.exit, known.previous
        self.stage = Stage.ENDED if known.exit else Stage.RUNNING
        if known.called_at is not None and known.exit is None:
            self._begin_probes(known.called_at)

    def believe(self, reported: ContainerStatus) -> None:
        """Go on with what probes had said of this very run: a new agent is no news of the container, and what was ready
        stays so until a probe has failed as often as it must."""
        if not self.execution or (reported.container_id or "").partition("://")[2] != self.execution:
            return
        for kind, verdict in ((ProbeKind.STARTUP, reported.started), (ProbeKind.READINESS, reported.ready)):
            if verdict and kind in self.probes:
                self.probes[kind].passing = True

    def prepared(self, ticket: int, image_id: str) -> bool:
        """The next run can start; False when the answer is to an older question."""
        if self.stage is not Stage.PREPARING or ticket != self.ticket:
            return False
        self.image_id, self.pull_delay_s = image_id, 0.0
        self.stage = Stage.STARTING
        self.runs += 1
        self.exit, self.called_at, self.wish, self.told_grace_s, self.probes = None, None, None, None, {}
        self.announced, self.held_up, self.hooks = False, False, HookRun()
        return True

    def prepare_failed(self, ticket: int, reason: str, message: str, now: float, settings: MachineSettings) -> bool:
        """Wait and try again; False when the answer is to an older question."""
        if self.stage is not Stage.PREPARING or ticket != self.ticket:
            return False
        if reason == MOUNT_FAILED:
            self.pull_delay_s = min(max(MOUNT_BACKOFF_INITIAL_S, 2 * self.pull_delay_s), MOUNT_BACKOFF_MAX_S)
        else:
            self.pull_delay_s = next_backoff_s(self.pull_delay_s, settings)
        self.stage, self.retry_at, self.failed_at = Stage.WAITING, now + self.pull_delay_s, now
        self.waiting_reason, self.waiting_message = reason, message
        return True

    def process_started(self, attempt: int, at: float, execution: str) -> None:
        """The process exists."""
        if self.stage is Stage.STARTING and attempt == self.attempt:
            self.stage, self.started_at, self.execution = Stage.RUNNING, at, execution

    def entry_called(self, attempt: int, at: float) -> bool:
        """The entry point was called; True the first time."""
        if self.stage is not Stage.RUNNING or attempt != self.attempt or self.called_at is not None:
            return False
        self.called_at = at
        self.hooks.post_start_pending = handler_of(self.spec, HookKind.POST_START) is not None
        self._begin_probes(at)
        return True

    def hooked(self, attempt: int, kind: HookKind, ok: bool, grace_s: float, now: float) -> Iterator[Effect]:
        """A hook is over, well or not."""
        if attempt != self.attempt or not self.has_process or not self.hooks.answer(kind, ok) or ok:
            return
        reason, message = FAILURES[kind]
        yield Emit(self.uid, self.name, "Warning", reason, message)
        if kind is HookKind.POST_START:
            self.want_stop(grace_s, FAILED_POST_START, f"Container {self.name} failed its postStart hook", now)

    def ended(self, attempt: int, ended: Exit) -> bool:
        """The process has ended; False when that is old news."""
        if not self.has_process or attempt != self.attempt:
            return False
        if self.wish is not None and self.wish.reason in OWN_FAULTS and ended.reason in ("", "Error", *OWN_FAULTS):
            # However politely it went: it was sent away because it did not work, and whoever counts failures has to know.
            ended = replace(ended, reason=self.wish.reason, message=self.wish.message)
        self.stage, self.exit, self.probes = Stage.ENDED, ended, {}
        self.execution = ended.execution or self.execution
        return True

    def lost(self, now: float) -> None:
        """The supervisor is gone, and the process with it."""
        if self.has_process:
            exit_ = Exit(KILLED_EXIT, 9, LOST_REASON, LOST_MESSAGE, self.started_at or now, now, self.execution)
            self.ended(self.attempt, exit_)

    def probed(self, attempt: int, kind: ProbeKind, ok: bool, now: float) -> bool:
        """One probe answered; False when nobody asked any more."""
        run = self.probes.get(kind)
        if run is None or attempt != self.attempt or not run.asked:
            return False
        run.answer(ok, now)
        return True

    def shift(self, by_s: float) -> None:
        """The clock was set: what is due is due as long from now as before."""
        self.retry_at += by_s
        self.failed_at += by_s
        for run in self.probes.values():
            run.next_at += by_s
        if self.wish is not None:  # else a preStop hook would be cut short, or the program given a day more to end
            self.wish = replace(self.wish, until=self.wish.until + by_s)

    def respec(self, spec: Container, now: float) -> None:
        """The pod's spec changed; only the image matters to a container that lives."""
        changed = spec.image != self.spec.image
        self.spec = spec
        if changed and self.stage in (Stage.WAITING, Stage.PREPARING):
            self.stage, self.retry_at = Stage.WAITING, now
            self.waiting_reason, self.waiting_message, self.pull_delay_s = "", "", 0.0

    # -- decisions ------------------------------------------------------------------------------------------------

    def proceed(self, policy: RestartPolicy, grace_s: float, now: float, settings: MachineSettings) -> Iterator[Effect]:
        """What a container of a live pod needs next."""
        if self.stage is Stage.ENDED:
            yield from self._after_end(policy, now, settings)
        if self.stage is Stage.WAITING and now >= self.retry_at:
            self.ticket += 1
            self.stage = Stage.PREPARING
            self.image = self.spec.image or ""
            yield Prepare(self.uid, self.name, self.ticket, self.runs)
        if self.stage is Stage.RUNNING:
            yield from self._start_hook()
            # An init container is done soon, and its old image has begun the work.
            if self.spec.image != self.image and self.role is not Role.INIT:
                message = f"Container {self.name} definition changed, will be restarted"
                self.want_stop(grace_s, "ImageChanged", message, now)
            yield from self._check_probes(grace_s, now)
            yield from self.carry_out_stop(now)

    def run_again(self, now: float) -> None:
        """Forget that it has ended: what it made is gone."""
        if self.stage is Stage.ENDED:
            self.last, self.exit = self.exit, None
            self.stage, self.retry_at = Stage.WAITING, now
            self.waiting_reason, self.waiting_message = "", ""

    def want_stop(self, grace_s: float, reason: str, message: str, now: float) -> None:
        """Wish the process away; a shorter grace overrules a longer one."""
        if self.wish is None or grace_s < self.wish.grace_s:
            self.wish = StopWish(grace_s, reason, message, now + grace_s)

    def carry_out_stop(self, now: float, is_its_turn: bool = True) -> Iterator[Effect]:
        """Do what a wish asks for and has not been done: run the preStop hook, and when that is over and it is the
        container's turn, or the grace is, tell the process. One that is only starting is told once it has."""
        if self.wish is None or self.stage is not Stage.RUNNING:
            return
        if not self.announced:
            self.announced = True
            yield Emit(self.uid, self.name, "Normal", "Killing", self.wish.message)
        yield from self._stop_hook()
        grace_s = self.wish.grace_s
        if self.told_grace_s is None and grace_s > 0:
            if (self.hooks.pre_stop_pending or not is_its_turn) and now < self.wish.until:
                self.held_up = True
                return
            if self.held_up:
                grace_s = max(GRACE_MIN_S, self.wish.until - now)
        if self.told_grace_s is None or grace_s < self.told_grace_s:
            self.told_grace_s = grace_s
            yield Stop(self.uid, self.name, self.attempt, grace_s, self.wish.reason)

    def _start_hook(self) -> Iterator[Effect]:
        handler = handler_of(self.spec, HookKind.POST_START)
        if self.hooks.post_start_pending and not self.hooks.post_start_asked and handler is not None:
            self.hooks.post_start_asked = True
            yield RunHook(self.uid, self.name, self.attempt, HookKind.POST_START, handler, POST_START_MAX_S)

    def _stop_hook(self) -> Iterator[Effect]:
        handler = handler_of(self.spec, HookKind.PRE_STOP)
        if handler is None or self.hooks.pre_stop_asked or self.called_at is None or self.told_grace_s is not None:
            return
        if self.wish is not None and self.wish.grace_s > 0:
            self.hooks.pre_stop_asked = self.hooks.pre_stop_pending = True
            yield RunHook(self.uid, self.name, self.attempt, HookKind.PRE_STOP, handler, self.wish.grace_s)

    def abandon(self) -> None:
        """Start nothing for now: the pod is ending, or its turn has gone. An answer to an open question will find nobody."""
        if self.stage is Stage.PREPARING:
            self.stage = Stage.WAITING

    def show(self, now: float) -> tuple[str, str]:
        """Reason and message of the waiting state."""
        if self.waiting_reason == PULL_FAILED and now >= self.failed_at + PULL_FAILED_SHOWN_S:
            return PULL_BACKOFF, f'Back-off pulling image "{self.spec.image}": {self.waiting_message}'
        return self.waiting_reason or self.creating, self.waiting_message

    def wake_times(self, now: float) -> Iterator[float]:
        """When something becomes due."""
        if self.stage is Stage.WAITING:
            yield self.retry_at
            if self.waiting_reason == PULL_FAILED and now < self.failed_at + PULL_FAILED_SHOWN_S:
                yield self.failed_at + PULL_FAILED_SHOWN_S
        for run in self._due_probes():
            yield run.next_at
        yield from self.stop_times()

    def stop_times(self) -> Iterator[float]:
        """When a stop that waits for a hook or a turn waits no longer."""
        if self.stage is Stage.RUNNING and self.wish is not None and self.told_grace_s is None:
            yield self.wish.until

    def _after_end(self, policy: RestartPolicy, now: float, settings: MachineSettings) -> Iterator[Effect]:
        assert self.exit is not None, self.name
        if self.is_over(policy):
            return
        replaced = self.spec.image != self.image
        if replaced or self.exit.finished_at - self.exit.started_at >= settings.backoff_reset_s:
            self.restart_delay_s = 0.0
        # The ceiling may have been lowered since the wait was worked out.
        delay_s = 0.0 if replaced else min(self.restart_delay_s, settings.backoff_max_s)
        self.restart_delay_s = 0.0 if replaced else next_backoff_s(self.restart_delay_s, settings)
        self.last, self.exit = self.exit, None
        self.stage, self.retry_at = Stage.WAITING, self.last.finished_at + delay_s
        self.waiting_reason, self.waiting_message = "", ""
        if self.retry_at > now:
            text = f"restarting failed container={self.name} pod={self.pod_label}"
            self.waiting_reason, self.waiting_message = CRASH_LOOP, f"back-off {_duration(delay_s)} {text}"
            message = f"Back-off restarting failed container {self.name} in pod {self.pod_label}"
            yield Emit(self.uid, self.name, "Warning", "BackOff", message)

    def _begin_probes(self, at: float) -> None:
        listed = (
            (ProbeKind.STARTUP, self.spec.startup_probe),
            (ProbeKind.READINESS, self.spec.readiness_probe),
            (ProbeKind.LIVENESS, self.spec.liveness_probe),
        )
        self.probes = {kind: ProbeRun.begin(kind, probe, at) for kind, probe in listed if probe is not None}

    def _due_probes(self) -> list[ProbeRun]:
        """Probes that take turns now: startup alone until it has succeeded, then the others."""
        if not self.is_running or self.wish is not None:
            return []
        startup = self.probes.get(ProbeKind.STARTUP)
        if startup is not None and not startup.passing:
            return [] if startup.asked else [startup]
        return [run for run in self.probes.values() if run is not startup and not run.asked]

    def _check_probes(self, grace_s: float, now: float) -> Iterator[Effect]:
        for run in self.probes.values():
            if run.broken and self.wish is None:
                own = run.probe.termination_grace_period_seconds
                text = f"Container {self.name} failed {run.kind} probe, will be restarted"
                self.want_stop(grace_s if own is None else float(own), UNHEALTHY, text, now)
        for run in self._due_probes():
            if now >= run.next_at:
                run.asked = True
                yield ProbeNow(self.uid, self.name, self.attempt, run.kind, run.probe)


def start_effect(life: ContainerLife) -> Start:
    """The order to start what was prepared last."""
    return Start(life.uid, life.name, life.attempt, life.ticket)


def _duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
