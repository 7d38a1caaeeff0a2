"""What a pod asks for as a whole, wherever that is asked: the same moments, by the same rules."""

from __future__ import annotations

from typing import Any

import pytest

from stark.crds.meta import decode
from stark.crds.placement.reading import demand_of
from stark.crds.podcontainers import pod_amounts
from stark.crds.pods import Pod
from stark.crds.qos import qos_class
from stark.crds.quotas import missing_compute, usage_of


def asks(name: str, cpu: str | None, *, lasts: bool = False) -> dict[str, Any]:
    container: dict[str, Any] = {"name": name, "image": "pack.stark/x:1.0.0"}
    if cpu is not None:
        container["resources"] = {"requests": {"cpu": cpu}}
    return {**container, "restartPolicy": "Always"} if lasts else container


@pytest.mark.parametrize(
    ("initial", "containers", "milli"),
    [
        pytest.param([], ["100m", "200m"], 300, id="containers are added up"),
        pytest.param([("500m", False)], ["100m", "200m"], 500, id="an init container that asks for more decides"),
        pytest.param([("500m", False), ("400m", False)], ["100m"], 500, id="init containers run one at a time"),
        pytest.param([("500m", True)], ["100m"], 600, id="a sidecar stays, and is added"),
        pytest.param([("100m", True), ("1", False)], ["200m"], 1100, id="an init container has the sidecars before it"),
        pytest.param([("1", False), ("100m", True)], ["200m"], 1000, id="but not those after it"),
        pytest.param([("100m", True), ("200m", True)], [None], 300, id="who asks for nothing adds nothing"),
    ],
)
def test_a_pod_asks_for_the_most_that_it_needs_at_any_time(
    initial: list[tuple[str, bool]], containers: list[str | None], milli: int
) -> None:
    spec = {
        "initContainers": [asks(f"i{at}", cpu, lasts=lasts) for at, (cpu, lasts) in enumerate(initial)],
        "containers": [asks(f"c{at}", cpu) for at, cpu in enumerate(containers)],
    }
    pod = {"metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    assert demand_of(decode(pod, Pod), lambda _: None).milli_cpu == milli
    assert usage_of("", "pods", pod)["requests.cpu"] in (f"{milli}m", str(milli // 1000))
    assert pod_amounts(spec, "limits") == {}


def test_init_containers_have_to_say_what_a_quota_limits_and_count_for_the_quality() -> None:
    exact = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    main = {"name": "main", "resources": exact}
    pod = {"spec": {"initContainers": [{"name": "first"}], "containers": [main]}}
    assert missing_compute(["limits.cpu"], pod) == "must specify limits.cpu for: first"
    assert qos_class(pod["spec"]) == "Burstable"
    assert qos_class({"containers": [main]}) == "Guaranteed"
