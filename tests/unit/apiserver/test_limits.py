"""LimitRanges fill in and refuse, and quotas are charged."""

from __future__ import annotations

from typing import Any

import pytest

from stark.apiserver.admission.attributes import Attributes
from stark.apiserver.admission.limit_ranges import (
    limit_range_causes,
    limit_range_defaults,
    limit_ranges,
    out_of_range,
)
from stark.apiserver.admission.validate_quotas import resource_quota_causes
from stark.apiserver.errors import Forbidden
from stark.apiserver.registry.quotas import charged
from stark.crds.quotas import concerns, usage_of
from tests.support.server_side import ADMIN, Objects, resource

Object = dict[str, Any]


def pod(*resources: Object) -> Object:
    containers = [{"name": f"c{n}", "resources": each} for n, each in enumerate(resources)]
    return {"metadata": {"name": "web", "namespace": "default"}, "spec": {"containers": containers}}


def limited(*items: Object) -> Objects:
    objects = Objects()
    objects.add("", "limitranges", {"metadata": {"name": "l", "namespace": "default"}, "spec": {"limits": list(items)}})
    return objects


def creation(obj: Object) -> Attributes:
    return Attributes("CREATE", resource("", "pods"), "", "default", "web", obj, None, ADMIN)


async def test_what_a_container_does_not_say_is_filled_in() -> None:
    rules = limited({"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}})
    made = pod({}, {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
    await limit_range_defaults(creation(made), rules)
    assert [each["resources"] for each in made["spec"]["containers"]] == [
        {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}},
        {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}},
    ]


async def test_a_limit_range_completes_its_own_defaults() -> None:
    made = {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}}
    await limit_range_defaults(
        Attributes("CREATE", resource("", "limitranges"), "", "", "l", made, None, ADMIN), Objects()
    )
    item = made["spec"]["limits"][0]
    assert (item["default"], item["defaultRequest"]) == ({"cpu": "2"}, {"cpu": "2", "memory": "1Mi"})


@pytest.mark.parametrize(
    ("item", "resources", "message"),
    [
        ({"min": {"cpu": "100m"}}, {"requests": {"cpu": "50m"}}, "is 100m, but request is 50m"),
        ({"min": {"cpu": "100m"}}, {}, "minimum cpu usage per Container is 100m.  No request is specified"),
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "2"}}, "maximum cpu usage per Container is 1, but limit is 2"),
        ({"max": {"cpu": "1"}}, {}, "maximum cpu usage per Container is 1.  No limit is specified"),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "4"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
        ),
        ({"min": {"cpu": "1"}, "max": {"cpu": "1"}}, {"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}}, None),
    ],
)
def test_what_is_out_of_range_is_told(item: Object, resources: Object, message: str | None) -> None:
    found = list(out_of_range({"type": "Container", **item}, resources))
    assert len(found) == (message is not None)
    assert (message or "") in "".join(found)


async def test_a_pod_is_judged_as_a_whole() -> None:
    rules = limited({"type": "Pod", "max": {"cpu": "1"}})
    half = {"limits": {"cpu": "500m"}}
    await limit_ranges(creation(pod(half, half)), rules)
    with pytest.raises(Forbidden, match=r'pods "web" is forbidden: maximum cpu usage per Pod is 1, but limit is 1500m'):
        await limit_ranges(creation(pod(half, half, half)), rules)


@pytest.mark.parametrize(
    ("item", "fields"),
    [
        ({"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}, ["spec.limits[0].min[cpu]"]),
        ({"type": "Pod", "default": {"cpu": "2"}}, ["spec.limits[0].default"]),
        ({"type": "PersistentVolumeClaim"}, ["spec.limits[0].type"]),
        ({"type": "Container", "maxLimitRequestRatio": {"cpu": "0.5"}}, ["spec.limits[0].maxLimitRequestRatio[cpu]"]),
        ({"type": "Pod", "max": {"cpu": "2"}}, []),
    ],
)
def test_a_limit_range_is_judged(item: Object, fields: list[str]) -> None:
    assert [cause.field for cause in limit_range_causes({"spec": {"limits": [item]}})] == fields


def quota(hard: Object, used: Object) -> Object:
    return {"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}


ONE = {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"}}


def charge(made: Object, against: Object) -> Object | None:
    kind = resource("", "pods")
    return charged(kind, made, usage_of("", "pods", made), against)


def test_a_quota_is_charged_with_what_it_limits() -> None:
    hard = {"pods": "2", "cpu": "2", "limits.cpu": "4", "requests.memory": "4Gi", "count/pods": "9", "secrets": "1"}
    used = dict.fromkeys(hard, "0")
    after = charge(pod(ONE, ONE), quota(hard, used))
    assert after is not None
    assert after["status"]["used"] == {
        "pods": "1", "cpu": "1", "limits.cpu": "2", "requests.memory": "2Gi", "count/pods": "1", "secrets": "0",
    }  # fmt: skip
    assert charge(pod(ONE), quota({"secrets": "1"}, {})) is None


@pytest.mark.parametrize(
    ("hard", "used", "message"),
    [
        ({"pods": "2"}, {"pods": "2"}, "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"),
        ({"cpu": "1"}, {"cpu": "600m"}, "exceeded quota: q, requested: cpu=500m, used: cpu=600m, limited: cpu=1"),
        ({"pods": "2"}, {}, "status unknown for quota: q, resources: pods"),
        ({"limits.memory": "1Gi"}, {"limits.memory": "0"}, "failed quota: q: must specify limits.memory for: c0"),
    ],
)
def test_what_a_quota_has_not_is_refused(hard: Object, used: Object, message: str) -> None:
    with pytest.raises(Forbidden) as refusal:
        charge(pod(ONE), quota(hard, used))
    assert refusal.value.message == f'pods "web" is forbidden: {message}'


def test_a_pod_that_has_ended_costs_only_its_place() -> None:
    ended = {**pod(ONE), "status": {"phase": "Succeeded"}}
    assert usage_of("", "pods", ended) == {"count/pods": "1"}


AT_HOME = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}
EVERYWHERE = {"topologyKey": "zone", "namespaceSelector": {}}
NEXT_DOOR = {
    "podAntiAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": EVERYWHERE}]
    }
}
DEADLINE = {"activeDeadlineSeconds": 60}


def scoped(*scopes: str, **requirement: Any) -> Object:
    spec: Object = {"hard": {"pods": "1"}, "scopes": list(scopes)}
    if requirement:
        spec["scopeSelector"] = {"matchExpressions": [{"scopeName": "PriorityClass", **requirement}]}
    return spec


@pytest.mark.parametrize(
    ("spec", "made", "is_concerned"),
    [
        pytest.param(scoped(), {}, True, id="no scope"),
        pytest.param(scoped("Terminating"), DEADLINE, True, id="a deadline"),
        pytest.param(scoped("Terminating"), {}, False, id="no deadline"),
        pytest.param(scoped("NotTerminating"), {}, True, id="not one with a deadline"),
        pytest.param(scoped("NotTerminating"), DEADLINE, False, id="one with a deadline"),
        pytest.param(scoped("Terminating", "PriorityClass"), {**DEADLINE, "priorityClassName": "a"}, True, id="both"),
        pytest.param(scoped("Terminating", "PriorityClass"), DEADLINE, False, id="only one of both"),
        pytest.param(
            scoped(operator="In", values=["a", "b"]), {"priorityClassName": "b"}, True, id="one of the classes"
        ),
        pytest.param(scoped(operator="In", values=["a"]), {}, False, id="no class is none of them"),
        pytest.param(scoped(operator="NotIn", values=["a"]), {}, True, id="no class is not one of them"),
        pytest.param(scoped(operator="DoesNotExist"), {}, True, id="no class"),
        pytest.param(scoped("CrossNamespacePodAffinity"), {"affinity": NEXT_DOOR}, True, id="a look at a neighbour"),
        pytest.param(scoped("CrossNamespacePodAffinity"), {"affinity": AT_HOME}, False, id="no look outside"),
        pytest.param(scoped(operator="DoesNotExist"), {"priorityClassName": "a"}, False, id="a class"),
    ],
)
def test_a_quota_is_about_the_pods_in_its_scopes(spec: Object, made: Object, is_concerned: bool) -> None:
    assert concerns(spec, "", "pods", {"spec": {"containers": [], **made}}) is is_concerned


@pytest.mark.parametrize(
    ("resources", "is_best_effort"),
    [
        ({}, True),
        ({"requests": {"cpu": "0"}}, True),
        ({"requests": {"example.com/gpu": "1"}}, True),
        ({"requests": {"cpu": "1m"}}, False),
        ({"limits": {"memory": "1Mi"}}, False),
    ],
)
def test_a_pod_that_requests_and_limits_nothing_is_best_effort(resources: Object, is_best_effort: bool) -> None:
    made = pod({}, resources)
    assert concerns(scoped("BestEffort"), "", "pods", made) is is_best_effort
    assert concerns(scoped("NotBestEffort"), "", "pods", made) is not is_best_effort


def test_a_quota_with_a_scope_is_about_pods_only_and_charges_no_others() -> None:
    assert not concerns(scoped("Terminating"), "", "configmaps", {"spec": DEADLINE})
    against = quota({"pods": "1"}, {"pods": "1"})
    against["spec"]["scopes"] = ["Terminating"]
    assert charge(pod(ONE), against) is None
    ending = pod(ONE)
    ending["spec"] |= DEADLINE
    with pytest.raises(Forbidden, match="exceeded quota"):
        charge(ending, against)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"hard": {"pods": "-1"}}, "spec.hard[pods]", "must be greater than or equal to 0"),
        ({"scopes": ["Terminating", "NotTerminating"]}, "spec.scopes", "conflicting scopes"),
        ({"scopes": ["BestEffort"], "hard": {"cpu": "1"}}, "spec.scopes", "unsupported scope applied to resource cpu"),
        ({"scopes": ["Terminating"], "hard": {"secrets": "1"}}, "spec.scopes", "unsupported scope applied to resource"),
        (scoped(operator="In"), "spec.scopeSelector.matchExpressions[0].values", "must be at least one value"),
        (scoped(operator="Exists", values=["a"]), "spec.scopeSelector.matchExpressions[0].values", "must be no value"),
        (
            scoped(operator="In", scopeName="Terminating", values=["a"]),
            "spec.scopeSelector.matchExpressions[0].operator",
            "must be 'Exist' when scope is any of",
        ),
    ],
)
def test_a_quota_is_judged(spec: Object, field: str, message: str) -> None:
    assert message in {cause.field: cause.message for cause in resource_quota_causes({"spec": spec}, None)}[field]


def test_the_scopes_of_a_quota_cannot_change() -> None:
    before, after = {"spec": scoped("Terminating")}, {"spec": scoped("NotTerminating")}
    assert not list(resource_quota_causes(before, before))
    assert [cause.field for cause in resource_quota_causes(after, before)] == ["spec.scopes"]
