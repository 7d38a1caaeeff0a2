"""A machine and one pod in it, without processes and without time, driven by short words."""

from __future__ import annotations

from typing import Any, TypeVar

from stark.agent.machine import (
    Called,
    Effect,
    Exit,
    Exited,
    Hooked,
    HookKind,
    Machine,
    MachineSettings,
    PodSeen,
    Prepare,
    Prepared,
    SetTimer,
    Start,
    Started,
    Stimulus,
    Tick,
    WriteStatus,
)
from stark.crds.conditions import find_condition
from stark.crds.meta import decode
from stark.crds.pods import ContainerStatus, Pod, PodStatus

E = TypeVar("E", bound=Effect)
T0 = 1_000_000.0


def pod(uid: str = "u1", **given: Any) -> Pod:
    """A bound pod with one container `main`; `container` and `meta` add to those, the rest to the spec."""
    meta = {"name": "p", "namespace": "default", "uid": uid, "generation": 1, **given.pop("meta", {})}
    container = {"name": "main", "image": "pack.stark/hello:1.0.0", **given.pop("container", {})}
    status = given.pop("status", {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]})
    spec = {"nodeName": "n", "containers": [container, *given.pop("more", [])], **given}
    return decode({"metadata": meta, "spec": spec, "status": status}, Pod)


class Life:
    """A machine and one pod in it, driven by short words; `effects` are those of the last word."""

    def __init__(self, seen: Pod | None = None, **settings: Any) -> None:
        self.machine = Machine(MachineSettings(**settings))
        self.now = T0
        self.effects: list[Effect] = []
        self.status: PodStatus | None = None
        self.timer: float | None = None
        self.pod = seen or pod()
        self.say(PodSeen(self.pod))

    def say(self, stimulus: Stimulus) -> list[Effect]:
        self.effects = self.machine.step(stimulus, self.now)
        for effect in self.effects:
            if isinstance(effect, WriteStatus):
                self.status = effect.status
            if isinstance(effect, SetTimer):
                self.timer = effect.at
        return self.effects

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def of(self, kind: type[E]) -> list[str]:
        """The containers that the last word's effects of this kind are about."""
        return [getattr(effect, "container", "") for effect in self.all(kind)]

    def one(self, kind: type[E]) -> E:
        (effect,) = self.all(kind)
        return effect

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.say(Tick())

    def prepared(self, container: str = "main") -> None:
        order = next(p for p in self.all(Prepare) if p.container == container)
        self.say(Prepared(order.uid, container, order.ticket, "hello@sha256:00"))

    def run(self, container: str = "main") -> int:
        """From Prepare to running; the attempt's number."""
        self.prepared(container)
        start = self.one(Start)
        self.say(Started(start.uid, container, start.attempt, self.now, f"e{start.attempt}"))
        self.say(Called(start.uid, container, start.attempt, self.now))
        return start.attempt

    def exit(
        self, code: int = 1, attempt: int = 0, reason: str = "", after: float = 1.0, container: str = "main"
    ) -> None:
        self.now += after
        ended = Exit(code, 0, reason, "why" if reason else "", self.now - after, self.now, f"e{attempt}")
        self.say(Exited(self.pod.uid, container, attempt, ended))

    def hooked(self, kind: HookKind, ok: bool = True, container: str = "main", attempt: int = 0) -> None:
        """A hook is over."""
        self.say(Hooked(self.pod.uid, container, attempt, kind, ok))

    @property
    def container(self) -> ContainerStatus:
        assert self.status is not None
        return self.status.container_statuses[0]

    def named(self, name: str) -> ContainerStatus:
        """The status of the container or init container of that name."""
        assert self.status is not None
        told = (*self.status.init_container_statuses, *self.status.container_statuses)
        return next(status for status in told if status.name == name)

    def condition(self, type_: str) -> str:
        assert self.status is not None
        found = find_condition(self.status.conditions, type_)
        return found.status if found else "absent"


def reason(life: Life, name: str = "main") -> str:
    state = life.named(name).state
    if state.waiting:
        return state.waiting.reason or ""
    return "Running" if state.running else (state.terminated.reason if state.terminated else None) or ""


def phase(life: Life) -> str:
    return (life.status and life.status.phase) or ""
