"""`/api/packs`: packs as the originals show them, one entry a version."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from stark.crds.annotations import OWNER
from stark.crds.images import is_version, pack_object_name, version_key
from stark.crds.packs import PACK_NAME_PATTERN

from ..errors import BadRequest, Cause, NotFound
from ..request import Answer, Request
from .envelope import success
from .facade import Route, bad_fields, read_fields
from .inner import BYTES, Inner, Object
from .listing import UID, annotations_of, found_by_id, matching, newest_first, paging_of

PACKS: Final = "/apis/stark.dev/v1/packs"
BODY_BYTES_MAX: Final = 10 << 20
"""Of a registration, with the bundle in it: the originals' limit. Larger bundles are sent to `uploadUrl`."""
FILTERS: Final = ("runtimeTag", "search", "ownerId", "visibility")
CHANGEABLE: Final[Mapping[str, type]] = {"description": str, "visibility": str, "metadata": dict}
NEW: Final[Mapping[str, type]] = {
    **CHANGEABLE,
    "name": str,
    "version": str,
    "runtimeTag": str,
    "bundleContent": str,
    "bundleEncoding": str,
    "sha256": str,
    "size": int,
}
TEXT, BASE64 = "utf-8", "base64"


class PackDesk:
    """The handlers."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner

    def routes(self) -> Sequence[Route]:
        """What is answered here."""
        return (
            Route("GET", "/api/packs", self.list),
            Route("POST", "/api/packs", self.register),
            Route("GET", "/api/packs/*", self.get),
            Route("PATCH", "/api/packs/*", self.change),
            Route("DELETE", "/api/packs/*", self.delete),
            Route("GET", "/api/packs/*/versions", self.versions),
        )

    async def list(self, request: Request, found: Sequence[str]) -> Answer:
        """Every version of every pack that who asks may see, the newest first."""
        query = request.query
        paging = paging_of(query, FILTERS)
        runtime, owner, visibility = (query.first(name) for name in ("runtimeTag", "ownerId", "visibility"))
        if runtime == "isomorphic":
            runtime = "universal"
        fits = matching(query.first("search"), _name, lambda item: item["spec"].get("description") or "")
        packs = newest_first(
            [
                item
                async for item in self._inner.every(request, PACKS)
                if runtime in ("", item["spec"]["runtime"])
                and owner in ("", annotations_of(item).get(OWNER, ""))
                and visibility in ("", item["spec"].get("visibility") or "private")
                and fits(item)
            ]
        )
        return success(paging.told("packs", packs, [shown(item) for item in paging.of(packs)]))

    async def versions(self, request: Request, found: Sequence[str]) -> Answer:
        """The versions of one pack, the highest first."""
        packs = await self._versions(request, found[0])
        return success({"name": found[0], "versions": [shown(item) for item in packs]})

    async def get(self, request: Request, found: Sequence[str]) -> Answer:
        """One version by its uid or object name, or the highest version of a pack by its name."""
        return success({"pack": shown(await self._find(request, found[0]))})

    async def register(self, request: Request, found: Sequence[str]) -> Answer:
        """A new version: with the bundle in the body, or with its digest and size, to be sent to `uploadUrl`."""
        fields = await read_fields(request, NEW, ("name", "version", "runtimeTag"), BODY_BYTES_MAX)
        content = _content(fields)
        sha256 = fields["sha256"] if content is None else hashlib.sha256(content).hexdigest()
        size = fields["size"] if content is None else len(content)
        runtime = "universal" if fields["runtimeTag"] == "isomorphic" else fields["runtimeTag"]
        spec = {
            "name": fields["name"],
            "version": fields["version"],
            "runtime": runtime,
            "bundles": [{"architecture": "any", "sha256": sha256, "size": size}],
            **{name: fields[name] for name in CHANGEABLE if name in fields},
        }
        name = pack_object_name(fields["name"], fields["version"])
        body = {"apiVersion": "stark.dev/v1", "kind": "Pack", "metadata": {"name": name}, "spec": spec}
        pack = await self._inner.send(request, "POST", PACKS, body)
        upload = f"{PACKS}/{name}/bundles/{sha256}"
        if content is not None:
            pack = await self._store(request, upload, content, name)
        return success({"pack": shown(pack), "uploadUrl": upload}, 201)

    async def _store(self, request: Request, path: str, content: bytes, name: str) -> Object:
        """The pack with its bundle. A pack whose bundle was refused is taken back: nothing is registered by halves."""
        try:
            return await self._inner.send(request, "PUT", path, content, BYTES)
        except BaseException:
            await self._inner.send(request, "DELETE", f"{PACKS}/{name}")
            raise

    async def change(self, request: Request, found: Sequence[str]) -> Answer:
        """What of a version may change: description, visibility, metadata."""
        fields = await read_fields(request, CHANGEABLE)
        pack = await self._find(request, found[0])
        path = f"{PACKS}/{pack['metadata']['name']}"
        return success({"pack": shown(await self._inner.merge(request, path, {"spec": fields}))})

    async def delete(self, request: Request, found: Sequence[str]) -> Answer:
        """Take a version away. Refused while something runs it."""
        pack = await self._find(request, found[0])
        await self._inner.send(request, "DELETE", f"{PACKS}/{pack['metadata']['name']}")
        return success({"deleted": True, "pack": shown(pack)})

    async def _find(self, request: Request, word: str) -> Object:
        if not UID.fullmatch(word):
            try:
                return (await self._versions(request, word))[0]
            except NotFound:
                pass  # no pack has that name; a version's object may
        return await found_by_id(self._inner, request, PACKS, word, "pack", by_name=True)

    async def _versions(self, request: Request, name: str) -> Sequence[Object]:
        selector = {"fieldSelector": f"spec.name={name}"} if _is_name(name) else None
        packs = [item async for item in self._inner.every(request, PACKS, selector)] if selector else []
        if not packs:
            raise NotFound(f"no pack is called {name}")
        return sorted(packs, key=lambda item: version_key(item["spec"]["version"]), reverse=True)


async def pack_by_id(inner: Inner, request: Request, uid: str) -> Object:
    """The version with that uid. Raises NotFound."""
    return await found_by_id(inner, request, PACKS, uid, "pack")


async def pack_of_version(inner: Inner, request: Request, name: str, version: str) -> Object | None:
    """The version's object; None when there is none, or not for this person."""
    return await inner.find(request, f"{PACKS}/{quote(pack_object_name(name, version))}")


def shown(pack: Object) -> dict[str, Any]:
    """A version as the originals show it."""
    meta, spec, status = pack["metadata"], pack["spec"], pack.get("status") or {}
    return {
        "id": meta["uid"],
        "name": spec["name"],
        "version": spec["version"],
        "runtimeTag": spec["runtime"],
        "ownerId": annotations_of(pack).get(OWNER),
        "visibility": spec.get("visibility") or "private",
        "description": spec.get("description"),
        "deprecated": bool(spec.get("deprecated")),
        "metadata": spec.get("metadata") or {},
        "bundles": spec.get("bundles") or [],
        "status": (status.get("phase") or "Pending").lower(),
        "createdAt": meta["creationTimestamp"],
    }


def _name(pack: Object) -> str:
    return str(pack["spec"]["name"])


def _is_name(name: str) -> bool:
    return re.fullmatch(PACK_NAME_PATTERN, name) is not None


def _content(fields: Mapping[str, Any]) -> bytes | None:
    """The bundle; None when it comes later. Raises BadRequest."""
    if not is_version(fields["version"]):
        raise bad_fields([Cause("version", "must be a semantic version such as 1.2.0")])
    encoding = fields.get("bundleEncoding", TEXT)
    if encoding not in (TEXT, BASE64):
        raise bad_fields([Cause("bundleEncoding", f"must be {TEXT} or {BASE64}")])
    text = fields.get("bundleContent")
    if text is None:
        if "sha256" not in fields or "size" not in fields:
            raise bad_fields(
                [Cause("bundleContent", "is required, or sha256 and size of the bundle that will be sent")]
            )
        return None
    given = [name for name in ("sha256", "size") if name in fields]
    if given:
        raise bad_fields([Cause(name, "is found out from bundleContent") for name in given])
    if encoding == TEXT:
        return str(text).encode()
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadRequest("bundleContent is not base64", causes=[Cause("bundleContent", "must be base64")]) from None
