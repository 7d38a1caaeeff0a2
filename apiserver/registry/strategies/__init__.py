"""What a kind does differently, found by group and kind. The registry itself knows no kind by name."""

from __future__ import annotations

from collections.abc import Mapping

from ...resources import Resource, derived
from .autoscaling import PlainAutoscalerStrategy
from .base import Strategy
from .batch import JobStrategy
from .certificates import CertificateRequestStrategy, CertificateRevocationStrategy
from .core import (
    ConfigStrategy,
    LeaseStrategy,
    NamespaceStrategy,
    NodeStrategy,
    PackStrategy,
    PodStrategy,
    ServiceStrategy,
)
from .events import EventStrategy, GroupedEventStrategy
from .extensions import AdmissionPolicyStrategy, DefinitionStrategy, WebhookConfigurationStrategy
from .people import ClusterConfigStrategy, UserStrategy
from .rbac import RoleStrategy

DEFAULT = Strategy()
STRATEGIES: Mapping[tuple[str, str], Strategy] = {
    ("", "Pod"): PodStrategy(),
    ("", "Node"): NodeStrategy(),
    ("", "Namespace"): NamespaceStrategy(),
    ("", "Service"): ServiceStrategy(),
    ("", "ConfigMap"): ConfigStrategy(),
    ("", "Secret"): ConfigStrategy(),
    ("", "Event"): EventStrategy(),
    ("events.k8s.io", "Event"): GroupedEventStrategy(),
    ("stark.dev", "Pack"): PackStrategy(),
    ("batch", "Job"): JobStrategy(),
    ("stark.dev", "User"): UserStrategy(),
    ("stark.dev", "ClusterConfig"): ClusterConfigStrategy(),
    ("certificates.k8s.io", "CertificateSigningRequest"): CertificateRequestStrategy(),
    ("stark.dev", "CertificateRevocation"): CertificateRevocationStrategy(),
    ("coordination.k8s.io", "Lease"): LeaseStrategy(),
    ("rbac.authorization.k8s.io", "Role"): RoleStrategy(),
    ("rbac.authorization.k8s.io", "ClusterRole"): RoleStrategy(),
    ("rbac.authorization.k8s.io", "RoleBinding"): RoleStrategy(),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): RoleStrategy(),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): DefinitionStrategy(),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): AdmissionPolicyStrategy(),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): WebhookConfigurationStrategy(),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): WebhookConfigurationStrategy(),
}
VERSIONED: Mapping[tuple[str, str, str], Strategy] = {
    ("autoscaling", "v1", "HorizontalPodAutoscaler"): PlainAutoscalerStrategy(),
}
"""The same, for a version of a kind that is not the one that is stored."""


@derived
def strategy_of(resource: Resource) -> Strategy:
    """The kind's own strategy, or the one that adds nothing."""
    versioned = VERSIONED.get((resource.group, resource.version, resource.kind))
    if versioned is not None:
        return versioned
    return STRATEGIES.get((resource.group, resource.kind), DEFAULT)
