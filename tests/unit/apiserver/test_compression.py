"""Lists in segments that outlive a change, and gzip files put together from them."""

from __future__ import annotations

import gzip
import sys
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stark.apiserver.cache.entry import Entry
from stark.apiserver.cache.snapshot import SEGMENT_SIZE_MAX, Segment, Snapshots, snapshot_of
from stark.apiserver.request import Response
from stark.apiserver.wire.compression import COMPRESSED_FROM, Gzipped, compress, deflated, takes_gzip
from tests.support.server_side import request


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=300), st.integers(0, 200_000).map(lambda size: b"ab" * size)), max_size=8))
def test_parts_put_together_are_one_gzip_file_of_the_announced_size(parts: list[bytes]) -> None:
    body = Gzipped([deflated(part) for part in parts])
    whole = b"".join(body)
    assert len(whole) == body.size
    assert gzip.decompress(whole) == b"".join(parts)
    # One member, not several: some readers stop after the first.
    reader = zlib.decompressobj(31)
    assert reader.decompress(whole) == b"".join(parts)
    assert (reader.eof, reader.unused_data) == (True, b"")
    assert body[0] == body[:1][0]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True), ("deflate, gzip, br", True), ("GZIP;q=0.5", True), ("gzip; q=1.0", True), ("", False),
        ("gzip;q=0", False), ("gzip; q=0.000", False), ("identity", False), ("xgzip, gzipx", False), ("*", False),
    ],
)  # fmt: skip
def test_gzip_is_sent_to_those_who_take_it(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


def test_small_answers_and_those_in_another_coding_stay_as_they_are() -> None:
    asked = request(headers={"accept-encoding": "gzip"})
    small, coded = Response(body=b"x"), Response(body=b"x" * COMPRESSED_FROM, headers={"Content-Encoding": "br"})
    for answer in (small, coded):
        before = answer.body
        compress(asked, answer)
        assert answer.body is before
    large = Response(body=b"x" * COMPRESSED_FROM)
    compress(request(), large)
    assert (large.headers, large.body) == ({"Vary": "Accept-Encoding"}, b"x" * COMPRESSED_FROM)
    compress(asked, large)
    assert large.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(b"".join(large.body)) == b"x" * COMPRESSED_FROM  # type: ignore[arg-type]


def entries(count: int, namespace: str = "ns") -> list[Entry]:
    return [Entry(f"{namespace}/object-{number:05}", number, b"{}") for number in range(count)]


def test_segments_are_all_there_is_in_order_and_never_of_two_namespaces() -> None:
    everything = entries(3_000, "a") + entries(10, "b") + entries(700, "c")
    snapshot = snapshot_of(everything)
    assert [entry for segment in snapshot.segments for entry in segment.entries] == everything == list(snapshot)
    assert all(len({entry.namespace for entry in segment.entries}) == 1 for segment in snapshot.segments)
    assert max(len(segment.entries) for segment in snapshot.segments) <= SEGMENT_SIZE_MAX
    assert 3 <= len(snapshot.segments) <= 200
    assert snapshot_of([]).segments == []


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1_999), st.sampled_from(["changed", "gone", "new"]))
def test_a_change_leaves_nearly_all_segments_what_they_were(at: int, what: str) -> None:
    before = entries(2_000)
    first = snapshot_of(before)
    after = list(before)
    if what == "changed":
        after[at] = Entry(before[at].key, 9_999, b"{}")
    elif what == "gone":
        del after[at]
    else:
        after.insert(at + 1, Entry(f"{before[at].key}-x", 9_999, b"{}"))
    second = snapshot_of(after, first.segments)
    assert [entry for segment in second.segments for entry in segment.entries] == after
    # Where a run was cut for its length, the cuts after it move along to the next key that begins a segment.
    assert len(set(second.segments) - set(first.segments)) <= 3 + sum(
        len(segment.entries) == SEGMENT_SIZE_MAX for segment in first.segments
    )


def test_a_form_is_made_once_and_few_are_kept() -> None:
    made: list[int] = []

    def make(found: object) -> int:
        made.append(1)
        return len(made)

    segment = Segment(entries(3))
    assert [segment.form("a", make), segment.form("a", make), segment.form("b", make)] == [1, 1, 2]
    for number in range(10):
        segment.form(number, make)
    assert len(segment._forms) <= 4


def test_a_snapshot_is_kept_until_something_changes() -> None:
    snapshots, there = Snapshots(), entries(500)
    first = snapshots.get("", lambda: list(there))
    assert snapshots.get("", list) is first
    snapshots.changed()
    there.append(Entry("ns/z", 1, b"{}"))
    second = snapshots.get("", lambda: list(there))
    assert list(second) == there
    assert len(set(first.segments) & set(second.segments)) >= len(first.segments) - 1


def test_a_snapshot_that_nobody_asks_for_any_more_does_not_keep_what_is_gone() -> None:
    snapshots, (gone,) = Snapshots(), entries(1)
    snapshots.get("ns", lambda: [gone])
    before = sys.getrefcount(gone)
    for _ in range(2 * Snapshots.FORGOTTEN_AFTER):
        snapshots.changed()
        snapshots.get("", list)
    assert sys.getrefcount(gone) < before


def test_lists_of_namespaces_that_do_not_exist_keep_nothing() -> None:
    snapshots = Snapshots()
    for number in range(1_000):
        snapshots.get(f"made-up-{number}", list)
    assert max(len(kept) for kept in (snapshots._current, snapshots._former, snapshots._listed)) <= Snapshots.KEPT_MAX
