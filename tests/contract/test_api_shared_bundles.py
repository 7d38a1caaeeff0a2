"""Several API servers of one etcd with one bucket: an upload goes on by any of them, and all of them have what one has."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stark.apiserver.packs.objects import Meta
from stark.apiserver.packs.segments import Segment, joined
from stark.apiserver.settings import Settings
from tests.support.apiserver import Api, api_server
from tests.support.etcd import etcd
from tests.support.object_storage import ObjectStorage

CONTENT = os.urandom(200_000)
SIZE, DIGEST = len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
PACK = {
    "apiVersion": "stark.dev/v1",
    "kind": "Pack",
    "metadata": {"name": "hello.1.0.0"},
    "spec": {
        "name": "hello",
        "version": "1.0.0",
        "runtime": "node",
        "bundles": [{"architecture": "any", "sha256": DIGEST, "size": SIZE}],
    },
}
PATH = f"/apis/stark.dev/v1/packs/hello.1.0.0/bundles/{DIGEST}"


async def send(api: Api, start: int, end: int) -> tuple[int, str]:
    """A part; the status of the answer, and what has come."""
    said = {"Content-Range": f"bytes {start}-{end - 1}/{SIZE}" if end else f"bytes */{SIZE}"}
    put = api.session.put(api.running.url + PATH, data=CONTENT[start:end], headers=said, allow_redirects=False)
    async with put as answer:
        return answer.status, answer.headers.get("Range", "")


@pytest.mark.slow
async def test_an_upload_goes_on_by_any_server_of_a_cluster(storage: ObjectStorage, tmp_path: Path) -> None:
    settings = Settings(tmp_path, blobs=storage.place("shared"))
    with etcd(tmp_path / "etcd") as store:
        where = f"etcd={store.url}"
        async with (
            api_server(tmp_path / "one", store=where, settings=settings) as one,
            api_server(tmp_path / "two", store=where, settings=settings) as two,
        ):
            (await one.post("/apis/stark.dev/v1/packs", PACK)).ok(201)
            assert await send(one, 0, 1000) == (308, "bytes=0-999")
            assert await send(two, 0, 0) == (308, "bytes=0-999")
            assert await send(two, 1000, 150_000) == (308, "bytes=0-149999")
            assert await send(one, 1000, 2000) == (308, "bytes=0-149999")
            assert await send(one, 150_000, SIZE) == (200, "")
            assert await send(two, 0, 0) == (200, "")
            for api in (one, two):
                async with api.session.get(api.running.url + PATH) as answer:
                    assert await answer.read() == CONTENT
                async with api.session.get(f"{api.running.url}{PATH}?direct=true", allow_redirects=False) as answer:
                    assert answer.status == 307
            pack = (await two.get("/apis/stark.dev/v1/packs/hello.1.0.0")).ok()
            assert pack["status"]["phase"] == "Available"


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([(0, 5), (5, 9)], [(0, 5), (5, 9)], id="what follows on one another"),
        pytest.param([(5, 9)], [], id="nothing without the beginning"),
        pytest.param([(0, 5), (6, 9)], [(0, 5)], id="up to a gap"),
        pytest.param([(0, 3), (0, 5), (3, 4), (5, 9)], [(0, 5), (5, 9)], id="the longest of those at one place"),
    ],
)
def test_parts_count_as_far_as_they_follow(there: list[tuple[int, int]], expected: list[tuple[int, int]]) -> None:
    metas = [Meta(f"partial/u.s/{start:012}-{end:012}", end - start, datetime.now(UTC)) for start, end in there]
    found: list[Segment] = joined(metas)
    assert [(one.start, one.end) for one in found] == expected
