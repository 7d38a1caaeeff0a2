"""OpenAPI v3 per group version, its index, and one v2 document of everything.

What clients do with them decides what is in them: kubectl looks for `fieldValidation` and `dryRun` among the parameters
of PATCH and for strategic merge among its content types, takes merge keys from the schemas of Kubernetes' kinds, and
explains fields from the descriptions. So the documents have every path and schema but only those parameters and
answers that somebody reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import orjson

from ..request import Response
from ..resources import Resource, Resources
from . import openapi_proto
from .negotiate import JSON, PLAIN, negotiate, parse_accept
from .openapi_paths import paths_of
from .openapi_schemas import as_v2, schemas_of

TITLE = "Stark"
_V2_PROTO = (openapi_proto.MEDIA_TYPE, openapi_proto.CONTENT_TYPE)
IMMUTABLE = "public, immutable, max-age=31536000"
"""For a document asked for by its hash: another content has another URL."""


class OpenApi:
    """Answers `/openapi/v3`, `/openapi/v3/...` and `/openapi/v2` from the live resources."""

    def __init__(self, resources: Resources, version: str) -> None:
        self._resources = resources
        self._version = version
        self._generation = -1
        self._documents: dict[tuple[str, str], tuple[bytes, str]] = {}

    def respond(self, path: str, query_hash: str = "", accept: str = "", if_none_match: str = "") -> Response | None:
        """The answer, or None when nothing is served at `path`. Raises NotAcceptable. `query_hash` is `?hash=`.

        A hash that is not the document's is answered with a redirect to the right one.
        """
        path = path.rstrip("/")
        if not path.startswith("/openapi/v"):
            return None
        content_type = _content_type(path, accept)
        found = self._document(path, content_type)
        if found is None:
            return None
        body, digest = found
        headers = {"ETag": f'"{digest}"', "Vary": "Accept"}
        if query_hash and query_hash != digest:
            return Response(301, b"", content_type, {"Location": f"{path}?hash={digest}"})
        if query_hash:
            headers["Cache-Control"] = IMMUTABLE
        if if_none_match and digest in if_none_match:
            return Response(304, b"", content_type, headers)
        return Response(200, body, content_type, headers)

    def _document(self, path: str, content_type: str = JSON) -> tuple[bytes, str] | None:
        if self._generation != self._resources.generation:
            self._documents.clear()
            self._generation = self._resources.generation
        key = (path, content_type)
        if key not in self._documents:
            document = self._build(path)
            if document is None:
                return None
            body = orjson.dumps(document) if content_type == JSON else openapi_proto.encode(document)
            self._documents[key] = (body, sha256(body).hexdigest().upper())
        return self._documents[key]

    def _build(self, path: str) -> dict[str, Any] | None:
        if path == "/openapi/v3":
            return self._index()
        if path == "/openapi/v2":
            return document_v2(self._resources, self._version)
        root = path.removeprefix("/openapi/v3")
        resources = [resource for resource in self._resources if resource.root == root]
        return document_v3(resources, self._version) if resources and root != path else None

    def _index(self) -> dict[str, Any]:
        roots = dict.fromkeys(resource.root for resource in self._resources)
        paths: dict[str, Any] = {}
        for root in roots:
            found = self._document(f"/openapi/v3{root}")
            assert found is not None, root
            paths[root.removeprefix("/")] = {"serverRelativeURL": f"/openapi/v3{root}?hash={found[1]}"}
        return {"paths": paths}


def _content_type(path: str, accept: str) -> str:
    """JSON, or protobuf for a v2 document when that is named first. Raises NotAcceptable."""
    if path == "/openapi/v2" and any(entry.type in _V2_PROTO for entry in parse_accept(accept)[:1]):
        return openapi_proto.CONTENT_TYPE
    negotiate(accept, PLAIN, yaml=False)
    return JSON


def document_v3(resources: Iterable[Resource], version: str) -> dict[str, Any]:
    """The OpenAPI v3 document of one group version."""
    held = tuple(resources)
    paths: dict[str, Any] = {}
    for resource in held:
        paths |= paths_of(resource)
    return {
        "openapi": "3.0.0",
        "info": {"title": TITLE, "version": version},
        "paths": paths,
        "components": {"schemas": schemas_of(held)},
    }


def document_v2(resources: Iterable[Resource], version: str) -> dict[str, Any]:
    """Everything as one Swagger 2.0 document, for clients from before v3."""
    held = tuple(resources)
    paths: dict[str, Any] = {}
    for resource in held:
        paths |= paths_of(resource)
    return {
        "swagger": "2.0",
        "info": {"title": TITLE, "version": version},
        **as_v2(paths, schemas_of(held)),
    }
