"""What is wrong with wishes about nodes and pods and with requests, where, and in which words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from stark.apiserver.admission.defaults import narrow_to_own_labels
from stark.apiserver.admission.validate_affinity import affinity_causes, spread_causes, tightening_causes
from stark.apiserver.admission.validate_pods import pod_update_causes
from stark.apiserver.admission.validate_resources import resource_causes
from stark.apiserver.errors import Cause

Object = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
TERMS = f"nodeAffinity.{REQUIRED}.nodeSelectorTerms"


def said(causes: Iterable[Cause]) -> list[str]:
    return [f"{cause.field}: {cause.message}" for cause in causes]


def needing(*terms: Object) -> Object:
    return {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}


def label(operator: str, *values: str, key: str = "zone") -> Object:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def field(operator: str, *values: str, key: str = "metadata.name") -> Object:
    return {"matchFields": [{"key": key, "operator": operator, "values": list(values)}]}


ONE = f"{TERMS}[0].matchExpressions[0]"
FIELD = f"{TERMS}[0].matchFields[0]"


@pytest.mark.parametrize(
    ("affinity", "complaint"),
    [
        pytest.param(needing(label("In", "a", "b"), label("Exists"), {}), "", id="good terms, also an empty one"),
        pytest.param(needing(label("Gt", "5")), "", id="Gt with a number"),
        pytest.param(needing(field("NotIn", "node-1")), "", id="a name of a node"),
        pytest.param(needing(), f"{TERMS}: Required value: must have at least one node selector term", id="no term"),
        pytest.param(
            needing(label("In")),
            f"{ONE}.values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            id="In without values",
        ),
        pytest.param(
            needing(label("Exists", "a")),
            f"{ONE}.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            id="Exists with values",
        ),
        pytest.param(
            needing(label("Lt", "1", "2")),
            f"{ONE}.values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
            id="Lt with two values",
        ),
        pytest.param(
            needing(field("Exists")),
            f'{FIELD}.operator: Invalid value: "Exists": not a valid selector operator',
            id="a field knows In and NotIn only",
        ),
        pytest.param(
            needing(field("In", "a", "b")),
            f"{FIELD}.values: Required value: must be only one value when `operator` is 'In' or 'NotIn'"
            " for node field selector",
            id="a field has one value",
        ),
        pytest.param(
            needing(field("In", "a", key="spec.x")),
            f'{FIELD}.key: Invalid value: "spec.x": not a valid field selector key',
            id="the only field is the name",
        ),
        pytest.param(
            {"nodeAffinity": {PREFERRED: [{"weight": 101, "preference": label("Exists")}]}},
            f"nodeAffinity.{PREFERRED}[0].weight: Invalid value: 101: must be in the range 1-100",
            id="a weight beyond 100",
        ),
    ],
)
def test_an_affinity_is_good_or_the_complaint_says_what_is_not(affinity: Object, complaint: str) -> None:
    found = said(affinity_causes("spec.affinity", affinity))
    assert found == ([f"spec.affinity.{complaint}"] if complaint else [])


def pods(*terms: Object, side: str = "podAffinity") -> Object:
    return {side: {REQUIRED: list(terms)}}


def term(**more: Any) -> Object:
    return {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "zone", **more}


NEAR = f"spec.affinity.podAffinity.{REQUIRED}[0]"


@pytest.mark.parametrize(
    ("affinity", "complaint"),
    [
        pytest.param(pods(term(namespaces=["one"], namespaceSelector={}, matchLabelKeys=["x"])), "", id="a good term"),
        pytest.param(
            pods(term(topologyKey="")), f"{NEAR}.topologyKey: Required value: can not be empty", id="no topology key"
        ),
        pytest.param(
            pods(term(topologyKey="", labelSelector=None), side="podAntiAffinity"),
            f"spec.affinity.podAntiAffinity.{REQUIRED}[0].topologyKey: Required value: can not be empty",
            id="no topology key on the other side",
        ),
        pytest.param(
            pods(term(labelSelector=label("In"))),
            f"{NEAR}.labelSelector.matchExpressions[0].values: Required value: "
            "must be specified when `operator` is 'In' or 'NotIn'",
            id="a selector that makes no sense",
        ),
        pytest.param(
            pods(term(labelSelector=None, matchLabelKeys=["x"])),
            f"{NEAR}.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
            id="keys without a selector",
        ),
        pytest.param(
            pods(term(matchLabelKeys=["x"], mismatchLabelKeys=["x"])),
            f'{NEAR}.matchLabelKeys[0]: Invalid value: "x": exists in both matchLabelKeys and mismatchLabelKeys',
            id="a key on both sides",
        ),
        pytest.param(
            {"podAffinity": {PREFERRED: [{"weight": 0, "podAffinityTerm": term()}]}},
            f"spec.affinity.podAffinity.{PREFERRED}[0].weight: Invalid value: 0: must be in the range 1-100",
            id="no weight",
        ),
    ],
)
def test_terms_about_pods_are_good_or_the_complaint_says_what_is_not(affinity: Object, complaint: str) -> None:
    assert said(affinity_causes("spec.affinity", affinity)) == ([complaint] if complaint else [])


def test_a_namespace_of_a_term_has_a_namespaces_name() -> None:
    found = said(affinity_causes("spec.affinity", pods(term(namespaces=["Not_One"]))))
    assert [line.partition(": ")[0] for line in found] == [f"{NEAR}.namespaces[0]"]


def constraint(**more: Any) -> Object:
    return {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", **more}


@pytest.mark.parametrize(
    ("constraints", "complaint"),
    [
        pytest.param([constraint(minDomains=2), constraint(whenUnsatisfiable="ScheduleAnyway")], "", id="good ones"),
        pytest.param([constraint(maxSkew=0)], "[0].maxSkew: Invalid value: 0: must be greater than zero", id="no skew"),
        pytest.param(
            [constraint(topologyKey="")], "[0].topologyKey: Required value: can not be empty", id="no topology key"
        ),
        pytest.param(
            [constraint(minDomains=0)], "[0].minDomains: Invalid value: 0: must be greater than zero", id="no domains"
        ),
        pytest.param(
            [constraint(minDomains=2, whenUnsatisfiable="ScheduleAnyway")],
            "[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not"
            " ScheduleAnyway",
            id="domains of a soft constraint",
        ),
        pytest.param(
            [constraint(), constraint(maxSkew=2)],
            '[1].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, DoNotSchedule}"',
            id="the same twice",
        ),
    ],
)
def test_spread_constraints_are_good_or_the_complaint_says_what_is_not(
    constraints: list[Object], complaint: str
) -> None:
    assert said(spread_causes("s", constraints)) == ([f"s{complaint}"] if complaint else [])


def test_keys_of_labels_become_expressions_of_the_selector_once() -> None:
    near = term(matchLabelKeys=["hash", "absent"], mismatchLabelKeys=["tenant"])
    even = constraint(labelSelector={}, matchLabelKeys=["hash"])
    for _ in range(2):
        spec = {"affinity": pods(near), "topologySpreadConstraints": [even]}
        narrow_to_own_labels(spec, {"hash": "1", "tenant": "t"})
    same = {"key": "hash", "operator": "In", "values": ["1"]}
    other = {"key": "tenant", "operator": "NotIn", "values": ["t"]}
    assert near["labelSelector"]["matchExpressions"] == [same, other]
    assert even["labelSelector"] == {"matchExpressions": [same]}


def test_a_label_that_cannot_exist_is_a_mistake() -> None:
    found = said(affinity_causes("a", needing(label("In", "a b", key="x/y/z"))))
    assert [line.partition(": ")[0] for line in found] == [f"a.{ONE}.key", f"a.{ONE}.values[0]"]


@pytest.mark.parametrize(
    ("requests", "limits", "complaint"),
    [
        pytest.param({"cpu": "1", "ephemeral-storage": "1Gi"}, {}, "", id="the system's own need no limit"),
        pytest.param({"nvidia.com/gpu": "2"}, {"nvidia.com/gpu": "2"}, "", id="whole and equal"),
        pytest.param({}, {"nvidia.com/gpu": "2"}, "", id="a limit alone, from which the request follows"),
        pytest.param(
            {"gpu": "1"},
            {},
            'requests[gpu]: Invalid value: "gpu": must be a standard resource for containers',
            id="a name without a domain",
        ),
        pytest.param(
            {"a.b/gpu": "1"},
            {},
            "limits: Required value: Limit must be set for non overcommitable resources",
            id="a request alone",
        ),
        pytest.param(
            {"a.b/gpu": "1"},
            {"a.b/gpu": "2"},
            'requests: Invalid value: "1": must be equal to a.b/gpu limit of 2',
            id="unequal",
        ),
        pytest.param(
            {}, {"a.b/gpu": "500m"}, 'limits[a.b/gpu]: Invalid value: "500m": must be an integer', id="half a piece"
        ),
        pytest.param(
            {"ephemeral-storage": "2Gi"},
            {"ephemeral-storage": "1Gi"},
            'requests: Invalid value: "2Gi": must be less than or equal to ephemeral-storage limit of 1Gi',
            id="above its limit",
        ),
    ],
)
def test_resources_are_good_or_the_complaint_says_what_is_not(requests: Object, limits: Object, complaint: str) -> None:
    found = said(resource_causes("resources", {"requests": requests, "limits": limits}))
    assert found == ([f"resources.{complaint}"] if complaint else [])


A, B = {"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}
WIDENED = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
CHANGED = "only additions are allowed (no mutations or deletions)"


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        pytest.param({}, {"affinity": needing(label("Exists"))}, "", id="a first affinity"),
        pytest.param({"nodeSelector": {"a": "b"}}, {"nodeSelector": {"a": "b", "c": "d"}}, "", id="one more label"),
        pytest.param({"nodeSelector": {"a": "b"}}, {}, "only additions to spec.nodeSelector", id="one label less"),
        pytest.param(
            {"affinity": needing({"matchExpressions": [A]})},
            {"affinity": needing({"matchExpressions": [A, B]})},
            "",
            id="one more expression in a term",
        ),
        pytest.param(
            {"affinity": needing({"matchExpressions": [A]})},
            {"affinity": needing({"matchExpressions": [B]})},
            CHANGED,
            id="another expression",
        ),
        pytest.param(
            {"affinity": needing({"matchExpressions": [A]})},
            {"affinity": needing({"matchExpressions": [A]}, {"matchExpressions": [B]})},
            WIDENED,
            id="one more term",
        ),
        pytest.param({"affinity": needing({"matchExpressions": [A]})}, {}, WIDENED, id="no term any more"),
        pytest.param({"affinity": needing({})}, {"affinity": needing(label("Exists"))}, CHANGED, id="nothing to all"),
    ],
)
def test_wishes_of_a_gated_pod_may_only_grow_narrower(before: Object, after: Object, complaint: str) -> None:
    found = said(tightening_causes(after, before))
    assert bool(found) == bool(complaint)
    assert all(complaint in line for line in found)


def test_only_a_gated_pod_may_change_its_wishes() -> None:
    gated = {"schedulingGates": [{"name": "x"}]}
    narrower = {"affinity": needing(label("Exists"))}
    assert said(pod_update_causes({**gated, **narrower}, gated)) == []
    assert [line.partition(":")[0] for line in said(pod_update_causes(narrower, {}))] == ["spec"]
