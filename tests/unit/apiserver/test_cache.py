"""The watch cache against a model that remembers everything and thinks of nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.apiserver.cache import change as change_module
from stark.apiserver.cache import watchers as watchers_module
from stark.apiserver.cache.change import Change, History
from stark.apiserver.cache.entry import Entry, EntryReader, encode_object, with_revision
from stark.apiserver.cache.feed import Feed
from stark.apiserver.cache.filter import FieldTest, Filter
from stark.apiserver.cache.index import Index
from stark.apiserver.cache.resource_cache import Expired, Prefix, ResourceCache
from stark.apiserver.cache.watchers import Watcher
from stark.apiserver.request import Frames
from stark.apiserver.store.memory import MemoryStore
from stark.apiserver.store.protocol import Batch, Event, KeyValue, Revision

READER = EntryReader(("spec.node",))


class Plain:
    """Objects as they are."""

    identity = "plain"

    def render(self, entry: Entry) -> bytes:
        return entry.data

    def bookmark(self, revision: int, *, initial_events_end: bool = False) -> bytes:
        return json.dumps({"metadata": {"resourceVersion": str(revision)}}).encode()


def obj(name: str, labels: dict[str, str] | None = None, node: str = "", namespace: str = "ns") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "Thing", "metadata": metadata, "spec": {"node": node}}


def entry(name: str, revision: int, **options: Any) -> Entry:
    made = obj(name, **options)
    return READER.read(f"{made['metadata']['namespace']}/{name}", encode_object(made), revision)


def stored(prefix: Prefix, made: dict[str, Any], revision: int) -> KeyValue:
    key = bytes(prefix) + f"{made['metadata']['namespace']}/{made['metadata']['name']}".encode()
    return KeyValue(key, encode_object(made), Revision(revision), Revision(revision), 1)


async def everything(watcher: Watcher) -> list[tuple[str, str, str]]:
    """Type, name and version of all frames until the watch ends."""
    lines = b"".join([piece async for piece in watcher]).splitlines()
    frames = [json.loads(line) for line in lines]
    return [
        (f["type"], f["object"]["metadata"].get("name", ""), f["object"]["metadata"].get("resourceVersion", ""))
        for f in frames
    ]


def test_the_version_is_spliced_in_and_nothing_else_changes() -> None:
    made = obj("a", {"x": "y"})
    value = encode_object({**made, "metadata": {**made["metadata"], "resourceVersion": "1"}})
    assert b"resourceVersion" not in value
    assert json.loads(with_revision(value, 7)) == {**made, "metadata": {**made["metadata"], "resourceVersion": "7"}}


def test_the_same_object_at_another_version() -> None:
    moved = entry("a", 9).at(1234)
    assert moved.revision == 1234
    assert moved.decode()["metadata"]["resourceVersion"] == "1234"
    assert moved.decode()["spec"] == {"node": ""}


NAMES = st.sampled_from(["a", "a-b", "b", "c"])
NAMESPACES = st.sampled_from(["n", "n-1", "m"])
LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]))
OBJECTS = st.builds(
    lambda name, namespace, labels, node: obj(name, labels, node, namespace),
    NAMES,
    NAMESPACES,
    LABELS,
    st.sampled_from(["", "n1", "n2"]),
)
FILTERS = st.builds(
    Filter,
    namespace=st.sampled_from(["", "n", "m"]),
    name=st.sampled_from(["", "a"]),
    equal_labels=st.sampled_from([(), (("app", "x"),), (("app", "x"), ("tier", "y"))]),
    fields=st.sampled_from([(), (FieldTest(0, "n1"),), (FieldTest(0, ""),), (FieldTest(0, "n2", equal=False),)]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), OBJECTS), max_size=30), FILTERS, NAMES)
def test_an_index_finds_what_a_look_at_everything_finds(
    steps: list[tuple[bool, dict[str, Any]]], wanted: Filter, start: str
) -> None:
    index, model = Index(READER.paths), dict[str, Entry]()
    for number, (is_put, made) in enumerate(steps):
        one = entry(
            made["metadata"]["name"],
            number,
            labels=made["metadata"].get("labels"),
            node=made["spec"]["node"],
            namespace=made["metadata"]["namespace"],
        )
        if is_put:
            assert index.put(one) is model.get(one.key)
            model[one.key] = one
        else:
            assert index.remove(one.key) is model.pop(one.key, None)
    assert list(index) == [model[key] for key in sorted(model)]
    first = f"n/{start}"
    expected = [model[key] for key in sorted(model) if key >= first and wanted.matches(model[key])]
    assert list(index.select(wanted, first)) == expected
    inside = [key for key in model if key >= first and (not wanted.namespace or key.startswith(f"{wanted.namespace}/"))]
    assert index.count_from(wanted.namespace, first) == len(inside)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.booleans(), OBJECTS), max_size=25), FILTERS, st.integers(0, 25))
def test_a_watcher_with_a_selector_can_rebuild_what_a_list_with_it_shows(
    steps: list[tuple[bool, dict[str, Any]]], wanted: Filter, joined_at: int
) -> None:
    async def check() -> None:
        cache = ResourceCache(Prefix("g", "things"), READER.paths)
        cache.load([], 1)
        live, resumed = Watcher(Plain()), Watcher(Plain())
        revision = 1
        for number, (is_put, made) in enumerate(steps):
            if number == joined_at:
                cache.watch_from_now(live, wanted, initial_events=True)
            item = stored(cache.prefix, made, revision + 1)
            if not is_put and cache.get(cache.key_of(item.key)) is None:
                continue
            revision += 1
            cache.apply(Event(item.key, item if is_put else None, None, Revision(revision)))
            cache.watchers.flush()
        if joined_at >= len(steps):
            cache.watch_from_now(live, wanted, initial_events=True)
        cache.watch_after(resumed, wanted, 1)
        expected = {(one.name, one.namespace) for one in cache.select(wanted)}
        for watcher in (live, resumed):
            watcher.end()
            assert await rebuilt(watcher) == expected

    asyncio.run(check())


async def rebuilt(watcher: Watcher) -> set[tuple[str, str]]:
    """What a client that follows the frames believes to exist; frames that make no sense fail."""
    known: set[tuple[str, str]] = set()
    for line in b"".join([piece async for piece in watcher]).splitlines():
        frame = json.loads(line)
        key = (frame["object"]["metadata"]["name"], frame["object"]["metadata"]["namespace"])
        assert (frame["type"] == "ADDED") is (key not in known), frame
        (known.discard if frame["type"] == "DELETED" else known.add)(key)
    return known


@pytest.fixture
async def cache() -> ResourceCache:
    cache = ResourceCache(Prefix("g", "things"), READER.paths)
    cache.load([stored(Prefix("g", "things"), obj("a"), 3)], 5)
    return cache


def put(cache: ResourceCache, name: str, revision: int) -> None:
    item = stored(cache.prefix, obj(name), revision)
    cache.apply(Event(item.key, item, None, Revision(revision)))


async def test_events_from_before_the_snapshot_are_not_applied_twice() -> None:
    cache = ResourceCache(Prefix("g", "things"))
    for revision in (4, 6):
        put(cache, "a", revision)
    cache.load([stored(cache.prefix, obj("a"), 4)], 5)
    assert (cache.revision, len(cache)) == (6, 1)
    found = cache.get("ns/a")
    assert found is not None
    assert found.revision == 6


async def test_a_watch_from_a_forgotten_revision_is_refused(
    cache: ResourceCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Expired, match="too old resource version: 4"):
        cache.watch_after(Watcher(Plain()), Filter(), 4)
    cache.watch_after(Watcher(Plain()), Filter(), 5)


def test_history_forgets_the_oldest_and_says_so() -> None:
    history = History(since=1, size_max=2)
    for revision in (2, 3, 4):
        history.add(Change(entry("a", revision), None, revision))
    assert history.after(1) is None
    kept = history.after(2)
    assert kept is not None
    assert [change.revision for change in kept] == [3, 4]
    assert history.after(4) == []
    assert change_module.HISTORY_MAX >= 1_000


async def test_a_slow_reader_is_cut_off_and_costs_no_more_memory(
    cache: ResourceCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchers_module, "WATCH_BACKLOG_MAX", 10)
    slow, quick = Watcher(Plain()), Watcher(Plain())
    for watcher in (slow, quick):
        cache.watch_from_now(watcher, Filter(), initial_events=False)
    for revision in range(6, 26):
        put(cache, "a", revision)
        cache.watchers.flush()
        await anext(quick)
    assert slow.was_cut
    assert not quick.was_cut
    assert cache.watchers.count == 1
    (last,) = [json.loads(piece) async for piece in slow]
    assert (last["type"], last["object"]["code"]) == ("ERROR", 410)


async def test_one_tick_is_one_piece_whatever_the_number_of_changes(cache: ResourceCache) -> None:
    watcher = Watcher(Plain())
    cache.watch_from_now(watcher, Filter(), initial_events=False)
    for revision in (6, 7, 8):
        put(cache, f"m{revision}", revision)
    cache.watchers.flush()
    piece = await anext(watcher)
    assert piece.count(b'"type":"ADDED"') == 3


async def test_watchers_that_want_the_same_share_the_bytes(cache: ResourceCache) -> None:
    watchers = [Watcher(Plain()) for _ in range(3)]
    for watcher in watchers:
        cache.watch_from_now(watcher, Filter(), initial_events=False)
    put(cache, "b", 6)
    cache.watchers.flush()
    pieces = [await anext(watcher) for watcher in watchers]
    assert pieces[0] is pieces[1] is pieces[2]


async def test_bookmarks_go_to_those_who_asked(cache: ResourceCache) -> None:
    asked, silent = Watcher(Plain(), bookmarks=True), Watcher(Plain())
    for watcher in (asked, silent):
        cache.watch_from_now(watcher, Filter(), initial_events=False)
    cache.watchers.bookmark(9)
    for watcher in (asked, silent):
        watcher.expire(11)
    assert await everything(asked) == [("BOOKMARK", "", "9"), ("BOOKMARK", "", "11")]
    assert await everything(silent) == []
    assert cache.watchers.count == 0


class Picky(Plain):
    """Cannot show one of the objects."""

    identity = "picky"

    def render(self, entry: Entry) -> bytes:
        if entry.name == "odd":
            raise TypeError("odd")
        return entry.data


async def test_an_object_that_cannot_be_shown_ends_the_watches_that_ask_for_it_and_nothing_else(
    cache: ResourceCache,
) -> None:
    picky, plain = Watcher(Picky()), Watcher(Plain())
    for watcher in (picky, plain):
        cache.watch_from_now(watcher, Filter(), initial_events=False)
    for revision, name in enumerate(("c", "odd", "d"), 6):
        put(cache, name, revision)
    cache.watchers.flush()
    plain.end()
    first, last = [json.loads(line) for line in b"".join([piece async for piece in picky]).splitlines()]
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "c")
    assert (last["type"], last["object"]["code"]) == ("ERROR", 500)
    assert [name for _, name, _ in await everything(plain)] == ["c", "odd", "d"]
    assert cache.watchers.count == 0


class Taken:
    """A connection that takes everything."""

    def __init__(self) -> None:
        self.is_ready, self.ended, self.data = True, 0, b""

    def send(self, frames: Frames) -> None:
        self.data += frames.data

    def end(self) -> None:
        self.ended += 1


async def test_a_watch_that_cannot_show_what_there_is_says_so_and_does_not_go_on(cache: ResourceCache) -> None:
    put(cache, "odd", 6)
    sink, watcher = Taken(), Watcher(Picky())
    cache.watch_from_now(watcher, Filter(), initial_events=True)
    watcher.attach(sink)
    put(cache, "z", 7)
    cache.watchers.flush()
    (last,) = [json.loads(line) for line in sink.data.splitlines()]
    assert (last["type"], last["object"]["code"], sink.ended) == ("ERROR", 500, 1)


async def test_the_last_bookmark_comes_after_everything_it_says_was_seen() -> None:
    feed = Feed(MemoryStore())
    things = feed.add(Prefix("g", "things"), READER.paths)
    things.load([], 5)
    watcher = Watcher(Plain(), bookmarks=True)
    things.watch_from_now(watcher, Filter(), initial_events=False)
    item = stored(things.prefix, obj("late"), 6)
    feed._apply(Batch(Revision(6), [Event(item.key, item, None, Revision(6))]))
    # Delivery would come in the next turn of the loop.
    feed.end_watches()
    assert await everything(watcher) == [("ADDED", "late", "6"), ("BOOKMARK", "", "6")]
