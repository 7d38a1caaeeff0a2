"""What the server serves: aggregated discovery (one request each for /api and /apis), else group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from stark.crds.meta import ResourceDef

from .transport import Transport

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
GROUPS_MAX = 1_000  # group versions asked one by one; a server with more should aggregate


async def discover(transport: Transport) -> list[ResourceDef]:
    """Every resource at its group's preferred version, with its verbs in `extra["verbs"]`. Subresources are folded in."""
    found: list[ResourceDef] = []
    for root in ("/api", "/apis"):
        body = orjson.loads(await transport.request("GET", root, accept=AGGREGATED))
        if body.get("kind") == "APIGroupDiscoveryList":
            found += _aggregated(body)
        else:
            for group_version in _group_versions(body)[:GROUPS_MAX]:
                listed = orjson.loads(await transport.request("GET", f"{root}/{group_version}"))
                found += _legacy(group_version, listed)
    return found


def _aggregated(body: dict[str, Any]) -> Iterator[ResourceDef]:
    for group in body.get("items", ()):
        name = group.get("metadata", {}).get("name", "")
        seen: set[str] = set()
        for version in group.get("versions", ()):  # the preferred one comes first
            for item in version.get("resources", ()):
                if item["resource"] in seen:
                    continue
                seen.add(item["resource"])
                yield ResourceDef(
                    group=name,
                    version=version["version"],
                    kind=item.get("responseKind", {}).get("kind", ""),
                    plural=item["resource"],
                    namespaced=item.get("scope") == "Namespaced",
                    singular=item.get("singularResource", ""),
                    short_names=tuple(item.get("shortNames", ())),
                    categories=tuple(item.get("categories", ())),
                    subresources=tuple(sub["subresource"] for sub in item.get("subresources", ())),
                    extra={"verbs": tuple(item.get("verbs", ()))},
                )


def _group_versions(body: dict[str, Any]) -> list[str]:
    if "versions" in body:  # /api
        return list(body["versions"][:1])
    return [group["preferredVersion"]["groupVersion"] for group in body.get("groups", ())]


def _legacy(group_version: str, body: dict[str, Any]) -> Iterator[ResourceDef]:
    group, _, version = group_version.rpartition("/")
    listed = body.get("resources", ())
    for item in listed:
        if "/" in item["name"]:
            continue
        prefix = item["name"] + "/"
        yield ResourceDef(
            group=group,
            version=version,
            kind=item["kind"],
            plural=item["name"],
            namespaced=bool(item.get("namespaced")),
            singular=item.get("singularName", ""),
            short_names=tuple(item.get("shortNames", ())),
            categories=tuple(item.get("categories", ())),
            subresources=tuple(s["name"][len(prefix) :] for s in listed if s["name"].startswith(prefix)),
            extra={"verbs": tuple(item.get("verbs", ()))},
        )
