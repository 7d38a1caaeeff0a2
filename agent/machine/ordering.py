"""In which order a pod's containers start and stop: init containers one after the other, then the containers together.

A sidecar (an init container that is restarted always, KEP-753) only has to have started for the next one's turn to
come, runs as long as the containers do, and is stopped after them, the last one first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING

from stark.crds.pods import RestartPolicy

if TYPE_CHECKING:
    from .container import ContainerLife


class Role(Enum):
    """What a container is in its pod."""

    INIT = auto()
    SIDECAR = auto()
    MAIN = auto()


def policy_of(role: Role, pods: RestartPolicy) -> RestartPolicy:
    """When a container of this role is started again, in a pod with that policy."""
    if role is Role.SIDECAR:
        return "Always"
    # An init container that has succeeded is done, whatever the policy says of containers.
    return "OnFailure" if role is Role.INIT and pods == "Always" else pods


def due(lives: Sequence[ContainerLife], initialized: bool) -> Iterator[ContainerLife]:
    """Those whose turn it is to run. `initialized`: the containers have had theirs, and init containers have none more.

    A sidecar that runs is among them even while one before it is being started again.
    """
    has_come = True
    for life in lives:
        if life.role is Role.INIT and (initialized or life.succeeded):
            continue
        if has_come or (life.role is Role.SIDECAR and life.has_process):
            yield life
        if life.role is not Role.MAIN and not (life.role is Role.SIDECAR and (initialized or life.started)):
            has_come = False


def may_stop(life: ContainerLife, lives: Sequence[ContainerLife]) -> bool:
    """Whether nothing is left of what a sidecar has to outlive: the containers, and sidecars that started after it."""
    if life.role is not Role.SIDECAR:
        return True
    after = lives[lives.index(life) + 1 :]
    return not any(other.has_process for other in after) and not any(
        other.has_process for other in lives if other.role is not Role.SIDECAR
    )


def is_initialized(lives: Sequence[ContainerLife]) -> bool:
    """Whether it is a container's turn: every init container has succeeded, and every sidecar has started."""
    return any(life.role is Role.MAIN for life in due(lives, False))


def has_failed_to_initialize(lives: Sequence[ContainerLife], policy: RestartPolicy) -> bool:
    """Whether an init container has failed for good."""
    return policy == "Never" and any(
        life.role is Role.INIT and life.exit is not None and life.exit.code != 0 for life in lives
    )
