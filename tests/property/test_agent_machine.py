"""Random histories against the agent's machine: a world that answers late, repeats itself, and breaks."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.agent.machine import (
    Called,
    DeletePod,
    Effect,
    Exit,
    Exited,
    Hooked,
    HookKind,
    Machine,
    MachineSettings,
    PodGone,
    PodSeen,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    ProbeNow,
    Release,
    Released,
    RunHook,
    Start,
    Started,
    Stimulus,
    Stop,
    SupervisorLost,
    Tick,
    WriteStatus,
)
from stark.crds.meta import decode
from stark.crds.pods import Pod, PodStatus

UIDS = ("u1", "u2")
POLICIES = ("Always", "OnFailure", "Never")


MAIN, ORDERED = ("a", "b"), ("i", "s", "j")
"""Containers; then init containers, of which `s` is a sidecar."""


def make_pod(uid: str, policy: str, deleting: bool, ordered: bool) -> Pod:
    meta = {"name": f"pod-{uid}", "namespace": "default", "uid": uid}
    if deleting:
        meta |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 1}  # type: ignore[dict-item]
    probe = {"tcpSocket": {"port": 1}, "periodSeconds": 5}
    containers: list[dict[str, Any]] = [
        {"name": "a", "image": "pack.stark/a:1.0.0", "livenessProbe": probe, "readinessProbe": probe},
        {"name": "b", "image": "pack.stark/b:1.0.0"},
    ]
    spec: dict[str, Any] = {"restartPolicy": policy, "containers": containers}
    if ordered:
        hooks = {"postStart": {"sleep": {"seconds": 1}}, "preStop": {"sleep": {"seconds": 1}}}
        containers[0]["lifecycle"] = hooks
        spec["initContainers"] = [{"name": name, "image": f"pack.stark/{name}:1.0.0"} for name in ORDERED]
        spec["initContainers"][1] |= {"restartPolicy": "Always", "lifecycle": hooks, "startupProbe": probe}
    return decode({"metadata": meta, "spec": spec}, Pod)


class World:
    """The processes, the API server and the wires between them and the machine."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.machine = Machine(MachineSettings())
        self.now = 1_000_000.0
        self.wire: list[Stimulus] = []
        self.processes: dict[tuple[str, str], int] = {}
        self.api: dict[str, Pod] = {}
        self.policies = {uid: self.random.choice(POLICIES) for uid in UIDS}
        self.ordered = {uid: self.random.random() < 0.5 for uid in UIDS}
        self.ready: set[tuple[str, str]] = set()
        """Init containers that have succeeded."""
        self.told: set[str] = set()
        self.statuses: dict[str, PodStatus] = {}
        self.starts: Counter[tuple[str, str]] = Counter()
        self.calm = False

    def say(self, stimulus: Stimulus) -> None:
        if isinstance(stimulus, PodSeen):
            self.told.add(stimulus.pod.uid)
        for effect in self.machine.step(stimulus, self.now):
            self.obey(effect)

    def obey(self, effect: Effect) -> None:
        match effect:
            case Prepare(uid, container, ticket, _):
                good = self.calm or self.random.random() < 0.7
                answer = (
                    Prepared(uid, container, ticket, "id")
                    if good
                    else PrepareFailed(uid, container, ticket, "ErrImagePull", "no")
                )
                self.wire.append(answer)
            case Start(uid, container, attempt, _):
                assert uid in self.told, "a process without a pod"
                assert (uid, container) not in self.processes, "two processes for one container"
                self.check_turn(uid, container)
                self.starts[uid, container] += 1
                assert attempt == self.starts[uid, container] - 1
                if not self.calm and self.random.random() < 0.1:
                    self.wire.append(Exited(uid, container, attempt, self.ended(128)))
                    return
                self.processes[uid, container] = attempt
                self.wire += [
                    Started(uid, container, attempt, self.now),
                    Called(uid, container, attempt, self.now),
                ]
            case Stop(uid, container, attempt, _, _):
                if self.processes.get((uid, container)) == attempt:
                    self.end(uid, container, 143)
            case RunHook(uid, container, attempt, kind, _, _):
                ok = self.calm or self.random.random() < 0.8
                # What a stop waits for may never answer; what a start waits for has a time limit of its own.
                if self.calm or kind is HookKind.POST_START or self.random.random() < 0.8:
                    self.wire.append(Hooked(uid, container, attempt, kind, ok))
            case ProbeNow(uid, container, attempt, kind, _):
                ok = self.calm or self.random.random() < 0.6
                self.wire.append(Probed(uid, container, attempt, kind, ok))
            case WriteStatus(uid, status):
                assert uid in self.told
                self.statuses[uid] = status
            case DeletePod(uid):
                assert not [key for key in self.processes if key[0] == uid], "deleted while something runs"
                if self.api.pop(uid, None):
                    self.wire.append(PodGone(uid, 0))
            case Release(uid):
                assert not [key for key in self.processes if key[0] == uid], "released while something runs"
                self.wire.append(Released(uid))

    def check_turn(self, uid: str, container: str) -> None:
        """Nothing starts before what it has to wait for."""
        if self.ordered[uid] and container not in ORDERED:
            assert {(uid, "i"), (uid, "j")} <= self.ready, "a container before its init containers"
            assert self.starts[uid, "s"], "a container before its sidecar"
        if container == "j":
            assert (uid, "i") in self.ready, "an init container out of turn"
        if container != "s":  # which may be restarted at any time
            assert not {(uid, name) for name in ("i", "j")} & self.processes.keys(), "an init container is not alone"

    def ended(self, code: int) -> Exit:
        return Exit(code, 0, "", "", self.now - 1, self.now)

    def end(self, uid: str, container: str, code: int) -> None:
        attempt = self.processes.pop((uid, container))
        if code == 0:
            self.ready.add((uid, container))
        self.wire.append(Exited(uid, container, attempt, self.ended(code)))

    def disturb(self) -> None:
        """One thing happens."""
        uid = self.random.choice(UIDS)
        match self.random.randrange(9):
            case 0 if uid not in self.told:
                self.api[uid] = make_pod(uid, self.policies[uid], False, self.ordered[uid])
                self.wire.append(PodSeen(self.api[uid]))
            case 1 if uid in self.api and self.random.random() < 0.3:
                self.api[uid] = make_pod(uid, self.policies[uid], True, self.ordered[uid])
                self.wire.append(PodSeen(self.api[uid]))
            case 2 if uid in self.api and self.random.random() < 0.2:
                del self.api[uid]
                self.wire.append(PodGone(uid))
            case 3 if self.processes:
                self.end(*self.random.choice(sorted(self.processes)), self.random.choice((0, 1, 137)))
            case 4 if uid in self.told:
                names = [name for of, name in self.processes if of == uid]
                runs = tuple((name, self.processes.pop((uid, name))) for name in names)
                self.wire.append(SupervisorLost(uid, runs))
            case 5 if self.wire:
                self.wire.append(self.random.choice([s for s in self.wire if not isinstance(s, Started)] or [Tick()]))
            case _:
                self.now += self.random.choice((0.0, 1.0, 12.0, 400.0))
                self.say(Tick())

    def deliver(self) -> None:
        """One message arrives. Those of one container stay in order, as on a socket; otherwise any may be next."""
        index = self.random.randrange(len(self.wire))
        chosen = self.wire[index]
        about = (getattr(chosen, "uid", None), getattr(chosen, "container", None))
        if isinstance(chosen, PodSeen | PodGone | Released):
            about = (chosen.pod.uid if isinstance(chosen, PodSeen) else chosen.uid, None)
        for at, other in enumerate(self.wire[:index]):
            uid = other.pod.uid if isinstance(other, PodSeen) else getattr(other, "uid", None)
            if uid == about[0]:
                index = at
                break
        self.say(self.wire.pop(index))

    def settle(self) -> None:
        """No more trouble: everything is delivered and hours pass."""
        self.calm = True
        for _ in range(40):
            while self.wire:
                self.say(self.wire.pop(0))
            for uid, name in [key for key in self.processes if key[1] in ("i", "j")]:
                self.end(uid, name, 0)
            self.now += 301
            self.say(Tick())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(5, 150))
def test_random_histories_keep_the_invariants_and_converge(seed: int, steps: int) -> None:
    world = World(seed)
    for _ in range(steps):
        if world.wire and world.random.random() < 0.6:
            world.deliver()
        else:
            world.disturb()
    world.settle()
    assert world.machine.uids == frozenset(world.api), "what is gone is released, what is there is kept"
    for uid, seen in world.api.items():
        assert seen.metadata.deletion_timestamp is None, "a deleted pod has gone"
        for name in (*MAIN, *(("s",) if world.ordered[uid] else ())):
            running = (uid, name) in world.processes
            if world.policies[uid] == "Always":
                assert running, "a pod that restarts always runs in the end"
        told = (*world.statuses[uid].init_container_statuses, *world.statuses[uid].container_statuses)
        states = {c.name: c.state for c in told}
        for name, state in states.items():
            assert (state.running is not None) == ((uid, name) in world.processes), "the status is the truth"


@pytest.mark.parametrize("seed", [1, 2, 57, 5481])
def test_histories_that_were_looked_at_before_still_hold(seed: int) -> None:
    test_random_histories_keep_the_invariants_and_converge.hypothesis.inner_test(seed, 150)  # type: ignore[attr-defined]
