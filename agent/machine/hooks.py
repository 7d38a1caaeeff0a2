"""When a container's hooks are due, and how long a stop waits for them.

postStart runs once the entry point was called, and the container does not count as running before it is done. preStop
runs before the program is asked to stop, within the grace; what it leaves of that is the program's, and never less
than two seconds, so that a slow hook costs no program its chance to end by itself (kubelet's rule).
"""

from __future__ import annotations

from dataclasses import dataclass

from stark.crds.pods import Container, LifecycleHandler

from .messages import HookKind

GRACE_MIN_S = 2.0
"""What a program gets at least after a hook, or after others that had to stop before it. Kubernetes' figure."""
POST_START_MAX_S = 3600.0
"""A postStart hook that takes longer has failed. Kubernetes waits for ever, and the container is never running."""
FAILED_POST_START = "FailedPostStartHook"
FAILED_PRE_STOP = "FailedPreStopHook"
FAILURES = {
    HookKind.POST_START: (FAILED_POST_START, "PostStartHook failed"),
    # As in Kubernetes without what the hook said, which may be secret.
    HookKind.PRE_STOP: (FAILED_PRE_STOP, "PreStopHook failed"),
}


@dataclass(slots=True)
class HookRun:
    """The hooks of one run of a container."""

    post_start_pending: bool = False
    post_start_failed: bool = False
    post_start_asked: bool = False
    pre_stop_pending: bool = False
    pre_stop_asked: bool = False

    @property
    def let_run(self) -> bool:
        """Whether the container may count as running."""
        return not self.post_start_pending and not self.post_start_failed

    def answer(self, kind: HookKind, ok: bool) -> bool:
        """A hook is over; False when nobody waited for it."""
        if kind is HookKind.POST_START:
            was, self.post_start_pending = self.post_start_pending, False
            self.post_start_failed = was and not ok
        else:
            was, self.pre_stop_pending = self.pre_stop_pending, False
        return was


def handler_of(container: Container, kind: HookKind) -> LifecycleHandler | None:
    """What the container wants done."""
    if container.lifecycle is None:
        return None
    return container.lifecycle.post_start if kind is HookKind.POST_START else container.lifecycle.pre_stop
