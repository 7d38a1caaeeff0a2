"""Whose turn it is: priority, arrival, back-off, parking and waking."""

from __future__ import annotations

from stark.controllers.scheduler.queue import PARKED_MAX_S, Place, PodQueue, Waiting
from stark.crds.placement.facts import Demand
from stark.crds.placement.filters import Rule

CPU = frozenset({Rule.RESOURCES})


def queue_of(**priorities: int) -> PodQueue:
    queue = PodQueue()
    for key, priority in priorities.items():
        queue.add(key, f"uid-{key}", priority, Demand(), 0)
    return queue


def popped(queue: PodQueue, now: float = 0) -> Waiting:
    pod = queue.pop(now)
    assert pod is not None
    return pod


def drained(queue: PodQueue, now: float = 0) -> list[str]:
    keys = []
    while (pod := queue.pop(now)) is not None:
        keys.append(pod.key)
    return keys


def test_the_highest_priority_goes_first_and_equals_in_order_of_arrival() -> None:
    assert drained(queue_of(a=0, b=100, c=100, d=-5)) == ["b", "c", "a", "d"]


def test_a_raised_priority_overtakes() -> None:
    queue = queue_of(a=0, b=1)
    queue.add("a", "uid-a", 2, Demand(), 0)
    assert drained(queue) == ["a", "b"]


def test_a_pod_told_of_twice_is_tried_once_and_keeps_its_turn() -> None:
    queue = queue_of(a=0, b=0)
    queue.add("a", "uid-a", 0, Demand(), 5)
    assert drained(queue) == ["a", "b"]


def test_a_namesake_takes_the_place_of_the_pod_before() -> None:
    queue = queue_of(a=0)
    queue.park(popped(queue), CPU, 0)
    queue.add("a", "another", 0, Demand(), 0)
    assert popped(queue).uid == "another"
    assert len(queue) == 0


def test_back_off_doubles_to_ten_seconds() -> None:
    queue, now, waits = queue_of(a=0), 0.0, []
    for _ in range(6):
        queue.retry(popped(queue, now), now)
        assert queue.pop(now) is None
        wait = queue.next_due(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [1, 2, 4, 8, 10, 10]


def test_a_parked_pod_is_woken_by_what_refused_it_and_by_nothing_else() -> None:
    queue = queue_of(a=0)
    queue.park(popped(queue), CPU, 0)
    assert queue.wake({Rule.TAINTS}, 5) == 0
    assert queue.pop(5) is None
    assert queue.wake({Rule.RESOURCES, Rule.PORTS}, 5) == 1
    assert popped(queue, 5).key == "a"


def test_a_woken_pod_still_waits_out_its_back_off() -> None:
    queue = queue_of(a=0)
    queue.park(popped(queue), CPU, 0)
    queue.wake(CPU, 0.25)
    assert queue.pop(0.25) is None
    assert queue.next_due(0.25) == 0.75
    assert popped(queue, 1).key == "a"


def test_a_parked_pod_is_tried_again_after_five_minutes_without_cause() -> None:
    queue = queue_of(a=0)
    queue.park(popped(queue), CPU, 0)
    assert queue.next_due(1) == PARKED_MAX_S - 1
    assert popped(queue, PARKED_MAX_S).attempts == 2


def test_a_changed_demand_makes_a_parked_pod_active() -> None:
    queue = queue_of(a=0)
    queue.park(popped(queue), CPU, 0)
    queue.add("a", "uid-a", 0, Demand(milli_cpu=1), 0)
    assert popped(queue).demand.milli_cpu == 1


def test_a_removed_pod_is_nowhere() -> None:
    queue = queue_of(a=0, b=0, c=0)
    queue.park(popped(queue), CPU, 0)
    queue.retry(popped(queue), 0)
    for key in ("a", "b", "c"):
        queue.remove(key)
    assert len(queue) == 0
    assert drained(queue, 1000) == []
    assert queue.next_due(1000) is None


def test_the_sizes_tell_where_pods_wait() -> None:
    queue = queue_of(a=3, b=2, c=1)
    queue.park(popped(queue), CPU, 0)
    queue.retry(popped(queue), 0)
    assert queue.sizes() == {Place.ACTIVE: 1, Place.BACKOFF: 1, Place.PARKED: 1}
