"""How far a rollout may stray from the desired count, as numbers of pods."""

from __future__ import annotations

from stark.crds.annotations import MODE, MODE_DAEMON_SET
from stark.crds.apps import Deployment, RollingUpdateDeployment


def is_rolling(deployment: Deployment) -> bool:
    """Whether old pods are replaced bit by bit."""
    return deployment.spec.strategy.type == "RollingUpdate"


def is_daemon(deployment: Deployment) -> bool:
    """Whether it wants a pod on every matching node instead of a number of pods."""
    return deployment.metadata.annotations.get(MODE) == MODE_DAEMON_SET


def _scaled(value: int | str, total: int, *, up: bool) -> int:
    """A number, or a percentage of `total`; anything else was refused when it was stored and counts as none."""
    if isinstance(value, int):
        return value
    digits = value.removesuffix("%")
    if not digits.isdigit():
        return 0
    hundredths = int(digits) * total
    return -(-hundredths // 100) if up else hundredths // 100


def bounds(deployment: Deployment) -> tuple[int, int]:
    """(max surge, max unavailable). Surge is rounded up, unavailable down; both zero would never move, so one pod may
    go."""
    return bounds_of(deployment, deployment.spec.replicas)


def bounds_of(deployment: Deployment, replicas: int) -> tuple[int, int]:
    """The bounds for another number of pods than the deployment names."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = deployment.spec.strategy.rolling_update or RollingUpdateDeployment()
    surge = _scaled(rolling.max_surge, replicas, up=True)
    unavailable = _scaled(rolling.max_unavailable, replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, replicas)


def max_surge(deployment: Deployment) -> int:
    """Pods that may be too many."""
    return bounds(deployment)[0]


def max_unavailable(deployment: Deployment) -> int:
    """Pods that may be missing."""
    return bounds(deployment)[1]
