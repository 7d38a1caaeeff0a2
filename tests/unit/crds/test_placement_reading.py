"""What is read from pods and nodes for placement: wishes about nodes, and amounts of any name."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.meta import decode
from stark.crds.nodes import Node
from stark.crds.placement.facts import NodeState, Offer
from stark.crds.placement.filters import has_resources, is_selected
from stark.crds.placement.reading import demand_of, offer_of
from stark.crds.pods import Pod

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod(resources: dict[str, Any] | None = None, **spec: Any) -> Pod:
    container = {"name": "c", "image": "nginx:1", "resources": resources or {}}
    body = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [container], **spec}}
    return decode(body, Pod)


def node(name: str = "n1", allocatable: dict[str, str] | None = None, **labels: str) -> Offer:
    body = {"metadata": {"name": name, "labels": labels}, "status": {"allocatable": allocatable or {}}}
    return offer_of(decode(body, Node))


def one(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def labels(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {"matchExpressions": list(expressions)}


def fields(*expressions: dict[str, Any]) -> dict[str, Any]:
    return {"matchFields": list(expressions)}


@pytest.mark.parametrize(
    ("terms", "goes"),
    [
        pytest.param([labels(one("zone", "In", "a", "b"))], True, id="In has the value"),
        pytest.param([labels(one("zone", "In", "b"))], False, id="In has another value"),
        pytest.param([labels(one("zone", "NotIn", "b"))], True, id="NotIn has another value"),
        pytest.param([labels(one("zone", "NotIn", "a"))], False, id="NotIn has the value"),
        pytest.param([labels(one("disk", "NotIn", "a"))], True, id="NotIn of a label that is not there"),
        pytest.param([labels(one("zone", "Exists"))], True, id="Exists"),
        pytest.param([labels(one("disk", "Exists"))], False, id="Exists of a label that is not there"),
        pytest.param([labels(one("disk", "DoesNotExist"))], True, id="DoesNotExist"),
        pytest.param([labels(one("gen", "Gt", "4"))], True, id="Gt below"),
        pytest.param([labels(one("gen", "Gt", "5"))], False, id="Gt equal"),
        pytest.param([labels(one("gen", "Lt", "10"))], True, id="Lt compares numbers, not text"),
        pytest.param([labels(one("zone", "Lt", "10"))], False, id="Lt of a label that is no number"),
        pytest.param([labels(one("disk", "Gt", "1"))], False, id="Gt of a label that is not there"),
        pytest.param([labels(one("zone", "In", "a"), one("disk", "Exists"))], False, id="all expressions of a term"),
        pytest.param([labels(one("disk", "Exists")), labels(one("zone", "Exists"))], True, id="any one of the terms"),
        pytest.param([fields(one("metadata.name", "In", "n1"))], True, id="the node's name"),
        pytest.param([fields(one("metadata.name", "NotIn", "n1"))], False, id="not the node's name"),
        pytest.param(
            [{**labels(one("zone", "In", "a")), **fields(one("metadata.name", "In", "n2"))}],
            False,
            id="labels and fields of one term",
        ),
        pytest.param([{}], False, id="an empty term means no node"),
        pytest.param([], False, id="no term means no node"),
    ],
)
def test_a_required_term_is_about_labels_and_names(terms: list[dict[str, Any]], goes: bool) -> None:
    wish = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": terms}}}
    where = demand_of(pod(affinity=wish), lambda _: None).where
    refused = is_selected(where, node(zone="a", gen="5"))
    assert list(refused) == ([] if goes else ["node(s) didn't match Pod's node affinity/selector"])


def test_selector_and_affinity_must_both_hold() -> None:
    wish = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [labels(one("zone", "Exists"))]}}}
    where = demand_of(pod(affinity=wish, nodeSelector={"disk": "ssd"}), lambda _: None).where
    assert is_selected(where, node(zone="a"))
    assert not is_selected(where, node(zone="a", disk="ssd"))


def test_any_resource_is_counted_by_its_name() -> None:
    asked = demand_of(pod({"requests": {"ephemeral-storage": "1Ki"}, "limits": {"a.b/gpu": "2"}}), lambda _: None)
    assert asked.extended == (("a.b/gpu", 2), ("ephemeral-storage", 1024))
    there = NodeState(node(allocatable={"pods": "9", "a.b/gpu": "3", "ephemeral-storage": "10Ki"}), 0)
    assert not has_resources(asked, there)
    there.take(asked)
    assert has_resources(asked, there) == ["Insufficient a.b/gpu"]
    assert has_resources(asked, NodeState(node(allocatable={"pods": "9"}), 0)) == [
        "Insufficient a.b/gpu",
        "Insufficient ephemeral-storage",
    ]
    there.take(asked, -1)
    assert not there.extended
