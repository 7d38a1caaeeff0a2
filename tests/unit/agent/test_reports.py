"""What an agent writes about a pod leaves nothing untrue standing, and touches no condition of others."""

from __future__ import annotations

from stark.agent.reports import status_patch
from stark.crds.patches import strategic_merge_patch
from stark.crds.pods import PodCondition, PodStatus

KEYS = {"status.conditions": "type"}


def test_a_condition_that_came_true_loses_the_reason_it_was_false_for() -> None:
    false = {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "web is not"}
    foreign = {"type": "example.com/gate", "status": "False", "reason": "Closed"}
    stored = {"metadata": {}, "status": {"conditions": [false, foreign]}}
    status = PodStatus(
        conditions=[PodCondition(type="Ready", status="True"), PodCondition(type="example.com/gate", status="True")]
    )
    merged = strategic_merge_patch(stored, status_patch("uid", status, {}), KEYS)
    assert merged["status"]["conditions"] == [{"type": "Ready", "status": "True"}, foreign]
