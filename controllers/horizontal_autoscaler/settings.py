"""How patient the autoscaler is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AutoscalerSettings:
    """Times in seconds. The numbers are kube-controller-manager's."""

    period_s: float = 15.0
    """How often each autoscaler is looked at, where the cluster's settings (ClusterConfig) do not say it."""
    scale_down_window_s: float = 300.0
    """The highest recommendation of so long is followed when pods are given up and spec.behavior says no other time."""
    tolerance: float = 0.1
    """A measure that differs from its target by less changes nothing, where spec.behavior says no other."""
    cpu_initialization_s: float = 300.0
    """So long after its start a pod's use of cpu counts only while the pod is ready: starting takes more than running."""
    initial_readiness_s: float = 30.0
    """A pod that is not ready and changed no later than this after its start has never been ready."""
