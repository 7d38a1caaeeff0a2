"""From a path and a method to what is asked: which verb, of which resource, of which object.

The paths are Kubernetes' (apiserver/pkg/endpoints/request/requestinfo.go), and so are the verbs that authorisation is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stark.crds.names import path_segment_problems
from stark.crds.selectors import demanded_value

from .request import Query

OBJECT_VERBS: Final = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
COLLECTION_VERBS: Final = {**OBJECT_VERBS, "GET": "list", "HEAD": "list", "DELETE": "deletecollection"}
CONNECTIONS: Final = ("exec", "attach", "portforward", "proxy")
LONG_SUBRESOURCES: Final = ("log", "bundles", *CONNECTIONS)
PROBES: Final = ("/health", "/live", "/ready", "/metrics", "/version")
"""Beginnings of such paths: `/livez/ping` is one, too."""
NAMESPACES: Final = "namespaces"
CORE_VERSION: Final = "v1"
"""The only one of the group without a name: whatever else lies below `/api` is the facade's."""
NAMESPACE_SUBRESOURCES: Final = ("status", "finalize")


@dataclass(slots=True, unsafe_hash=True)
class Asked:
    """What a request is about. Without a `plural` it is about a path and nothing else.

    Never changed: `replace` makes another. Not frozen by the dataclass, because that sets every field by a call, and there
    is one of these for every request.
    """

    verb: str
    path: str
    group: str = ""
    version: str = ""
    plural: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: tuple[str, ...] = ()
    """What follows the subresource, e.g. the digest after `bundles`."""

    @property
    def is_long(self) -> bool:
        """It lasts as long as the client likes: a watch, a log, a transfer."""
        return self.verb == "watch" or self.subresource in LONG_SUBRESOURCES

    @property
    def is_read(self) -> bool:
        """It changes nothing. A connection into a pod may, though a WebSocket can only be asked for with GET."""
        if self.subresource in CONNECTIONS:
            return False
        return self.verb in ("get", "list", "watch") or (not self.plural and self.verb in ("get", "head", "options"))

    @property
    def is_probe(self) -> bool:
        """It asks how this very process is."""
        return not self.plural and self.path.startswith(PROBES)


def parse(method: str, path: str, query: Query) -> Asked:
    """What the request asks. Never fails: a path that is no resource's is just a path."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2 and parts[1] == CORE_VERSION:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return Asked(method.lower(), path)
    namespace = ""
    if rest[0] == NAMESPACES and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    plural, name, subresource = (*rest[:3], "", "", "")[:3]
    return Asked(
        _verb(method, name, query), path, group, version, plural, namespace, name, subresource, tuple(rest[3:])
    )


def _verb(method: str, name: str, query: Query) -> str:
    verb = (OBJECT_VERBS if name else COLLECTION_VERBS).get(method, method.lower())
    if verb in ("get", "list") and query.flag("watch"):
        return "watch"
    return verb


COLLECTION_READS: Final = ("list", "watch", "deletecollection")


def selected_name(asked: Asked, field_selector: str) -> str:
    """The only name that a collection's field selector lets through: who may see that object may ask so for it."""
    if not field_selector or not asked.plural or asked.verb not in COLLECTION_READS:
        return ""
    name = demanded_value(field_selector, "metadata.name")
    return "" if not name or path_segment_problems(name) else name
