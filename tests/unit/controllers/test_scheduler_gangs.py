"""Groups: enough members are placed at the same moment, or none."""

from __future__ import annotations

from typing import Any

import pytest

from stark.controllers.pod_groups import status_of
from stark.controllers.scheduler.core import Bind, Core, Preempt, Refuse
from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.pod_groups import PodGroup
from stark.crds.pods import Pod
from tests.support.workloads import NOW, at, meta, node, pack, pod

PACKS = {"web.1.0.0": pack("web", "1.0.0")}


def group(members: int, *, timeout: int = 60, name: str = "g") -> PodGroup:
    spec = {"minMember": members, "scheduleTimeoutSeconds": timeout}
    return decode({"metadata": meta(name), "spec": spec}, PodGroup)


def member(name: str, *, on: str = "", cpu: str = "4", of: str = "g", leaving: bool = False, **spec: Any) -> Pod:
    container = {"name": "main", "image": "pack.stark/web:1.0.0", "resources": {"requests": {"cpu": cpu}}}
    metadata: dict[str, Any] = {"labels": {"stark.dev/pod-group": of} if of else {}}
    if leaving:
        metadata["deletionTimestamp"] = at(0)
    return pod(name, node=on, spec={"containers": [container], **spec}, metadata=metadata)


class Cluster:
    """Caches and a core, in which a binding is heard of at once."""

    def __init__(self, *nodes: Node, groups: tuple[PodGroup, ...] = ()) -> None:
        self.pods: dict[str, Pod] = {}
        self.core = Core(self.pods.get, PACKS.get)
        for each in nodes:
            self.core.set_node(each)
        for known in groups:
            self.core.set_group(known, 0)

    def put(self, *pods: Pod, now: float = 0) -> None:
        for each in pods:
            self.pods[each.key] = each
            self.core.set_pod(each, now)

    def gone(self, name: str, now: float = 0) -> None:
        self.core.drop_pod(self.pods.pop(f"default/{name}"), now)

    def all(self, now: float = 0) -> list[str]:
        """Every decision there is now, in short."""
        found = []
        while (decision := self.core.decide(now)) is not None:
            match decision:
                case Bind():
                    found.append(f"{decision.pod.metadata.name} -> {decision.node}")
                case Preempt(refuse=refuse):
                    victims = ",".join(victim.name for victim in decision.victims)
                    found.append(f"{refuse.pod.metadata.name} -x {refuse.nominated}: {victims}")
                case Refuse():
                    found.append(f"{decision.pod.metadata.name} waits")
        return found


def test_a_group_that_fits_is_placed_at_once() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("p"), member("q"))
    assert cluster.all() == ["p -> a", "q -> b"]


def test_a_group_that_does_not_fit_takes_nothing() -> None:
    cluster = Cluster(node("a"), groups=(group(2),))
    cluster.put(member("p"), member("q"), member("single", of="", cpu="1"))
    assert cluster.all() == ["p waits", "q waits", "single -> a"]


def test_members_wait_for_each_other() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("p"))
    refuse = cluster.core.decide(0)
    assert isinstance(refuse, Refuse)
    assert refuse.message == "pod group default/g has 1 of the 2 members it needs"
    cluster.put(member("q"), now=5)
    assert sorted(cluster.all(5)) == ["p -> a", "q -> b"]


def test_members_wait_for_their_group() -> None:
    cluster = Cluster(node("a"))
    cluster.put(member("p"))
    refuse = cluster.core.decide(0)
    assert isinstance(refuse, Refuse)
    assert (refuse.reason, refuse.message) == ("PodGroupNotFound", "pod group default/g does not exist")
    cluster.core.set_group(group(1), 5)
    assert cluster.all(5) == ["p -> a"]


def test_what_a_group_was_refused_for_is_told_in_numbers() -> None:
    cluster = Cluster(node("a"), groups=(group(2),))
    cluster.put(member("p"), member("q"))
    refuse = cluster.core.decide(0)
    assert isinstance(refuse, Refuse)
    assert refuse.message == (
        "pod group default/g found a place for 1 of the 2 members it needs: 0/1 nodes are available: 1 Insufficient cpu."
    )


def test_more_members_than_are_needed_are_placed_as_room_allows() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("p"), member("q"), member("r"))
    assert cluster.all() == ["p -> a", "q -> b", "r waits"]
    cluster.core.set_node(node("c"))
    assert cluster.all(5) == ["r -> c"]


def test_a_group_waits_until_there_is_room_for_all() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("x", on="a", of=""), member("y", on="b", of=""), member("p"), member("q"))
    assert cluster.all() == ["p waits", "q waits"]
    cluster.gone("x")
    assert cluster.all(5) == ["p waits", "q waits"]
    cluster.gone("y", 5)
    assert sorted(cluster.all(20)) == ["p -> a", "q -> b"]


def test_a_group_begun_before_a_restart_is_completed_before_its_equals() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("single", of=""), member("q"), member("p", on="a"))
    cluster.core.adopt(cluster.pods.values())
    assert cluster.all() == ["q -> b", "single waits"]


def test_a_member_whose_binding_failed_is_placed_before_its_equals() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("p"), member("q"))
    first, second = cluster.core.decide(0), cluster.core.decide(0)
    assert isinstance(first, Bind)
    assert isinstance(second, Bind)
    cluster.core.failed(second, 0)
    cluster.put(member("single", of=""))
    assert cluster.all(0)[0].startswith(second.pod.metadata.name)


def test_lower_pods_go_for_a_whole_group_and_it_takes_their_places_together() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("x", on="a", of=""), member("y", on="b", of=""))
    cluster.put(member("p", priority=5), member("q", priority=5))
    assert cluster.all() == ["p -x a: x", "q -x b: y"]
    cluster.gone("x")
    cluster.put(member("thief", of=""))
    assert not any("->" in each for each in cluster.all(1))
    cluster.gone("y", 2)
    assert {each for each in cluster.all(2) if "->" in each} in ({"p -> a", "q -> b"}, {"p -> b", "q -> a"})


def test_nobody_goes_for_half_a_group() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("x", on="a", of=""), member("high", on="b", of="", priority=9))
    cluster.put(member("p", priority=5), member("q", priority=5))
    assert cluster.all() == ["p waits", "q waits"]


def test_room_is_kept_for_a_group_for_a_limited_time() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2, timeout=30),))
    cluster.put(member("x", on="a", of=""), member("y", on="b", of=""))
    cluster.put(member("p", priority=5), member("q", priority=5))
    assert len(cluster.all()) == 2
    cluster.gone("x")
    cluster.put(member("single", of="", priority=5))
    assert "single -> a" not in cluster.all(29)
    assert cluster.core.next_due_s(29.5) is not None
    assert "single -> a" in cluster.all(60)


def test_a_member_for_which_nobody_is_asked_to_go_holds_up_the_whole_group() -> None:
    cluster = Cluster(node("a"), node("b"), groups=(group(2),))
    cluster.put(member("x", on="a", of=""))
    cluster.put(member("p", priority=5, preemptionPolicy="Never"), member("q", priority=5, preemptionPolicy="Never"))
    assert cluster.all() == ["p waits", "q waits"]


@pytest.mark.parametrize(
    ("phases", "phase", "scheduled"),
    [
        pytest.param([("", "Pending"), ("", "Pending")], "Pending", ("False", "Unschedulable"), id="nobody has a node"),
        pytest.param([("", "Pending")], "Pending", ("False", "TooFewMembers"), id="one is missing"),
        pytest.param([("a", "Pending"), ("b", "Running")], "Scheduled", ("True", "Placed"), id="both have a node"),
        pytest.param([("a", "Running"), ("b", "Running")], "Running", ("True", "Placed"), id="both run"),
        pytest.param([("a", "Running"), ("b", "Succeeded")], "Running", ("True", "Placed"), id="one is done"),
        pytest.param([("a", "Succeeded"), ("b", "Succeeded")], "Finished", ("True", "Placed"), id="both are done"),
        pytest.param([("a", "Running"), ("b", "Failed")], "Pending", ("False", "TooFewMembers"), id="one has failed"),
    ],
)
def test_the_status_of_a_group_of_two_when(
    phases: list[tuple[str, str]], phase: str, scheduled: tuple[str, str]
) -> None:
    pods = [pod(f"p{n}", node=on, phase=phase) for n, (on, phase) in enumerate(phases)]
    status = status_of(group(2), pods, NOW)
    [condition] = status.conditions
    assert (status.phase, (condition.status, condition.reason)) == (phase, scheduled)
    again = group(2).model_copy(update={"status": status})
    assert status_of(again, pods, NOW) == status


def test_an_attempt_of_a_group_that_came_to_nothing_wakes_nobody() -> None:
    mine = {"labelSelector": {"matchLabels": {"stark.dev/pod-group": "g"}}, "topologyKey": "kubernetes.io/hostname"}
    apart = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [mine]}}
    nodes = [node(name, labels={"kubernetes.io/hostname": name}) for name in "ab"]
    cluster = Cluster(*nodes, groups=(group(3),))
    cluster.put(*(member(name, cpu="1", affinity=apart) for name in "pqr"))
    assert cluster.all() == ["p waits", "q waits", "r waits"]
    assert [cluster.all(now) for now in (1, 11, 60, 200)] == [[], [], [], []]
