"""Upload and download of a pack's bundles: `PUT|GET /apis/stark.dev/v1/packs/<name>/bundles/<sha256>`.

The pack says which digests it consists of; only those are accepted, and only what was uploaded *for this pack* is
given out. Knowing the digest of somebody else's bundle is therefore worth nothing: every pack needs its own upload,
although equal bytes are stored once.

An upload may come in parts: `Content-Range: bytes 0-99/1000` with the first hundred bytes is answered 308 with
`Range: bytes=0-99`, which says what has come (no Range: nothing); `Content-Range: bytes */1000` without a body only asks.
The last part is answered like an upload in one piece. (So do the resumable uploads of Google Cloud Storage.)

A download with `?direct=true` may be answered 307 with an address in the object storage that is good for some minutes and
for these bytes alone. Who follows it must show the storage nothing of what it has shown us, and check the digest, as ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import orjson

from ..errors import BadRequest, Cause, NotFound, RequestEntityTooLarge, invalid
from ..request import Request, Response, Stream
from .blobs import DIGEST, BlobStore, WrongBytes
from .partials import PartialName, Partials
from .ranges import Extent, Unsatisfiable, parse_content_range, parse_range

GROUP = "stark.dev"
BYTES = "application/octet-stream"
DIRECT = "direct"
"""The parameter of whoever would fetch the bytes from the object storage."""
SIGNED_FOR = timedelta(minutes=5)
"""How long the address to which they are sent is good: for clocks that differ, and no longer. It is used at once."""
AVAILABLE, PENDING = "Available", "Pending"

Object = dict[str, Any]


class PackStatusWriter(Protocol):
    """How packs are read and their status is written."""

    async def read(self, name: str) -> Mapping[str, Any]:
        """The current pack. Raises NotFound."""
        ...

    async def update_status(self, name: str, change: Callable[[Object], None]) -> Mapping[str, Any]:
        """Apply `change` to a copy of the current pack and store it, anew on every conflict. Raises NotFound."""
        ...


def bundle_index(pack: Mapping[str, Any], sha256: str) -> int | None:
    """The position in spec.bundles of the bundle with that digest."""
    for index, bundle in enumerate(pack["spec"].get("bundles") or ()):
        if bundle["sha256"] == sha256:
            return index
    return None


def record_upload(pack: Object, sha256: str) -> None:
    """Note in the status of `pack` that a bundle is there; Available when it was the last one."""
    status = pack.setdefault("status", {})
    uploaded = sorted({*(status.get("uploaded") or ()), sha256})
    wanted = {bundle["sha256"] for bundle in pack["spec"].get("bundles") or ()}
    status["uploaded"] = [digest for digest in uploaded if digest in wanted]
    status["phase"] = AVAILABLE if wanted <= set(uploaded) else PENDING


class Bundles:
    """The two handlers."""

    def __init__(self, blobs: BlobStore, partials: Partials, packs: PackStatusWriter) -> None:
        self._blobs = blobs
        self._partials = partials
        self._packs = packs

    async def put_bundle(self, request: Request, pack_name: str, sha256: str) -> Response:
        """Store the body as a bundle of the pack, or as a part of one, and answer with the pack once it is whole.

        Raises NotFound (no such pack), Invalid (not a bundle of it, or other bytes than announced),
        RequestEntityTooLarge, InsufficientStorage, ServiceUnavailable (the storage; nothing is recorded then).
        """
        pack = await self._packs.read(pack_name)
        index = bundle_index(pack, sha256)
        if index is None:
            message = f'Invalid value: "{sha256}": the pack names no bundle with this digest'
            raise invalid("Pack", pack_name, [Cause("spec.bundles", message)], group=GROUP)
        _refuse_announced_length(request, self._blobs.settings.blob_bytes_max)
        size = pack["spec"]["bundles"][index].get("size")
        if "content-range" in request.headers:
            name = PartialName(pack["metadata"]["uid"], sha256)
            have = await self._take_part(request, pack, name, index, size)
            if have < size:
                return Response(308, b"", BYTES, {"Range": f"bytes=0-{have - 1}"} if have else {})
        else:
            await self._store(request, pack_name, sha256, index, size)
        stored = await self._packs.update_status(pack_name, lambda pack: record_upload(pack, sha256))
        return Response(body=orjson.dumps(stored))

    async def _take_part(
        self, request: Request, pack: Mapping[str, Any], name: PartialName, index: int, size: int
    ) -> int:
        """Bytes of the bundle that are there after this part. Raises BadRequest, Conflict, Invalid."""
        brought = parse_content_range(request.headers["content-range"])
        if brought is None or brought.size != size:
            raise BadRequest(f'Content-Range must be "bytes FIRST-LAST/{size}" or "bytes */{size}"')
        if name.sha256 in ((pack.get("status") or {}).get("uploaded") or ()):
            return size
        with _wrong_bytes_are_invalid(pack["metadata"]["name"], name.sha256, index, size):
            if brought.part is None:
                return await self._partials.there(name, size)
            return await self._partials.append(name, brought.part.start, size, request.body.chunks())

    async def _store(self, request: Request, pack_name: str, sha256: str, index: int, size: int | None) -> None:
        with _wrong_bytes_are_invalid(pack_name, sha256, index, size):
            await self._blobs.put(sha256, request.body.chunks(), size=size)

    async def get_bundle(self, request: Request, pack_name: str, sha256: str) -> Response | Stream:
        """The bytes of a bundle, or the part that Range asks for. Raises NotFound, BadRequest, ServiceUnavailable."""
        if not DIGEST.fullmatch(sha256):
            raise BadRequest(f'"{sha256}" is not a sha256 in lower-case hex')
        pack = await self._packs.read(pack_name)
        message = f'bundle "{sha256}" of packs.{GROUP} "{pack_name}" not found'
        not_there = NotFound(message, group=GROUP, kind="packs", name=pack_name)
        uploaded = (pack.get("status") or {}).get("uploaded") or ()
        size = await self._blobs.size(sha256) if sha256 in uploaded else None
        if size is None or bundle_index(pack, sha256) is None:
            raise not_there
        etag = f'"sha256:{sha256}"'
        headers = {"ETag": etag, "Accept-Ranges": "bytes", "Cache-Control": "private, max-age=31536000, immutable"}
        if _names_tag(request.headers.get("if-none-match", ""), etag):
            return Response(304, b"", BYTES, headers)
        if request.method == "GET" and request.query.flag(DIRECT):
            url = await self._blobs.signed_url(sha256, SIGNED_FOR)
            if url is not None:
                return Response(307, b"", BYTES, {"Location": url, "Cache-Control": "no-store"})
        try:
            return await self._download(request, sha256, size, headers)
        except FileNotFoundError as error:
            raise not_there from error

    async def _download(self, request: Request, sha256: str, size: int, headers: dict[str, str]) -> Response | Stream:
        extent = Extent(0, size)
        status = 200
        condition = request.headers.get("if-range", headers["ETag"])
        if "range" in request.headers and condition == headers["ETag"]:
            try:
                part = parse_range(request.headers["range"], size)
            except Unsatisfiable:
                return Response(416, b"", BYTES, {**headers, "Content-Range": f"bytes */{size}"})
            if part is not None:
                status, extent = 206, part
                headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{size}"
        headers["Content-Length"] = str(extent.end - extent.start)
        if request.method == "HEAD":
            return Response(status, b"", BYTES, headers)
        return Stream(await self._blobs.read(sha256, extent.start, extent.end), status, BYTES, headers)


@contextmanager
def _wrong_bytes_are_invalid(pack_name: str, sha256: str, index: int, size: int | None) -> Iterator[None]:
    """Other bytes than announced are a mistake in the pack, or in the upload: say where they differ."""
    try:
        yield
    except WrongBytes as error:
        field, value = ("size", str(size)) if error.actual == sha256 else ("sha256", f'"{sha256}"')
        message = f"Invalid value: {value}: the uploaded {error.size} bytes have sha256 {error.actual}"
        raise invalid("Pack", pack_name, [Cause(f"spec.bundles[{index}].{field}", message)], group=GROUP) from error


def _refuse_announced_length(request: Request, bound: int) -> None:
    """Answer a too long upload before it is sent."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > bound:
        raise RequestEntityTooLarge(f"the bundle has {length} bytes, more than {bound}")


def _names_tag(header: str, etag: str) -> bool:
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return etag in tags or "*" in tags
