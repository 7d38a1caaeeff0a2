"""What only etcd can show: lost answers, lost leaders, quotas, certificates, users, and history that is gone meanwhile."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
import uvloop

from stark.apiserver.auth.identities import parse_identity
from stark.apiserver.auth.pki import Authority
from stark.apiserver.store.etcd import EtcdSettings, EtcdStore, EtcdUnusable, open_etcd
from stark.apiserver.store.etcd.messages import STATUS
from stark.apiserver.store.protocol import (
    Batch,
    Compacted,
    Delete,
    Expect,
    FutureRevision,
    LeaseNotFound,
    NoSpace,
    Put,
    Revision,
    Store,
    TooLarge,
    Unavailable,
)
from tests.support.apiserver import api_server, config_map
from tests.support.etcd import Cable, Etcd, cable, etcd, etcd_cluster, free_port, shared_etcd
from tests.support.stores import create, delete, etcd_settings, events_up_to, next_batch, next_events, open_store, put

MISSING = Revision(0)


@asynccontextmanager
async def opened(settings: EtcdSettings) -> AsyncIterator[EtcdStore]:
    store = await open_etcd(settings)
    try:
        yield store
    finally:
        await store.close()


def hasty(*urls: str) -> EtcdSettings:
    """So that a test need not wait long for what takes long."""
    return replace(etcd_settings(*urls), request_timeout_s=3.0, attempt_timeout_s=0.3, stall_s=0.4, start_timeout_s=0.5)


@pytest.fixture
async def direct(tmp_path: Path) -> AsyncIterator[Store]:
    """The shared etcd without a cable, emptied."""
    async with open_store("etcd", tmp_path) as opened_store:
        yield opened_store.store


@pytest.fixture
async def line(direct: Store) -> AsyncIterator[Cable]:
    async with cable(shared_etcd()) as relay:
        yield relay


@pytest.fixture
async def remote(line: Cable) -> AsyncIterator[EtcdStore]:
    """The same etcd at the end of the cable."""
    async with opened(hasty(line.url)) as store:
        yield store


async def changed(store: Store, key: bytes, since: Revision) -> None:
    """Return when the key was written after `since`."""
    async with store.watch(key, key + b"\0", after=since) as watch:
        await next_events(watch, 1)


# Lost answers


async def test_a_create_whose_answer_was_lost_is_found_to_have_happened(
    direct: Store, line: Cable, remote: Store
) -> None:
    before = await direct.revision()
    line.loses_answers = True
    creating = asyncio.create_task(remote.txn((Expect(b"a", MISSING),), (Put(b"a", b"mine"),)))
    await changed(direct, b"a", before)
    line.mend()
    assert await creating == (True, before + 1, ())
    kv, at = await direct.get(b"a")
    assert kv is not None
    assert (kv.value, kv.version, at) == (b"mine", 1, before + 1)


async def test_an_update_of_several_keys_whose_answer_was_lost_is_found_to_have_happened(
    direct: Store, line: Cable, remote: Store
) -> None:
    lease = await direct.grant(60)
    first = await put(direct, b"a", b"0")
    second = await put(direct, b"b", b"0")
    line.loses_answers = True
    expect = (Expect(b"a", first), Expect(b"b", second), Expect(b"c", MISSING))
    updating = asyncio.create_task(remote.txn(expect, (Put(b"a", b"1", lease), Delete(b"b"), Put(b"c", b"1"))))
    await changed(direct, b"a", second)
    line.mend()
    assert await updating == (True, second + 1, ())
    assert await direct.revision() == second + 1


async def test_a_request_that_was_lost_itself_is_done_once(direct: Store, line: Cable, remote: Store) -> None:
    before = await direct.revision()
    line.loses_requests = True
    creating = asyncio.create_task(create(remote, b"a"))
    await asyncio.sleep(0.1)
    line.mend()
    assert await creating
    assert await direct.revision() == before + 1


async def test_a_lost_answer_whose_trace_was_overwritten_is_no_answer(
    direct: Store, line: Cable, remote: Store
) -> None:
    first = await put(direct, b"a", b"0")
    line.loses_answers = True
    updating = asyncio.create_task(remote.txn((Expect(b"a", first),), (Put(b"a", b"mine"),)))
    await changed(direct, b"a", first)
    await put(direct, b"a", b"theirs")
    line.mend()
    with pytest.raises(Unavailable):
        await updating


async def test_a_lost_answer_to_a_condition_that_had_failed_before_is_a_failed_condition(
    direct: Store, line: Cable, remote: Store
) -> None:
    first = await put(direct, b"a", b"0")
    second = await put(direct, b"a", b"1")
    async with remote.watch(b"", b"", after=first) as watch:
        await events_up_to(watch, second)
    line.loses_answers = True
    updating = asyncio.create_task(remote.txn((Expect(b"a", first),), (Put(b"a", b"mine"),)))
    await asyncio.sleep(0.1)
    line.mend()
    result = await updating
    assert not result.succeeded
    assert [kv and kv.value for kv in result.current] == [b"1"]


@pytest.mark.parametrize("with_condition", [True, False], ids=["a delete", "an unconditional put"])
async def test_a_lost_answer_that_cannot_be_settled_is_unavailable(
    direct: Store, line: Cable, remote: Store, with_condition: bool
) -> None:
    first = await put(direct, b"a", b"0")
    line.loses_answers = True
    write = (
        remote.txn((Expect(b"a", first),), (Delete(b"a"),)) if with_condition else remote.txn((), (Put(b"a", b"1"),))
    )
    writing = asyncio.create_task(write)
    await changed(direct, b"a", first)
    line.mend()
    with pytest.raises(Unavailable):
        await writing
    assert await direct.revision() == first + 1


async def test_a_grant_and_a_revocation_whose_answers_were_lost_have_happened(line: Cable, remote: Store) -> None:
    line.loses_answers = True
    granting = asyncio.create_task(remote.grant(60))
    await asyncio.sleep(0.1)
    line.mend()
    lease = await granting
    line.loses_answers = True
    revoking = asyncio.create_task(remote.revoke(lease))
    await asyncio.sleep(0.1)
    line.mend()
    await revoking
    with pytest.raises(LeaseNotFound):
        await remote.renew(lease)


# A watch that lost its etcd


async def test_a_watch_waits_for_etcd_and_then_hears_the_rest(direct: Store, line: Cable, remote: Store) -> None:
    async with remote.watch(b"", b"") as watch:
        await next_batch(watch)
        before = await direct.revision()
        for _ in range(3):
            line.refuses = True
            line.cut()
            for n in range(30):
                last = await put(direct, b"k%d" % n)
            assert not (await next_batch(watch)).events, "bookmarks go on"
            line.mend()
        assert [event.revision for event in await events_up_to(watch, last)] == list(range(before + 1, last + 1))


async def test_history_that_was_compacted_while_etcd_was_away_ends_the_watches(
    direct: Store, line: Cable, remote: Store
) -> None:
    async with remote.watch(b"", b"") as watch:
        await next_batch(watch)
        line.refuses = True
        line.cut()
        await put(direct, b"a", b"1")
        last = await put(direct, b"a", b"2")
        await direct.compact(last)
        line.mend()
        with pytest.raises(Compacted) as refusal:
            await events_up_to(watch, last)
        assert refusal.value.compacted == last
    async with remote.watch(b"", b"", after=last) as watch:
        after = await put(remote, b"a", b"3")
        assert [event.revision for event in await events_up_to(watch, after)] == [after]


async def test_a_watch_that_lacks_what_others_know_is_opened_elsewhere(direct: Store, line: Cable) -> None:
    async with cable(shared_etcd()) as good, opened(hasty(line.url, good.url)) as store:
        async with store.watch(b"", b"") as watch:
            await next_batch(watch)
            line.loses_answers = True
            revision = await put(direct, b"a")
            assert await store.revision() == revision, "the other member answers"
            assert [event.revision for event in await events_up_to(watch, revision)] == [revision]


async def test_compaction_by_others_is_told_with_its_revision(direct: Store, remote: Store) -> None:
    first = await put(direct, b"a", b"1")
    last = await put(direct, b"a", b"2")
    await direct.compact(last)
    with pytest.raises(Compacted) as refusal:
        await remote.get(b"a", revision=first)
    assert (refusal.value.requested, refusal.value.compacted) == (first, last)
    with pytest.raises(Compacted):
        await remote.compact(last)


async def test_a_watch_from_the_revision_before_a_compacted_deletion_is_refused(direct: Store, remote: Store) -> None:
    """etcd would begin it without a word, and the deletion would be missing."""
    before = await put(direct, b"a")
    gone = await delete(direct, b"a")
    await put(direct, b"b")
    await direct.compact(gone)
    await remote.revision()
    async with opened(etcd_settings(shared_etcd().url)) as fresh:
        async with fresh.watch(b"", b"", after=before) as watch:
            with pytest.raises(Compacted):
                await events_up_to(watch, gone)


async def test_old_history_is_compacted_by_itself(direct: Store) -> None:
    first = await put(direct, b"a", b"1")
    settings = replace(etcd_settings(shared_etcd().url), compact_every_s=0.1, history_revisions=3)
    async with opened(settings):
        for n in range(5):
            await put(direct, b"a", str(n).encode())
        async with asyncio.timeout(5):
            while True:
                try:
                    await direct.get(b"a", revision=first)
                except Compacted:
                    break
                await asyncio.sleep(0.05)
    kv, _ = await direct.get(b"a", revision=Revision(await direct.revision() - 3))
    assert kv is not None


# An etcd of one's own


class Workers:
    """Tasks that count up keys of their own by compare-and-swap, through every failure."""

    def __init__(self, store: Store, number: int) -> None:
        self.store, self.number, self.stopped = store, number, False
        self.acknowledged: dict[int, tuple[bytes, bytes]] = {}
        self.failures = 0

    async def run(self) -> None:
        """Until `stopped`."""
        await asyncio.gather(*(self._count(b"/w/%d" % worker) for worker in range(self.number)))

    async def _count(self, key: bytes) -> None:
        number = 0
        while not self.stopped:
            try:
                kv, _ = await self.store.get(key)
                seen, number = (kv.mod_revision, int(kv.value)) if kv else (MISSING, 0)
                value = str(number + 1).encode()
                result = await self.store.txn((Expect(key, seen),), (Put(key, value),))
            except Unavailable:
                self.failures += 1
                continue
            assert result.succeeded, "nobody else writes this key, so a lost answer was not settled"
            self.acknowledged[result.revision] = (key, value)


async def follow(watch: AsyncIterator[Batch], into: list[tuple[int, bytes, bytes]], until: asyncio.Event) -> None:
    async for batch in watch:
        into += [(event.revision, event.key, event.current.value) for event in batch.events if event.current]
        if until.is_set() and not batch.events:
            return


async def survive(store: Store, harm: AsyncIterator[None]) -> Workers:
    """Let workers write while harm is done; then compare what was acknowledged with what a watch was told."""
    workers, done = Workers(store, 8), asyncio.Event()
    told: list[tuple[int, bytes, bytes]] = []
    start = await store.revision()
    async with store.watch(b"/w/", b"/w0") as watch:
        following = asyncio.create_task(follow(watch, told, done))
        working = asyncio.create_task(workers.run())
        async for _ in harm:
            await asyncio.sleep(0.1)
        workers.stopped = True
        await working
        last = await store.revision()
        await asyncio.sleep(0.5)
        done.set()
        await asyncio.wait_for(following, 20)
    assert [revision for revision, _, _ in told] == list(range(start + 1, last + 1)), "no gap, no repeat"
    by_revision = {revision: (key, value) for revision, key, value in told}
    assert workers.acknowledged.items() <= by_revision.items()
    values = [value for _, key, value in told if key == b"/w/0"]
    assert values == [str(n + 1).encode() for n in range(len(values))], "nothing was written twice"
    return workers


async def test_a_frozen_and_a_killed_etcd_lose_no_write_and_no_event(tmp_path: Path) -> None:
    with etcd(tmp_path / "etcd") as server:

        async def harm() -> AsyncIterator[None]:
            for kill in (False, True):
                await asyncio.sleep(0.3)
                if kill:
                    await asyncio.to_thread(server.stop, kill=True)
                    await asyncio.sleep(0.2)
                    await asyncio.to_thread(server.start)
                else:
                    server.signal(signal.SIGSTOP)
                    await asyncio.sleep(0.7)
                    server.signal(signal.SIGCONT)
                yield

        async with opened(etcd_settings(server.url)) as store:
            workers = await survive(store, harm())
    assert len(workers.acknowledged) > 50


@pytest.mark.slow
async def test_a_lost_leader_loses_no_write_and_no_event(tmp_path: Path) -> None:
    with etcd_cluster(tmp_path) as members:
        urls = [member.url for member in members]

        async def harm() -> AsyncIterator[None]:
            for _ in range(2):
                await asyncio.sleep(1)
                leader = await asyncio.to_thread(leader_of, members)
                await asyncio.to_thread(leader.stop, kill=True)
                await asyncio.sleep(4)
                await asyncio.to_thread(leader.start)
                yield

        async with opened(etcd_settings(*urls)) as store:
            workers = await survive(store, harm())
    assert len(workers.acknowledged) > 100


def leader_of(members: Sequence[Etcd]) -> Etcd:
    """The member that says it leads."""
    for member in members:
        words = [word.strip() for word in member.ctl("endpoint", "status").split(",")]
        if "true" in words:
            return member
    raise AssertionError("nobody leads")


async def test_an_etcd_that_went_back_in_time_ends_the_watches(tmp_path: Path) -> None:
    with etcd(tmp_path / "etcd") as server:
        async with opened(hasty(server.url)) as store:
            last = await put(store, b"a")
            async with store.watch(b"", b"", after=last) as watch:
                await next_batch(watch)
                await asyncio.to_thread(server.stop, kill=True)
                shutil.rmtree(server.data)
                await asyncio.to_thread(server.start)
                with pytest.raises(FutureRevision):
                    await next_events(watch, 1)
            async with store.watch(b"", b"") as watch:
                again = await put(store, b"b")
                assert [event.key for event in await next_events(watch, 1)] == [b"b"]
            assert again <= last


async def fill(store: Store) -> None:
    """Write until it is refused. etcd looks at its size only now and then."""
    for n in range(64):
        await put(store, b"k%d" % n, b"x" * 1_000_000)


async def test_over_the_quota_writes_are_refused_and_deletes_and_compaction_work(tmp_path: Path) -> None:
    with etcd(tmp_path / "etcd", "--quota-backend-bytes", str(8 << 20)) as server:
        async with opened(etcd_settings(server.url)) as store:
            with pytest.raises(NoSpace, match="etcdctl alarm disarm"):
                await fill(store)
            with pytest.raises(NoSpace):
                await put(store, b"small")
            kv, _ = await store.get(b"k0")
            assert kv is not None
            for key in [kv.key for kv in (await store.range(b"", b"", keys_only=True)).items]:
                last = await delete(store, key)
            await store.compact(last)
            server.ctl("defrag")
            server.ctl("alarm", "disarm")
            assert await put(store, b"small") == last + 1
            assert 0 < await store.size_bytes() < 1 << 20


async def test_what_etcd_alone_finds_too_large_is_too_large(direct: Store) -> None:
    with pytest.raises(TooLarge):
        await direct.txn((), tuple(Put(b"k%d" % n, b"v") for n in range(129)))


# Getting in


def certificates(directory: Path) -> tuple[Path, Path, Path, Path]:
    """CA, another CA, and a certificate with its key for both sides of a connection."""
    authority, other = Authority.open(directory / "ca"), Authority.open(directory / "other")
    both = authority.issue(parse_identity("node:etcd"))
    paths = [directory / name for name in ("ca.pem", "other.pem", "both.pem", "both.key")]
    contents = (authority.certificate_pem, other.certificate_pem, both.certificate_pem, both.key_pem)
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return paths[0], paths[1], paths[2], paths[3]


async def test_certificates_are_checked_on_both_sides(tmp_path: Path) -> None:
    ca, other, certificate, key = certificates(tmp_path)
    options = ("--cert-file", certificate, "--key-file", key, "--client-cert-auth", "--trusted-ca-file", ca)
    with etcd(tmp_path / "etcd", *map(str, options), scheme="https") as server:
        settings = replace(hasty(server.url), cafile=ca, certfile=certificate, keyfile=key, request_timeout_s=1.0)
        async with opened(settings) as store:
            revision = await put(store, b"a")
            async with store.watch(b"", b"", after=Revision(revision - 1)) as watch:
                assert len(await next_events(watch, 1)) == 1
        for worse in (replace(settings, certfile=None, keyfile=None), replace(settings, cafile=other)):
            with pytest.raises(EtcdUnusable, match=r"etcd does not answer at https://127\.0\.0\.1"):
                await open_etcd(worse)


@pytest.mark.slow
async def test_a_user_authenticates_and_goes_on_when_the_token_is_no_longer_known(tmp_path: Path) -> None:
    with etcd(tmp_path / "etcd", "--auth-token-ttl", "2", "--bcrypt-cost", "4") as server:
        server.ctl("user", "add", "root:secret")
        server.ctl("user", "add", "guest:secret")
        server.ctl("auth", "enable")
        settings = hasty(server.url.replace("//", "//root:secret@"))
        async with opened(settings) as store:
            await expect_lives_on(store)
            await asyncio.sleep(3.5)
            await expect_lives_on(store)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
            await expect_lives_on(store)
        for worse, why in (
            (hasty(server.url), "--etcd-username"),
            (replace(hasty(server.url), username="root", password="wrong"), "authentication failed"),
            (replace(hasty(server.url), username="guest", password="secret"), "permission denied"),
        ):
            with pytest.raises(EtcdUnusable, match=why) as refusal:
                await open_etcd(worse)
            assert "secret" not in str(refusal.value)


async def expect_lives_on(store: Store) -> None:
    """Reads, writes and a watch work."""
    async with store.watch(b"", b"") as watch:
        kv, _ = await store.get(b"a")
        result = await store.txn((Expect(b"a", kv.mod_revision if kv else MISSING),), (Put(b"a", b"v"),))
        assert result.succeeded
        assert [event.revision for event in await next_events(watch, 1)] == [result.revision]


async def test_a_start_without_etcd_names_the_addresses_and_hides_the_password() -> None:
    port = free_port()
    begin = time.monotonic()
    settings = replace(hasty(f"http://user:secret@127.0.0.1:{port}", "http://localhost:1"), request_timeout_s=0.5)
    with pytest.raises(EtcdUnusable, match=f"http://127.0.0.1:{port}, http://localhost:1") as refusal:
        await open_etcd(settings)
    assert "secret" not in str(refusal.value) + repr(settings.password and replace(settings, urls=()))
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        pytest.param(EtcdSettings(()), "no etcd URL", id="no URL"),
        pytest.param(EtcdSettings(("ftp://a",)), "cannot be understood", id="another scheme"),
        pytest.param(EtcdSettings(("http://a:b:c",)), "cannot be understood", id="no port"),
        pytest.param(EtcdSettings(("http://a", "https://b")), "mix", id="mixed schemes"),
        pytest.param(EtcdSettings(("http://a",), cafile=Path("ca")), "use https", id="certificates for plain text"),
        pytest.param(EtcdSettings(("https://a",), certfile=Path("c")), "belong together", id="half a pair"),
        pytest.param(EtcdSettings(("https://a",), cafile=Path("/none")), "/none cannot be read", id="no such file"),
    ],
)
async def test_settings_that_cannot_work_are_explained(settings: EtcdSettings, why: str) -> None:
    with pytest.raises(EtcdUnusable, match=why):
        await open_etcd(settings)


async def test_an_etcd_older_than_three_four_is_refused() -> None:
    async def status(_request: object, _context: object) -> object:
        return STATUS.response(version="3.3.27")

    handler = grpc.unary_unary_rpc_method_handler(status, STATUS.request.FromString, STATUS.response.SerializeToString)
    service, method = STATUS.path.strip("/").split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        with pytest.raises(EtcdUnusable, match=r"3\.3\.27: upgrade it to 3\.4"):
            await open_etcd(hasty(f"http://127.0.0.1:{port}"))
    finally:
        await server.stop(None)


def test_it_works_in_uvloop_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with open_store("etcd", tmp_path) as opened_store:
            store = opened_store.store
            async with store.watch(b"", b"") as watch:
                await asyncio.gather(*(create(store, b"k%d" % n) for n in range(100)))
                assert len(await next_events(watch, 100)) == 100

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


# The API server on it


@pytest.mark.slow
async def test_the_api_serves_what_it_has_while_etcd_is_frozen_and_recovers(tmp_path: Path) -> None:
    maps = "/api/v1/namespaces/default/configmaps"
    with etcd(tmp_path / "etcd") as server:
        async with api_server(tmp_path / "data", store=f"etcd={server.url}") as api:
            (await api.post(maps, config_map("before", k="v"))).ok(201)
            server.signal(signal.SIGSTOP)
            frozen = time.monotonic()
            writing = asyncio.create_task(api.post(maps, config_map("during")))
            cached = (await api.get(f"{maps}?resourceVersion=0")).ok()
            assert "before" in [item["metadata"]["name"] for item in cached["items"]]
            assert (await writing).refused(503, "ServiceUnavailable")
            await asyncio.sleep(max(0.0, 8 - (time.monotonic() - frozen)))
            server.signal(signal.SIGCONT)
            (await api.post(maps, config_map("after"))).ok(201)
            listed = (await api.get(maps)).ok()
            assert {"before", "after"} <= {item["metadata"]["name"] for item in listed["items"]}
