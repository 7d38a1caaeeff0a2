"""An autoscaler says the same in either version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stark.crds.autoscaler_forms import BEHAVIOR, CONDITIONS, CURRENT_METRICS, METRICS, full, plain, with_defaults
from tests.support.examples import example_of

FULL = example_of("autoscaling/v2", "HorizontalPodAutoscaler")
PLAIN = example_of("autoscaling/v1", "HorizontalPodAutoscaler")


def test_nothing_is_lost_on_the_way_to_v1_and_back() -> None:
    assert full(plain(FULL)) == FULL
    assert plain(full(plain(FULL))) == plain(FULL)


def test_v1_has_a_field_for_the_first_measure_of_cpu_and_annotations_for_the_rest() -> None:
    said = plain(FULL)
    assert said["spec"]["targetCPUUtilizationPercentage"] == 60
    assert said["status"]["currentCPUUtilizationPercentage"] == 70
    assert {"metrics", "behavior"}.isdisjoint(said["spec"])
    annotations = said["metadata"]["annotations"]
    assert json.loads(annotations[METRICS])[0] == {
        "type": "Resource",
        "resource": {"name": "memory", "targetAverageValue": "100Mi"},
    }
    assert json.loads(annotations[CURRENT_METRICS])[0]["resource"]["currentAverageUtilization"] == 70
    assert json.loads(annotations[BEHAVIOR])["ScaleUp"]["StabilizationWindowSeconds"] == 60
    assert json.loads(annotations[CONDITIONS])[0]["type"] == "Ready"


def test_an_object_of_v1_becomes_one_measure() -> None:
    said = full(PLAIN)
    assert said["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}}
    ]
    assert said["status"]["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 70}
    assert plain(said)["spec"] == PLAIN["spec"]


@pytest.mark.parametrize(
    "text", ["", "no json", "[1]", '{"a":1}', '[{"type":["Resource"]}]', '[{"type":"Resource"}]', "null"]
)
def test_annotations_that_make_no_sense_convert_without_harm(text: str) -> None:
    annotations = dict.fromkeys((METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR), text)
    said = full({**PLAIN, "metadata": {"name": "a", "annotations": annotations}})
    assert "annotations" not in said["metadata"]
    assert said["spec"]["metrics"][0]["type"] == "Resource"


def test_what_is_not_said_is_filled_in() -> None:
    spec: dict[str, Any] = {"maxReplicas": 3, "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}
    said = with_defaults(spec)
    assert said["minReplicas"] == 1
    assert said["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert said["behavior"]["scaleUp"] == {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    }
    assert said["behavior"]["scaleDown"] == {
        "selectPolicy": "Disabled",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }
    assert "behavior" not in with_defaults({"maxReplicas": 3})
    assert with_defaults(said) == said
