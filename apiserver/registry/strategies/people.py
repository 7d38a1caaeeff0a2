"""Users, and the settings of the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from stark.crds.cluster import CLUSTER_CONFIG_NAME
from stark.crds.names import path_segment_problems
from stark.crds.quantity import compare

from ...errors import Cause
from .base import Known, Strategy, immutable, shown


class UserStrategy(Strategy):
    """A user is named by their address, so that there is one of each; a new address is a new user."""

    def name_problems(self, name: str) -> list[str]:
        """An address has signs that no other name has."""
        return path_segment_problems(name)

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """Name and address are the same."""
        name, email = obj["metadata"]["name"], obj["spec"]["email"]
        if name == email:
            return ()
        return [Cause("spec.email", f'Invalid value: {shown(email)}: must be the same as metadata.name, "{name}"')]

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """The address stays."""
        return immutable("spec.email", new["spec"]["email"], old["spec"]["email"])


class ClusterConfigStrategy(Strategy):
    """There is one."""

    def create_problems(self, obj: Known) -> Sequence[Cause]:
        """No other than that one."""
        name = obj["metadata"]["name"]
        if name == CLUSTER_CONFIG_NAME:
            return _contradictions(obj)
        return [Cause("metadata.name", f'Invalid value: {shown(name)}: must be "{CLUSTER_CONFIG_NAME}"')]

    def update_problems(self, new: Known, old: Known) -> Sequence[Cause]:
        """What cannot be together."""
        return _contradictions(new)


def _contradictions(obj: Known) -> Sequence[Cause]:
    spec = obj.get("spec") or {}
    interval, timeout = spec["nodeHeartbeatIntervalSeconds"], spec["nodeHeartbeatTimeoutSeconds"]
    field, message = "spec.nodeHeartbeatTimeoutSeconds", f"must be longer than the interval, {interval}"
    silent = [Cause(field, f"Invalid value: {shown(timeout)}: {message}")] if timeout <= interval else []
    suspect = spec.get("nodeSuspectSeconds")
    if suspect is not None and not interval < suspect < timeout:
        message = f"must be between the interval, {interval}, and the time-out, {timeout}"
        silent.append(Cause("spec.nodeSuspectSeconds", f"Invalid value: {shown(suspect)}: {message}"))
    return [*silent, *_limits_below_requests(spec)]


def _limits_below_requests(spec: Known) -> Sequence[Cause]:
    defaults = spec.get("defaultResources") or {}
    requests, limits = defaults.get("requests") or {}, defaults.get("limits") or {}
    return [
        Cause(
            f"spec.defaultResources.requests[{name}]",
            f"Invalid value: {shown(amount)}: must be less than or equal to the limit, {limits[name]}",
        )
        for name, amount in requests.items()
        if name in limits and compare(amount, limits[name]) > 0
    ]
