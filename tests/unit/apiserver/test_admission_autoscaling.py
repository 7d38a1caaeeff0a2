"""What is invalid in an autoscaler or a stateful set, where, and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stark.apiserver.admission.podspecs import FoundSpec
from stark.apiserver.admission.validate_apps import statefulset_causes
from stark.apiserver.admission.validate_autoscaling import autoscaler_causes
from stark.crds.autoscaler_forms import BEHAVIOR, METRICS

Object = dict[str, Any]
REFERENCE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
PERCENT = {"type": "Utilization", "averageUtilization": 50}
POLICY = {"type": "Pods", "value": 1, "periodSeconds": 60}


def cpu(**target: Any) -> Object:
    return {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]}


def rules(**given: Any) -> Object:
    return {"behavior": {"scaleUp": {"policies": [POLICY], **given}}}


def autoscaler(**spec: Any) -> Object:
    return {"apiVersion": "autoscaling/v2", "spec": {"scaleTargetRef": REFERENCE, "maxReplicas": 3, **spec}}


UP = "spec.behavior.scaleUp"
TARGET = "spec.metrics[0].resource.target"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"minReplicas": 0}, "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"),
        ({"maxReplicas": 0}, "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
        ({"minReplicas": 4}, "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"),
        ({"scaleTargetRef": {**REFERENCE, "kind": ""}}, "spec.scaleTargetRef.kind: Required value"),
        (
            {"scaleTargetRef": {**REFERENCE, "name": "a/b"}},
            "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
        ),
        (
            {"scaleTargetRef": {**REFERENCE, "apiVersion": "v1"}},
            'spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group',
        ),
        (
            {"scaleTargetRef": {**REFERENCE, "apiVersion": "a/b/c"}},
            'spec.scaleTargetRef.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
        ),
        (
            {"metrics": [{"type": "Pods"}]},
            'spec.metrics[0].type: Unsupported value: "Pods": supported values: "Resource", "ContainerResource"',
        ),
        (
            {"metrics": [{"type": "Resource"}]},
            "spec.metrics[0].resource: Required value: must populate information for the given metric source",
        ),
        (
            {"metrics": [{"type": "ContainerResource", "containerResource": {"name": "cpu", "target": PERCENT}}]},
            "spec.metrics[0].containerResource.container: Required value: must specify a container",
        ),
        (
            cpu(type="Utilization"),
            f"{TARGET}.averageUtilization: Required value: must set either a target raw value or a target utilization",
        ),
        (
            cpu(type="Utilization", averageUtilization=0),
            f"{TARGET}.averageUtilization: Invalid value: 0: must be greater than 0",
        ),
        (cpu(type="AverageValue", averageValue="0"), f'{TARGET}.averageValue: Invalid value: "0": must be positive'),
        (
            cpu(**PERCENT, averageValue="1"),
            f"{TARGET}.averageValue: Forbidden: may not set both a target raw value and a target utilization",
        ),
        (
            rules(stabilizationWindowSeconds=-1),
            f"{UP}.stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero",
        ),
        (
            rules(stabilizationWindowSeconds=3601),
            f"{UP}.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        ),
        (rules(policies=[]), f"{UP}.policies: Required value: must specify at least one Policy"),
        (
            rules(policies=[{**POLICY, "value": 0}]),
            f"{UP}.policies[0].value: Invalid value: 0: must be greater than zero",
        ),
        (
            rules(policies=[{**POLICY, "periodSeconds": 1801}]),
            f"{UP}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ),
        (rules(tolerance="-1"), f'{UP}.tolerance: Invalid value: "-1": must be greater than or equal to 0'),
    ],
)
def test_an_autoscaler_is_judged_in_kubernetes_words(spec: Object, complaint: str) -> None:
    given = autoscaler(**spec)
    assert [f"{cause.field}: {cause.message}" for cause in autoscaler_causes(given, None)] == [complaint]


def test_one_with_everything_right_has_nothing_to_be_said_about() -> None:
    assert list(autoscaler_causes(autoscaler(minReplicas=3, **cpu(**PERCENT), **rules(tolerance="5m")), None)) == []


def test_a_reference_that_was_accepted_before_stays_acceptable() -> None:
    old = autoscaler(scaleTargetRef={**REFERENCE, "apiVersion": ""})
    assert list(autoscaler_causes(old, old)) == []
    assert list(autoscaler_causes(old, autoscaler()))


@pytest.mark.parametrize(
    ("annotations", "complaint"),
    [
        (
            {METRICS: [{"type": "Pods", "pods": {"metricName": "x"}}]},
            'spec.metrics[0].type: Unsupported value: "Pods": supported values: "Resource", "ContainerResource"',
        ),
        (
            {BEHAVIOR: {"ScaleUp": {"StabilizationWindowSeconds": "x"}}},
            f'{UP}.stabilizationWindowSeconds: Invalid value: "x": must be greater than or equal to zero',
        ),
    ],
)
def test_what_v1_says_in_annotations_is_judged_as_well(annotations: dict[str, Any], complaint: str) -> None:
    written = {name: json.dumps(value) for name, value in annotations.items()}
    given = {**autoscaler(), "apiVersion": "autoscaling/v1", "metadata": {"name": "a", "annotations": written}}
    assert [f"{cause.field}: {cause.message}" for cause in autoscaler_causes(given, None)] == [complaint]


CONTAINER = {"name": "c", "image": "nginx:1"}
TEMPLATE = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [CONTAINER]}}


def stateful(**spec: Any) -> Object:
    base = {"selector": {"matchLabels": {"app": "db"}}, "template": TEMPLATE, "replicas": 1}
    return {"metadata": {"name": "db"}, "spec": {**base, **spec}}


def judged(obj: Object, old: Object | None = None) -> list[str]:
    template = obj["spec"]["template"]
    found = FoundSpec("spec.template.spec", template["spec"], template["metadata"])
    return [f"{cause.field}: {cause.message}" for cause in statefulset_causes(obj, old, found)]


ROLLING = "spec.updateStrategy.rollingUpdate"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"selector": {}}, "spec.selector: Invalid value: {}: empty selector is invalid for statefulset"),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}},
            f"{ROLLING}.maxUnavailable: Invalid value: 0: cannot be 0",
        ),
        (
            {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "101%"}}},
            f'{ROLLING}.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
        ),
        (
            {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            f"{ROLLING}: Invalid value: {{\"partition\":1}}: only allowed for updateStrategy 'RollingUpdate'",
        ),
        (
            {"template": {**TEMPLATE, "spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}},
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
    ],
)
def test_a_stateful_set_is_judged_in_kubernetes_words(spec: Object, complaint: str) -> None:
    assert judged(stateful(**spec)) == [complaint]


def test_the_name_of_a_stateful_set_is_part_of_hostnames() -> None:
    (complaint,) = judged({**stateful(), "metadata": {"name": "a.b"}})
    assert complaint.startswith('metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label')


@pytest.mark.parametrize("change", [{"replicas": 2}, {"minReadySeconds": 1}, {"ordinals": {"start": 1}}])
def test_of_a_stateful_set_may_change(change: Object) -> None:
    assert judged(stateful(**change), stateful()) == []


@pytest.mark.parametrize("change", [{"serviceName": "x"}, {"podManagementPolicy": "Parallel"}])
def test_of_a_stateful_set_may_not_change(change: Object) -> None:
    (complaint,) = judged(stateful(**change), stateful())
    assert complaint == (
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
        "'updateStrategy', 'revisionHistoryLimit' and 'minReadySeconds' are forbidden"
    )
