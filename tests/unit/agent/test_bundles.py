"""The node's bundles: right or not there, from the storage or the server, and never more than they may be."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stark.agent.__main__ import main, parser, settings_from
from stark.agent.bundles import BundleStore, CacheLimits, Digest, Disk, Kept, bytes_beyond, oldest_first
from stark.agent.fetching import Arriving, BundleError, StorageFailed

NO_DISK_LIMIT = {"high": 1.1, "low": 1.0, "age_min_s": 0.0}
AMPLE = CacheLimits(1 << 20, **NO_DISK_LIMIT)


class Shelf:
    """Where bundles come from in these tests: a server, and perhaps a storage."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.storage: dict[str, bytes | BundleError] = {}
        self.fetched: list[str] = []
        self.ways: list[str] = []

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.content[digest] = data
        return digest

    @asynccontextmanager
    async def open(self, _pack: str, sha256: str, *, direct: bool) -> AsyncIterator[Arriving]:
        is_direct = direct and sha256 in self.storage
        self.ways.append("storage" if is_direct else "server")
        self.fetched.append(sha256)
        data = self.storage[sha256] if is_direct else self.content[sha256]
        if isinstance(data, BundleError):
            raise data
        yield Arriving(in_bits(data), is_direct)


async def in_bits(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), 4):
        await asyncio.sleep(0)
        yield data[at : at + 4]


SCRIPT = b"console.log(1)"


async def test_a_bundle_is_fetched_once_and_kept_by_its_content(tmp_path: Path) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    store = BundleStore(tmp_path, AMPLE, shelf)
    paths = await asyncio.gather(*(store.ensure("u", "a.1", digest, 14) for _ in range(5)))
    assert {path for path, _ in paths} == {tmp_path / digest}
    assert shelf.fetched == [digest]
    assert (await store.ensure("u", "a.1", digest, 14))[1] is True


@pytest.mark.parametrize("arrives", [b"forged bundle!", b"short", b"much longer than announced"])
async def test_what_is_not_the_announced_content_is_refused_and_not_kept(tmp_path: Path, arrives: bytes) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    shelf.content[digest] = arrives
    with pytest.raises(Digest, match=digest):
        await BundleStore(tmp_path, AMPLE, shelf).ensure("u", "a.1", digest, 14)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "arrives",
    [
        pytest.param(b"forged bundle!", id="other bytes"),
        pytest.param(b"console.lo", id="too few"),
        pytest.param(SCRIPT + b"x", id="too many"),
        pytest.param(StorageFailed("unreachable"), id="nothing"),
    ],
)
async def test_what_the_storage_does_not_give_the_server_does(tmp_path: Path, arrives: bytes | BundleError) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    shelf.storage[digest] = arrives
    path, _ = await BundleStore(tmp_path, AMPLE, shelf).ensure("u", "a.1", digest, 14)
    assert shelf.ways == ["storage", "server"]
    assert path.read_bytes() == SCRIPT
    assert os.listdir(tmp_path) == [digest]


async def test_a_right_bundle_of_the_storage_is_asked_of_nobody_else(tmp_path: Path) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    shelf.storage[digest] = SCRIPT
    await BundleStore(tmp_path, AMPLE, shelf).ensure("u", "a.1", digest, 14)
    assert shelf.ways == ["storage"]


async def test_a_server_that_fails_is_not_asked_twice(tmp_path: Path) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    shelf.storage[digest] = BundleError("not uploaded")
    with pytest.raises(BundleError, match="not uploaded"):
        await BundleStore(tmp_path, AMPLE, shelf).ensure("u", "a.1", digest, 14)
    assert len(shelf.ways) == 1


@pytest.mark.parametrize("damage", [b"console.log(2)", b"console", b""])
async def test_a_file_that_was_damaged_on_disk_is_fetched_again(tmp_path: Path, damage: bytes) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    former = BundleStore(tmp_path, AMPLE, shelf)
    path, _ = await former.ensure("u", "a.1", digest, 14)
    for store in (former, BundleStore(tmp_path, AMPLE, shelf)):
        path.chmod(0o600)
        path.write_bytes(damage)
        assert await store.ensure("u", "a.1", digest, 14) == (path, False)
        assert path.read_bytes() == SCRIPT


async def test_a_file_that_was_put_in_the_place_of_another_is_fetched_again(tmp_path: Path) -> None:
    shelf = Shelf()
    digest = shelf.put(SCRIPT)
    store = BundleStore(tmp_path, AMPLE, shelf)
    path, _ = await store.ensure("u", "a.1", digest, 14)
    other = tmp_path / "other"
    other.write_bytes(b"console.log(2)")
    other.rename(path)
    assert await store.ensure("u", "a.1", digest, 14) == (path, False)
    assert path.read_bytes() == SCRIPT


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.s = 2_000_000_000.0

    def __call__(self) -> float:
        self.s += 1
        return self.s


async def five(tmp_path: Path, quota: int) -> tuple[BundleStore, list[str]]:
    """A store with bundles of ten bytes for five pods, the last of which ended first."""
    shelf, clock = Shelf(), Clock()
    store = BundleStore(tmp_path, CacheLimits(quota, **NO_DISK_LIMIT), shelf, now=clock)
    digests = [shelf.put(bytes([65 + number]) * 10) for number in range(5)]
    for number, digest in enumerate(digests):
        await store.ensure(f"pod-{number}", "a.1", digest, 10)
    return store, digests


async def test_the_quota_takes_the_least_recently_used_and_never_what_a_pod_uses(tmp_path: Path) -> None:
    store, digests = await five(tmp_path, 25)
    assert store.collect() == []
    for number in (4, 2, 3):
        store.let_go(f"pod-{number}")
    assert store.collect() == [digests[4], digests[2], digests[3]]
    assert set(os.listdir(tmp_path)) == {digests[0], digests[1]}


async def test_a_new_bundle_makes_its_room_before_it_comes(tmp_path: Path) -> None:
    store, digests = await five(tmp_path, 50)
    store.let_go("pod-1")
    await store.ensure("new", "a.1", digests[0], 10)
    assert set(os.listdir(tmp_path)) == set(digests)
    shelf = Shelf()
    store._source = shelf
    await store.ensure("new", "a.1", shelf.put(b"Z" * 8), 8)
    assert digests[1] not in os.listdir(tmp_path)
    assert len(os.listdir(tmp_path)) == 5


async def test_a_bundle_that_two_pods_use_goes_with_the_second(tmp_path: Path) -> None:
    store, digests = await five(tmp_path, 0)
    store.hold("other", digests[0])
    store.let_go("pod-0")
    assert store.clear() == []
    store.let_go("other")
    assert store.clear() == [digests[0]]


async def test_a_full_disk_takes_old_unused_bundles_down_to_the_low_threshold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digests = await five(tmp_path, 1000)
    for number in range(5):
        store.let_go(f"pod-{number}")
    store._limits = CacheLimits(1000, high=0.85, low=0.80, age_min_s=120)
    monkeypatch.setattr(store, "_disk", lambda: Disk(100, 5))
    came_s = os.stat(tmp_path / digests[0]).st_mtime
    store._now = lambda: came_s + 60
    assert store.collect() == []
    store._now = lambda: came_s + 600
    assert store.collect() == digests[:2]


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        pytest.param(16, 0, id="below the high threshold nothing"),
        pytest.param(15, 5, id="at it, down to the low one"),
        pytest.param(0, 20, id="a full disk"),
    ],
)
def test_thresholds_are_the_kubelets(available: int, expected: int) -> None:
    assert bytes_beyond(Disk(100, available), CacheLimits(0, 0.85, 0.80, 0)) == expected
    assert bytes_beyond(Disk(0, 0), CacheLimits(0, 0.85, 0.80, 0)) == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=8), st.integers(-5, 60))
def test_as_few_go_as_free_the_room_and_no_younger_before_an_older(ages: list[tuple[int, int]], beyond: int) -> None:
    kept = [Kept(str(at), size, float(age)) for at, (age, size) in enumerate(ages)]
    gone = oldest_first(kept, beyond)
    freed = sum(one.size for one in gone)
    assert freed >= min(beyond, sum(one.size for one in kept))
    assert not gone or freed - gone[-1].size < beyond
    staying = [one for one in kept if one not in gone]
    assert not gone or not staying or max(one.used_s for one in gone) <= min(one.used_s for one in staying)


def test_the_room_is_set_by_options(capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--kubeconfig", "/x", "--data-dir", "/x", "--bundle-quota", "500Mi", "--bundle-gc-high-threshold", "70"]
    settings = settings_from(parser().parse_args([*told, "--bundle-gc-low-threshold", "60%", "--no-direct-downloads"]))
    room = (settings.bundle_quota_bytes, settings.bundle_gc_high, settings.bundle_gc_low, settings.direct_downloads)
    assert room == (500 << 20, 0.7, 0.6, False)
    for wrong in (["--bundle-gc-low-threshold", "90"], ["--bundle-quota", "much"]):
        with pytest.raises(SystemExit):
            main([*told, *wrong])
    assert "must be below" in capsys.readouterr().err
