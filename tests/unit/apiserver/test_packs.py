"""Bundles: what is stored is right, what fails leaves nothing, what is read is what was asked for."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import resource as limits
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from obstore.store import MemoryStore

from stark.apiserver.errors import (
    ApiError,
    BadRequest,
    Conflict,
    InsufficientStorage,
    Invalid,
    NotFound,
    RequestEntityTooLarge,
    ServiceUnavailable,
    Timeout,
)
from stark.apiserver.packs.blobs import BlobSettings, BlobStore
from stark.apiserver.packs.bundles import Bundles
from stark.apiserver.packs.objects import Objects
from stark.apiserver.packs.partials import PARTIALS_MAX, FolderPartials, PartialName
from stark.apiserver.packs.ranges import Extent, Unsatisfiable, parse_range
from stark.apiserver.packs.sweeping import sweep
from stark.apiserver.request import Response, Stream
from tests.support.server_side import chunks_of, request

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several writes
OTHER = b"something else"
Object = dict[str, Any]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Packs:
    """Packs in a dict, written as the registry would."""

    def __init__(self, *packs: Object) -> None:
        self.stored = {pack["metadata"]["name"]: pack for pack in packs}

    async def read(self, name: str) -> Mapping[str, Any]:
        if name not in self.stored:
            raise NotFound(f'packs.stark.dev "{name}" not found')
        return self.stored[name]

    async def update_status(self, name: str, change: Callable[[Object], None]) -> Mapping[str, Any]:
        mine = copy.deepcopy(dict(await self.read(name)))
        change(mine)
        self.stored[name] = mine
        return mine


def pack(name: str, *contents: bytes, **more: int) -> Object:
    bundles = [
        {"architecture": architecture, "sha256": sha256(content), "size": more.get("size", len(content))}
        for architecture, content in zip(("amd64", "arm64"), contents, strict=False)
    ]
    return {
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"name": name, "version": "1.0.0", "bundles": bundles},
    }


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture(params=["local", "bucket"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    settings = BlobSettings(blob_bytes_max=4 * 1024 * 1024, idle_s=0.2)
    if request.param == "local":
        store = BlobStore.local(tmp_path / "blobs", settings)
    else:
        store = BlobStore(Objects(MemoryStore()), tmp_path / "blobs", settings)
    await store.open()
    return store


async def upload(bundles: Bundles, name: str, digest: str, *pieces: bytes | BaseException, **headers: str) -> Object:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    response = await bundles.put_bundle(request(method="PUT", body=pieces, headers=named), name, digest)
    assert isinstance(response.body, bytes)
    answer: Object = orjson.loads(response.body)
    return answer


async def download(bundles: Bundles, name: str, digest: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    answer = await bundles.get_bundle(request(headers=named), name, digest)
    if isinstance(answer, Response):
        assert isinstance(answer.body, bytes)
        return answer.status, answer.headers, answer.body
    return answer.status, answer.headers, b"".join([chunk async for chunk in chunks_of(answer)])


def bundles_of(blobs: BlobStore, packs: Packs, partials: Path = Path("/nowhere")) -> Bundles:
    return Bundles(blobs, FolderPartials(blobs, partials), packs)


def in_pieces(content: bytes) -> list[bytes]:
    return [content[start : start + 100_000] for start in range(0, len(content), 100_000)]


async def test_a_pack_is_available_once_every_bundle_is_uploaded(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", CONTENT, OTHER)))
    first = await upload(bundles, "p", sha256(CONTENT), *in_pieces(CONTENT))
    assert first["status"] == {"uploaded": [sha256(CONTENT)], "phase": "Pending"}
    second = await upload(bundles, "p", sha256(OTHER), OTHER)
    assert second["status"]["phase"] == "Available"
    again = await upload(bundles, "p", sha256(OTHER), OTHER)
    assert again["status"] == second["status"]
    assert await download(bundles, "p", sha256(CONTENT)) == (
        200,
        {
            "ETag": f'"sha256:{sha256(CONTENT)}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, max-age=31536000, immutable",
            "Content-Length": str(len(CONTENT)),
        },
        CONTENT,
    )


async def test_an_empty_bundle_is_a_bundle(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", b"")))
    assert (await upload(bundles, "p", sha256(b"")))["status"]["phase"] == "Available"
    assert (await download(bundles, "p", sha256(b"")))[2] == b""


@pytest.mark.parametrize(
    ("pieces", "size", "field", "error"),
    [
        pytest.param([OTHER], len(CONTENT), "spec.bundles[0].sha256", Invalid, id="other bytes"),
        pytest.param([CONTENT[:-1]], len(CONTENT), "spec.bundles[0].sha256", Invalid, id="cut short"),
        pytest.param([CONTENT], 5, "spec.bundles[0].size", Invalid, id="another size than announced"),
        pytest.param([CONTENT] * 3, len(CONTENT), "", RequestEntityTooLarge, id="larger than the bound"),
        pytest.param([CONTENT, ConnectionResetError()], len(CONTENT), "", ConnectionResetError, id="client gone"),
        pytest.param([CONTENT, OSError(28, "full")], len(CONTENT), "", InsufficientStorage, id="disk full"),
    ],
)
async def test_an_upload_that_fails_leaves_nothing(
    blobs: BlobStore, tmp_path: Path, pieces: list[bytes | BaseException], size: int, field: str, error: type[Exception]
) -> None:
    packs = Packs(pack("p", CONTENT, size=size))
    with pytest.raises(error) as caught:
        await upload(bundles_of(blobs, packs), "p", sha256(CONTENT), *pieces)
    if field:
        assert isinstance(caught.value, ApiError)
        assert [cause.field for cause in caught.value.causes] == [field]
    assert files(tmp_path) == []
    assert await blobs.size(sha256(CONTENT)) is None
    assert "status" not in packs.stored["p"]


class Stalling:
    """A body that stops in the middle, for ever."""

    def __init__(self) -> None:
        self.stopped = asyncio.Event()

    async def read(self, limit: int) -> bytes:
        raise AssertionError("an upload is not read into memory")

    async def chunks(self) -> AsyncIterator[bytes]:
        yield CONTENT
        self.stopped.set()
        await asyncio.Event().wait()


async def test_a_cancelled_upload_leaves_nothing(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    await blobs.open()
    bundles, stalling = bundles_of(blobs, Packs(pack("p", CONTENT))), Stalling()
    asked = request(method="PUT")
    asked.body = stalling
    uploading = asyncio.create_task(bundles.put_bundle(asked, "p", sha256(CONTENT)))
    await stalling.stopped.wait()
    assert len(files(tmp_path)) == 1
    uploading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await uploading
    assert files(tmp_path) == []


async def test_an_upload_that_falls_silent_loses_its_place(blobs: BlobStore, tmp_path: Path) -> None:
    asked = request(method="PUT")
    asked.body = Stalling()
    with pytest.raises(Timeout):
        await bundles_of(blobs, Packs(pack("p", CONTENT))).put_bundle(asked, "p", sha256(CONTENT))
    assert files(tmp_path) == []


@pytest.fixture
def no_large_files() -> Iterator[None]:
    """A disk that takes files up to 1 MiB: beyond that the kernel itself refuses the write."""
    soft, hard = limits.getrlimit(limits.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits.setrlimit(limits.RLIMIT_FSIZE, (1024 * 1024, hard))
    yield
    limits.setrlimit(limits.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("no_large_files")
async def test_a_write_that_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    await blobs.open()
    with pytest.raises(InsufficientStorage):
        await upload(bundles_of(blobs, Packs(pack("p", CONTENT))), "p", sha256(CONTENT), *in_pieces(CONTENT))
    assert files(tmp_path) == []


async def test_a_length_beyond_the_bound_is_refused_unread(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", CONTENT)))
    unread = AssertionError("the body was read")
    with pytest.raises(RequestEntityTooLarge):
        await upload(bundles, "p", sha256(CONTENT), unread, content_length=str(5 * 1024 * 1024))


async def test_a_pack_takes_only_the_bundles_it_names(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", CONTENT)))
    with pytest.raises(Invalid, match="names no bundle with this digest"):
        await upload(bundles, "p", sha256(OTHER), OTHER)
    with pytest.raises(NotFound):
        await upload(bundles, "q", sha256(OTHER), OTHER)


async def test_knowing_a_digest_does_not_give_the_bytes(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("private", CONTENT), pack("thief", CONTENT)))
    await upload(bundles, "private", sha256(CONTENT), CONTENT)
    with pytest.raises(NotFound):
        await download(bundles, "thief", sha256(CONTENT))
    with pytest.raises(Invalid):
        await upload(bundles, "thief", sha256(CONTENT), b"a guess")


@pytest.mark.parametrize("digest", ["../../pki/ca.key", "x", "AB" * 32])
async def test_a_digest_is_not_a_path(blobs: BlobStore, digest: str) -> None:
    with pytest.raises(BadRequest):
        await download(bundles_of(blobs, Packs(pack("p", CONTENT))), "p", digest)


@pytest.mark.parametrize(
    ("header", "status", "content_range", "content"),
    [
        ("bytes=0-9", 206, "bytes 0-9/2097152", CONTENT[:10]),
        ("bytes=100-", 206, "bytes 100-2097151/2097152", CONTENT[100:]),
        ("bytes=-5", 206, "bytes 2097147-2097151/2097152", CONTENT[-5:]),
        ("bytes=2097152-", 416, "bytes */2097152", b""),
        ("bytes=0-1,5-6", 200, None, CONTENT),
        ("lines=0-1", 200, None, CONTENT),
    ],
)
async def test_a_download_can_be_resumed(
    blobs: BlobStore, header: str, status: int, content_range: str | None, content: bytes
) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", CONTENT)))
    await upload(bundles, "p", sha256(CONTENT), CONTENT)
    got, headers, body = await download(bundles, "p", sha256(CONTENT), range=header)
    assert (got, headers.get("Content-Range"), body == content) == (status, content_range, True)
    if status != 416:
        assert headers["Content-Length"] == str(len(content))


async def test_a_download_that_is_already_there_is_not_sent_again(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", OTHER)))
    await upload(bundles, "p", sha256(OTHER), OTHER)
    etag = f'"sha256:{sha256(OTHER)}"'
    assert (await download(bundles, "p", sha256(OTHER), if_none_match=f'"x", {etag}'))[0] == 304
    stale = await download(bundles, "p", sha256(OTHER), range="bytes=0-1", if_range='"sha256:other"')
    assert (stale[0], stale[2]) == (200, OTHER)


async def test_a_download_reads_only_as_fast_as_it_is_taken(blobs: BlobStore) -> None:
    bundles = bundles_of(blobs, Packs(pack("p", CONTENT)))
    await upload(bundles, "p", sha256(CONTENT), CONTENT)
    answer = await bundles.get_bundle(request(), "p", sha256(CONTENT))
    assert isinstance(answer, Stream)
    first = await anext(chunks_of(answer))
    assert CONTENT.startswith(first)


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        ("bytes=0-0", 10, Extent(0, 1)),
        ("bytes=5-100", 10, Extent(5, 10)),
        ("bytes=-100", 10, Extent(0, 10)),
        ("bytes=7-3", 10, None),
        ("bytes=-", 10, None),
        ("bytes=a-b", 10, None),
        ("", 10, None),
    ],
)
def test_a_range_is_read_as_the_standard_says(header: str, size: int, expected: Extent | None) -> None:
    assert parse_range(header, size) == expected


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-0", 0), ("bytes=-1", 0)])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, size)


async def test_equal_bundles_of_two_packs_are_stored_once(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    await blobs.open()
    bundles = bundles_of(blobs, Packs(pack("a", OTHER), pack("b", OTHER)))
    await asyncio.gather(*(upload(bundles, name, sha256(OTHER), OTHER) for name in "abab"))
    assert files(tmp_path) == [sha256(OTHER)]


async def test_a_start_clears_what_a_crash_left_of_uploads(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    await blobs.open()
    await asyncio.to_thread((tmp_path / ".uploads" / "half").write_bytes, b"x")
    await bundles_of(blobs, Packs(pack("p", OTHER))).put_bundle(request(body=[OTHER]), "p", sha256(OTHER))
    restarted = BlobStore.local(tmp_path)
    await restarted.open()
    assert files(tmp_path) == [sha256(OTHER)]
    assert await restarted.size(sha256(OTHER)) == len(OTHER)


async def test_only_old_blobs_without_a_pack_are_swept(tmp_path: Path) -> None:
    blobs = BlobStore.local(tmp_path)
    await blobs.open()

    async def put(content: bytes) -> str:
        async def chunks() -> AsyncIterator[bytes]:
            yield content

        await blobs.put(sha256(content), chunks())
        return sha256(content)

    kept, dropped = await put(b"kept"), await put(b"dropped")
    later = datetime.now(UTC) + timedelta(hours=2)

    async def named() -> frozenset[str]:
        return frozenset({kept})

    async def nobody_can_tell() -> frozenset[str]:
        raise ServiceUnavailable("the store is away")

    assert await sweep(blobs.objects, named) == []
    with pytest.raises(ServiceUnavailable):
        await sweep(blobs.objects, nobody_can_tell, now=later)
    assert files(tmp_path) == sorted([kept, dropped])
    assert await sweep(blobs.objects, named, now=later) == [dropped]
    assert files(tmp_path) == [kept]


async def send_part(
    bundles: Bundles, digest: str, said: str, *pieces: bytes | BaseException
) -> tuple[int, str | None, Object | None]:
    """The status of the answer, what it says has come, and the pack when it is whole."""
    answer = await bundles.put_bundle(request(method="PUT", body=pieces, headers={"content-range": said}), "p", digest)
    assert isinstance(answer.body, bytes)
    return answer.status, answer.headers.get("Range"), orjson.loads(answer.body) if answer.body else None


async def test_an_upload_in_parts_goes_on_where_it_was_cut_off(blobs: BlobStore, tmp_path: Path) -> None:
    packs = Packs(pack("p", CONTENT))
    bundles, digest, size = bundles_of(blobs, packs, tmp_path / "partial"), sha256(CONTENT), len(CONTENT)
    assert await send_part(bundles, digest, f"bytes */{size}") == (308, None, None)
    with pytest.raises(ConnectionResetError):
        await send_part(bundles, digest, f"bytes 0-{size - 1}/{size}", CONTENT[:1000], ConnectionResetError())
    assert await send_part(bundles, digest, f"bytes */{size}") == (308, "bytes=0-999", None)
    assert await blobs.size(digest) is None
    # A part that does not join on is not taken, and the answer says where to begin.
    assert await send_part(bundles, digest, f"bytes 5-9/{size}", b"other") == (308, "bytes=0-999", None)
    later = bundles_of(blobs, packs, tmp_path / "partial")  # another process, or the same one after a restart
    assert (await send_part(later, digest, f"bytes 1000-1999/{size}", CONTENT[1000:2000]))[:2] == (308, "bytes=0-1999")
    status, _, whole = await send_part(later, digest, f"bytes 2000-{size - 1}/{size}", CONTENT[2000:])
    assert (status, whole and whole["status"]["phase"]) == (200, "Available")
    assert await blobs.size(digest) == size
    assert (await send_part(bundles, digest, f"bytes */{size}"))[0] == 200
    assert not files(tmp_path / "partial")


async def test_parts_that_are_other_bytes_than_announced_leave_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    bundles, digest, size = (
        bundles_of(blobs, Packs(pack("p", CONTENT)), tmp_path / "partial"),
        sha256(CONTENT),
        len(CONTENT),
    )
    with pytest.raises(Invalid, match="have sha256"):
        await send_part(bundles, digest, f"bytes 0-{size - 1}/{size}", bytes(size))
    assert await send_part(bundles, digest, f"bytes */{size}") == (308, None, None)
    for said in ("bytes 0-1/2", "0-1", f"bytes 9-3/{size}", f"bytes 0-{size}/{size}"):
        with pytest.raises(BadRequest):
            await send_part(bundles, digest, said, b"x")


async def test_one_request_writes_an_upload_and_few_unfinished_ones_are_kept(blobs: BlobStore, tmp_path: Path) -> None:
    partials = FolderPartials(blobs, tmp_path / "partial")
    name = PartialName("uid", sha256(CONTENT))
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield CONTENT[:10]
        begun.set()
        await go_on.wait()

    async def at_once() -> AsyncIterator[bytes]:
        yield b"x"

    first = asyncio.create_task(partials.append(name, 0, len(CONTENT), slowly()))
    await begun.wait()
    with pytest.raises(Conflict, match="another upload"):
        await partials.append(name, 0, len(CONTENT), at_once())
    go_on.set()
    assert await first == 10
    for number in range(PARTIALS_MAX):
        await partials.append(PartialName(f"u{number}", name.sha256), 0, 2, at_once())
    assert len(files(tmp_path / "partial")) == PARTIALS_MAX
    assert await partials.there(name, len(CONTENT)) == 0
    assert await partials.expire(now=time.time() + 2 * 24 * 3600) == PARTIALS_MAX
