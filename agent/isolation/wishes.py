"""What a container's and its pod's securityContext ask for, and whether this agent can do it in a class."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from stark.crds.isolation import STRICT, TRUSTED
from stark.crds.pods import Container, Pod
from stark.crds.security import PodSecurityContext, SecurityContext

from .capabilities import NUMBERS
from .classes import Unoffered
from .plans import Wishes


def wishes_of(pod: Pod, container: Container, kind: str, mounts: list[dict[str, Any]]) -> Wishes:
    """The container's word before the pod's. Raises Unoffered."""
    whole = pod.spec.security_context or PodSecurityContext()
    own = container.security_context or SecurityContext()
    user = whole.run_as_user if own.run_as_user is None else own.run_as_user
    group = whole.run_as_group if own.run_as_group is None else own.run_as_group
    profile = own.seccomp_profile or whole.seccomp_profile
    non_root = whole.run_as_non_root if own.run_as_non_root is None else own.run_as_non_root
    if non_root:
        _require_non_root(pod, container, user, kind)
    me = os.geteuid()
    if kind == TRUSTED and me != 0 and user not in (None, me):
        raise Unoffered(f"runAsUser {user}: this agent runs as user {me} and can run programs as nobody else")
    dropped = own.capabilities.drop if own.capabilities else []
    return Wishes(
        run_as_user=user,
        run_as_group=group,
        read_only_root=bool(own.read_only_root_filesystem),
        drop_capabilities=tuple(_numbers(dropped)),
        may_gain=own.allow_privilege_escalation is True or own.privileged is True,
        filtered=kind == STRICT or (profile is not None and profile.type == "RuntimeDefault"),
        groups=_groups(whole) if kind == TRUSTED else (),
        mounts=mounts,
    )


def _groups(context: PodSecurityContext) -> tuple[int, ...]:
    wanted = [*([] if context.fs_group is None else [context.fs_group]), *context.supplemental_groups]
    if os.geteuid() != 0:
        if refused := sorted(set(wanted) - {os.getegid(), *os.getgroups()}):
            raise Unoffered(f"group {refused[0]}: this agent is not root and not in it")
        return ()
    return tuple(dict.fromkeys(wanted))


def _require_non_root(pod: Pod, container: Container, user: int | None, kind: str) -> None:
    where = f'(pod: "{pod.metadata.name}_{pod.metadata.namespace}({pod.uid})", container: {container.name})'
    if user == 0:
        raise Unoffered(f"container's runAsUser breaks non-root policy {where}")
    if user is None and kind == TRUSTED and os.geteuid() == 0:
        raise Unoffered(f"container has runAsNonRoot and would run as the agent's own user, root {where}")


def _numbers(names: Iterable[str]) -> list[int]:
    """Numbers of capabilities; what this agent does not know cannot be had either."""
    plain = {name.upper().removeprefix("CAP_") for name in names}
    if "ALL" in plain:
        return sorted(NUMBERS.values())
    return sorted(NUMBERS[name] for name in plain if name in NUMBERS)
