"""The table in docs/ownership.md as cases, and the objects they are tried on."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "ownership.md"
ROLES = ("stark:admin", "stark:user", "stark:node", "stark:viewer")
ALL, OWN, PUBLIC, NO = "all", "own", "own+public", "no"
OWNER, OWNER_ROLE = "stark.dev/owner", "stark.dev/owner-role"
STRANGER = "stranger"

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table for one role."""

    role: str
    plural: str
    group: str
    subresource: str
    verbs: tuple[str, ...]
    reach: str

    def __str__(self) -> str:
        return f"{self.role} {' '.join(self.verbs)} {self.plural}{'/' if self.subresource else ''}{self.subresource}"

    def reaches(self, whose: str) -> bool:
        """Whether the role reaches an object that is `own`, `foreign` or (foreign and) `public`."""
        reached = {ALL: ("own", "foreign", "public"), OWN: ("own",), PUBLIC: ("own", "public"), NO: ()}
        return whose in reached[self.reach]


def rows() -> list[Row]:
    """Every line for every role."""
    text = PAGE.read_text("utf-8")
    lines = text.partition("<!-- matrix -->\n")[2].partition("<!-- /matrix -->")[0].splitlines()[2:]
    found = []
    for line in lines:
        what, verbs, *reaches = [cell.strip() for cell in line.strip("|").split("|")]
        resource, _, subresource = what.partition("/")
        plural, _, group = resource.partition(".")
        found += [
            Row(role, plural, group, subresource, tuple(verbs.split()), reach)
            for role, reach in zip(ROLES, reaches, strict=True)
        ]
    return found


CONTAINER: Object = {"name": "main", "image": "docker.io/library/busybox:1.36"}
TEMPLATE: Object = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [CONTAINER]}}
JOB_TEMPLATE: Object = {"spec": {"containers": [CONTAINER], "restartPolicy": "Never"}}
WORKLOAD: Object = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}
SHA256 = "ab" * 32

BODIES: dict[tuple[str, str], Object] = {
    ("", "pods"): {"kind": "Pod", "spec": {"containers": [CONTAINER]}},
    ("", "services"): {"kind": "Service", "spec": {"ports": [{"port": 80}]}},
    ("", "configmaps"): {"kind": "ConfigMap", "data": {"a": "b"}},
    ("", "secrets"): {"kind": "Secret", "stringData": {"planted": "treasure"}},
    ("", "serviceaccounts"): {"kind": "ServiceAccount"},
    ("", "resourcequotas"): {"kind": "ResourceQuota", "spec": {"hard": {"count/widgets.example.com": "9"}}},
    ("", "events"): {"kind": "Event", "involvedObject": {"namespace": "default"}, "reason": "R", "message": "m"},
    ("", "nodes"): {"kind": "Node"},
    ("", "namespaces"): {"kind": "Namespace"},
    ("apps", "deployments"): {"kind": "Deployment", "spec": WORKLOAD},
    ("apps", "replicasets"): {"kind": "ReplicaSet", "spec": WORKLOAD},
    ("apps", "daemonsets"): {"kind": "DaemonSet", "spec": WORKLOAD},
    ("apps", "statefulsets"): {"kind": "StatefulSet", "spec": {**WORKLOAD, "serviceName": "x"}},
    ("autoscaling", "horizontalpodautoscalers"): {
        "kind": "HorizontalPodAutoscaler",
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}, "maxReplicas": 3},
    },
    ("batch", "jobs"): {"kind": "Job", "spec": {"template": JOB_TEMPLATE}},
    ("batch", "cronjobs"): {
        "kind": "CronJob",
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}},
    },
    ("policy", "poddisruptionbudgets"): {
        "kind": "PodDisruptionBudget",
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "nothing"}}},
    },
    ("discovery.k8s.io", "endpointslices"): {"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": []},
    ("scheduling.k8s.io", "priorityclasses"): {"kind": "PriorityClass", "value": 7},
    ("coordination.k8s.io", "leases"): {"kind": "Lease", "spec": {}},
    ("rbac.authorization.k8s.io", "clusterroles"): {"kind": "ClusterRole", "rules": []},
    ("rbac.authorization.k8s.io", "rolebindings"): {
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [],
    },
    ("apiextensions.k8s.io", "customresourcedefinitions"): {
        "kind": "CustomResourceDefinition",
        "spec": {
            "scope": "Namespaced",
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    },
    ("stark.dev", "packs"): {
        "kind": "Pack",
        "spec": {
            "version": "1.0.0",
            "runtime": "node",
            "visibility": "private",
            "bundles": [{"architecture": "any", "sha256": SHA256, "size": 1}],
        },
    },
}


def named(group: str, plural: str, name: str) -> str:
    """The object's name: some kinds' names follow from what is in them."""
    if plural == "packs":
        return f"{name}.1.0.0"
    return f"{name}s.{name}.example.com" if plural == "customresourcedefinitions" else name


def body(group: str, plural: str, version: str, name: str, owner: str = "", *, public: bool = False) -> Object:
    """An object of the kind; `owner`: as an administrator creates it on behalf of somebody."""
    obj = copy.deepcopy(BODIES[(group, plural)])
    obj["apiVersion"] = f"{group}/{version}" if group else version
    obj["metadata"] = {"name": named(group, plural, name)}
    if owner:
        obj["metadata"]["annotations"] = {OWNER: owner, OWNER_ROLE: "user"}
    if plural == "packs":
        obj["spec"]["name"] = name
        obj["spec"]["visibility"] = "public" if public else "private"
    if plural == "customresourcedefinitions":
        names = {
            "kind": name.capitalize(),
            "plural": f"{name}s",
            "singular": name,
            "listKind": f"{name.capitalize()}List",
        }
        obj["spec"] |= {"group": f"{name}.example.com", "names": names}
    return obj
