"""Which logins are alive while news come, while none come, and who is cut off when one ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import CollectorRegistry

from stark.apiserver.auth.open_requests import OpenRequests
from stark.apiserver.auth.sessions import live as live_module
from stark.apiserver.auth.sessions import sessions as module
from stark.apiserver.auth.sessions.credentials import Record
from stark.apiserver.auth.sessions.live import LiveSessions, session_key
from stark.apiserver.auth.sessions.sessions import Sessions
from stark.apiserver.auth.sessions.tokens import SigningKeys
from stark.apiserver.credentials import StoredCredentials
from stark.apiserver.errors import Conflict, ServiceUnavailable, TooManyRequests
from stark.apiserver.rates import RequestRates
from stark.apiserver.request import Peer, Query, Request, User
from stark.apiserver.routes import Asked
from stark.apiserver.settings import RateSettings, SessionSettings
from stark.apiserver.store.memory import MemoryStore

UID = "6e1c9d4e-0000-4000-8000-000000000001"


class Deaf(StoredCredentials):
    """Records whose changes nobody is told of: a store whose watch is broken."""

    @asynccontextmanager
    async def follow(self, prefix: str) -> AsyncIterator[AsyncIterator[Mapping[str, Record | None]]]:
        if prefix:
            raise ServiceUnavailable("no news")
        yield aiter_of()


async def aiter_of() -> AsyncIterator[Mapping[str, Record | None]]:
    nothing: tuple[Mapping[str, Record | None], ...] = ()
    for each in nothing:
        yield each


async def alive_after_a_turn(live: LiveSessions, sid: str, now_s: float) -> bool:
    await asyncio.sleep(0)
    return await live.find(UID, sid, now_s) is not None


def login(credentials: StoredCredentials, live: LiveSessions, now: list[float]) -> Sessions:
    keys = SigningKeys([Ed25519PrivateKey.generate()])
    return Sessions(credentials, keys, live, SessionSettings(), CollectorRegistry(), clock=lambda: now[0])


@pytest.mark.parametrize("kind", [StoredCredentials, Deaf])
async def test_what_another_server_ends_is_over_with_or_without_its_news(kind: type[StoredCredentials]) -> None:
    store, now = MemoryStore(), [time.time()]
    credentials = kind(store)
    here, there = LiveSessions(credentials), LiveSessions(credentials)
    ended: list[tuple[str, str]] = []
    here.on_end = lambda uid, sid: ended.append((uid, sid))
    task = asyncio.create_task(here.run())
    try:
        ours, theirs = login(credentials, here, now), login(credentials, there, now)
        pair = await ours.begin(UID, "ada@example.com", address="a", agent="b")
        assert await here.find(UID, pair.sid, now[0]) is not None
        assert await there.find(UID, pair.sid, now[0]) is not None
        assert await theirs.end(UID, pair.sid)
        async with asyncio.timeout(5):
            while await alive_after_a_turn(here, pair.sid, now[0]):
                pass
        if kind is StoredCredentials:
            assert ended in ([], [(UID, pair.sid)]), "told once, if its beginning had been heard of"
        own = await ours.begin(UID, "ada@example.com", address="a", agent="b")
        await ours.end(UID, own.sid)
        assert await here.find(UID, own.sid, now[0]) is None, "at once"
        assert not await ours.end(UID, own.sid)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


async def test_a_session_ends_by_its_time_and_by_not_being_used(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = MemoryStore(), [time.time()]
    credentials = StoredCredentials(store)
    live = LiveSessions(credentials)
    ours, settings = login(credentials, live, now), SessionSettings()
    used = await ours.begin(UID, "ada@example.com", address="a", agent="b")
    unused = await ours.begin(UID, "ada@example.com", address="a", agent="b")
    token = used.refresh_token
    while now[0] + settings.idle_max_s * 0.9 < time.time() + settings.session_max_s:
        now[0] += settings.idle_max_s * 0.9
        renewed = await ours.refresh(token)
        assert renewed is not None
        assert renewed.expires_s - now[0] <= settings.access_token_s
        token = renewed.refresh_token
    assert await ours.refresh(unused.refresh_token) is None
    assert await credentials.read(session_key(UID, unused.sid)) is None
    now[0] += settings.idle_max_s * 0.9
    assert await ours.refresh(token) is None
    assert await live.find(UID, used.sid, now[0]) is None
    await ours.begin(UID, "ada@example.com", address="a", agent="b")
    now[0] += settings.session_max_s
    assert await ours.end_overdue() == 1
    monkeypatch.setattr(module, "PER_USER_MAX", 3)
    pairs = []
    for _ in range(4):
        now[0] += 1
        pairs.append(await ours.begin(UID, "ada@example.com", address="a", agent="b"))
    assert set(await ours.of(UID)) == {pair.sid for pair in pairs[1:]}, "the one used the longest time ago made room"
    await store.close()


async def test_a_record_that_cannot_be_read_is_a_login_that_is_over() -> None:
    store, now = MemoryStore(), [time.time()]
    credentials = StoredCredentials(store)
    live = LiveSessions(credentials)
    ours = login(credentials, live, now)
    task = asyncio.create_task(live.run())
    pair = await ours.begin(UID, "ada@example.com", address="a", agent="b")
    for spoiled in (b"", b"[]", b'{"email":"a"}', b"\xff"):
        await credentials.write({}, {session_key(UID, pair.sid): spoiled})
        assert await live.find(UID, pair.sid, now[0]) is None or not task.done()
    assert await ours.end_overdue() == 1
    assert await ours.refresh(pair.refresh_token) is None
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def test_what_was_ended_is_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now = MemoryStore(), [time.time()]
    credentials = StoredCredentials(store)
    live = LiveSessions(credentials)
    ours = login(credentials, live, now)
    task = asyncio.create_task(live.run())
    monkeypatch.setattr(live_module, "ENDED_KEPT_S", -1.0)
    for _ in range(20):
        pair = await ours.begin(UID, "ada@example.com", address="a", agent="b")
        await ours.end(UID, pair.sid)
        assert await live.find(UID, pair.sid, now[0]) is None
    assert len(live._ended) <= 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()


async def test_a_session_rests_on_the_proof_it_began_with() -> None:
    store, now = MemoryStore(), [time.time()]
    credentials = StoredCredentials(store)
    ours = login(credentials, LiveSessions(credentials), now)
    await credentials.write({}, {"passwords/x": b"old"})
    known = await credentials.read("passwords/x")
    assert known is not None
    proof = {"passwords/x": known.version}
    await ours.begin(UID, "ada@example.com", address="a", agent="b", proof=proof)
    await credentials.write({}, {"passwords/x": b"new"})
    with pytest.raises(Conflict):
        await ours.begin(UID, "ada@example.com", address="a", agent="b", proof=proof)
    assert len(await ours.of(UID)) == 1
    await store.close()


def test_only_the_requests_of_who_it_concerns_are_cut() -> None:
    requests, cut = OpenRequests(), list[str]()
    leave = requests.enter(User("a"), lambda: cut.append("left"))
    requests.enter(User("a"), lambda: cut.append("a"))
    requests.enter(User("b"), lambda: cut.append("b"))
    leave()
    assert requests.cut(lambda user: user.name == "a") == 1
    assert requests.cut(lambda user: user.name == "a") == 0
    assert cut == ["a"]


class NoBody:
    async def read(self, limit: int) -> bytes:
        return b""

    def chunks(self) -> AsyncIterator[bytes]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("user", "asked", "method", "allowed"),
    [
        pytest.param(User("a@b.c"), Asked("get", "/"), "GET", 4, id="people"),
        pytest.param(User("system:node:a"), Asked("get", "/"), "GET", 8, id="nodes and accounts of programs have more"),
        pytest.param(User("system:anonymous"), Asked("get", "/"), "GET", 2, id="nobody has the address's"),
        pytest.param(User("a@b.c"), Asked("update", "/", subresource="bundles"), "PUT", 3, id="uploads"),
        pytest.param(User("a@b.c"), Asked("get", "/", subresource="bundles"), "GET", 4, id="not downloads"),
        pytest.param(User("a@b.c"), Asked("create", "/", subresource="exec"), "POST", 1, id="connections"),
        pytest.param(User("root", ("system:masters",)), Asked("get", "/"), "GET", 100, id="masters are not counted"),
        pytest.param(User("c", ("system:controllers",)), Asked("get", "/"), "GET", 100, id="nor are controllers"),
    ],
)
def test_everybody_has_a_rate_of_their_own(user: User, asked: Asked, method: str, allowed: int) -> None:
    settings = RateSettings(
        person_burst=4, system_burst=8, anonymous_burst=2, uploads_per_h=3, connections_per_min=1, refused_tokens=5
    )
    rates = RequestRates(settings, CollectorRegistry(), clock=lambda: 0.0)
    request = Request(method, "/", Query(""), {}, NoBody(), Peer("192.0.2.1:1"))
    for _ in range(allowed):
        rates.admit(user, request, asked)
    if allowed < 100:
        with pytest.raises(TooManyRequests) as refusal:
            rates.admit(user, request, asked)
        assert refusal.value.retry_after_s
    if user.name != "system:anonymous":
        rates.admit(User("another@b.c"), request, Asked("get", "/"))


def test_who_shows_nothing_where_something_is_needed_uses_up_the_addresss_allowance() -> None:
    rates = RequestRates(RateSettings(anonymous_burst=2, refused_tokens=1), CollectorRegistry(), clock=lambda: 0.0)
    nothing = Request("GET", "/api/v1/pods", Query(""), {}, NoBody(), Peer("192.0.2.1:1"))
    bad_token = Request("GET", "/api/v1/pods", Query(""), {"authorization": "Bearer x"}, NoBody(), Peer("192.0.2.1:1"))
    rates.refused(bad_token)
    for request in (nothing, nothing):
        rates.refused(request)
    for request in (nothing, bad_token):
        with pytest.raises(TooManyRequests):
            rates.refused(request)
