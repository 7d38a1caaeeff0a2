"""The ClusterConfig as the API server reads it: from the cache, without waiting, decoded once a revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from stark.crds.cluster import CLUSTER_CONFIG_NAME

from .cache.entry import Entry
from .cache.feed import Feed
from .cache.resource_cache import Prefix
from .registry.keys import CORE
from .resources import Resources

PLURAL: Final = "clusterconfigs"
PREFIX: Final = Prefix("stark.dev", PLURAL)


def cluster_defaults(resources: Resources) -> Mapping[str, Any]:
    """Every setting at its default, as the schema says."""
    resource = resources.find("stark.dev", "v1", PLURAL)
    assert resource is not None, PLURAL
    fields: Mapping[str, Any] = resource.schema["properties"]["spec"]["properties"]
    return {name: field["default"] for name, field in fields.items() if "default" in field}


class ClusterSettings:
    """What administrators have set. Without the object, or before it is known, what the schema's defaults say."""

    def __init__(self, feed: Feed, defaults: Mapping[str, Any]) -> None:
        self._feed, self._defaults = feed, defaults
        self._entry: Entry | None = None
        self._spec: Mapping[str, Any] = defaults

    def spec(self) -> Mapping[str, Any]:
        """The settings by their wire names; each is there."""
        cache = self._feed.cache(PREFIX)
        entry = cache.get(CLUSTER_CONFIG_NAME) if cache is not None else None
        if entry is not self._entry:
            self._entry = entry
            self._spec = self._defaults if entry is None else {**self._defaults, **(entry.decode().get("spec") or {})}
        return self._spec

    def count(self, plural: str) -> int:
        """How many objects of a resource of the core group there are."""
        cache = self._feed.cache(Prefix(CORE, plural))
        return len(cache) if cache is not None else 0

    @property
    def allows_registration(self) -> bool:
        """Whether anybody may make themselves a user."""
        return bool(self.spec()["enablePublicRegistration"])
