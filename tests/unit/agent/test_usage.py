"""What containers use: counters from groups and process trees, and rates between two samples."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from stark.agent.cgroups import Cgroups
from stark.agent.usage import Counters, Processes, Sampler, Subject, node_counters, summary
from stark.agent.usage.counters import container_counters
from stark.agent.usage.sampler import Sample

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
NO_GROUPS = Cgroups(0, {})
NODE_BEFORE, NODE_AFTER = Counters(100.0, 5000), Counters(105.0, 6000)


def subject(container: str = "main", attempt: int = 0, pod: str = "web", pid: int = 1) -> Subject:
    return Subject(f"uid-{pod}", "default", pod, container, attempt, pid)


def said(before: dict[Subject, Counters], after: dict[Subject, Counters]) -> dict[str, Any]:
    """Ten seconds lie between the samples."""
    return summary("n1", Sample(50.0, AT, NODE_BEFORE, before), Sample(60.0, AT, NODE_AFTER, after))


def test_a_rate_is_what_was_used_over_the_window() -> None:
    whole = said({subject(): Counters(1.0, 10)}, {subject(): Counters(3.5, 20)})
    assert (whole["time"], whole["windowSeconds"]) == ("2026-01-02T03:04:05.678901Z", 10.0)
    assert whole["node"] == {"cpu": {"usageNanoCores": 500_000_000}, "memory": {"workingSetBytes": 6000}}
    (pod,) = whole["pods"]
    assert pod["podRef"] == {"namespace": "default", "name": "web", "uid": "uid-web"}
    expected = {"cpu": {"usageNanoCores": 250_000_000}, "memory": {"workingSetBytes": 20}}
    assert pod["containers"] == [{"name": "main", **expected}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, {subject(): Counters(1.0, 1)}, id="it has just begun"),
        pytest.param({subject(): Counters(9.0, 1)}, {subject(attempt=1): Counters(1.0, 1)}, id="it began again"),
        pytest.param({subject(): Counters(9.0, 1)}, {}, id="it has ended"),
        pytest.param(
            {subject(): Counters(1.0, 1)},
            {subject(): Counters(2.0, 1), subject("side"): Counters(1.0, 1)},
            id="one of its containers has just begun",
        ),
    ],
)
def test_a_pod_is_told_only_when_all_of_it_ran_for_a_whole_window(
    before: dict[Subject, Counters], after: dict[Subject, Counters]
) -> None:
    assert said(before, after)["pods"] == []


def test_nobody_uses_less_than_nothing() -> None:
    (pod,) = said({subject(): Counters(3.0, 1)}, {subject(): Counters(2.0, 1)})["pods"]
    assert pod["containers"][0]["cpu"]["usageNanoCores"] == 0


def test_nothing_is_told_before_there_is_a_window() -> None:
    first = Sample(50.0, AT, NODE_BEFORE, {})
    assert summary("n1", None, first) == summary("n1", None, None) == {"nodeName": "n1", "pods": []}


def stat(folder: Path, pid: int, parent: int, ticks: tuple[int, int, int, int], pages: int) -> None:
    (folder / str(pid)).mkdir()
    fields = ["S", str(parent), *["0"] * 9, *map(str, ticks), *["0"] * 6, str(pages), "0", "0"]
    (folder / str(pid) / "stat").write_text(f"{pid} (odd) name) {' '.join(fields)}\n")


def test_a_tree_is_a_process_with_all_its_descendants_and_those_that_ended(tmp_path: Path) -> None:
    for pid, parent, ticks, pages in (
        (10, 1, (100, 50, 30, 20), 3),
        (11, 10, (7, 0, 0, 0), 4),
        (12, 11, (3, 0, 0, 0), 5),
        (13, 1, (999, 0, 0, 0), 99),
    ):
        stat(tmp_path, pid, parent, ticks, pages)
    (tmp_path / "14").mkdir()
    (tmp_path / "self").mkdir()
    seen = Processes.look(tmp_path)
    tree = seen.tree(10)
    assert tree is not None
    assert tree.cpu_s == pytest.approx(210 / os.sysconf("SC_CLK_TCK"))
    assert tree.memory_bytes == 12 * os.sysconf("SC_PAGE_SIZE")
    assert seen.tree(14) is None


def group(base: Path, files: dict[str, str]) -> Path:
    folder = base / "uid" / "main"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return base


def test_a_group_of_version_2_counts_everything_without_idle_file_pages(tmp_path: Path) -> None:
    files = {
        "cpu.stat": "usage_usec 2500000\nuser_usec 1\n",
        "memory.current": "5000\n",
        "memory.stat": "anon 1\ninactive_file 2000\n",
    }
    cgroups = Cgroups(2, {"unified": group(tmp_path, files)})
    assert cgroups.counts_cpu
    assert container_counters(cgroups, "uid", "main", 1, Processes({})) == Counters(2.5, 3000)
    assert container_counters(cgroups, "other", "main", 1, Processes({})) is None


def test_a_group_of_version_1_without_accounting_takes_the_time_from_the_tree(tmp_path: Path) -> None:
    memory = group(
        tmp_path / "memory", {"memory.usage_in_bytes": "5000\n", "memory.stat": "total_inactive_file 1000\n"}
    )
    cpu = group(tmp_path / "cpu", {})
    tree = Processes({7: (1, Counters(1.5, 99))})
    cgroups = Cgroups(1, {"memory": memory, "cpu": cpu})
    assert not cgroups.counts_cpu
    assert container_counters(cgroups, "uid", "main", 7, tree) == Counters(1.5, 4000)
    assert container_counters(cgroups, "uid", "main", 8, tree) is None
    (cpu / "cpuacct.usage").write_text("0\n")
    (cpu / "uid/main/cpuacct.usage").write_text("3000000000\n")
    assert cgroups.counts_cpu
    assert container_counters(cgroups, "uid", "main", 8, tree) == Counters(3.0, 4000)


def test_the_node_counts_up_and_holds_memory() -> None:
    before, after = node_counters(), node_counters()
    assert 0 < before.cpu_s <= after.cpu_s
    assert after.memory_bytes > 10 << 20


async def begun(work: str) -> asyncio.subprocess.Process:
    """A process that is past its beginning, which costs time of its own."""
    program = f"print('begun', flush=True)\n{work}"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    return process


async def test_a_busy_process_is_seen_to_be_busy_and_an_idle_one_idle() -> None:
    busy, idle = [await begun(work) for work in ("while True: pass", "import time; time.sleep(60)")]
    subjects = [subject(pod="busy", pid=busy.pid), subject(pod="idle", pid=idle.pid)]
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    sampler = Sampler("n1", NO_GROUPS, lambda: subjects, 0.5, heard.put_nowait)
    task = asyncio.create_task(sampler.run())
    try:
        assert orjson.loads(sampler.encoded)["pods"] == []
        async with asyncio.timeout(20):
            while len((told := await heard.get())["pods"]) < 2:
                pass
        assert orjson.loads(sampler.encoded) == told
        used = {pod["podRef"]["name"]: pod["containers"][0] for pod in told["pods"]}
        assert used["busy"]["cpu"]["usageNanoCores"] > 5 * used["idle"]["cpu"]["usageNanoCores"]
        assert used["idle"]["memory"]["workingSetBytes"] > 1 << 20
        assert told["node"]["cpu"]["usageNanoCores"] > 0
    finally:
        task.cancel()
        for process in (busy, idle):
            process.kill()
            await process.communicate()
