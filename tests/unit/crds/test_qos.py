"""The quality of service of a pod, by Kubernetes' table."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.qos import QOSClass, qos_class

BOTH = {"cpu": "1", "memory": "1Gi"}
EXACT: dict[str, Any] = {"requests": BOTH, "limits": {"cpu": "1000m", "memory": "1024Mi"}}


@pytest.mark.parametrize(
    ("containers", "expected"),
    [
        pytest.param([{}], "BestEffort", id="nothing asked for"),
        pytest.param([{"requests": {"cpu": "0"}}], "BestEffort", id="zero is nothing"),
        pytest.param([{"limits": {"example.com/gpu": "1"}}], "BestEffort", id="only cpu and memory count"),
        pytest.param([{"requests": {"cpu": "1m"}}], "Burstable", id="a request without a limit"),
        pytest.param([{"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}], "Burstable", id="no limit of memory"),
        pytest.param([{"requests": {**BOTH, "cpu": "500m"}, "limits": BOTH}], "Burstable", id="less than the limit"),
        pytest.param([EXACT, {}], "Burstable", id="one container without a limit"),
        pytest.param([EXACT, EXACT], "Guaranteed", id="all exactly at the limit"),
    ],
)
def test_quality_of_service_follows_from_requests_and_limits(
    containers: list[dict[str, Any]], expected: QOSClass
) -> None:
    assert qos_class({"containers": [{"resources": resources} for resources in containers]}) == expected
