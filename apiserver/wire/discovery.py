"""/api, /apis and the resource lists under them: how a client learns what is served, plain or all in one answer.

Bodies are built once per change of the set and form; most clients ask with an ETag and get 304.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import orjson

from ..request import Response
from ..resources import ALL_VERBS, Resource, Resources
from .negotiate import JSON, PLAIN, negotiate, parse_accept

_AGGREGATED_GROUP = "apidiscovery.k8s.io"
_AGGREGATED_KIND = "APIGroupDiscoveryList"
_AGGREGATED_VERSIONS = ("v2", "v2beta1")
ANSWERS_MAX = 1_000
"""Bodies kept; there are two or three per group version. Past that everything is built anew."""

_READ_WRITE = ("get", "patch", "update")

FIRST_GROUPS = (
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)
"""The order of Kubernetes' own groups (groupPriorityMinimum of its APIServices): who knows only a plural takes the first."""
LAST_GROUPS = ("metrics.k8s.io",)
"""Groups that an extension serves in Kubernetes, with the lowest priority: their `pods` must not hide the pods."""


@dataclass(frozen=True, slots=True)
class Subresource:
    """What a subresource takes and gives: its kind (empty: the object's own) and its verbs."""

    verbs: tuple[str, ...] = _READ_WRITE
    group: str = ""
    version: str = ""
    kind: str = ""


SUBRESOURCES = {
    "scale": Subresource(_READ_WRITE, "autoscaling", "v1", "Scale"),
    "log": Subresource(("get",)),
    "binding": Subresource(("create",), "", "v1", "Binding"),
    "eviction": Subresource(("create",), "policy", "v1", "Eviction"),
    "placement": Subresource(("get",), "stark.dev", "v1", "PodPlacement"),
    "token": Subresource(("create",), "authentication.k8s.io", "v1", "TokenRequest"),
    "finalize": Subresource(("update",)),
    "bundles": Subresource(("get", "update")),
    "exec": Subresource(("create", "get"), "", "v1", "PodExecOptions"),
    "attach": Subresource(("create", "get"), "", "v1", "PodAttachOptions"),
    "portforward": Subresource(("create", "get"), "", "v1", "PodPortForwardOptions"),
    "proxy": Subresource(("create", "delete", "get", "patch", "update"), "", "v1", "NodeProxyOptions"),
}
"""The subresources that are not simply another view of the object, as `status` is."""


class Discovery:
    """Answers every discovery path from the live resources; bodies are kept until the set changes."""

    def __init__(self, resources: Resources, server_address: str = "") -> None:
        self._resources = resources
        self._server_address = server_address
        self._generation = -1
        self._answers: dict[tuple[str, str], tuple[bytes, str] | None] = {}

    def respond(self, path: str, accept: str = "", if_none_match: str = "") -> Response | None:
        """The answer for `/api`, `/apis`, `/apis/<g>`, `/api/v1` or `/apis/<g>/<v>`, with ETag, Vary and 304.

        None when the path is none of these or nothing is served there (the caller's 404). Raises NotAcceptable.
        """
        path = path.rstrip("/")
        version = aggregated_version(accept) if path in ("/api", "/apis") else ""
        found = self._answer(path, version)
        if found is None:
            return None
        if not version:
            negotiate(accept, PLAIN, yaml=False)
        body, etag = found
        kind = f"{JSON};g={_AGGREGATED_GROUP};v={version};as={_AGGREGATED_KIND}" if version else JSON
        headers = {"ETag": etag, "Vary": "Accept", "Cache-Control": "public"}
        if if_none_match and etag in if_none_match:
            return Response(304, b"", kind, headers)
        return Response(200, body, kind, headers)

    def _answer(self, path: str, version: str) -> tuple[bytes, str] | None:
        if self._generation != self._resources.generation or len(self._answers) > ANSWERS_MAX:
            self._answers.clear()
            self._generation = self._resources.generation
        key = (path, version)
        if key not in self._answers:
            document = self._document(path, version)
            if document is None:
                # Unknown paths are not kept: anyone can ask for any number of them.
                return None
            body = orjson.dumps(document)
            self._answers[key] = (body, f'"{sha256(body).hexdigest().upper()}"')
        return self._answers[key]

    def _document(self, path: str, version: str) -> dict[str, Any] | None:
        if version:
            return aggregated(self._resources, core=path == "/api", version=version)
        match path.split("/")[1:]:
            case ["api"]:
                return api_versions(self._resources, self._server_address)
            case ["apis"]:
                return api_group_list(self._resources)
            case ["api", core_version]:
                return api_resource_list(self._resources, "", core_version)
            case ["apis", group]:
                return api_group(self._resources, group)
            case ["apis", group, group_version] if group:
                return api_resource_list(self._resources, group, group_version)
        return None


def aggregated_version(accept: str) -> str:
    """The version of aggregated discovery that is asked for before plain JSON; empty when it is not."""
    for entry in parse_accept(accept):
        if entry.type != JSON:
            continue
        if "as" not in entry.parameters:
            return ""
        version = entry.parameters.get("v", "")
        asked = (entry.parameters["as"], entry.parameters.get("g"))
        if asked == (_AGGREGATED_KIND, _AGGREGATED_GROUP) and version in _AGGREGATED_VERSIONS:
            return version
    return ""


def api_versions(resources: Iterable[Resource], server_address: str) -> dict[str, Any]:
    """`/api`: the versions of the core group."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    versions = _versions(resources, "") or ["v1"]
    return {"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": addresses}


def api_group_list(resources: Iterable[Resource]) -> dict[str, Any]:
    """`/apis`: every named group."""
    held = tuple(resources)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(held, name) for name in group_names(held)]}


def api_group(resources: Iterable[Resource], group: str) -> dict[str, Any] | None:
    """`/apis/<group>`, None when it is not served."""
    held = tuple(resources)
    if not group or group not in group_names(held):
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(held, group)}


def _group(resources: tuple[Resource, ...], group: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(resources, group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def group_names(resources: Iterable[Resource]) -> list[str]:
    """The named groups in Kubernetes' order: its own first, then everybody's by name, what extends it last."""
    return sorted({resource.group for resource in resources if resource.group}, key=_group_order)


def _group_order(group: str) -> tuple[int, int, str]:
    if group in FIRST_GROUPS:
        return (0, FIRST_GROUPS.index(group), group)
    return (2 if group in LAST_GROUPS else 1, 0, group)


def _versions(resources: Iterable[Resource], group: str) -> list[str]:
    return sorted({resource.version for resource in resources if resource.group == group}, key=version_order)


_VERSION = re.compile(r"v([0-9]+)(?:(alpha|beta)([0-9]+))?")


def version_order(version: str) -> tuple[int, int, int, str]:
    """The best version first: v2, v1, v1beta2, v1beta1, v1alpha1, then other names by the alphabet."""
    found = _VERSION.fullmatch(version)
    if found is None:
        return (3, 0, 0, version)
    stability = {None: 0, "beta": 1, "alpha": 2}[found[2]]
    return (stability, -int(found[1]), -int(found[3] or 0), version)


def storage_version_hash(group: str, version: str, kind: str) -> str:
    """Tells clients that migrate storage which version objects are stored in."""
    return b64encode(sha256(f"{group}/{version}/{kind}".encode()).digest()[:8]).decode()


def api_resource_list(resources: Iterable[Resource], group: str, version: str) -> dict[str, Any] | None:
    """`/api/v1` or `/apis/<group>/<version>`: its kinds and their subresources, None when nothing is served there."""
    held = tuple(resources)
    entries = [entry for resource in _at(held, group, version) for entry in _entries(resource, held)]
    if not entries:
        return None
    name = f"{group}/{version}" if group else version
    # The core group's list carries no apiVersion, in Kubernetes either; clients do not look for one.
    head: dict[str, Any] = {"kind": "APIResourceList", "apiVersion": "v1"} if group else {"kind": "APIResourceList"}
    return {**head, "groupVersion": name, "resources": sorted(entries, key=lambda entry: str(entry["name"]))}


def _at(resources: tuple[Resource, ...], group: str, version: str) -> list[Resource]:
    return [resource for resource in resources if (resource.group, resource.version) == (group, version)]


def _entries(resource: Resource, resources: tuple[Resource, ...]) -> Iterator[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs or ALL_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if not resource.verbs:
        stored = _storage_version(resource)
        entry["storageVersionHash"] = storage_version_hash(resource.group, stored, resource.kind)
    yield entry
    for name in resource.subresources:
        yield _sub_entry(resource, name)


def _sub_entry(resource: Resource, name: str) -> dict[str, Any]:
    sub = SUBRESOURCES.get(name, Subresource())
    entry: dict[str, Any] = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind or resource.kind,
        "verbs": list(sub.verbs),
    }
    if sub.group:
        entry |= {"group": sub.group, "version": sub.version}
    return entry


def _storage_version(resource: Resource) -> str:
    return resource.family.storage if resource.family is not None else resource.version


def aggregated(resources: Iterable[Resource], *, core: bool, version: str) -> dict[str, Any]:
    """Everything in one document: of the core group for `/api`, of the named groups for `/apis`."""
    held = tuple(resources)
    names = [""] if core else group_names(held)
    return {
        "kind": _AGGREGATED_KIND,
        "apiVersion": f"{_AGGREGATED_GROUP}/{version}",
        "metadata": {},
        "items": [_group_discovery(held, name) for name in names],
    }


def _group_discovery(resources: tuple[Resource, ...], group: str) -> dict[str, Any]:
    versions = [
        {
            "version": version,
            "resources": [
                _discovered(found) for found in sorted(_at(resources, group, version), key=lambda r: r.plural)
            ],
            "freshness": "Current",
        }
        for version in _versions(resources, group)
    ]
    named = {"name": group} if group else {}
    return {"metadata": {**named, "creationTimestamp": None}, "versions": versions}


def _discovered(resource: Resource) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs or ALL_VERBS),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_sub_discovered(resource, name) for name in sorted(resource.subresources)]
    return entry


def _sub_discovered(resource: Resource, name: str) -> dict[str, Any]:
    sub = SUBRESOURCES.get(name, Subresource())
    own = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    kind = {"group": sub.group, "version": sub.version, "kind": sub.kind} if sub.kind else own
    return {"subresource": name, "responseKind": kind, "verbs": list(sub.verbs)}
