"""What is served: one `Resource` per group, version and kind, all from the same schemas.

The built-in kinds come from `stark.crds` (`crds/schema/*.yaml`, written in CustomResourceDefinition form), users' kinds
from CustomResourceDefinition objects. Past this module nobody asks which of the two a resource is, nor knows a kind by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, ParamSpec, TypeVar, cast

from stark.crds.resource import Column

RESOURCES_REMEMBERED: Final = 1_024
"""Of which is kept what follows from their definition."""
P = ParamSpec("P")
T = TypeVar("T")
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """JSON paths of a kind's replica counts and of its pods' selector, as a CRD gives them: `.spec.replicas`."""

    spec_replicas: str
    status_replicas: str
    label_selector: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """What the versions of a user's kind have in common: in which of them it is stored, and how it gets into the others."""

    storage: str
    """The version objects are stored in, whether it is served or not."""
    schemas: Mapping[str, Mapping[str, Any]]
    """The schema of each version, served or not."""
    webhook: Mapping[str, Any] | None = None
    """clientConfig of the webhook that converts; None when versions differ by name and schema only."""
    is_plain: bool = True
    """No webhook converts and all schemas are the same: a version is just a name."""
    is_terminating: bool = False
    """Its definition has been deleted: objects still go, and no new ones come."""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One served kind at one version. Another definition of the kind is another resource."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    schema: Mapping[str, Any]
    """The structural OpenAPI v3 schema of the whole object (spec, status ...; metadata is implied)."""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    """`status`, `scale`, `binding`, `log`, `bundles` ...: the ones beyond the object itself."""
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    """Field selector paths beside metadata.name and metadata.namespace, e.g. `spec.nodeName`."""
    custom: bool = False
    """Defined by a user's CustomResourceDefinition: no strategic merge patch, schema published as given."""
    storage_version: bool = True
    merge_keys: Mapping[str, str] = field(default_factory=dict)
    """Strategic merge patch: list path -> merge key (see `stark.crds.patches`)."""
    scale: ScalePaths | None = None
    """Where the scale subresource finds its numbers; set exactly when `scale` is among the subresources."""
    verbs: tuple[str, ...] = ()
    """What discovery offers, for a kind that is only created (a review) or only read; empty means all of `ALL_VERBS`."""
    family: Family | None = None
    """What it shares with the other versions of a user's kind; None for a built-in kind, which has one version."""
    deprecation_warning: str = ""
    """Said as a Warning header in every answer; empty for a version that is not deprecated."""

    api_version: str = field(init=False)
    """`v1` for the core group, `group/version` otherwise."""
    group_resource: str = field(init=False)
    """`deployments.apps`, or `pods` in the core group: how messages and CRD names spell it."""
    root: str = field(init=False)
    """The path of the group version: `/api/v1` or `/apis/apps/v1`."""

    def __post_init__(self) -> None:
        names = {
            "api_version": f"{self.group}/{self.version}" if self.group else self.version,
            "group_resource": f"{self.plural}.{self.group}" if self.group else self.plural,
            "root": f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}",
        }
        for name, text in names.items():
            object.__setattr__(self, name, text)


_FORGET: Final[list[Callable[[], None]]] = []


def derived(find_out: Callable[P, T]) -> Callable[P, T]:
    """Keep what follows from a resource's definition alone, which every request asks for a few times.

    Until any set of resources changes: then what was made of former definitions, which may be large, must go with them.
    """
    kept = lru_cache(RESOURCES_REMEMBERED)(find_out)
    _FORGET.append(kept.cache_clear)
    return cast(Callable[P, T], kept)


class Resources:
    """The live set of resources; discovery, OpenAPI and routing read it, CRDs change it while we run.

    `generation` rises with every change, so that whoever caches something derived from the set knows when to redo it.
    """

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._by_path: dict[tuple[str, str, str], Resource] = {}
        self.generation = 0
        self._listeners: list[Callable[[], None]] = []
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Serve it from now on, replacing what was at the same group, version and plural."""
        self._by_path[(resource.group, resource.version, resource.plural)] = resource
        self._changed()

    def remove(self, group: str, version: str, plural: str) -> None:
        """Stop serving it; nothing happens when it is not served."""
        if self._by_path.pop((group, version, plural), None) is not None:
            self._changed()

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource at that path."""
        return self._by_path.get((group, version, plural))

    def of_kind(self, group: str, version: str, kind: str) -> Resource | None:
        """The resource that serves a kind."""
        return next((r for r in self if (r.group, r.version, r.kind) == (group, version, kind)), None)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._by_path.values()))

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every change of the set."""
        self._listeners.append(listener)

    def _changed(self) -> None:
        self.generation += 1
        for forget in _FORGET:
            forget()
        for listener in self._listeners:
            listener()
