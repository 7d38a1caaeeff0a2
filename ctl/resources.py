"""Which kinds the server serves, by the names people type: `pods`, `pod`, `po`, `deployments.apps`.

Read from aggregated discovery (KEP-3352) and kept on disk for a while, so that a command costs one request. A name that
is not in the kept copy makes us ask again before we say that it does not exist.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .errors import CommandError
from .http import Api

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
CACHE_AGE_MAX_S = 600.0
"""kubectl keeps discovery for six hours; ten minutes costs one request more now and then, and forgets removed kinds."""


class Kind(NamedTuple):
    """One kind at its preferred version."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def full_name(self) -> str:
        """`pods`, `deployments.apps`: the plural with its group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def label(self) -> str:
        """How a single object of it is named in messages: `pod`, `deployment.apps`."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{scope}/{self.plural}" + "".join(f"/{part}" for part in (name, subresource) if part)

    def names(self) -> Iterator[str]:
        """Everything a user may call it, in lower case."""
        for word in dict.fromkeys((self.plural, self.singular, self.kind.lower(), *self.short_names)):
            yield word
            if self.group:
                yield f"{word}.{self.group}"
                yield f"{word}.{self.version}.{self.group}"


class Catalog:
    """The kinds of one server."""

    def __init__(self, api: Api, *, cache_dir: Path | None = None) -> None:
        self._api = api
        directory = cache_dir or Path(os.environ.get("STARK_HOME") or Path.home() / ".stark") / "cache"
        where = f"{api.host}:{api.port}{api.base}".encode()
        self._file = directory / f"discovery-{api.port}-{zlib.crc32(where):08x}.json"
        self._kinds = self._read()
        self._fresh = False

    def all(self) -> list[Kind]:
        """Every kind, asked from the server now, ordered as the server gives them."""
        return self._refresh()

    def known(self) -> list[Kind]:
        """Every kind, from the kept copy when there is one."""
        return self._kinds or self._refresh()

    def resolve(self, name: str) -> Kind:
        """The kind a user means by `name`. Raises CommandError with a suggestion."""
        wanted = name.lower()
        found = self._find(wanted) or (self._find(wanted) if self._ensure_fresh() else None)
        if found is None:
            raise CommandError(f'the server does not have a resource type "{name}"{self._suggestion(wanted)}')
        return found

    def category(self, name: str) -> list[Kind]:
        """The kinds of a category such as `all`; none when there is no such category."""
        return [kind for kind in self.known() if name in kind.categories]

    def of_manifest(self, api_version: str, kind: str) -> Kind:
        """The kind of an object in a file. Raises CommandError."""
        for attempt in range(2):
            for known in self._kinds:
                if known.kind == kind and known.api_version == api_version:
                    return known
            if attempt or not self._ensure_fresh():
                break
        known_versions = sorted({known.api_version for known in self._kinds if known.kind == kind})
        hint = (
            f"; this server has it in {', '.join(known_versions)}" if known_versions else self._suggestion(kind.lower())
        )
        raise CommandError(f'no matches for kind "{kind}" in version "{api_version}"{hint}')

    def _find(self, wanted: str) -> Kind | None:
        return next((kind for kind in self._kinds if wanted in kind.names()), None)

    def _suggestion(self, wanted: str) -> str:
        import difflib

        close = difflib.get_close_matches(wanted, {word for kind in self._kinds for word in kind.names()}, n=1)
        return f"; did you mean `{close[0]}`?" if close else "; `starkctl api-resources` lists what there is"

    def _ensure_fresh(self) -> bool:
        """Ask the server unless this very run already has; True when the list may have changed."""
        if self._fresh:
            return False
        self._refresh()
        return True

    def _refresh(self) -> list[Kind]:
        documents = [self._api.get(path, accept=DISCOVERY) for path in ("/api", "/apis")]
        self._kinds = [kind for document in documents for kind in _kinds_of(document)]
        self._fresh = True
        self._write()
        return self._kinds

    def _read(self) -> list[Kind]:
        try:
            if time.time() - self._file.stat().st_mtime > CACHE_AGE_MAX_S:
                return []
            return [Kind(**{**row, **_tuples(row)}) for row in json.loads(self._file.read_bytes())]
        except (OSError, ValueError, TypeError):
            return []  # no cache, or one written by another version: the server is asked

    def _write(self) -> None:
        temporary = self._file.with_suffix(f".{os.getpid()}")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_text(json.dumps([kind._asdict() for kind in self._kinds]))
            temporary.replace(self._file)
        except OSError:
            return  # a home that cannot be written only costs the next command a request


def _tuples(row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(row[key]) for key in ("short_names", "categories", "verbs", "subresources")}


def _kinds_of(document: dict[str, Any]) -> Iterable[Kind]:
    """The kinds in an APIGroupDiscoveryList, each at the first (preferred) version that serves it."""
    for group in document.get("items") or ():
        seen: set[str] = set()
        for version in group.get("versions") or ():
            for resource in version.get("resources") or ():
                if resource["resource"] not in seen:
                    seen.add(resource["resource"])
                    yield _kind_of(group.get("metadata", {}).get("name", ""), version["version"], resource)


def _kind_of(group: str, version: str, resource: dict[str, Any]) -> Kind:
    response = resource.get("responseKind") or {}
    return Kind(
        group=group,
        version=version,
        kind=response.get("kind", ""),
        plural=resource["resource"],
        singular=resource.get("singularResource") or response.get("kind", "").lower(),
        namespaced=resource.get("scope") == "Namespaced",
        short_names=tuple(resource.get("shortNames") or ()),
        categories=tuple(resource.get("categories") or ()),
        verbs=tuple(resource.get("verbs") or ()),
        subresources=tuple(sub["subresource"] for sub in resource.get("subresources") or ()),
    )
