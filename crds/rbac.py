"""Who may do what (rbac.authorization.k8s.io/v1): roles are lists of permissions, and bindings give them to somebody.

A Role and a RoleBinding hold in their namespace; a ClusterRole is bound there by a RoleBinding, or everywhere by a
ClusterRoleBinding. Permissions only add up: no rule takes anything away.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .fields import LIST_ATOMIC, MAP_ATOMIC
from .labels import LabelSelector
from .meta import KubeObject, Model, ResourceDef

GROUP = "rbac.authorization.k8s.io"

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
"""Annotation of roles and bindings: `false` keeps the server from adding what its own version of the object has more."""
BOOTSTRAPPING = "kubernetes.io/bootstrapping"
"""Label: the object comes with the server."""
BOOTSTRAPPING_DEFAULTS = "rbac-defaults"


class PolicyRule(Model):
    """Verbs on resources, or on paths."""

    verbs: list[str] = Field(json_schema_extra=LIST_ATOMIC)
    """What may be done: get, list, watch, create, update, patch, delete, deletecollection ..., or `*`."""
    api_groups: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """API groups of the resources; empty text is the core group, `*` all."""
    resources: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Resources (`pods`), subresources (`pods/log`), a subresource of all (`*/scale`), or `*` for everything."""
    resource_names: list[str] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Names of the objects; without any, all of them. The name of an object to be created is not known yet."""
    non_resource_urls: list[str] = Field(default_factory=list, alias="nonResourceURLs", json_schema_extra=LIST_ATOMIC)
    """Paths that are no resource's (`/metrics`), or beginnings of such with `*` at the end; in ClusterRoles only."""


class AggregationRule(Model):
    """Which ClusterRoles another is made of."""

    cluster_role_selectors: list[LabelSelector] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """Labels of the ClusterRoles whose rules it gets: those that any of the selectors matches."""


class RoleRef(Model):
    """The role that a binding gives; it cannot be changed."""

    api_group: str = GROUP
    """Always rbac.authorization.k8s.io."""
    kind: str
    """Role or ClusterRole."""
    name: str
    """Its name."""


class RoleSubject(Model):
    """Whom a binding gives the role to."""

    kind: str
    """User, Group or ServiceAccount."""
    api_group: str | None = None
    """Empty for a ServiceAccount, otherwise rbac.authorization.k8s.io."""
    name: str
    """The user's name, the group's, or the service account's."""
    namespace: str | None = None
    """Namespace of the service account; in a RoleBinding that of the binding when it is not given."""


class Role(KubeObject):
    """Permissions in one namespace."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP, version="v1", kind="Role", plural="roles", namespaced=True
    )

    rules: list[PolicyRule] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """What may be done."""


class ClusterRole(KubeObject):
    """Permissions in one namespace or in all, on objects without namespace, and on paths."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP, version="v1", kind="ClusterRole", plural="clusterroles", namespaced=False
    )

    rules: list[PolicyRule] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """What may be done. With an aggregationRule a controller writes them."""
    aggregation_rule: AggregationRule | None = None
    """The ClusterRoles whose rules it gets."""


class RoleBinding(KubeObject):
    """Gives a Role, or a ClusterRole, to somebody in one namespace."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP, version="v1", kind="RoleBinding", plural="rolebindings", namespaced=True
    )

    subjects: list[RoleSubject] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """To whom."""
    role_ref: RoleRef = Field(json_schema_extra=MAP_ATOMIC)
    """What."""


class ClusterRoleBinding(KubeObject):
    """Gives a ClusterRole to somebody in every namespace and outside of all."""

    RESOURCE: ClassVar[ResourceDef] = ResourceDef(
        group=GROUP, version="v1", kind="ClusterRoleBinding", plural="clusterrolebindings", namespaced=False
    )

    subjects: list[RoleSubject] = Field(default_factory=list, json_schema_extra=LIST_ATOMIC)
    """To whom."""
    role_ref: RoleRef = Field(json_schema_extra=MAP_ATOMIC)
    """What."""
