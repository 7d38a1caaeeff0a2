"""From definitions in CustomResourceDefinition form, ours or users', to the resources that are served.

Both go through here, so that past this module nobody can tell them apart but by `Resource.custom`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from stark.crds.loader import load_builtin, load_computed, merge_keys
from stark.crds.resource import Column

from .resources import Family, Resource, ScalePaths

AGE = Column("Age", "date", ".metadata.creationTimestamp")
"""The column of a kind that defines none."""


def resources_of(crd: Mapping[str, Any], *, custom: bool = True) -> list[Resource]:
    """One Resource per served version of the definition, in the definition's order."""
    spec = crd["spec"]
    family = family_of(crd) if custom else None
    verbs = () if custom else tuple((crd.get("x-stark") or {}).get("verbs", ()))
    return [_resource(spec, version, family, verbs) for version in spec["versions"] if version.get("served", True)]


def family_of(crd: Mapping[str, Any]) -> Family:
    """What the versions of a user's kind share."""
    spec = crd["spec"]
    schemas = {version["name"]: _schema(version) for version in spec["versions"]}
    conversion = spec.get("conversion") or {}
    webhook = (conversion.get("webhook") or {}) if conversion.get("strategy") == "Webhook" else None
    first = next(iter(schemas.values()))
    return Family(
        next(version["name"] for version in spec["versions"] if version.get("storage")),
        schemas,
        None if webhook is None else webhook.get("clientConfig") or {},
        webhook is None and all(schema == first for schema in schemas.values()),
        "deletionTimestamp" in crd["metadata"],
    )


def storage_resource(crd: Mapping[str, Any]) -> Resource:
    """A user's kind in the version it is stored in, served or not: for what the server does with its objects itself."""
    spec = crd["spec"]
    stored = next(version for version in spec["versions"] if version.get("storage"))
    return _resource(spec, stored, family_of(crd), ())


@cache
def builtin_resources() -> tuple[Resource, ...]:
    """The kinds that come with us, from `stark.crds.loader`: those that are stored, then those that are computed.

    The same objects each time: all servers of a process share them, and what is made of them.
    """
    definitions = (*load_builtin(), *load_computed())
    return tuple(resource for crd in definitions for resource in resources_of(crd, custom=False))


def _schema(version: Mapping[str, Any]) -> Mapping[str, Any]:
    return (version.get("schema") or {}).get("openAPIV3Schema") or _UNSCHEMED


def _resource(
    spec: Mapping[str, Any], version: Mapping[str, Any], family: Family | None, verbs: tuple[str, ...]
) -> Resource:
    names, schema, custom = spec["names"], _schema(version), family is not None
    subresources = version.get("subresources") or {}
    return Resource(
        group=spec.get("group") or "",
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec.get("scope", "Namespaced") == "Namespaced",
        schema=schema,
        list_kind=names.get("listKind") or f"{names['kind']}List",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(subresources),
        columns=_columns(version, custom),
        selectable_fields=tuple(entry["jsonPath"].lstrip(".") for entry in version.get("selectableFields") or ()),
        custom=custom,
        storage_version=bool(version.get("storage", True)),
        merge_keys={} if custom else merge_keys(schema),
        verbs=verbs,
        scale=_scale(subresources.get("scale")),
        family=family,
        deprecation_warning=_deprecation(spec, version),
    )


_UNSCHEMED: Mapping[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _columns(version: Mapping[str, Any], custom: bool) -> tuple[Column, ...]:
    given = version.get("additionalPrinterColumns") or ()
    columns = tuple(
        Column(
            name=entry["name"],
            type=entry["type"],
            json_path=entry.get("jsonPath", ""),
            description=entry.get("description", ""),
            format=entry.get("format", ""),
            priority=entry.get("priority", 0),
        )
        for entry in given
    )
    return columns or ((AGE,) if custom else ())


def _scale(scale: Mapping[str, str] | None) -> ScalePaths | None:
    if not scale:
        return None
    return ScalePaths(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))


def _deprecation(spec: Mapping[str, Any], version: Mapping[str, Any]) -> str:
    if not version.get("deprecated"):
        return ""
    told = version.get("deprecationWarning")
    return str(told) if told else f"{spec['group']}/{version['name']} {spec['names']['kind']} is deprecated"
