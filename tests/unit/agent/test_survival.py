"""What is left when something of the agent is killed: pods, exit codes, and never an orphan."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.agent.app import Agent
from stark.agent.records import InUse
from stark.agent.settings import AgentSettings
from tests.support.agent_api import AgentApi, agent_api
from tests.support.agents import AgentProcess, groups_of, nothing_left, running_agent, supervisor_of, until, workload_of

FOREVER = b"module.exports.default = async (c) => { console.log('up'); await new Promise((r) => c.onShutdown(r)); };"
EXITS_ON_USR2 = b"""module.exports.default = () => {
  setInterval(() => {}, 1000); process.on('SIGUSR2', () => process.exit(7)); console.log('up');
};"""
WITH_CHILD = b"""const { spawn } = require('node:child_process');
module.exports.default = async (c) => {
  spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' });
  await new Promise((r) => c.onShutdown(r));
};"""


@pytest.fixture
async def api() -> AsyncIterator[AgentApi]:
    async with agent_api() as api:
        yield api


async def test_an_agent_killed_with_9_stops_no_pod_loses_no_exit_code_and_starts_nothing_twice(
    api: AgentApi, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    image = api.add_pack("forever", "1.0.0", FOREVER)
    brief = api.add_pack("brief", "1.0.0", EXITS_ON_USR2)
    async with nothing_left(data):
        first = AgentProcess(api.config, data)
        await first.start()
        await first.registered()
        stays = await api.add_pod("stays", image)
        ends = await api.add_pod("ends", brief, restartPolicy="Never")
        again = await api.add_pod("again", brief)
        goes = await api.add_pod("goes", image)
        await until("all ready", lambda: all(api.ready(name) for name in ("stays", "ends", "again", "goes")))
        before = {uid: workload_of(uid)[0].pid for uid in (stays, ends, again, goes)}
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        assert {uid: workload_of(uid)[0].pid for uid in before} == before
        for uid in (ends, again):
            workload_of(uid)[0].send_signal(signal.SIGUSR2)
        await until("two have ended", lambda: not workload_of(ends) and not workload_of(again))
        await api.remove("goes")

        second = AgentProcess(api.config, data, "--on-stop", "stop")
        await second.start()
        await second.registered()
        await until("the end was reported", lambda: api.pods["ends"]["status"]["phase"] == "Failed")
        assert api.state("ends")["state"]["terminated"]["exitCode"] == 7
        await until("restarted", lambda: api.state("again").get("restartCount") == 1 and api.ready("again"))
        assert api.state("again")["lastState"]["terminated"]["exitCode"] == 7
        await until("the removed pod was stopped", lambda: not workload_of(goes) and supervisor_of(goes) is None)
        assert [p.pid for p in workload_of(stays)] == [before[stays]]
        assert api.state("stays")["restartCount"] == 0
        assert await second.end(signal.SIGTERM) == 0
        assert api.pods["stays"]["status"]["phase"] == "Running", "the pod itself waits for the next agent"


async def test_sigterm_keeps_the_pods_unless_told_otherwise(api: AgentApi, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with nothing_left(data):
        agent = AgentProcess(api.config, data)
        await agent.start()
        await agent.registered()
        uid = await api.add_pod("a", api.add_pack("forever", "1.0.0", FOREVER))
        await until("ready", lambda: api.ready("a"))
        assert await agent.end(signal.SIGTERM) == 0
        assert len(workload_of(uid)) == 1
        async with running_agent(api.config, data):
            await asyncio.sleep(0.2)
            assert api.state("a")["restartCount"] == 0
        assert not groups_of(uid), "a pod that was stopped with its agent leaves no control group"


async def test_a_killed_supervisor_takes_its_processes_along_and_the_pod_is_restarted(
    api: AgentApi, tmp_path: Path
) -> None:
    async with running_agent(api.config, tmp_path / "data"):
        uid = await api.add_pod("a", api.add_pack("child", "1.0.0", WITH_CHILD))
        await until("two processes", lambda: len(workload_of(uid)) == 2)
        await until("ready", lambda: api.ready("a"))
        old = {process.pid for process in workload_of(uid)}
        supervisor = supervisor_of(uid)
        assert supervisor is not None
        supervisor.kill()
        await until("restarted", lambda: api.state("a").get("restartCount") == 1 and api.ready("a"))
        await until("two new processes", lambda: len(workload_of(uid)) == 2)
        assert not old & {process.pid for process in workload_of(uid)}
        assert api.state("a")["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"


async def test_after_a_reboot_pods_are_restarted_in_place_and_finished_ones_stay_finished(
    api: AgentApi, tmp_path: Path
) -> None:
    """A reboot leaves the disk and no process: neither the agent's nor the supervisors' word is heard."""
    data = tmp_path / "data"
    async with nothing_left(data):
        first = AgentProcess(api.config, data)
        await first.start()
        await first.registered()
        uid = await api.add_pod("a", api.add_pack("forever", "1.0.0", FOREVER))
        await api.add_pod(
            "done", api.add_pack("done", "1.0.0", b"module.exports.default = () => {};"), restartPolicy="Never"
        )
        await until("ready", lambda: api.ready("a") and api.pods["done"]["status"]["phase"] == "Succeeded")
        supervisor = supervisor_of(uid)
        assert supervisor is not None
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        supervisor.kill()
        await until("nothing runs", lambda: not workload_of(uid))

        async with running_agent(api.config, data):
            await until("restarted", lambda: api.state("a").get("restartCount") == 1 and api.ready("a"))
            ended = api.state("a")["lastState"]["terminated"]
            assert (ended["reason"], ended["exitCode"]) == ("ContainerStatusUnknown", 137)
            assert api.pods["done"]["status"]["phase"] == "Succeeded"
            assert api.state("done")["restartCount"] == 0


async def test_a_killed_container_is_restarted_in_place_with_its_exit_code(api: AgentApi, tmp_path: Path) -> None:
    async with running_agent(api.config, tmp_path / "data"):
        uid = await api.add_pod("a", api.add_pack("child", "1.0.0", WITH_CHILD))
        await until("ready", lambda: api.ready("a"))
        await until("two processes", lambda: len(workload_of(uid)) == 2)
        supervisor = supervisor_of(uid)
        first = next(p for p in workload_of(uid) if supervisor and p.ppid() == supervisor.pid and "node" in p.name())
        stray = next(p for p in workload_of(uid) if p.pid != first.pid)
        first.kill()
        await until("restarted", lambda: api.state("a").get("restartCount") == 1 and api.ready("a"))
        assert api.state("a")["lastState"]["terminated"]["exitCode"] == 137
        assert not stray.is_running(), "what the program had started went with it"
        again = supervisor_of(uid)
        assert again is not None
        assert supervisor is not None
        assert again.pid == supervisor.pid


async def test_pods_run_on_and_restart_while_the_api_server_is_away(api: AgentApi, tmp_path: Path) -> None:
    async with running_agent(api.config, tmp_path / "data"):
        uid = await api.add_pod("a", api.add_pack("brief", "1.0.0", EXITS_ON_USR2))
        await until("ready", lambda: api.ready("a"))
        await api.stop()
        (process,) = workload_of(uid)
        process.send_signal(signal.SIGUSR2)
        await until("restarted", lambda: any(p.pid != process.pid for p in workload_of(uid)))
        await api.start()
        await until("reported", lambda: api.state("a").get("restartCount") == 1 and api.ready("a"))


COUNTS = b"""module.exports.default = () => {
  let n = 0; setInterval(() => console.log(`line ${n++}`), 5); process.on('SIGUSR2', () => process.exit(7));
};"""


def is_ready(status: dict[str, Any]) -> bool:
    return all(each["ready"] for each in status["containerStatuses"])


@pytest.mark.slow
async def test_an_agent_that_is_restarted_while_the_api_server_is_away_loses_nothing(
    api: AgentApi, tmp_path: Path
) -> None:
    """Not a line of a log, not an exit code, not a verdict of a probe; and nothing is started twice."""
    data = tmp_path / "data"
    probe = {"exec": {"command": ["/bin/sh", "-c", "sleep 0.5"]}, "timeoutSeconds": 5}
    async with nothing_left(data):
        first = AgentProcess(api.config, data)
        await first.start()
        await first.registered()
        image = api.add_pack("counts", "1.0.0", COUNTS)
        stays = await api.add_pod("stays", image, container={"readinessProbe": probe})
        ends = await api.add_pod("ends", image, restartPolicy="Never")
        again = await api.add_pod("again", image)
        await until("all ready", lambda: all(api.ready(name) for name in ("stays", "ends", "again")))
        told = api.pods["stays"]["status"]
        (process,) = workload_of(stays)
        (crashing,) = workload_of(again)
        await api.stop()
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        workload_of(ends)[0].send_signal(signal.SIGUSR2)
        await until("it has ended", lambda: not workload_of(ends))

        second = AgentProcess(api.config, data, "--on-stop", "stop")
        await second.start()
        crashing.send_signal(signal.SIGUSR2)
        await until("restarted with nobody to ask", lambda: crashing.pid not in [p.pid for p in workload_of(again)])
        await until("it runs again", lambda: workload_of(again))
        (log,) = (data / "logs").glob(f"*stays*{stays}/main/*.log")
        size = log.stat().st_size
        await until("its log grows", lambda: log.stat().st_size > size)
        seen = len(api.statuses)
        await api.start()
        await second.registered()
        await until("the end was reported", lambda: api.pods["ends"]["status"]["phase"] == "Failed")
        await until("the restart was reported", lambda: api.state("again").get("restartCount") == 1)
        assert api.state("ends")["state"]["terminated"]["exitCode"] == 7
        assert api.state("again")["lastState"]["terminated"]["exitCode"] == 7
        assert [p.pid for p in workload_of(stays)] == [process.pid]
        assert api.pods["stays"]["status"] == told
        unready = [status for name, status in api.statuses[seen:] if name == "stays" and not is_ready(status)]
        assert not unready, "it was ready all the time"
        numbers = [int(line.rsplit(b" ", 1)[1]) for line in log.read_bytes().splitlines() if b"line " in line]
        assert numbers == list(range(len(numbers))), "every line once"
        assert await second.end(signal.SIGTERM) == 0


async def test_a_pod_that_cannot_be_understood_stops_neither_the_agent_nor_what_runs(
    api: AgentApi, tmp_path: Path
) -> None:
    """As of a server that is newer than its agents."""
    data = tmp_path / "data"
    async with nothing_left(data):
        first = AgentProcess(api.config, data)
        await first.start()
        await first.registered()
        image = api.add_pack("forever", "1.0.0", FOREVER)
        odd = await api.add_pod("odd", image)
        await until("ready", lambda: api.ready("odd"))
        assert await first.end(signal.SIGKILL) == -signal.SIGKILL
        (process,) = workload_of(odd)
        api.pods["odd"]["spec"]["containers"][0]["imagePullPolicy"] = "WhenTheMoonIsFull"
        async with running_agent(api.config, data):
            await api.add_pod("even", image)
            await until("the other one is ready", lambda: api.ready("even"))
            assert [p.pid for p in workload_of(odd)] == [process.pid]


async def test_two_agents_never_share_a_data_directory(api: AgentApi, tmp_path: Path) -> None:
    async with running_agent(api.config, tmp_path / "data"):
        other = Agent(AgentSettings(data_dir=tmp_path / "data", lock_wait_s=0.2), api.config)
        with pytest.raises(InUse, match="another agent"):
            await other.run(asyncio.Event())


async def test_a_folder_that_names_no_pod_is_cleared_with_what_runs_there(api: AgentApi, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with nothing_left(data):
        agent = AgentProcess(api.config, data)
        await agent.start()
        await agent.registered()
        uid = await api.add_pod("a", api.add_pack("forever", "1.0.0", FOREVER))
        await until("ready", lambda: api.ready("a"))
        assert await agent.end(signal.SIGTERM) == 0
        (data / "pods" / uid / "pod.json").unlink()
        del api.pods["a"]
        async with running_agent(api.config, data):
            await until("stopped", lambda: not workload_of(uid) and supervisor_of(uid) is None)
            await until("cleared", lambda: not (data / "pods" / uid).exists())


async def test_a_signal_that_comes_twice_at_once_is_one_signal(api: AgentApi, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with nothing_left(data):
        agent = AgentProcess(api.config, data, "--on-stop", "stop")
        await agent.start()
        await agent.registered()
        uid = await api.add_pod("a", api.add_pack("forever", "1.0.0", FOREVER))
        await until("ready", lambda: api.ready("a"))
        assert agent.process is not None
        agent.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.01)
        assert await agent.end(signal.SIGTERM) == 0
        assert not workload_of(uid)
        assert supervisor_of(uid) is None
