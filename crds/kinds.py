"""The list of all built-in kinds. A new kind is one more module and one more name here."""

from __future__ import annotations

from .admission_policies import ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding
from .apps import ControllerRevision, DaemonSet, Deployment, ReplicaSet, Scale, StatefulSet
from .autoscaling import HorizontalPodAutoscaler, PlainAutoscaler
from .batch import CronJob, Job
from .certificates import CertificateRevocation, CertificateSigningRequest
from .cluster import ClusterConfig
from .config import ConfigMap, Secret, ServiceAccount
from .coordination import Lease
from .events import Event, GroupedEvent
from .extensions import CustomResourceDefinition
from .flowcontrol import FlowSchema, PriorityLevelConfiguration
from .limits import LimitRange, ResourceQuota
from .meta import KubeObject
from .namespaces import Namespace
from .nodes import Node
from .pack_trust import PackTrustPolicy
from .packs import Pack
from .pod_groups import PodGroup
from .pod_placements import PodPlacement
from .pods import Binding, Pod
from .policy import PodDisruptionBudget
from .rbac import ClusterRole, ClusterRoleBinding, Role, RoleBinding
from .scheduling import PriorityClass
from .servers import Server
from .services import EndpointSlice, Service
from .usage import NodeMetrics, PodMetrics
from .users import User
from .webhooks import MutatingWebhookConfiguration, ValidatingWebhookConfiguration

KINDS: tuple[type[KubeObject], ...] = (
    Namespace,
    Node,
    Pod,
    ConfigMap,
    Secret,
    ServiceAccount,
    Event,
    GroupedEvent,
    Deployment,
    ReplicaSet,
    DaemonSet,
    StatefulSet,
    ControllerRevision,
    Job,
    CronJob,
    HorizontalPodAutoscaler,
    PlainAutoscaler,
    Lease,
    CustomResourceDefinition,
    Pack,
    Server,
    User,
    ClusterConfig,
    PriorityClass,
    PodGroup,
    PodDisruptionBudget,
    Service,
    EndpointSlice,
    LimitRange,
    ResourceQuota,
    FlowSchema,
    PriorityLevelConfiguration,
    MutatingWebhookConfiguration,
    ValidatingWebhookConfiguration,
    ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
    CertificateSigningRequest,
    CertificateRevocation,
    PackTrustPolicy,
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
)
"""Every kind whose objects are stored."""

COMPUTED_KINDS: tuple[type[KubeObject], ...] = (NodeMetrics, PodMetrics)
"""Kinds that are made when they are asked for, and never stored."""

SUBRESOURCE_KINDS: tuple[type[KubeObject], ...] = (Binding, Scale, PodPlacement)
"""Kinds that are only the body of a subresource."""
