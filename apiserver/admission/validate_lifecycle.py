"""What is wrong with a container's probes and hooks, and with an init container's. Kubernetes' wording and paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stark.crds.names import port_name_problems
from stark.crds.podcontainers import SIDECAR

from ..errors import Cause
from .complaints import bad_value, not_allowed, required

PORT_MAX = 65_535
PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")

Mapped = Mapping[str, Any]


def lifecycle_causes(path: str, container: Mapped, grace_s: int | None) -> Iterator[Cause]:
    """Complaints about probes and hooks. `grace_s` is the pod's terminationGracePeriodSeconds, when it is known."""
    for probe in PROBES:
        if container.get(probe) is not None:
            yield from _probe_causes(f"{path}.{probe}", probe, container[probe])
    for hook in HOOKS:
        handler = (container.get("lifecycle") or {}).get(hook)
        if handler is not None:
            where = f"{path}.lifecycle.{hook}"
            yield from _handler_causes(where, handler, HOOK_HANDLERS)
            yield from _sleep_causes(f"{where}.sleep", handler.get("sleep") or {}, grace_s)


def role_causes(path: str, container: Mapped, is_initial: bool) -> Iterator[Cause]:
    """Complaints about what only some containers may have: a restart policy, and in init containers probes and hooks."""
    policy = container.get("restartPolicy")
    if not is_initial:
        if policy:
            yield not_allowed(f"{path}.restartPolicy", "may not be set for non-init containers")
        return
    if policy == SIDECAR:
        return
    if container.get("lifecycle") is not None:
        yield not_allowed(f"{path}.lifecycle", "may not be set for init containers without restartPolicy=Always")
    for probe in PROBES:
        if container.get(probe) is not None:
            yield not_allowed(f"{path}.{probe}", "may not be set for init containers without restartPolicy=Always")


def _probe_causes(path: str, probe_name: str, probe: Mapped) -> Iterator[Cause]:
    yield from _handler_causes(path, probe, PROBE_HANDLERS)
    if probe_name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        yield bad_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")
    if probe_name == "readinessProbe" and probe.get("terminationGracePeriodSeconds") is not None:
        value = probe["terminationGracePeriodSeconds"]
        yield bad_value(f"{path}.terminationGracePeriodSeconds", value, "must not be set for readinessProbes")


def _handler_causes(path: str, holder: Mapped, choices: tuple[str, ...]) -> Iterator[Cause]:
    given = [choice for choice in choices if holder.get(choice) is not None]
    if not given:
        yield required(path, "must specify a handler type")
    for extra in given[1:]:
        yield not_allowed(f"{path}.{extra}", "may not specify more than 1 handler type")
    if holder.get("exec") is not None and not holder["exec"].get("command"):
        yield required(f"{path}.exec.command")
    for choice in ("httpGet", "tcpSocket", "grpc"):
        if holder.get(choice) is not None:
            yield from _target_port_causes(f"{path}.{choice}.port", holder[choice].get("port"))


def _sleep_causes(path: str, sleep: Mapped, grace_s: int | None) -> Iterator[Cause]:
    seconds = sleep.get("seconds", 0)
    if grace_s is not None and not 0 <= seconds <= grace_s:
        message = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
        yield bad_value(path, seconds, message)


def _target_port_causes(path: str, port: Any) -> Iterator[Cause]:
    if isinstance(port, int):
        if not 1 <= port <= PORT_MAX:
            yield bad_value(path, port, f"must be between 1 and {PORT_MAX}, inclusive")
    elif isinstance(port, str):
        for problem in port_name_problems(port):
            yield bad_value(path, port, problem)
