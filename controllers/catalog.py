"""Every controller and where it is built: the table that `stark-controllers` runs from.

A line is `name: "module:function"`; the function is a `Builder` (`build(context: Context) -> Controller`). Modules are
named, not imported, so that a process imports only the controllers that it runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from types import MappingProxyType

from .kit import Builder

CATALOG: Mapping[str, str] = MappingProxyType(
    {
        "bootstrap-token": "stark.controllers.bootstrap_tokens:build",
        "certificate-approver": "stark.controllers.certificate_approver.controller:build",
        "certificate-cleaner": "stark.controllers.certificate_cleaner:build",
        "clusterrole-aggregation": "stark.controllers.clusterrole_aggregation:build",
        "config-rollout": "stark.controllers.config_rollout:build",
        "crash-loop": "stark.controllers.crash_loop.controller:build",
        "daemonset": "stark.controllers.daemonset.controller:build",
        "deployment": "stark.controllers.deployment.controller:build",
        "disruption": "stark.controllers.disruption.controller:build",
        "endpoints": "stark.controllers.endpoints.controller:build",
        "horizontal-autoscaler": "stark.controllers.horizontal_autoscaler.controller:build",
        "garbage": "stark.controllers.garbage.controller:build",
        "cronjob": "stark.controllers.cronjob.controller:build",
        "job": "stark.controllers.job.controller:build",
        "namespace": "stark.controllers.namespace:build",
        "node-lifecycle": "stark.controllers.node_lifecycle.controller:build",
        "node-maintenance": "stark.controllers.node_maintenance:build",
        "pod-gc": "stark.controllers.pod_gc:build",
        "pod-group": "stark.controllers.pod_groups:build",
        "quota": "stark.controllers.quota:build",
        "replicaset": "stark.controllers.replicaset.controller:build",
        "root-ca": "stark.controllers.root_ca:build",
        "scheduler": "stark.controllers.scheduler.controller:build",
        "service-account": "stark.controllers.service_accounts:build",
        "service-account-token": "stark.controllers.service_account_tokens:build",
        "statefulset": "stark.controllers.statefulset.controller:build",
    }
)


def builder_of(name: str) -> Builder:
    """The builder of a named controller. Raises KeyError when the catalog has no such name."""
    module, _, function = CATALOG[name].partition(":")
    builder: Builder = getattr(import_module(module), function)
    return builder


def chosen(names: Iterable[str]) -> list[str]:
    """The names that were asked for, or all of them. Raises KeyError naming those that do not exist."""
    wanted = list(dict.fromkeys(names)) or sorted(CATALOG)
    unknown = [name for name in wanted if name not in CATALOG]
    if unknown:
        raise KeyError(f"no controller named {', '.join(unknown)}; there are: {', '.join(sorted(CATALOG))}")
    return wanted
