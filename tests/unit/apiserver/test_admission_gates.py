"""Gates that hold pods back from being placed, and the size of pod groups: Kubernetes' paths and words."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.admission.podspecs import FoundSpec
from stark.apiserver.admission.validate_pods import pod_causes
from stark.apiserver.admission.validate_policy import pod_group_causes
from stark.apiserver.registry.strategies.core import PodStrategy


def spec(*gates: str, **more: Any) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": "x"}], "schedulingGates": [{"name": g} for g in gates], **more}


def complaints(new: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    found = FoundSpec("spec", new, {})
    return [(cause.field, cause.message) for cause in pod_causes(found, {"spec": old} if old is not None else None)]


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        pytest.param(spec("a.b/c", "d"), None, None, id="new with two gates"),
        pytest.param(spec("a"), spec("a", "b"), None, id="one gate taken away"),
        pytest.param(spec(), spec("a"), None, id="the last gate taken away"),
        pytest.param(
            spec("a", "a"), None, ("spec.schedulingGates[1]", 'Duplicate value: "a"'), id="the same gate twice"
        ),
        pytest.param(
            spec("a", nodeName="n"),
            None,
            ("spec.nodeName", "Forbidden: cannot be set until all schedulingGates have been cleared"),
            id="a node in spite of a gate",
        ),
        pytest.param(
            spec("a", "b"),
            spec("a"),
            (
                "spec.schedulingGates[1].name",
                "Forbidden: only deletion is allowed, but found new scheduling gate 'b'",
            ),
            id="a gate added later",
        ),
    ],
)
def test_the_gates_of_a_pod(new: dict[str, Any], old: dict[str, Any] | None, expected: tuple[str, str] | None) -> None:
    assert complaints(new, old) == ([expected] if expected else [])


def test_a_gate_has_a_qualified_name() -> None:
    [(field, message)] = complaints(spec("not a name"))
    assert field == "spec.schedulingGates[0].name"
    assert message.startswith('Invalid value: "not a name": name part must consist of')


def test_a_pod_with_gates_is_told_that_they_hold_it_back() -> None:
    new = {"spec": spec("a")}
    PodStrategy().prepare_create(new)
    [condition] = new["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")


def test_the_size_of_a_group_stays() -> None:
    old, new = {"spec": {"minMember": 2}}, {"spec": {"minMember": 3}}
    assert [cause.field for cause in pod_group_causes(new, old)] == ["spec.minMember"]
    assert list(pod_group_causes(new, None)) == []


@pytest.mark.parametrize(
    ("due", "is_fine"),
    [
        pytest.param("2030-01-01T00:00:00Z", True, id="in UTC"),
        pytest.param("2030-01-01T00:00:00.5+02:00", True, id="in another zone"),
        pytest.param("2030-01-01T00:00:00", False, id="without a zone"),
        pytest.param("soon", False, id="no time at all"),
    ],
)
def test_a_deadline(due: str, is_fine: bool) -> None:
    found = FoundSpec("spec", spec(), {"annotations": {"stark.dev/deadline": due}})
    fields = [cause.field for cause in pod_causes(found, None)]
    assert fields == ([] if is_fine else ["metadata.annotations[stark.dev/deadline]"])
