"""What can be said to the machine (stimuli) and what it can ask for (effects). Times are POSIX seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from stark.crds.pods import LifecycleHandler, Pod, PodStatus, Probe


class ProbeKind(StrEnum):
    """The three probes of a container."""

    STARTUP = "startup"
    READINESS = "readiness"
    LIVENESS = "liveness"


class HookKind(StrEnum):
    """The two moments at which a container may want something done."""

    POST_START = "postStart"
    PRE_STOP = "preStop"


@dataclass(frozen=True, slots=True)
class Exit:
    """How one run of a container ended. `signal` is 0 when none ended it; `reason` may be empty: the code decides."""

    code: int
    signal: int
    reason: str
    message: str
    started_at: float
    finished_at: float
    execution: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the node's disk and the supervisor know about the last run of one container."""

    name: str
    attempt: int
    image: str
    image_id: str
    execution: str
    started_at: float
    called_at: float | None
    exit: Exit | None
    """None while it runs."""
    previous: Exit | None = None
    """How the run before it ended."""


# -- stimuli -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Adopted:
    """A pod found on this node's disk when the agent started, with what became of its containers."""

    pod: Pod
    containers: tuple[Remembered, ...]


@dataclass(frozen=True, slots=True)
class PodSeen:
    """The API server has this pod, bound to this node."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class PodGone:
    """The API server no longer has this pod."""

    uid: str
    grace_s: float | None = None
    """Seconds to stop; None for what the pod's own spec says."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """Bundle, environment and ports of the next run are ready."""

    uid: str
    container: str
    ticket: int
    image_id: str
    note: str = ""
    """How the bundle was come by, for the Pulled event."""


@dataclass(frozen=True, slots=True)
class PrepareFailed:
    """They are not; `reason` is the container's waiting reason."""

    uid: str
    container: str
    ticket: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Started:
    """The process exists."""

    uid: str
    container: str
    attempt: int
    at: float
    execution: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """The entry point was called: from now on the container counts as running."""

    uid: str
    container: str
    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Exited:
    """The process ended, or could not be started."""

    uid: str
    container: str
    attempt: int
    exit: Exit


@dataclass(frozen=True, slots=True)
class SupervisorLost:
    """The pod's supervisor is dead, and with it the runs that it had: (container, attempt).

    Runs that were started since, under the next supervisor, are not among them and go on.
    """

    uid: str
    runs: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Probed:
    """The answer of one probe."""

    uid: str
    container: str
    attempt: int
    kind: ProbeKind
    ok: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Hooked:
    """A hook is over."""

    uid: str
    container: str
    attempt: int
    kind: HookKind
    ok: bool


@dataclass(frozen=True, slots=True)
class Condemned:
    """The pod must stop and counts as failed, unless it has finished."""

    uid: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing of the pod is left on this node."""

    uid: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The agent leaves and takes the processes with it: stop every pod and start none."""


@dataclass(frozen=True, slots=True)
class Retuned:
    """The waits between restarts are others now. What waits already goes on waiting."""

    backoff_initial_s: float
    backoff_max_s: float


Stimulus = (
    Adopted
    | PodSeen
    | PodGone
    | Prepared
    | PrepareFailed
    | Started
    | Called
    | Exited
    | SupervisorLost
    | Probed
    | Hooked
    | Condemned
    | Released
    | Retuned
    | Tick
    | Shutdown
)


# -- effects -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    """Fetch the bundle, resolve the environment, find ports; answer Prepared or PrepareFailed with the ticket."""

    uid: str
    container: str
    ticket: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Start:
    """Start what was prepared under `ticket`; answer Started and later Exited, or Exited alone."""

    uid: str
    container: str
    attempt: int
    ticket: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the process to end and kill it after `grace_s`; Exited will tell."""

    uid: str
    container: str
    attempt: int
    grace_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class ProbeNow:
    """Probe once; answer Probed."""

    uid: str
    container: str
    attempt: int
    kind: ProbeKind
    probe: Probe


@dataclass(frozen=True, slots=True)
class RunHook:
    """Carry out a hook, for at most `timeout_s`; answer Hooked."""

    uid: str
    container: str
    attempt: int
    kind: HookKind
    handler: LifecycleHandler
    timeout_s: float


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """The pod's status is now this; only the newest matters."""

    uid: str
    status: PodStatus


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Everything has stopped: remove the object for good (grace 0, uid as precondition), after its last status."""

    uid: str


@dataclass(frozen=True, slots=True)
class Retire:
    """The pod has finished: its supervisor is no longer needed, its records and logs are."""

    uid: str


@dataclass(frozen=True, slots=True)
class Release:
    """The pod is no more: remove supervisor, directory, cgroups, ports; answer Released."""

    uid: str


@dataclass(frozen=True, slots=True)
class Emit:
    """A Kubernetes Event about the pod, or about one container of it."""

    uid: str
    container: str
    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Send Tick at that time; replaces the timer set before."""

    at: float


Effect = Prepare | Start | Stop | ProbeNow | RunHook | WriteStatus | DeletePod | Retire | Release | Emit | SetTimer
