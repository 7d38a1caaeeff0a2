"""Crash loops on virtual time: bad releases go, good ones stay, whatever is missed, repeated, stale or killed meanwhile.

The planners are the real ones; the world around them is `tests.support.world`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from stark.crds.annotations import (
    CRASH_LOOP_PAUSED,
    FOLLOW_LATEST,
    LAST_SUCCESSFUL_VERSION,
    blocked_versions,
)
from stark.crds.apps import Deployment
from stark.crds.conditions import find_condition
from stark.crds.crash_loop import counted_of
from stark.crds.pods import Pod
from stark.crds.templates import pack_of, with_pack_version
from tests.support.workloads import deployment, pack
from tests.support.world import NO_FAULTS, Faults, World
from tests.support.world_actors import Deploying, Fleet, Program, Protecting, Replicating

WEB = "default/web"
CRASHES = Program(crashes_after_s=1)
SETTLE_S = 400


def image(version: str) -> str:
    return f"pack.stark/web:{version}"


def world(
    seed: int,
    *,
    bad: tuple[str, ...] = (),
    follow: bool = True,
    replicas: int = 3,
    faults: Faults | None = None,
    **spec: Any,
) -> World:
    fleet = Fleet({image(version): CRASHES for version in bad})
    made = World(seed, (Deploying, Replicating, Protecting), fleet, faults=faults)
    made.create(pack("web", "1.0.0"))
    annotations = {FOLLOW_LATEST: "true"} if follow else {}
    made.create(deployment(replicas, image=image("1.0.0"), metadata={"annotations": annotations}, spec=spec))
    return made


def web(world: World) -> Deployment:
    return world.one(Deployment, WEB)


def version_of(obj: Deployment) -> str | None:
    reference = pack_of(obj.spec.template)
    return reference.version if reference is not None else None


def publish(world: World, version: str) -> None:
    world.create(pack("web", version))


def change(world: World, version: str) -> None:
    live = web(world)
    template = with_pack_version(live.spec.template, "web", version)
    world.put(live.model_copy(update={"spec": live.spec.model_copy(update={"template": template})}))


def runs(world: World, version: str) -> bool:
    """All pods are of that version, as many as wanted, and it is what is known to have held."""
    images = [pod.spec.containers[0].image for pod in world.all(Pod)]
    held = web(world).metadata.annotations.get(LAST_SUCCESSFUL_VERSION) == version
    return held and images == [image(version)] * web(world).spec.replicas


def attempts(world: World) -> dict[str, int]:
    return {each.version: each.attempts for each in blocked_versions(web(world).metadata.annotations)}


def outcome(world: World) -> tuple[Any, ...]:
    """What remains in the end, but for times and names."""
    live = web(world)
    told = find_condition(live.status.conditions, "CrashLoop")
    counted = counted_of(live.metadata.annotations)
    return (
        version_of(live),
        live.metadata.annotations.get(LAST_SUCCESSFUL_VERSION),
        CRASH_LOOP_PAUSED in live.metadata.annotations,
        attempts(world),
        counted.count if counted else 0,
        (told.status, told.reason) if told else None,
        sorted(str(pod.spec.containers[0].image) for pod in world.all(Pod)),
    )


def bad_then_good(seed: int, *, kill: tuple[str, int] | None = None, faults: Faults | None = None) -> World:
    """1.0.0 runs; 1.1.0 is published and bad; 1.2.0 is published and good."""
    told = world(seed, bad=("1.1.0",), faults=faults)
    if kill is not None:
        told.kill_after = {kill}
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)
    publish(told, "1.1.0")
    told.until("1.1.0 is followed", lambda: version_of(web(told)) == "1.1.0", SETTLE_S)
    told.until("and taken back", lambda: version_of(web(told)) == "1.0.0", SETTLE_S)
    assert attempts(told) == {"1.1.0": 1}
    publish(told, "1.2.0")
    told.until("1.2.0 holds", lambda: runs(told, "1.2.0"), SETTLE_S)
    told.run(120)
    return told


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_a_bad_release_is_taken_back_and_the_next_good_one_is_followed(seed: int) -> None:
    told = bad_then_good(seed)
    live = web(told)
    assert version_of(live) == "1.2.0"
    assert not live.metadata.annotations.get(CRASH_LOOP_PAUSED)


@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_the_end_is_the_same_whichever_write_was_the_last_one(stride: int) -> None:
    whole = bad_then_good(1, faults=NO_FAULTS)
    expected = outcome(whole)
    for number in range(1, whole.writes["crash-loop"] + 1, stride):
        killed = bad_then_good(1, kill=("crash-loop", number), faults=NO_FAULTS)
        assert (number, killed.deaths, outcome(killed)) == (number, 1, expected)


@pytest.mark.slow
@pytest.mark.parametrize("actor", ["deployment", "replicaset"])
def test_nor_does_it_matter_when_the_others_die(actor: str) -> None:
    whole = bad_then_good(2, faults=NO_FAULTS)
    for number in range(1, whole.writes[actor] + 1):
        killed = bad_then_good(2, kill=(actor, number), faults=NO_FAULTS)
        assert (number, killed.deaths, outcome(killed)) == (number, 1, outcome(whole))


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12))])
def test_a_release_that_stays_bad_is_tried_ever_more_rarely(seed: int) -> None:
    told = world(seed, bad=("1.1.0",))
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)
    publish(told, "1.1.0")
    began: list[float] = []

    def watch(now: World) -> None:
        if version_of(web(now)) == "1.1.0" and (not began or now.seconds - began[-1] > 45):
            began.append(now.seconds)

    told.run(1_800, watch)
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert len(began) == attempts(told)["1.1.0"] == 5
    # Between two attempts lie the time the failures take, at most 45 s with what gets lost, and 60, 120, 240 ... s.
    assert all(60 * 2**n <= pause <= 60 * 2**n + 45 for n, pause in enumerate(pauses)), pauses
    assert runs(told, "1.0.0")


@pytest.mark.parametrize("replicas", [1, 10])
def test_a_first_version_that_is_bad_is_paused_and_released_by_a_good_one(replicas: int) -> None:
    told = world(3, bad=("1.0.0",), replicas=replicas)
    told.until("it is paused", lambda: CRASH_LOOP_PAUSED in web(told).metadata.annotations, SETTLE_S)
    assert attempts(told) == {"1.0.0": 1}
    publish(told, "1.0.1")
    told.until("1.0.1 holds", lambda: runs(told, "1.0.1"), SETTLE_S)
    assert CRASH_LOOP_PAUSED not in web(told).metadata.annotations


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_each_attempt_of_what_is_paused_needs_failures_of_its_own(seed: int) -> None:
    told = world(seed, bad=("1.0.0",), replicas=1)
    ends: list[int] = []

    def watch(now: World) -> None:
        if sum(attempts(now).values()) > len(ends):
            ends.append(
                sum(status.restart_count + 1 for pod in now.all(Pod) for status in pod.status.container_statuses)
            )

    told.run(2_400, watch)
    assert len(ends) >= 3
    assert all(later - earlier >= 3 for earlier, later in pairwise([0, *ends])), ends


def test_a_bad_version_that_is_applied_again_and_again_waits_its_time() -> None:
    told = world(4, bad=("2.0.0",), follow=False)
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)
    bad_pods: set[str] = set()

    def pipeline(now: World) -> None:
        bad_pods.update(pod.uid for pod in now.all(Pod) if pod.spec.containers[0].image == image("2.0.0"))
        if now.seconds % 20 == 0 and version_of(web(now)) != "2.0.0":
            change(now, "2.0.0")

    told.run(700, pipeline)
    assert attempts(told)["2.0.0"] == 4
    assert len(bad_pods) <= 3 * attempts(told)["2.0.0"]
    assert sum(pod.spec.containers[0].image == image("1.0.0") for pod in told.all(Pod)) >= 2


@pytest.mark.parametrize("strategy", ["Recreate", "RollingUpdate"])
def test_every_strategy_goes_back(strategy: str) -> None:
    told = world(5, bad=("2.0.0",), follow=False, strategy={"type": strategy})
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)
    change(told, "2.0.0")
    told.until("2.0.0 is taken back", lambda: version_of(web(told)) == "1.0.0", SETTLE_S)
    told.until("1.0.0 runs again", lambda: runs(told, "1.0.0"), SETTLE_S)
    assert attempts(told) == {"2.0.0": 1}


def test_nothing_happens_to_what_has_no_pods() -> None:
    told = world(6, bad=("1.0.0",), replicas=0)
    told.run(300)
    assert attempts(told) == {}
    assert LAST_SUCCESSFUL_VERSION not in web(told).metadata.annotations


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 8))])
def test_nodes_that_flap_reboot_and_get_lost_take_no_version_back(seed: int) -> None:
    told = world(seed, follow=False)
    fleet = told.nodes
    assert isinstance(fleet, Fleet)
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)

    def storm(now: World) -> None:
        node = now.dice.choice(["n1", "n2"])
        what = now.dice.random()
        if what < 0.05:
            fleet.reboot(node, now)
        elif what < 0.1:
            fleet.down ^= {node}
        elif what < 0.12:
            fleet.lost ^= {node}
        if what < 0.01:
            now.kill(now.dice.choice(["crash-loop", "deployment", "replicaset"]))

    change(told, "2.0.0")
    told.run(1_000, storm)
    fleet.down, fleet.lost = set(), set()
    told.until("2.0.0 holds", lambda: runs(told, "2.0.0"), SETTLE_S)
    assert attempts(told) == {}
    assert version_of(web(told)) == "2.0.0"


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_clocks_that_jump_neither_block_for_ever_nor_take_back_what_is_good(seed: int) -> None:
    told = world(seed, bad=("1.1.0",))
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)
    publish(told, "1.1.0")

    def jumps(now: World) -> None:
        if now.dice.random() < 0.02:
            now.skew = timedelta(seconds=now.dice.choice([-86_400, -600, 0, 600, 86_400]))

    told.run(600, jumps)
    told.skew = timedelta(0)
    assert web(told).metadata.annotations[LAST_SUCCESSFUL_VERSION] == "1.0.0"
    publish(told, "1.2.0")
    told.until("1.2.0 holds", lambda: runs(told, "1.2.0"), SETTLE_S + 3_600)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_a_long_life_of_releases_ends_with_the_newest_good_one(seed: int) -> None:
    """Thousands of steps: releases good and bad, lost wake-ups, and processes that die."""
    told = world(seed)
    fleet = told.nodes
    assert isinstance(fleet, Fleet)
    told.faults = replace(told.faults, missed=0.2)
    good = "1.0.0"
    told.until("1.0.0 holds", lambda: runs(told, "1.0.0"), SETTLE_S)
    for minor in range(1, 10):
        version = f"1.{minor}.0"
        if told.dice.random() < 0.6:
            fleet.programs[image(version)] = Program(told.dice.choice([0, 1, 3]))
            publish(told, version)
            told.run(told.dice.choice([5, 60, 400]), _killing)
            continue
        good = version
        publish(told, good)
        told.run(60, _killing)
        told.until(f"{good} holds", lambda expected=good: runs(told, expected), SETTLE_S)  # type: ignore[misc]
    told.until(f"{good} holds", lambda: runs(told, good), 7_200)


def _killing(now: World) -> None:
    if now.dice.random() < 0.02:
        now.kill(now.dice.choice(["crash-loop", "deployment", "replicaset"]))
