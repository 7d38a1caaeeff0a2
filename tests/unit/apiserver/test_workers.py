"""What the processes of one server share, and how they put together what each has."""

from __future__ import annotations

import asyncio
import dataclasses
import marshal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.__main__ import main
from stark.apiserver.auth.buckets import Buckets, Rate
from stark.apiserver.settings import Settings
from stark.apiserver.store.remote import SharedRevision
from stark.apiserver.store.remote.link import FORM, LENGTH, SAY, UNSENT_BYTES_MAX, Link, connected, listen
from stark.apiserver.workers.keeper import Keeper
from stark.apiserver.workers.roles import SEATS_MIN, divided
from stark.apiserver.workers.scraping import together
from stark.apiserver.workers.words import HELLO, TO_OTHERS

ONE = """# HELP made_total Made.
# TYPE made_total counter
made_total{kind="a{b} c"} 3.0
# HELP open Open.
# TYPE open gauge
open 1.0
"""
OTHER = """# HELP made_total Made.
# TYPE made_total counter
made_total{kind="x"} 4.0
"""


def test_a_scrape_says_of_every_sample_whose_it_is_and_tells_each_family_once() -> None:
    assert together({0: ONE, 2: OTHER}, 3).splitlines() == [
        "# HELP stark_worker_up 1: the worker's figures are in this scrape.",
        "# TYPE stark_worker_up gauge",
        'stark_worker_up{worker="0"} 1',
        'stark_worker_up{worker="1"} 0',
        'stark_worker_up{worker="2"} 1',
        "# HELP made_total Made.",
        "# TYPE made_total counter",
        'made_total{worker="0",kind="a{b} c"} 3.0',
        'made_total{worker="2",kind="x"} 4.0',
        "# HELP open Open.",
        "# TYPE open gauge",
        'open{worker="0"} 1.0',
    ]


def test_what_others_took_from_the_same_client_is_missing_here_until_it_has_filled_up() -> None:
    now, told = 0.0, list[str]()
    buckets = Buckets(Rate(2, 1), clock=lambda: now, on_take=told.append)
    assert buckets.take("ann") == 0
    for _ in range(3):
        buckets.count("ann")
    assert buckets.take("ann") == 3, "one has been taken too many, and is paid back"
    now = 3.0
    assert buckets.take("ann") == 0
    assert told == ["ann", "ann"], "only what was taken here is news for the others"


@pytest.mark.parametrize("workers", [1, 2, 3, 64])
def test_all_workers_together_have_what_one_process_has(workers: int, tmp_path: Path) -> None:
    whole = Settings(tmp_path, workers=workers)
    part = divided(whole)
    assert part.limits.seats_max == max(whole.limits.seats_max // workers, SEATS_MIN)
    assert whole.limits.watches_max <= part.limits.watches_max * workers < whole.limits.watches_max + workers
    assert part.passwords.hashes_at_once >= 1
    assert dataclasses.replace(part, limits=whole.limits, http=whole.http, passwords=whole.passwords) == whole


def test_the_shared_revision_is_one_number_whoever_looks() -> None:
    ours = SharedRevision.create()
    theirs = SharedRevision(ours.descriptor)
    for revision in (1, 2**40, 7):
        ours.value = revision
        assert theirs.value == revision
    theirs._cell.release()
    theirs._memory.close()
    ours.close()


@pytest.mark.parametrize("count", ["0", "-1", "65", "two"])
def test_a_number_of_workers_that_will_not_do_is_refused(
    count: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--data-dir", str(tmp_path), "--workers", count])
    assert "is not a number from 1 to 64" in capsys.readouterr().err


class Remembering(Keeper):
    """A keeper that says whom it has met."""

    def __init__(self) -> None:
        super().__init__(None, {}, None)  # type: ignore[arg-type]
        self.links: list[Any] = []

    def opened(self, link: Link) -> None:
        self.links.append(link)


async def test_a_worker_that_does_not_read_does_not_fill_the_keepers_memory(tmp_path: Path) -> None:
    keeper = Remembering()
    async with await listen(tmp_path / "keeper.sock", keeper):
        with connected(tmp_path / "keeper.sock") as deaf:
            frame = marshal.dumps([(SAY, 0, HELLO, (1,))], FORM)
            deaf.sendall(LENGTH.pack(len(frame)) + frame)
            async with asyncio.timeout(5):
                while not keeper._workers:  # noqa: ASYNC110 - it comes over a socket
                    await asyncio.sleep(0.001)
            (link,) = keeper.links
            for _ in range(3 * UNSENT_BYTES_MAX >> 20):
                keeper.told(object(), TO_OTHERS, ("counted", ("person", "x" * (1 << 20))))  # type: ignore[arg-type]
                await asyncio.sleep(0)
            assert link.is_full
            assert link._transport.get_write_buffer_size() < UNSENT_BYTES_MAX + (4 << 20)
        async with asyncio.timeout(5):
            await keeper.left()


FAILING = """
from pathlib import Path
from stark.apiserver.settings import Settings
from stark.apiserver.workers.supervisor import Supervisor
async def fail(on_ready):
    raise RuntimeError("nobody foresaw this")
supervisor = Supervisor(Settings(Path("."), workers=2))
supervisor._keeper.start = fail
raise SystemExit(supervisor.run())
"""


def test_a_process_that_ends_in_a_way_nobody_foresaw_says_why(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAILING], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "nobody foresaw this" in done.stderr
