"""A pod's priority class becomes its number, and classes keep their promises."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.priority import pod_priority, priority_class_causes, priority_classes
from stark.apiserver.errors import Forbidden
from tests.support.server_side import ADMIN, Objects, resource

Object = dict[str, Any]
NAMES = ("priorityClassName", "priority", "preemptionPolicy")


def priority_class(name: str, value: int, **more: Any) -> Object:
    return {"metadata": {"name": name}, "value": value, **more}


@pytest.fixture
def classes() -> Objects:
    objects = Objects()
    for each in (priority_class("high", 100), priority_class("quiet", -5, preemptionPolicy="Never")):
        objects.add("scheduling.k8s.io", "priorityclasses", each)
    return objects


async def admitted(objects: Objects, spec: Object, old: Object | None = None) -> tuple[Any, ...]:
    pod = {"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": [], **spec}}
    operation = "CREATE" if old is None else "UPDATE"
    before = None if old is None else {"spec": old}
    what = Attributes(operation, resource("", "pods"), "", "default", "web", pod, before, ADMIN)
    await pod_priority(what, objects)
    return tuple(pod["spec"].get(name) for name in NAMES)


PREEMPT = "PreemptLowerPriority"


@pytest.mark.parametrize(
    ("spec", "resolved"),
    [
        pytest.param({}, (None, 0, PREEMPT), id="nothing said is zero"),
        pytest.param({"priorityClassName": "high"}, ("high", 100, PREEMPT), id="a class gives its number"),
        pytest.param({"priorityClassName": "quiet"}, ("quiet", -5, "Never"), id="and its policy"),
        pytest.param({"priorityClassName": "high", "priority": 100}, ("high", 100, PREEMPT), id="the same may be said"),
        pytest.param({"priority": 0}, (None, 0, PREEMPT), id="and so may the number of no class"),
    ],
)
async def test_a_new_pod_gets_the_priority_of_its_class(
    classes: Objects, spec: Object, resolved: tuple[Any, ...]
) -> None:
    assert await admitted(classes, spec) == resolved


async def test_a_pod_that_says_nothing_gets_the_global_default(classes: Objects) -> None:
    classes.add("scheduling.k8s.io", "priorityclasses", priority_class("usual", 10, globalDefault=True))
    assert await admitted(classes, {}) == ("usual", 10, PREEMPT)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
        ({"priorityClassName": "high", "priority": 1}, "integer value of priority (1) must not be provided"),
        ({"priority": 7}, "priority (7) must not be provided in pod spec; priority admission controller computed 0"),
        ({"priorityClassName": "quiet", "preemptionPolicy": PREEMPT}, "computed Never from the given PriorityClass"),
    ],
)
async def test_a_contradiction_is_refused(classes: Objects, spec: Object, message: str) -> None:
    with pytest.raises(Forbidden) as refusal:
        await admitted(classes, spec)
    assert refusal.value.message.startswith('pods "web" is forbidden: ')
    assert message in refusal.value.message


async def test_an_update_that_leaves_them_out_keeps_them(classes: Objects) -> None:
    old = {"priorityClassName": "gone", "priority": 3, "preemptionPolicy": "Never"}
    assert await admitted(classes, {}, old) == ("gone", 3, "Never")


@pytest.mark.parametrize(
    ("new", "old", "fields"),
    [
        pytest.param(priority_class("a", 1_000_000_000), None, [], id="the highest of a user"),
        pytest.param(priority_class("a", 1_000_000_001), None, ["value"], id="above the highest of a user"),
        pytest.param(priority_class("system-mine", 1), None, ["metadata.name"], id="a reserved name"),
        pytest.param(priority_class("system-node-critical", 2_000_001_000), None, [], id="a system class"),
        pytest.param(priority_class("a", 2), priority_class("a", 1), ["value"], id="another value"),
        pytest.param(
            priority_class("a", 1, preemptionPolicy="Never"), priority_class("a", 1), ["preemptionPolicy"], id="policy"
        ),
        pytest.param(priority_class("a", 1, description="new"), priority_class("a", 1), [], id="another description"),
    ],
)
def test_a_class_is_judged(new: Object, old: Object | None, fields: list[str]) -> None:
    assert [cause.field for cause in priority_class_causes(new, old)] == fields


async def test_there_is_one_global_default_and_system_classes_stay(classes: Objects) -> None:
    kind = resource("scheduling.k8s.io", "priorityclasses")
    classes.add("scheduling.k8s.io", "priorityclasses", priority_class("usual", 10, globalDefault=True))
    second = priority_class("second", 1, globalDefault=True)
    with pytest.raises(Forbidden, match="PriorityClass usual is already marked as default"):
        await priority_classes(Attributes("CREATE", kind, "", "", "second", second, None, ADMIN), classes)
    own = priority_class("usual", 10, globalDefault=True)
    await priority_classes(Attributes("UPDATE", kind, "", "", "usual", own, own, ADMIN), classes)
    with pytest.raises(Forbidden, match="cannot be deleted"):
        await priority_classes(Attributes("DELETE", kind, "", "", "system-node-critical", None, own, ADMIN), classes)
