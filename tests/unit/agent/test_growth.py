"""Waiting for a folder to be written in: with the kernel's news, and without."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from stark.agent import growth
from stark.agent.growth import Growth


async def test_what_is_written_between_looks_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LOOK_S", 600.0)
    with Growth(tmp_path) as news:
        (tmp_path / "log").write_text("a line\n")
        await asyncio.wait_for(news.wait(), 5)
        (tmp_path / "log").rename(tmp_path / "log.1")
        await asyncio.wait_for(news.wait(), 5)


async def test_without_news_somebody_looks_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LOOK_S", 0.01)
    with Growth(tmp_path) as news:
        await asyncio.wait_for(news.wait(), 5)


async def test_where_the_kernel_tells_nothing_it_is_looked_at_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str, *_: object) -> int:
        raise OSError(24, "too many")

    monkeypatch.setattr(growth, "call", refused)
    with Growth(tmp_path) as news:
        await asyncio.wait_for(news.wait(), 5)


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Growth(tmp_path) as news:
            (tmp_path / "log").write_text("x")
            await news.wait()
        with Growth(tmp_path / "missing"):
            pass
    assert set(os.listdir("/proc/self/fd")) == before
