"""The admission chain of every Stark API server.

The order matters: a missing namespace is told before anything else is judged; images are pinned before the pull policy
is derived from them, and after the owner is known, since the owner decides which private packs may be used.
"""

from __future__ import annotations

from collections.abc import Sequence

from stark.crds.rbac import GROUP

from ..auth.authorization import Authorizer
from ..resources import Resource, Resources
from .attributes import Plugin
from .certificates import CertificateRights, stamp_requester
from .chain import Chain, Only, Step
from .cluster import ClusterRules
from .defaults import (
    autoscaler_defaults,
    base64_defaults,
    deployment_defaults,
    job_defaults,
    pod_defaults,
    pod_spec_defaults,
    secret_defaults,
    statefulset_defaults,
)
from .host_paths import host_paths
from .images import pin_images
from .incarnations import node_incarnation
from .limit_ranges import limit_range_defaults, limit_ranges
from .namespaces import lifecycle_concerns, namespace_defaults, namespace_lifecycle
from .node_restriction import node_restriction
from .ownership import Ownership, ownership_concerns
from .pack_use import pack_is_not_in_use
from .param_rights import BINDINGS as POLICY_BINDINGS
from .param_rights import POLICIES, ParamRights
from .pod_security import pod_security, security_concerns
from .podspecs import pod_concerns, spec_concerns
from .policies.plugin import AdmissionPolicies
from .policies.types import TypeChecks
from .priority import pod_priority, priority_classes
from .service_accounts import pod_service_account
from .services import service_defaults
from .tenancy import Census, Tenancy
from .users import user_roles
from .validate_packs import pack_name_belongs_to_its_owner
from .validate_rbac import binding_defaults
from .validation import validate_object, validation_concerns
from .webhooks.matching import CONFIGURATION_GROUP
from .webhooks.rounds import Webhooks

PODS = ("", "pods")
SECRETS = ("", "secrets")
BINDINGS = ((GROUP, "rolebindings"), (GROUP, "clusterrolebindings"))
CERTIFICATE_REQUESTS = ("certificates.k8s.io", "certificatesigningrequests")


def _is_whole(resource: Resource, operation: str, subresource: str) -> bool:
    """It is about the object itself."""
    return not subresource


def _is_creation(resource: Resource, operation: str, subresource: str) -> bool:
    """It makes an object."""
    return operation == "CREATE" and not subresource


def builtin_chain(
    resources: Resources,
    census: Census,
    webhooks: Webhooks | None = None,
    policies: AdmissionPolicies | None = None,
    authorizer: Authorizer | None = None,
    judges: Sequence[Step] = (),
    cluster: ClusterRules | None = None,
    account_secrets: Plugin | None = None,
) -> Chain:
    """Every built-in plugin, in order, then the users' policies, then those outside.

    `judges` are the validating ones that need more than an object and the lookup; they come before the others.
    `cluster`: what administrators have set for all. `account_secrets` fills the Secrets of service accounts.
    """
    chain = Chain(
        mutating=[
            Only(namespace_lifecycle, when=lifecycle_concerns),
            Only(namespace_defaults, ("", "namespaces")),
            Only(Ownership(resources), when=ownership_concerns),
            Only(pin_images, when=spec_concerns),
            Only(deployment_defaults, ("apps", "deployments")),
            Only(statefulset_defaults, ("apps", "statefulsets")),
            Only(job_defaults, ("batch", "jobs")),
            Only(autoscaler_defaults, ("autoscaling", "horizontalpodautoscalers")),
            *([Only(cluster.grace, when=spec_concerns)] if cluster is not None else []),
            Only(pod_spec_defaults, when=spec_concerns),
            Only(pod_priority, when=pod_concerns),
            *([Only(cluster.isolation, when=pod_concerns)] if cluster is not None else []),
            *([Only(cluster.tolerations, when=pod_concerns)] if cluster is not None else []),
            Only(pod_defaults, when=pod_concerns),
            Only(pod_service_account, when=pod_concerns),
            Only(limit_range_defaults, PODS, ("", "limitranges"), when=_is_whole),
            *([Only(cluster.resources, when=pod_concerns)] if cluster is not None else []),
            Only(base64_defaults, ("", "configmaps"), SECRETS),
            Only(secret_defaults, SECRETS),
            *([Only(account_secrets, SECRETS)] if account_secrets is not None else []),
            Only(service_defaults, ("", "services")),
            Only(stamp_requester, CERTIFICATE_REQUESTS),
            Only(binding_defaults, *BINDINGS),
            Only(TypeChecks(resources), (CONFIGURATION_GROUP, "validatingadmissionpolicies")),
        ],
        validating=[
            *judges,
            node_restriction,
            Only(node_incarnation, PODS, ("", "nodes"), ("coordination.k8s.io", "leases")),
            *([Only(cluster.bounds, PODS, ("", "nodes"), when=_is_creation)] if cluster is not None else []),
            *([Only(CertificateRights(authorizer), CERTIFICATE_REQUESTS)] if authorizer is not None else []),
            Only(pack_name_belongs_to_its_owner, ("stark.dev", "packs")),
            Only(pack_is_not_in_use, ("stark.dev", "packs")),
            Only(priority_classes, ("scheduling.k8s.io", "priorityclasses")),
            Only(user_roles, ("stark.dev", "users")),
            Only(validate_object, when=validation_concerns),
            Only(pod_security, when=security_concerns),
            Only(limit_ranges, when=pod_concerns),
            Only(host_paths, PODS),
            Tenancy(resources, census),
            *([Only(ParamRights(authorizer, resources), POLICIES, POLICY_BINDINGS)] if authorizer is not None else []),
        ],
        webhooks=webhooks,
        concluding=[Only(policies, idle=policies.none)] if policies is not None else [],
    )
    resources.on_change(chain.forget)
    return chain
