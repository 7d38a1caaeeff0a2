"""The agent: from a bound pod to its running program, against the bare start of the same program; and what idles cost.

A pod is bound in a small in-memory API; the clock stops when the agent's status says that its container runs, i.e.
after bundle, environment, supervisor, start, and the harness's word that the entry point was called. The floor is the
same harness started with subprocess, until it says so on its own channel. Both alternate in the same process.

Then many pods at once (a shell's `sleep`): how many a second come to run, and what they cost while they idle. Last, a
program that writes as fast as it can: lines a second through its supervisor, and what share of a core that takes.

Beside it, in the same run, what others do with the same programs: PM2, Docker and Podman (`peers/`). Those that are missing
are installed by `python benchmarks/agent.py --install-peers`, or left out by name: `--without docker,podman`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import INSTALL, TICKS, Missing, Sizes, engines, lateness_s, pm2, ticker

from stark.agent.cgroups import Cgroups, Limits
from stark.agent.logs import LogOptions, stream
from stark.agent.runtimes import Program, Runtime
from stark.agent.runtimes.node import NodeRuntime
from stark.agent.runtimes.python import PythonRuntime
from stark.agent.settings import AgentSettings
from stark.agent.usage import Subject
from stark.agent.usage.sampler import take_sample
from tests.support.agent_api import AgentApi, agent_api
from tests.support.agents import AgentProcess, supervisor_of, until

SOURCES = {
    "binary": b"#!/bin/sh\nexec sleep 1000000\n",
    "node": b"module.exports.default = async (c) => { await new Promise((r) => c.onShutdown(r)); };",
    "python": b"import asyncio\nasync def default(context):\n    await asyncio.Event().wait()\n",
}
IDLE_S = 3.0
PODS = 100
CROWD_IDLE_S = 30.0
LOG_LINES = 500_000
WRITER = b"""#!/bin/sh
yes 'a line of a program that says what it does, in about eighty bytes of text' | head -n %d
exec sleep 1000000
"""
SAMPLES = 20
USAGE_PERIOD_S = AgentSettings(Path()).usage_period_s


def bare_start_s(runtime: Runtime, bundle: Path) -> float:
    """Seconds from Popen to `called`, without any agent."""
    ours, theirs = socket.socketpair()
    what = Program(
        bundle, "id", "bare", "1.0.0", runtime.tag, "default", None, {}, [], [], "uid", "execution", None, False
    )
    invocation = runtime.invoke(what)

    def hand_over() -> None:
        os.dup2(theirs.fileno(), 3, inheritable=True)

    begun = time.perf_counter()
    with subprocess.Popen(
        invocation.argv, env={"PATH": "/usr/bin:/bin", **invocation.env}, cwd=bundle.parent,
        preexec_fn=hand_over, close_fds=False,
    ) as process:  # fmt: skip
        theirs.close()
        said = ours.recv(4096)
        took = time.perf_counter() - begun
        assert json.loads(said.splitlines()[0])["type"] == "called", said
        process.kill()
    ours.close()
    return took


async def bound_to_running_s(api: AgentApi, name: str, image: str) -> tuple[float, str]:
    """Seconds from the binding to the status that says running, and the pod's uid."""
    begun = time.perf_counter()
    uid = await api.add_pod(name, image)
    while not api.ready(name):  # noqa: ASYNC110 - the clock must stop within a millisecond
        await asyncio.sleep(0.001)
    return time.perf_counter() - begun, uid


async def measure(rounds: int, crowd: int) -> None:
    """Print the figures."""
    runtimes: dict[str, Runtime] = {"node": NodeRuntime(), "python": PythonRuntime()}
    with tempfile.TemporaryDirectory() as folder:
        async with agent_api() as api:
            data = Path(folder) / "data"
            agent = AgentProcess(api.config, data, "--on-stop", "stop")
            await agent.start()
            await agent.registered()
            try:
                for tag, runtime in runtimes.items():
                    await measure_starts(api, Path(folder), tag, runtime, rounds)
                await measure_binary_starts(api, rounds)
                await measure_idle(api, agent)
                await measure_logs(api, data)
                await measure_follow(api, data)
                await measure_crowd(api, agent, crowd)
            finally:
                await agent.end(signal.SIGTERM)


async def measure_starts(api: AgentApi, folder: Path, tag: str, runtime: Runtime, rounds: int) -> None:
    bundle = folder / f"{tag}-bundle"
    bundle.write_bytes(SOURCES[tag])
    image = api.add_pack(f"bench-{tag}", "1.0.0", SOURCES[tag], tag)
    ours, floor = [], []
    for number in range(rounds):
        floor.append(await asyncio.to_thread(bare_start_s, runtime, bundle))
        name = f"{tag}-{number}"
        took, uid = await bound_to_running_s(api, name, image)
        ours.append(took)
        await api.delete(name, 0)
        await until("gone", partial(gone, uid))
    print(f"agent_bind_to_running_{tag}_ms: {statistics.median(ours) * 1000:.1f}")
    print(f"agent_bare_start_{tag}_ms: {statistics.median(floor) * 1000:.1f}")
    print(f"agent_start_overhead_{tag}_ms: {(statistics.median(ours) - statistics.median(floor)) * 1000:.1f}")


async def measure_binary_starts(api: AgentApi, rounds: int) -> None:
    """A bare command, as container engines start it."""
    image, took = api.add_pack("bench-binary", "1.0.0", SOURCES["binary"], "binary"), []
    for number in range(rounds):
        name = f"binary-{number}"
        seconds, uid = await bound_to_running_s(api, name, image)
        took.append(seconds)
        await api.delete(name, 0)
        await until("gone", partial(gone, uid))
    print(f"agent_bind_to_running_binary_ms: {statistics.median(took) * 1000:.1f}")


def gone(uid: str) -> bool:
    """Whether nothing of the pod is left."""
    return supervisor_of(uid) is None


async def measure_idle(api: AgentApi, agent: AgentProcess) -> None:
    image = api.add_pack("idle", "1.0.0", SOURCES["node"])
    _, uid = await bound_to_running_s(api, "idle", image)
    supervisor = supervisor_of(uid)
    assert supervisor is not None
    assert agent.process is not None
    process = psutil.Process(agent.process.pid)
    before = process.cpu_times()
    await asyncio.sleep(IDLE_S)
    after = process.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / IDLE_S
    print(f"agent_idle_rss_mib: {process.memory_info().rss / (1 << 20):.1f}")
    print(f"supervisor_rss_mib: {supervisor.memory_info().rss / (1 << 20):.1f}")
    print(f"agent_idle_cpu_percent: {cpu * 100:.2f}")


def cpu_s(process: psutil.Process) -> float:
    """Processor time that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def measure_crowd(api: AgentApi, agent: AgentProcess, crowd: int) -> None:
    image = api.add_pack("crowd", "1.0.0", SOURCES["binary"], "binary")
    names = [f"crowd-{number}" for number in range(crowd)]
    begun = time.perf_counter()
    uids = [await api.add_pod(name, image) for name in names]
    await until("all run", lambda: all(api.ready(name) for name in names), 120)
    print(f"agent_pods_started_per_second: {crowd / (time.perf_counter() - begun):.1f}")
    assert agent.process is not None
    found = [supervisor_of(uid) for uid in uids]
    supervisors = [process for process in found if process is not None]
    process = psutil.Process(agent.process.pid)
    await asyncio.sleep(IDLE_S)
    before, before_them = cpu_s(process), sum(map(cpu_s, supervisors))
    await asyncio.sleep(CROWD_IDLE_S)
    print(f"agent_cpu_of_{crowd}_idle_pods_percent: {(cpu_s(process) - before) / CROWD_IDLE_S * 100:.2f}")
    theirs = sum(map(cpu_s, supervisors)) - before_them
    print(f"supervisors_cpu_of_{crowd}_idle_pods_percent: {theirs / CROWD_IDLE_S * 100:.2f}")
    print(f"agent_rss_with_{crowd}_pods_mib: {process.memory_info().rss / (1 << 20):.1f}")
    rss = [one.memory_info().rss / (1 << 20) for one in supervisors]
    print(f"supervisor_rss_of_{crowd}_median_mib: {statistics.median(rss):.1f}")


async def measure_logs(api: AgentApi, data: Path) -> None:
    """Lines a second that a supervisor takes from a program; the clock stops when the last of them is on the disk."""
    image = api.add_pack("writer", "1.0.0", WRITER % LOG_LINES, "binary")
    begun = time.perf_counter()
    uid = await api.add_pod("writer", image)
    folder = data / "logs" / f"default_writer_{uid}" / "main"
    await until("it has begun", lambda: any(file.stat().st_size for file in folder.glob("0.log*")))
    supervisor = supervisor_of(uid)
    assert supervisor is not None
    seen_s = -1.0
    while (used := cpu_s(supervisor)) != seen_s:
        seen_s, ended = used, time.perf_counter()
        await asyncio.sleep(0.25)
    took = ended - begun
    print(f"supervisor_log_lines_per_second: {LOG_LINES / took:.0f}")
    print(f"supervisor_log_cpu_us_per_line: {seen_s / LOG_LINES * 1e6:.2f}")
    await api.delete("writer", 0)


async def measure_follow(api: AgentApi, data: Path) -> None:
    """How long after a program writes a line somebody who follows its log sees it."""
    image = api.add_pack("ticker", "1.0.0", f"#!/bin/sh\n{ticker('sleep')}".encode(), "binary")
    uid = await api.add_pod("ticker", image)
    folder = data / "logs" / f"default_ticker_{uid}" / "main"
    await until("it has begun", lambda: (folder / "0.log").exists())
    late: list[float] = []
    async for text in stream(folder, 0, LogOptions(follow=True, tail_lines=0), lambda: False):
        late += [seen for line in text.splitlines() if (seen := lateness_s(line)) is not None]
        if len(late) >= TICKS:
            break
    print(f"agent_log_follow_ms: {statistics.median(late) * 1000:.1f}")
    await api.delete("ticker", 0)


def measure_peers(names: Sequence[str], sizes: Sizes) -> list[str]:
    """What the others do; the names of those that are missing."""
    missing = []
    for name in names:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            try:
                if name == "pm2":
                    pm2.measure(Path(folder), sizes)
                else:
                    engines.measure(name, Path(folder), sizes)
            except Missing as error:
                print(f"{name}_missing: {error}")
                missing.append(name)
    return missing


def install_peers(names: Sequence[str]) -> None:
    """Run the commands that install them, and say which. Raises CalledProcessError."""
    for name in names:
        print(INSTALL[name])
        words = INSTALL[name].split()
        subprocess.run([*words, "-y"] if words[0] == "apt-get" else words, check=True)


def measure_usage() -> None:
    """What it costs to sample what PODS idle pods use, by groups where they can be made and by processes."""
    sleepers = [subprocess.Popen(["sleep", "60"]) for _ in range(PODS)]
    cgroups = Cgroups.probe()
    try:
        for sleeper in sleepers:
            group = cgroups.create(f"bench-{sleeper.pid}", "main", Limits())
            for procs in group.procs:
                Path(procs).write_text(str(sleeper.pid))
        subjects = [Subject(f"bench-{s.pid}", "default", f"p{s.pid}", "main", 0, s.pid) for s in sleepers]
        for name, how in (("groups", cgroups), ("processes", Cgroups(0, {}))):
            begun = time.process_time()
            for _ in range(SAMPLES):
                assert len(take_sample(subjects, how).containers) == PODS
            cost_s = (time.process_time() - begun) / SAMPLES
            print(f"agent_usage_of_{PODS}_pods_by_{name}_percent: {cost_s / USAGE_PERIOD_S * 100:.3f}")
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
            cgroups.remove(f"bench-{sleeper.pid}")


def main() -> None:
    """Entry point."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--quick", action="store_true", help="fewer rounds")
    words.add_argument("--without", default="", metavar="PEERS", help=f"peers to leave out, of {','.join(INSTALL)}")
    words.add_argument("--install-peers", action="store_true", help="install the peers, and measure nothing")
    args = words.parse_args()
    names = [name for name in INSTALL if name not in args.without.split(",")]
    if args.install_peers:
        return install_peers(names)
    rounds, crowd = (7, 25) if args.quick else (30, PODS)
    measure_usage()
    asyncio.run(measure(rounds, crowd))
    if missing := measure_peers(names, Sizes(rounds, crowd, CROWD_IDLE_S, LOG_LINES, WRITER % LOG_LINES)):
        raise SystemExit(f"not measured: {', '.join(missing)}; python {sys.argv[0]} --install-peers")
    return None


if __name__ == "__main__":
    main()
