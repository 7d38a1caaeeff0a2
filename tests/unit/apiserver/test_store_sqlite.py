"""What only the SQLite store has: its directory, its disk, its groups, and the bounds of its memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from stark.apiserver.store.protocol import (
    Batch,
    Compacted,
    Delete,
    Event,
    Expect,
    LeaseNotFound,
    NoSpace,
    Put,
    Revision,
    Store,
    Unavailable,
    WatcherTooSlow,
)
from stark.apiserver.store.sqlite import DataDirLocked, DataDirUnusable, SqliteSettings, open_sqlite
from stark.apiserver.store.sqlite.heads import ABSENT, OVERHEAD_BYTES, Head, RecentHeads
from stark.apiserver.store.sqlite.reader import HISTORY_BYTES, HISTORY_ROWS
from stark.apiserver.store.window import Window
from tests.support.stores import delete, events_up_to, next_batch, put, sqlite_settings

MIB = 1 << 20
SETTINGS = sqlite_settings()


# The directory


async def test_a_directory_in_use_is_refused_with_the_process_that_uses_it(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    with pytest.raises(DataDirLocked, match=str(os.getpid())):
        await open_sqlite(tmp_path, SETTINGS)
    await store.close()
    await (await open_sqlite(tmp_path, SETTINGS)).close()


async def test_another_process_is_locked_out_too(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    code = (
        "import asyncio, pathlib, sys\n"
        "from stark.apiserver.store.sqlite import DataDirLocked, open_sqlite\n"
        "try: asyncio.run(open_sqlite(pathlib.Path(sys.argv[1])))\n"
        "except DataDirLocked as error: print(error)\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert f"in use by another process (pid {os.getpid()})" in output.decode()
    await store.close()


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirUnusable, match="file"):
        await open_sqlite(tmp_path / "file" / "data", SETTINGS)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "store.db").write_bytes(b"this is no database" * 1000)
    with pytest.raises(DataDirUnusable, match=r"store\.db"):
        await open_sqlite(foreign, SETTINGS)
    other = tmp_path / "other"
    other.mkdir()
    database = apsw.Connection(str(other / "store.db"))
    database.execute("CREATE TABLE theirs(a)")
    database.close()
    with pytest.raises(DataDirUnusable, match="format"):
        await open_sqlite(other, SETTINGS)
    # None of them is left locked.
    with pytest.raises(DataDirUnusable, match="format"):
        await open_sqlite(other, SETTINGS)


# The disk


async def fill(store: Store, value: bytes, limit: int = 3000) -> int:
    """Put keys until there is no space; how many there was space for."""
    for number in range(limit):
        try:
            await put(store, b"k%06d" % number, value)
        except NoSpace:
            return number
    raise AssertionError("it never got full")


async def test_at_the_quota_nothing_is_put_but_deletes_compaction_and_reads_work(tmp_path: Path) -> None:
    settings = replace(SETTINGS, quota_bytes=2 * MIB)
    store = await open_sqlite(tmp_path, settings)
    stored = await fill(store, b"x" * 10_000)
    assert stored > 50
    before = await store.revision()
    results = await asyncio.gather(
        put(store, b"big", b"x" * 100_000), delete(store, b"k000000"), return_exceptions=True
    )
    assert isinstance(results[0], NoSpace)
    assert results[1] == before + 1, "what fails in a group does not take the others with it"
    assert len((await store.range(b"k", b"l")).items) == stored - 1
    for number in range(1, stored):
        await delete(store, b"k%06d" % number)
    lease_free = (await store.range(b"", b"")).items
    assert lease_free == []
    await store.compact(await store.revision())
    for _ in range(100):
        try:
            await put(store, b"again", b"x" * 10_000)
            break
        except NoSpace:
            await asyncio.sleep(0.05)
    assert (await store.get(b"again"))[0] is not None
    await store.close()
    store = await open_sqlite(tmp_path, settings)
    assert [kv.key for kv in (await store.range(b"", b"")).items] == [b"again"]
    await store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root to mount a small file system")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.decode()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_on_a_full_disk_deletes_and_compaction_work_and_make_room(small_disk: Path) -> None:
    settings = replace(SETTINGS, reserve_bytes=2 * MIB, checkpoint_bytes=MIB)
    store = await open_sqlite(small_disk / "data", settings)
    stored = await fill(store, b"x" * 50_000)
    hog = os.open(small_disk / "hog", os.O_CREAT | os.O_WRONLY)
    with pytest.raises(OSError, match="No space"):
        os.posix_fallocate(hog, 0, 1 << 40)
    while (free := os.statvfs(small_disk)).f_bavail:
        os.write(hog, b"x" * free.f_frsize)
    os.close(hog)
    with pytest.raises(NoSpace):
        await put(store, b"big", b"x" * 500_000)
    before = (await store.range(b"", b"")).items
    assert len(before) == stored
    for number in range(stored):
        await delete(store, b"k%06d" % number)
    assert (await store.range(b"", b"")).items == []
    await store.compact(await store.revision())
    for _ in range(100):
        try:
            await put(store, b"again", b"x" * 50_000)
            break
        except NoSpace:
            await asyncio.sleep(0.05)
    assert (await store.get(b"again"))[0] is not None
    await store.close()
    store = await open_sqlite(small_disk / "data", settings)
    assert [kv.key for kv in (await store.range(b"", b"")).items] == [b"again"]
    await store.close()


async def test_a_lease_whose_end_found_no_space_ends_later(tmp_path: Path) -> None:
    settings = replace(SETTINGS, quota_bytes=MIB)
    store = await open_sqlite(tmp_path, settings)
    lease = await store.grant(1)
    await store.txn((), (Put(b"leased", b"1", lease),))
    await fill(store, b"x" * 10_000)
    async with store.watch(b"leased", b"leased\0", after=Revision(1)) as watch:
        events = await asyncio.wait_for(until_deleted(watch), 10)
    assert events[-1].current is None
    await store.close()


async def until_deleted(watch: AsyncIterator[Batch]) -> list[Event]:
    events: list[Event] = []
    async for batch in watch:
        events += batch.events
        if events and events[-1].current is None:
            return events
    raise AssertionError("the watch ended")


class BrokenDisk(apsw.VFS):
    """SQLite's own file layer, whose write-ahead log can no longer be synced once `broken` is set."""

    def __init__(self) -> None:
        self.broken = False
        super().__init__("broken-disk", "")

    def xOpen(self, name, flags):  # type: ignore[no-untyped-def]
        return BrokenFile(self, name, flags)


class BrokenFile(apsw.VFSFile):
    def __init__(self, disk: BrokenDisk, name, flags) -> None:  # type: ignore[no-untyped-def]
        self._disk = disk
        super().__init__("", name, flags)

    def xSync(self, flags: int) -> None:
        if self._disk.broken:
            raise apsw.IOError("fsync failed")
        super().xSync(flags)


async def test_a_failed_sync_stops_the_store_for_good_and_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = BrokenDisk()
    connect = apsw.Connection
    monkeypatch.setattr(apsw, "Connection", lambda name: connect(name, vfs="broken-disk"))
    told: list[BaseException] = []
    store = await open_sqlite(tmp_path, SETTINGS, fatal=told.append)
    await put(store, b"a")
    async with store.watch(b"", b"") as watch:
        await next_batch(watch)
        disk.broken = True
        results = await asyncio.gather(*(put(store, b"k%d" % n) for n in range(5)), return_exceptions=True)
        assert [type(result) for result in results] == [Unavailable] * 5
        with pytest.raises(Unavailable, match="disk failed"):
            await next_batch(watch)
    assert [isinstance(error, apsw.IOError) for error in told] == [True]
    disk.broken = False
    for call in (put(store, b"b"), store.get(b"a"), store.revision(), store.compact(Revision(2)), store.grant(5)):
        with pytest.raises(Unavailable, match="disk failed"):
            await call
    disk.broken = True
    await store.close()
    monkeypatch.undo()
    store = await open_sqlite(tmp_path, SETTINGS)
    assert (await store.get(b"a"))[0] is not None
    await store.close()


# Groups


async def test_each_request_of_a_group_is_answered_for_itself(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    seen = await put(store, b"a")
    lease = await store.grant(60)
    good, bad, unleased, gone, empty, compacted, later = await asyncio.gather(
        store.txn((Expect(b"a", seen),), (Put(b"a", b"1"),)),
        store.txn((Expect(b"a", seen),), (Put(b"a", b"2"), Put(b"b", b"2"))),
        store.txn((), (Put(b"c", b"1", lease),)),
        store.revoke(lease),
        store.txn((), (Delete(b"c"),)),
        store.compact(Revision(1)),
        store.txn((), (Put(b"d", b"1", lease),)),
        return_exceptions=True,
    )
    assert good == (True, seen + 1, ())
    assert bad[:2] == (False, seen + 1)  # type: ignore[index]
    assert unleased == (True, seen + 2, ())
    assert gone is None
    assert empty == (True, seen + 3, ()), "the revocation of the same group had deleted it"
    assert compacted is None
    assert isinstance(later, LeaseNotFound)
    assert [(kv.key, kv.value) for kv in (await store.range(b"", b"")).items] == [(b"a", b"1")]
    await store.close()


async def test_a_caller_that_gives_up_hurts_nobody_else(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    given_up = asyncio.create_task(put(store, b"a"))
    waiting = asyncio.create_task(put(store, b"b"))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await waiting == 3
    assert given_up.cancelled()
    assert (await store.range(b"", b"")).revision == 3
    await store.close()


async def test_closing_finishes_what_was_accepted(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    writes = [asyncio.create_task(put(store, b"k%03d" % n)) for n in range(700)]
    await asyncio.sleep(0)
    await store.close()
    assert sorted(await asyncio.gather(*writes)) == list(range(2, 702))
    store = await open_sqlite(tmp_path, SETTINGS)
    assert len((await store.range(b"", b"")).items) == 700
    await store.close()


# History


async def test_history_longer_than_one_read_of_it_arrives_whole(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    size = HISTORY_BYTES // 20
    for n in range(50):
        await put(store, b"large", b"%d" % n + b"x" * size)
    commits = HISTORY_ROWS // 100 + 3
    for n in range(commits):
        await store.txn((), tuple(Put(b"k%03d" % m, b"%d" % n) for m in range(150)))
    async with store.watch(b"", b"", after=Revision(1)) as watch:
        events = await events_up_to(watch, 1 + 50 + commits)
    assert len(events) == 50 + 150 * commits
    assert [event.revision for event in events] == sorted(event.revision for event in events)
    await store.close()


async def test_a_reader_of_long_history_is_not_too_slow_for_what_it_has_not_asked_for(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, replace(SETTINGS, watch_backlog_events=30))
    for n in range(300):
        await put(store, b"k%d" % n)
    async with store.watch(b"", b"", after=Revision(1)) as watch:
        for n in range(300):
            await put(store, b"k%d" % n)
        assert len(await events_up_to(watch, 601)) == 600
    await store.close()


async def test_a_watch_that_was_slow_over_a_compaction_is_told(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    for n in range(200):
        await put(store, b"k%d" % n)
    async with store.watch(b"", b"", after=Revision(1)) as watch:
        await store.compact(await store.revision())
        with pytest.raises(Compacted):
            await events_up_to(watch, 201)
    await store.close()


async def test_a_watch_that_has_read_its_history_is_not_passed_by_a_compaction(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, SETTINGS)
    for n in range(3):
        await put(store, b"k%d" % n)
    await store.close()
    store = await open_sqlite(tmp_path, SETTINGS)  # nothing recent is in memory
    async with store.watch(b"", b"", after=Revision(2)) as watch:
        assert [event.key for event in (await next_batch(watch)).events] == [b"k1", b"k2"]
        await store.compact(await put(store, b"k3"))
        assert [event.key for event in (await next_batch(watch)).events] == [b"k3"]
    await store.close()


async def test_unread_values_are_bounded_in_bytes(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path, replace(SETTINGS, watch_backlog_bytes=5 * MIB))
    async with store.watch(b"", b"") as watch:
        for n in range(10):
            await put(store, b"k%d" % n, b"x" * MIB)
        with pytest.raises(WatcherTooSlow, match="bytes"):
            await events_up_to(watch, 11)
    await store.close()


async def compacted(store: Store, revision: Revision) -> bool:
    try:
        await store.get(b"k", revision=revision)
    except Compacted:
        return True
    return False


async def test_the_store_keeps_its_history_within_the_window(tmp_path: Path) -> None:
    settings = replace(SETTINGS, compact_every_s=0.05, history_age_s=60.0, history_revisions=20)
    store = await open_sqlite(tmp_path, settings)
    for n in range(100):
        await put(store, b"k", b"%d" % n)
    async with asyncio.timeout(5):
        while not await compacted(store, Revision(80)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    kv, _ = await store.get(b"k", revision=Revision(81))
    assert kv is not None
    assert kv.value == b"79"
    database = apsw.Connection(str(tmp_path / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
    async with asyncio.timeout(5):
        # The rows go in steps after the revision was given up.
        while database.execute("SELECT count(*) >= 25 FROM log").fetchall() == [(1,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    database.close()
    await store.close()


@pytest.mark.parametrize(
    ("age_s", "revisions", "targets"),
    [
        pytest.param(100, 1000, [0, 0, 0], id="young and short history is kept"),
        pytest.param(20, 1000, [0, 0, 10], id="what is older than the age is given up"),
        pytest.param(100, 25, [-15, -5, 5], id="what is beyond the number is given up"),
        pytest.param(10, 5, [5, 15, 25], id="the shorter of the two decides"),
    ],
)
def test_the_window_says_what_to_give_up(age_s: float, revisions: int, targets: list[int]) -> None:
    window = Window(SqliteSettings(history_age_s=age_s, history_revisions=revisions))
    found = [window.observe(now, revision) for now, revision in ((0.0, 10), (10.0, 20), (20.0, 30))]
    assert [max(target, 0) for target in found] == [max(target, 0) for target in targets]


def test_recent_heads_forget_the_oldest_and_keep_the_newest() -> None:
    heads = RecentHeads(bytes_max=20 * OVERHEAD_BYTES)
    for n in range(100):
        heads.add({b"%d" % n: (n, None), b"always": (n, None)}, 0)
    found: dict[bytes, Head] = {}
    missing: list[bytes] = []
    for key in (b"0", b"99", b"always", b"never"):
        heads.find(key, found, missing)
    assert found == {b"0": ABSENT, b"99": (99, None), b"always": (99, None), b"never": ABSENT}
    assert missing == [b"0", b"never"]
