"""An acknowledged write survives `kill -9`, whole, and the store goes on from there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from tests.support.store_writer import WORKERS
from tests.support.stores import open_store, put

ROUNDS = 6
ROOT = Path(__file__).parents[2]


def killed_writer(kind: str, directory: Path, acknowledgements: Path, wait_s: float) -> None:
    """Run the writer until `wait_s` after its first acknowledgement, then SIGKILL."""
    command = [sys.executable, "-m", "tests.support.store_writer", kind, str(directory)]
    with acknowledgements.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, cwd=ROOT)
        try:
            deadline = time.monotonic() + 20
            while not acknowledgements.stat().st_size:
                assert process.poll() is None, "the writer ended by itself"
                assert time.monotonic() < deadline, "the writer acknowledged nothing"
                time.sleep(0.005)
            time.sleep(wait_s)
            assert process.poll() is None, "the writer ended by itself"
        finally:
            process.kill()
            process.wait()


def acknowledged(file: Path) -> tuple[dict[int, int], int]:
    """Each worker's last number, and the highest revision; a line that was cut by the kill does not count."""
    numbers: dict[int, int] = {}
    revision = 0
    for line in file.read_bytes().split(b"\n")[:-1]:
        worker, number, at = (int(part) for part in line.split())
        numbers[worker] = number
        revision = max(revision, at)
    return numbers, revision


@pytest.mark.parametrize("kind", ["sqlite"])
async def test_kill_9_loses_no_acknowledged_write_and_halves_none(kind: str, tmp_path: Path) -> None:
    moments = random.Random(20)
    total = 0
    for round_number in range(ROUNDS):
        file = tmp_path / f"acknowledgements-{round_number}"
        killed_writer(kind, tmp_path, file, moments.uniform(0, 0.5))
        numbers, revision = acknowledged(file)
        async with open_store(kind, tmp_path) as opened:
            assert await opened.store.revision() >= revision > total
            for worker in range(WORKERS):
                a, b, odd = [(await opened.store.get(b"/%02d/%s" % (worker, name)))[0] for name in (b"a", b"b", b"odd")]
                if a is None:
                    assert worker not in numbers
                    continue
                number = int(a.value.rstrip(b"."))
                assert number >= numbers.get(worker, 0), "an acknowledged write is gone"
                assert b is not None
                assert (a.value, a.mod_revision) == (b.value, b.mod_revision), "half a transaction"
                assert (odd is not None) == (number % 2 == 1), "half a transaction"
            total = await opened.store.revision()
            assert await put(opened.store, b"after") == total + 1
        database = apsw.Connection(str(tmp_path / "data" / "store.db"))
        assert database.pragma("integrity_check") == "ok"
        database.close()
