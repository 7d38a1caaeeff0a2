"""What the processes of one server share, and how they put together what each has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from stark.apiserver.__main__ import main
from stark.apiserver.auth.buckets import Buckets, Rate
from stark.apiserver.settings import Settings
from stark.apiserver.store.remote import SharedRevision
from stark.apiserver.workers.roles import SEATS_MIN, divided
from stark.apiserver.workers.scraping import together

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
