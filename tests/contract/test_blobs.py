"""The promises of the blob store, by a folder and by a bucket of a real object storage."""

from __future__ import annotations

import asyncio
import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stark.apiserver.errors import BadRequest, InsufficientStorage, ServiceUnavailable
from stark.apiserver.packs import segments
from stark.apiserver.packs.blobs import BlobStore, WrongBytes, blob_key
from stark.apiserver.packs.objects import PART_BYTES, Objects
from stark.apiserver.packs.partials import PARTIALS_MAX, FolderPartials, PartialName, Partials
from stark.apiserver.packs.places import open_place
from stark.apiserver.packs.sweeping import sweep
from stark.apiserver.settings import BlobPlace
from tests.support.object_storage import ObjectStorage, object_storage

CONTENT = os.urandom(300_000)
LARGE_BYTES = 2 * PART_BYTES + 5
OTHER = b"something else"
LATER = timedelta(hours=2)
PIECE_BYTES = 100_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def pieces(*content: bytes | BaseException) -> AsyncIterator[bytes]:
    for one in content:
        if isinstance(one, BaseException):
            raise one
        for start in range(0, len(one), PIECE_BYTES):
            yield one[start : start + PIECE_BYTES]


async def content_of(blobs: BlobStore, digest: str, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in await blobs.read(digest, start, end)])


def left_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


class Server:
    """What one API server has of its blobs; several have a place in common."""

    def __init__(self, place: BlobPlace, data_dir: Path) -> None:
        self.blobs, self.partials = open_place(place, data_dir)
        self.objects = self.blobs.objects

    async def put(self, content: bytes) -> str:
        await self.blobs.put(sha256(content), pieces(content), size=len(content))
        return sha256(content)

    async def keys(self) -> list[str]:
        return sorted(meta.key for meta in await self.objects.list(""))


@pytest.fixture(params=["folder", "bucket"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> BlobPlace:
    if request.param == "folder":
        return BlobPlace(str(tmp_path / "shared"))
    storage: ObjectStorage = request.getfixturevalue("storage")
    return storage.place(f"of/{tmp_path.name}")


@pytest.fixture
async def server(place: BlobPlace, tmp_path: Path) -> Server:
    return await opened(place, tmp_path / "one")


async def opened(place: BlobPlace, data_dir: Path) -> Server:
    server = Server(place, data_dir)
    await server.blobs.open()
    return server


async def test_what_was_put_is_read_in_whole_and_in_part(server: Server, place: BlobPlace, tmp_path: Path) -> None:
    digest = sha256(CONTENT)
    assert await server.blobs.size(digest) is None
    with pytest.raises(FileNotFoundError):
        await server.blobs.read(digest, 0, 1)
    await asyncio.gather(*(server.put(one) for one in (CONTENT, CONTENT, OTHER, b"")))
    assert await server.put(OTHER) == sha256(OTHER)
    other = await opened(place, tmp_path / "two")
    assert [await other.blobs.size(sha256(one)) for one in (CONTENT, OTHER, b"")] == [len(CONTENT), len(OTHER), 0]
    assert await content_of(other.blobs, digest, 0, len(CONTENT)) == CONTENT
    middle = await content_of(other.blobs, digest, 100_000, 200_001)
    assert middle == CONTENT[100_000:200_001]
    assert await content_of(other.blobs, sha256(b""), 0, 0) == b""
    assert await server.keys() == sorted(map(blob_key, (digest, sha256(OTHER), sha256(b""))))
    assert not left_in(tmp_path / "one")


@pytest.mark.slow
async def test_what_is_sent_to_a_bucket_in_several_parts_is_one_blob(storage: ObjectStorage, tmp_path: Path) -> None:
    server, large = await opened(storage.place("large"), tmp_path), os.urandom(LARGE_BYTES)
    digest = await server.put(large)
    assert await content_of(server.blobs, digest, 0, LARGE_BYTES) == large
    name = PartialName("uid", digest)
    assert await server.partials.append(name, 0, LARGE_BYTES, pieces(large[: PART_BYTES + 1])) == PART_BYTES + 1
    assert (
        await server.partials.append(name, PART_BYTES + 1, LARGE_BYTES, pieces(large[PART_BYTES + 1 :])) == LARGE_BYTES
    )
    assert await server.keys() == [blob_key(digest)]


@pytest.mark.parametrize(
    ("brought", "error"),
    [
        pytest.param([OTHER], WrongBytes, id="other bytes"),
        pytest.param([CONTENT, b"x"], WrongBytes, id="too many"),
        pytest.param([CONTENT, ConnectionResetError()], ConnectionResetError, id="client gone"),
        pytest.param([CONTENT, OSError(28, "full")], InsufficientStorage, id="disk full"),
    ],
)
async def test_what_fails_is_nowhere(
    server: Server, tmp_path: Path, brought: list[bytes | BaseException], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await server.blobs.put(sha256(CONTENT), pieces(*brought), size=len(CONTENT))
    assert await server.keys() == []
    assert not left_in(tmp_path)


async def test_a_start_takes_no_upload_from_another_server(server: Server, place: BlobPlace, tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield CONTENT
        begun.set()
        await go_on.wait()

    uploading = asyncio.create_task(server.blobs.put(sha256(CONTENT), slowly()))
    await begun.wait()
    await opened(place, tmp_path / "one")
    go_on.set()
    assert await uploading == len(CONTENT)


async def test_only_old_blobs_without_a_pack_are_swept(server: Server, place: BlobPlace, tmp_path: Path) -> None:
    kept, dropped = await server.put(b"kept"), await server.put(b"dropped")
    other, later = await opened(place, tmp_path / "two"), datetime.now(UTC) + LATER

    async def named() -> frozenset[str]:
        return frozenset({kept})

    async def nobody_can_tell() -> frozenset[str]:
        raise ServiceUnavailable("the store is away")

    assert await sweep(server.objects, named) == []
    with pytest.raises(ServiceUnavailable):
        await sweep(server.objects, nobody_can_tell, now=later)
    assert len(await server.keys()) == 2
    gone = await asyncio.gather(*(sweep(one.objects, named, now=later) for one in (server, other)))
    assert {dropped} == {digest for some in gone for digest in some}
    assert await server.keys() == [blob_key(kept)]


async def test_an_upload_during_a_sweep_is_not_lost(server: Server) -> None:
    """A pack that names the digest again comes, and its upload, between the sweep's question and the removal."""
    digest = await server.put(OTHER)
    asked = 0

    async def named() -> frozenset[str]:
        nonlocal asked
        asked += 1
        return frozenset() if asked == 1 else frozenset({digest})

    assert await sweep(server.objects, named, now=datetime.now(UTC) + LATER) == []
    assert asked == 2
    assert await content_of(server.blobs, digest, 0, len(OTHER)) == OTHER
    assert await server.keys() == [blob_key(digest)]


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_sweep_that_was_killed_is_finished_by_the_next(server: Server, is_named: bool) -> None:
    digest = await server.put(OTHER)
    answers = [frozenset[str]()]

    async def then_killed() -> frozenset[str]:
        if not answers:
            raise ServiceUnavailable("killed")
        return answers.pop()

    with pytest.raises(ServiceUnavailable):
        await sweep(server.objects, then_killed, now=datetime.now(UTC) + LATER)
    assert await server.keys() == [f"swept/{digest}"]

    async def named() -> frozenset[str]:
        return frozenset({digest} if is_named else ())

    await sweep(server.objects, named, now=datetime.now(UTC) + LATER)
    assert await server.keys() == ([blob_key(digest)] if is_named else [])


NAME = PartialName("uid", sha256(CONTENT))
SIZE = len(CONTENT)
CUT = 123_456


async def test_an_upload_in_parts_goes_on_by_another_server(server: Server, place: BlobPlace, tmp_path: Path) -> None:
    other = await opened(place, tmp_path / "two")
    assert await server.partials.there(NAME, SIZE) == 0
    with pytest.raises(ConnectionResetError):
        await server.partials.append(NAME, 0, SIZE, pieces(CONTENT[:CUT], ConnectionResetError()))
    assert await other.partials.there(NAME, SIZE) == CUT
    assert await other.partials.append(NAME, 5, SIZE, pieces(b"does not join on")) == CUT
    assert await other.partials.append(NAME, CUT, SIZE, pieces(CONTENT[CUT : CUT + 9])) == CUT + 9
    assert await server.blobs.size(NAME.sha256) is None
    assert await server.partials.append(NAME, CUT + 9, SIZE, pieces(CONTENT[CUT + 9 :])) == SIZE
    assert await content_of(other.blobs, NAME.sha256, 0, SIZE) == CONTENT
    assert await server.keys() == [blob_key(NAME.sha256)]


async def test_parts_that_are_other_bytes_leave_nothing(server: Server) -> None:
    await server.partials.append(NAME, 0, SIZE, pieces(CONTENT[:CUT]))
    with pytest.raises(WrongBytes):
        await server.partials.append(NAME, CUT, SIZE, pieces(bytes(SIZE - CUT)))
    assert await server.partials.there(NAME, SIZE) == 0
    assert await server.keys() == []


async def test_a_whole_upload_is_only_said_to_be_there_as_a_blob(server: Server, tmp_path: Path) -> None:
    """Whoever took the last part was killed before it was made a blob: asking makes it one."""
    partials: Partials = server.partials
    if isinstance(partials, FolderPartials):
        await partials.append(NAME, 0, SIZE, pieces(CONTENT[:CUT]))
        (there,) = (tmp_path / "shared" / ".partial").iterdir()
        with there.open("ab") as file:
            file.write(CONTENT[CUT:])
    else:
        for start, end in ((0, CUT), (CUT, SIZE)):
            part = tmp_path / "part"
            await asyncio.to_thread(part.write_bytes, CONTENT[start:end])
            await server.objects.put(f"partial/{NAME.file}/{start:012}-{end:012}", part)
    assert await partials.there(NAME, SIZE) == SIZE
    assert await content_of(server.blobs, NAME.sha256, 0, SIZE) == CONTENT


async def test_uploads_that_nobody_goes_on_with_are_forgotten(server: Server) -> None:
    await server.partials.append(NAME, 0, SIZE, pieces(b"x"))
    assert await server.partials.expire() == 0
    assert await server.partials.expire(now=datetime.now(UTC).timestamp() + 25 * 3600) == 1
    assert await server.partials.there(NAME, SIZE) == 0


async def test_few_unfinished_uploads_and_few_parts_are_kept(
    storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await opened(storage.place("few"), tmp_path)
    monkeypatch.setattr(segments, "SEGMENTS_MAX", 2)
    assert [await server.partials.append(NAME, at, SIZE, pieces(b"x")) for at in range(2)] == [1, 2]
    with pytest.raises(BadRequest, match="begin again with larger ones"):
        await server.partials.append(NAME, 2, SIZE, pieces(b"x"))
    assert await server.partials.there(NAME, SIZE) == 0
    assert PARTIALS_MAX == 64


@pytest.mark.slow
async def test_a_storage_that_is_away_is_said_to_be_and_nothing_is_acknowledged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_storage(tmp_path / "swift") as storage:
        for name, value in storage.keys.items():
            monkeypatch.setenv(name, value)
        server = await opened(storage.place(), tmp_path)
        digest = await server.put(OTHER)
        storage.stop()
        for failing in (
            server.put(b"new"),
            server.blobs.size(digest),
            server.blobs.read(digest, 0, 1),
            server.partials.append(NAME, 0, SIZE, pieces(b"x")),
            sweep(server.objects, _nothing_named),
        ):
            with pytest.raises(ServiceUnavailable, match="does not answer as it should") as caught:
                await failing
            assert caught.value.retry_after_s
        storage.start()
        assert await server.blobs.size(sha256(b"new")) is None
        assert await content_of(server.blobs, digest, 0, len(OTHER)) == OTHER
        wrong = Objects(storage.store(secret="not-the-secret"))
        with pytest.raises(ServiceUnavailable):
            await wrong.head("x")
        missing = await opened(BlobPlace("s3://nobody", storage.url), tmp_path / "two")
        with pytest.raises(ServiceUnavailable):
            await missing.put(OTHER)
        logged = capsys.readouterr()
        assert "object storage failed" in logged.out + logged.err
        assert storage.secret not in logged.out + logged.err
        assert "not-the-secret" not in logged.out + logged.err


async def _nothing_named() -> frozenset[str]:
    return frozenset()


async def test_a_signed_address_gives_one_blob_for_a_while(storage: ObjectStorage, tmp_path: Path) -> None:
    server = await opened(storage.place("signed"), tmp_path)
    digest = await server.put(OTHER)
    url = await server.blobs.signed_url(digest, timedelta(minutes=1))
    assert url is not None
    assert storage.secret not in url

    def fetch(address: str) -> bytes:
        with urllib.request.urlopen(address, timeout=10) as answer:
            body = answer.read()
            assert isinstance(body, bytes)
            return body

    assert await asyncio.to_thread(fetch, url) == OTHER
    for forged in (url.replace(digest, sha256(b"another")), url.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            await asyncio.to_thread(fetch, forged)
    alone = await opened(storage.place("signed", direct=False), tmp_path / "alone")
    assert await alone.blobs.signed_url(digest, timedelta(minutes=1)) is None
    elsewhere = await opened(storage.place("signed", download="https://cdn.example.org"), tmp_path / "elsewhere")
    assert (await elsewhere.blobs.signed_url(digest, timedelta(minutes=1)) or "").startswith("https://cdn.example.org/")
    assert await (await opened(BlobPlace(), tmp_path / "folder")).blobs.signed_url(digest, timedelta(minutes=1)) is None


async def test_keys_come_from_the_profile_that_the_environment_names(
    storage: ObjectStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in storage.keys:
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    key, secret = storage.keys.values()
    file.write_text(
        f"[packs]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\nendpoint_url = {storage.url}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "packs")
    server = await opened(BlobPlace(f"s3://{storage.bucket}/profile"), tmp_path)
    assert await server.put(OTHER) == sha256(OTHER)
    assert await server.keys() == [blob_key(sha256(OTHER))]
