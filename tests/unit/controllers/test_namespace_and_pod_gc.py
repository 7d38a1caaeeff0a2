"""What a namespace says while it is emptied, and which pods are given up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stark.controllers.namespace import Remains, conditions_of, deletable
from stark.controllers.pod_gc import missing_since, plan
from stark.crds.conditions import find_condition
from stark.crds.meta import ResourceDef
from stark.crds.nodes import Node
from tests.support.workloads import NOW, pod

VERBS = {"verbs": ("create", "delete", "get", "list", "watch")}


def resource(plural: str, *, group: str = "", namespaced: bool = True, verbs: bool = True) -> ResourceDef:
    return ResourceDef(group, "v1", plural.title(), plural, namespaced, extra=VERBS if verbs else {})


def test_pods_go_first_and_what_is_not_inside_or_cannot_be_deleted_is_left() -> None:
    pods, jobs, nodes = resource("pods"), resource("jobs", group="batch"), resource("nodes", namespaced=False)
    assert deletable([nodes, jobs, resource("reviews", verbs=False), pods]) == ([pods], [jobs])
    assert Node.RESOURCE.namespaced is False


@pytest.mark.parametrize(
    ("remains", "type_", "reason", "message"),
    [
        pytest.param(
            Remains(kinds={"pods.": 2}),
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            "Some resources are remaining: pods. has 2 resource instances",
            id="what is left",
        ),
        pytest.param(
            Remains(kinds={"pods.": 1}, finalizers={"example.com/hold": 1}),
            "NamespaceFinalizersRemaining",
            "SomeFinalizersRemain",
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            id="who holds it",
        ),
        pytest.param(
            Remains(failures=["pods: forbidden"]),
            "NamespaceDeletionContentFailure",
            "ContentDeletionFailed",
            "pods: forbidden",
            id="what could not be deleted",
        ),
        pytest.param(
            Remains(discovery_failure="no answer"),
            "NamespaceDeletionDiscoveryFailure",
            "DiscoveryFailed",
            "no answer",
            id="that it cannot see what there is",
        ),
    ],
)
def test_a_namespace_says(remains: Remains, type_: str, reason: str, message: str) -> None:
    assert not remains.empty
    conditions = conditions_of(remains, [], NOW)
    told = find_condition(conditions, type_)
    assert told is not None
    assert (told.status, told.reason, told.message) == ("True", reason, message)
    assert len(conditions) == 5
    assert conditions_of(remains, conditions, NOW + timedelta(seconds=9)) == conditions


def test_an_empty_namespace_has_nothing_to_say() -> None:
    assert Remains().empty
    assert {each.status for each in conditions_of(Remains(), [], NOW)} == {"False"}


def test_pods_of_nodes_that_are_gone_and_the_oldest_finished_ones_are_given_up() -> None:
    lost = pod("lost", node="gone")
    here = pod("here", node="a", phase="Running")
    done = [pod(f"done-{n}", node="a", phase="Succeeded", created=n) for n in (3, 1, 2)]
    step = plan([lost, here, *done], {"gone"}, 1)
    assert step.orphans == [lost]
    assert [each.metadata.name for each in step.surplus] == ["done-1", "done-2"]


def test_a_node_is_missing_from_the_moment_we_miss_it_until_it_is_back() -> None:
    pods = [pod("p", node="a"), pod("q", node="b"), pod("r")]
    first = missing_since(pods, {"b"}, {}, 10)
    assert first == {"a": 10}
    assert missing_since(pods, {"b"}, first, 30) == {"a": 10}
    assert missing_since(pods, {"a", "b"}, first, 40) == {}
