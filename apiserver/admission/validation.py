"""One plugin that judges the objects of every built-in kind, each by the module of its family."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import Cause, invalid
from ..resources import Resource
from .attributes import Attributes, Lookup
from .complaints import named
from .limit_ranges import limit_range_causes
from .podspecs import FoundSpec, find_spec
from .priority import priority_class_causes
from .services import endpoint_slice_causes, service_causes
from .validate_admission_policies import admission_binding_causes
from .validate_apps import (
    daemonset_causes,
    deployment_causes,
    revision_causes,
    statefulset_causes,
    workload_causes,
)
from .validate_autoscaling import autoscaler_causes
from .validate_batch import cronjob_causes, job_causes
from .validate_config import config_map_causes, node_causes, secret_causes
from .validate_flowcontrol import flow_schema_causes, priority_level_causes
from .validate_pack_trust import pack_trust_causes
from .validate_packs import pack_causes
from .validate_pods import pod_causes
from .validate_policy import disruption_budget_causes, pod_group_causes
from .validate_quotas import resource_quota_causes
from .validate_rbac import cluster_role_binding_causes, cluster_role_causes, role_binding_causes, role_causes
from .validate_webhooks import webhook_configuration_causes

Mapped = Mapping[str, Any]
Judge = Callable[[Mapped, Mapped | None, FoundSpec | None], Iterable[Cause]]

CAUSES_MAX = 100
"""Complaints in one answer; somebody with more than that has another problem than reading the rest."""


def _pod(obj: Mapped, old: Mapped | None, found: FoundSpec | None) -> Iterable[Cause]:
    return pod_causes(found, old) if found is not None else ()


JUDGES: Mapping[tuple[str, str], Judge] = {
    ("", "pods"): _pod,
    ("", "configmaps"): lambda obj, old, found: config_map_causes(obj, old),
    ("", "secrets"): lambda obj, old, found: secret_causes(obj, old),
    ("", "nodes"): lambda obj, old, found: node_causes(obj, old),
    ("apps", "deployments"): deployment_causes,
    ("apps", "replicasets"): workload_causes,
    ("", "limitranges"): lambda obj, old, found: limit_range_causes(obj),
    ("", "resourcequotas"): lambda obj, old, found: resource_quota_causes(obj, old),
    ("", "services"): lambda obj, old, found: service_causes(obj),
    ("discovery.k8s.io", "endpointslices"): lambda obj, old, found: endpoint_slice_causes(obj, old),
    ("policy", "poddisruptionbudgets"): lambda obj, old, found: disruption_budget_causes(obj),
    ("stark.dev", "podgroups"): lambda obj, old, found: pod_group_causes(obj, old),
    ("scheduling.k8s.io", "priorityclasses"): lambda obj, old, found: priority_class_causes(obj, old),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): lambda obj, old, found: flow_schema_causes(obj),
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): lambda obj, old, found: priority_level_causes(obj),
    ("apps", "daemonsets"): daemonset_causes,
    ("apps", "statefulsets"): statefulset_causes,
    ("autoscaling", "horizontalpodautoscalers"): lambda obj, old, found: autoscaler_causes(obj, old),
    ("apps", "controllerrevisions"): revision_causes,
    ("batch", "jobs"): job_causes,
    ("batch", "cronjobs"): cronjob_causes,
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): (
        lambda obj, old, found: webhook_configuration_causes(obj)
    ),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): (
        lambda obj, old, found: webhook_configuration_causes(obj)
    ),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"): (
        lambda obj, old, found: admission_binding_causes(obj)
    ),
    ("stark.dev", "packtrustpolicies"): lambda obj, old, found: pack_trust_causes(obj),
    ("rbac.authorization.k8s.io", "roles"): lambda obj, old, found: role_causes(obj),
    ("rbac.authorization.k8s.io", "clusterroles"): lambda obj, old, found: cluster_role_causes(obj),
    ("rbac.authorization.k8s.io", "rolebindings"): lambda obj, old, found: role_binding_causes(obj, old),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): lambda obj, old, found: cluster_role_binding_causes(obj, old),
    ("stark.dev", "packs"): lambda obj, old, found: pack_causes(obj, old),
}


def validation_concerns(resource: Resource, operation: str, subresource: str) -> bool:
    """Objects of which somebody judges the whole."""
    return not subresource and operation != "DELETE" and (resource.group, resource.plural) in JUDGES


async def validate_object(attributes: Attributes, lookup: Lookup) -> None:
    """Raise Invalid with every complaint about the object itself. Subresources and deletions pass."""
    resource, obj = attributes.resource, attributes.object
    judge = JUDGES.get((resource.group, resource.plural))
    if judge is None or obj is None or attributes.subresource or attributes.operation == "DELETE":
        return
    old = attributes.old if attributes.operation == "UPDATE" else None
    causes = list(judge(obj, old, find_spec(resource, obj)))
    if causes:
        raise invalid(resource.kind, named(attributes), causes[:CAUSES_MAX], group=resource.group)
