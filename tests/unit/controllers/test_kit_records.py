"""Events are counted, bounded and never in the way; expectations keep a controller from acting twice on an old cache."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from stark.client.cached import Cached
from stark.client.errors import NotFound, Unavailable
from stark.client.informer import Informer
from stark.client.kinds import kind_of
from stark.client.reflector import ListWatch
from stark.client.watching import WatchEvent
from stark.controllers.kit import Expectations, Recorder
from stark.controllers.kit.recorder import BURST
from stark.crds.config import ConfigMap
from stark.crds.events import Event
from stark.crds.meta import ObjectMeta, decode
from tests.support.scripted_api import config_map
from tests.support.virtual_time import virtual_now, virtual_run


class Written:
    """Events as they would be stored; may be away."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.away = False

    async def make(self, obj: Event) -> None:
        if self.away:
            raise Unavailable("away")
        assert obj.metadata.name not in self.events
        self.events[obj.metadata.name] = obj

    async def patch(self, kind: type[Event], name: str, patch: Any, namespace: str | None = None) -> Event:
        if name not in self.events:
            raise NotFound(name)
        assert set(patch) == {"count", "lastTimestamp"}
        changed = decode({**self.events[name].model_dump(by_alias=True, exclude_unset=True), **patch}, Event)
        self.events[name] = changed
        return changed


def subject(name: str = "a") -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="ns", uid=f"uid-{name}"))


def test_the_same_thing_again_raises_the_count_and_an_expired_event_starts_anew() -> None:
    async def main() -> None:
        written = Written()
        recorder = Recorder(written, "tests", clock=virtual_now)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(recorder.run())
            for _ in range(3):
                recorder.event(subject(), "Normal", "Started", "it started")
                await asyncio.sleep(60)
            recorder.event(subject(), "Warning", "Failed", "it failed")
            await recorder.flush()
            started, failed = written.events.values()
            assert (started.count, started.reason, started.type) == (3, "Started", "Normal")
            assert started.last_timestamp is not None
            assert started.first_timestamp is not None
            assert (started.last_timestamp - started.first_timestamp).total_seconds() == 120
            assert started.involved_object.uid == "uid-a"
            assert (failed.count, failed.source.component, failed.metadata.namespace) == (1, "tests", "ns")
            written.events.clear()
            recorder.event(subject(), "Normal", "Started", "it started")
            await recorder.flush()
            assert [event.count for event in written.events.values()] == [1]
            task.cancel()

    virtual_run(main())


def test_one_noisy_object_gets_a_few_events_and_leaves_room_for_the_others() -> None:
    async def main() -> None:
        written = Written()
        recorder = Recorder(written, "tests", clock=virtual_now)
        task = asyncio.create_task(recorder.run())
        for number in range(200):
            recorder.event(subject("noisy"), "Warning", "Flapping", f"time {number}")
            await asyncio.sleep(0.001)
        recorder.event(subject("quiet"), "Normal", "Fine", "fine")
        await recorder.flush()
        names = [event.involved_object.name for event in written.events.values()]
        assert names.count("noisy") == BURST
        assert names.count("quiet") == 1
        task.cancel()

    virtual_run(main())


def test_recording_neither_waits_nor_fails_when_the_server_is_away_or_the_backlog_is_full() -> None:
    async def main() -> None:
        written = Written()
        written.away = True
        recorder = Recorder(written, "tests", clock=virtual_now, backlog_max=100)
        for number in range(100 + 10):
            recorder.event(subject(f"n{number}"), "Normal", "Seen", "seen")
        task = asyncio.create_task(recorder.run())
        await recorder.flush()
        written.away = False
        recorder.event(subject("after"), "Normal", "Seen", "seen")
        await recorder.flush()
        assert [event.involved_object.name for event in written.events.values()] == ["after"]
        task.cancel()

    virtual_run(main())


class Nowhere(ListWatch):
    """The informers below are fed by hand, as their reflector would."""

    def list_raw(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("not followed")

    def watch(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("not followed")


def tell(informer: Informer[ConfigMap], type_: str, name: str, version: int) -> None:
    cached = Cached(kind_of(ConfigMap), config_map(name, version))
    informer.apply(WatchEvent(type_, cached, str(version), b""))


def stored(name: str, version: int) -> ConfigMap:
    return decode(config_map(name, version), ConfigMap)


def test_a_key_waits_until_the_cache_shows_what_was_written_for_it() -> None:
    async def main() -> None:
        informer = Informer(Nowhere(), ConfigMap)
        informer.replace([Cached(kind_of(ConfigMap), config_map("old", 3))], "5")
        expectations = Expectations(informer)
        assert expectations.met("ns/web")
        expectations.wrote("ns/web", stored("new", 8))
        expectations.wrote("ns/web", stored("newer", 9))
        assert not expectations.met("ns/web")
        assert expectations.met("ns/other")
        tell(informer, "ADDED", "new", 8)
        assert not expectations.met("ns/web")
        tell(informer, "ADDED", "newer", 9)
        assert expectations.met("ns/web")

        expectations.deleted("ns/web", stored("old", 3))
        assert not expectations.met("ns/web")
        tell(informer, "DELETED", "old", 10)
        assert expectations.met("ns/web")

    virtual_run(main())


def test_a_namesake_of_what_was_deleted_does_not_hold_a_key_back() -> None:
    async def main() -> None:
        informer = Informer(Nowhere(), ConfigMap)
        informer.replace([Cached(kind_of(ConfigMap), config_map("a", 3))], "5")
        expectations = Expectations(informer)
        gone = stored("a", 2).model_copy(
            update={"metadata": stored("a", 2).metadata.model_copy(update={"uid": "before"})}
        )
        expectations.deleted("ns/web", gone)
        assert expectations.met("ns/web")

    virtual_run(main())


def test_an_expectation_that_is_never_met_ends_after_its_time() -> None:
    async def main() -> None:
        informer = Informer(Nowhere(), ConfigMap)
        expectations = Expectations(informer, ttl_s=60)
        expectations.wrote("ns/web", stored("hidden", 8))
        await asyncio.sleep(40)
        assert not expectations.met("ns/web")
        assert expectations.remaining_s("ns/web") == pytest.approx(20)
        await asyncio.sleep(20)
        assert expectations.met("ns/web")

    virtual_run(main())
