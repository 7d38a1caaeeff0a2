"""The bound on requests that last as long as clients like."""

from __future__ import annotations

import pytest

from stark.apiserver.errors import TooManyRequests
from stark.apiserver.limits import Gauge
from stark.apiserver.request import User

ALICE = User("alice", ("system:authenticated",))


@pytest.mark.parametrize("group", ["system:nodes", "system:controllers", "system:masters"])
def test_users_leave_places_to_those_who_keep_the_cluster_going(group: str) -> None:
    gauge, vital = Gauge(10), User("vital", (group,))
    for _ in range(8):
        gauge.enter(ALICE)
    with pytest.raises(TooManyRequests):
        gauge.enter(ALICE)
    for _ in range(2):
        gauge.enter(vital)
    with pytest.raises(TooManyRequests):
        gauge.enter(vital)
    gauge.leave()
    gauge.enter(vital)
