"""Logs: written and rotated by the supervisor's writer, read and followed with kubectl's options."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from stark.agent.logs import LogOptions, LogShelf, NoLog, files_of, stamp_seconds, stream, tail_text
from stark.agent.supervisor.logfile import LINE_MAX, LogFile


def write(
    folder: Path, *texts: str, attempt: int = 0, limit: int = 1 << 20, files: int = 5, stream_: str = "stdout"
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    log = LogFile(str(folder / f"{attempt}.log"), limit, files)
    for text in texts:
        log.feed(stream_, text.encode())
    log.close()


async def read(folder: Path, attempt: int = 0, **options: Any) -> str:
    return b"".join([t async for t in stream(folder, attempt, LogOptions(**options), lambda: True)]).decode()


def test_lines_are_stamped_and_marked(tmp_path: Path) -> None:
    write(tmp_path, "one\ntwo", stream_="stderr")
    first, second = (tmp_path / "0.log").read_text().splitlines()
    stamp, name, tag, text = first.split(" ", 3)
    assert (name, tag, text) == ("stderr", "F", "one")
    assert len(stamp) == len("2026-01-01T00:00:00.000000000Z")
    assert abs(stamp_seconds(stamp.encode()) - time.time()) < 5
    assert second.endswith("stderr F two"), "what never got its newline is written at the end"


async def test_a_long_line_is_stored_in_pieces_and_read_as_one(tmp_path: Path) -> None:
    long = "x" * (2 * LINE_MAX + 10)
    write(tmp_path, long[:1000], long[1000:] + "\nshort\n")
    tags = [line.split(" ", 3)[2] for line in (tmp_path / "0.log").read_text().splitlines()]
    assert tags == ["P", "P", "F", "F"]
    assert await read(tmp_path) == f"{long}\nshort\n"
    assert await read(tmp_path, tail_lines=2) == f"{long}\nshort\n"
    assert (await read(tmp_path, timestamps=True)).count("Z ") == 2


def test_rotation_keeps_the_newest_files_and_loses_only_the_oldest_lines(tmp_path: Path) -> None:
    write(tmp_path, *(f"line {number}\n" for number in range(200)), limit=1000, files=3)
    files = files_of(tmp_path, 0)
    assert [f.name for f in files] == ["0.log.2", "0.log.1", "0.log"]
    assert all(f.stat().st_size <= 1000 for f in files)
    numbers = [int(line.split()[-1]) for f in files for line in f.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 200))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, "a\nb\nc\n", id="everything"),
        pytest.param({"tail_lines": 2}, "b\nc\n", id="the last two"),
        pytest.param({"tail_lines": 0}, "", id="the last none"),
        pytest.param({"tail_lines": 99}, "a\nb\nc\n", id="more than there are"),
        pytest.param({"limit_bytes": 3}, "a\nb", id="three bytes"),
        pytest.param({"since": time.time() + 3600}, "", id="since later"),
        pytest.param({"since": 0.0}, "a\nb\nc\n", id="since the epoch"),
    ],
)
async def test_options_mean_what_kubectl_means(tmp_path: Path, options: dict[str, Any], expected: str) -> None:
    write(tmp_path, "a\nb\n", "c\n")
    assert await read(tmp_path, **options) == expected


async def test_the_tail_reaches_into_rotated_files(tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}\n" for number in range(100)), limit=500, files=5)
    assert (await read(tmp_path, tail_lines=20)).split() == [str(n) for n in range(80, 100)]


async def test_following_crosses_rotations_without_gap_or_repeat_and_ends_with_the_run(tmp_path: Path) -> None:
    log = LogFile(str(tmp_path / "0.log"), 2_000, 5)
    over = False

    async def write_all() -> None:
        nonlocal over
        for number in range(300):
            log.feed("stdout", f"{number}\n".encode())
            if number % 20 == 0:
                await asyncio.sleep(0.05)
        log.close()
        over = True

    log.feed("stdout", b"before\n")
    writing = asyncio.create_task(write_all())
    texts = [t async for t in stream(tmp_path, 0, LogOptions(follow=True), lambda: over)]
    await writing
    assert b"".join(texts).decode().split() == ["before", *(str(n) for n in range(300))]


async def test_a_run_without_a_log_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(NoLog):
        await read(tmp_path, attempt=3)


def test_a_full_disk_loses_lines_and_says_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(str(tmp_path / "0.log"), 1 << 20, 5)
    real = os.write

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.feed("stdout", b"lost\n")
    monkeypatch.setattr(os, "write", real)
    log.feed("stdout", b"kept\n")
    log.close()
    lines = (tmp_path / "0.log").read_text().splitlines()
    assert "bytes of output were lost" in lines[0]
    assert lines[1].endswith("kept")


def test_only_the_current_and_the_previous_run_are_kept(tmp_path: Path) -> None:
    shelf = LogShelf(tmp_path)
    folder = shelf.folder("ns", "pod", "uid", "main")
    for attempt in range(4):
        write(folder, "x\n", attempt=attempt)
    shelf.forget_old_attempts(folder)
    assert shelf.attempts(folder) == [2, 3]


def test_logs_outlive_their_pod_for_the_retention(tmp_path: Path) -> None:
    shelf = LogShelf(tmp_path)
    for uid in ("old", "kept"):
        write(shelf.folder("ns", uid, uid, "main"), "x\n")
    later = time.time() + 100
    assert shelf.expire(frozenset({"kept"}), 200, later) == []
    assert shelf.expire(frozenset({"kept"}), 50, later) == ["ns_old_old"]
    assert shelf.latest_uid("ns", "kept") == "kept"
    assert shelf.latest_uid("ns", "old") is None


def test_the_tail_explains_a_failure(tmp_path: Path) -> None:
    write(tmp_path, "first\nlast words\n")
    assert tail_text(tmp_path, 0) == "first\nlast words"
    assert tail_text(tmp_path, 9) == ""
