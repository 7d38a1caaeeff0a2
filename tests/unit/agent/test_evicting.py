"""Who goes because of the disk, and what a log and a node say when it is full."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from stark.agent.diskuse import PodUsage, beyond_limits, first_to_go, is_limited, low_message
from stark.agent.host import PRESSURE_HOLD_S, DiskSpace, Pressure, PressureHold, disk_space
from stark.agent.supervisor.logfile import LogFile
from stark.crds.pods import Pod
from tests.support.agent_api import agent_api
from tests.support.agents import AgentProcess, nothing_left, until, workload_of

MIB = 1 << 20


def pod(
    uid: str = "u",
    *volumes: dict[str, Any],
    priority: int = 0,
    limit: str = "",
    free_limit: str = "",
    request: str = "",
) -> Pod:
    def container(name: str, limit: str, request: str = "") -> dict[str, Any]:
        amounts = {"limits": limit, "requests": request}
        resources = {kind: {"ephemeral-storage": amount} for kind, amount in amounts.items() if amount}
        return {"name": name, "image": "i", "resources": resources}

    containers = [container("main", limit, request), container("free", free_limit)]
    spec = {"containers": containers, "volumes": volumes, "priority": priority}
    return Pod.model_validate({"metadata": {"name": uid, "uid": uid}, "spec": spec})


@pytest.mark.parametrize(
    ("one", "usage", "message"),
    [
        pytest.param(pod(limit="1Mi"), PodUsage({"main": MIB}), None, id="as much as it may"),
        pytest.param(
            pod(limit="1Mi"),
            PodUsage({"main": 0, "free": MIB}, temporary=1),
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. ",
            id="all together",
        ),
        pytest.param(
            pod("u", {"name": "e", "emptyDir": {"sizeLimit": "1Mi"}}),
            PodUsage(volumes={"e": MIB + 1}),
            'Usage of EmptyDir volume "e" exceeds the limit "1Mi". ',
            id="a folder",
        ),
        pytest.param(pod("u", {"name": "e", "emptyDir": {}}), PodUsage(volumes={"e": MIB}), None, id="a free folder"),
        pytest.param(pod(), PodUsage({"main": 1 << 40}), None, id="no limit at all"),
    ],
)
def test_a_pod_beyond_its_limit_is_told_in_the_kubelets_words(one: Pod, usage: PodUsage, message: str | None) -> None:
    assert beyond_limits(one, usage) == message
    assert message is None or is_limited(one)


def test_one_container_may_be_beyond_its_own_limit() -> None:
    one = pod(limit="1Mi", free_limit="5Mi")
    expected = 'Container main exceeded its local ephemeral storage limit "1Mi". '
    assert beyond_limits(one, PodUsage({"main": 2 * MIB})) == expected


def test_who_is_beyond_the_request_goes_before_the_unimportant_and_those_before_the_big() -> None:
    modest = pod("modest", priority=-5, request="1Gi")
    small, big, dear = pod("small"), pod("big"), pod("dear", priority=100)
    critical = pod("critical", priority=2_000_000_000)
    usage = {
        "modest": PodUsage({"main": MIB}),
        "small": PodUsage({"main": MIB}),
        "big": PodUsage({"main": 2 * MIB}),
        "dear": PodUsage({"main": 9 * MIB}),
        "critical": PodUsage({"main": 99 * MIB}),
    }
    waiting, order = [modest, small, big, dear, critical], []
    while (gone := first_to_go(waiting, usage)) is not None:
        order.append(gone.uid)
        waiting.remove(gone)
    assert order == ["big", "small", "dear", "modest"]


def test_the_message_of_a_full_node_says_who_used_what() -> None:
    text = low_message(pod(), PodUsage({"main": 2 * MIB}), 4 * MIB, MIB)
    assert text == (
        "The node was low on resource: ephemeral-storage. Threshold quantity: 4Mi, available: 1Mi. "
        "Container main was using 2Mi, request is 0, has larger consumption of ephemeral-storage. "
    )


def test_the_disk_is_low_below_the_share_that_must_be_free(tmp_path: Path) -> None:
    assert not disk_space(tmp_path, 0.0).is_low
    assert disk_space(tmp_path, 1.0).is_low
    assert DiskSpace(10, 5, inodes_low=True).is_low


def test_pressure_counts_for_a_while_after_it_has_gone() -> None:
    hold, full, calm = PressureHold(), Pressure(False, True, False), Pressure(False, False, False)
    assert hold.judge(calm, 0.0) == calm
    assert hold.judge(full, 1.0) == full
    assert hold.judge(calm, PRESSURE_HOLD_S) == full
    assert hold.judge(calm, PRESSURE_HOLD_S + 1.0) == calm


def test_a_log_on_a_full_disk_loses_lines_and_says_how_many_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(str(tmp_path / "0.log"), MIB, 2)
    log.feed("stdout", b"before\n")
    real = os.write
    with monkeypatch.context() as full:
        room = [10, 0]

        def nearly_full(fd: int, data: bytes) -> int:
            if not room or not (part := room.pop(0)):
                raise OSError(28, "No space left on device")
            return real(fd, data[:part])

        full.setattr(os, "write", nearly_full)
        log.feed("stdout", b"torn\nlost\nlost\n")
    log.feed("stdout", b"after\n")
    log.close()
    lines = (tmp_path / "0.log").read_bytes().splitlines()
    assert len(lines) == 4
    assert lines[0].endswith(b" F before")
    assert len(lines[1]) == 10
    assert b"bytes of output were lost" in lines[2]
    assert lines[3].endswith(b" F after")


WRITES = b"""module.exports.default = async (c) => {
  require('node:fs').writeFileSync('big', Buffer.alloc(3 << 20, 1)); await new Promise((r) => c.onShutdown(r));
};"""


@pytest.mark.slow
async def test_a_pod_that_writes_more_than_it_may_fails_and_its_files_go(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with agent_api() as api, nothing_left(data):
        agent = AgentProcess(api.config, data, "--on-stop", "stop", "--disk-pressure-free", "0")
        await agent.start()
        await agent.registered()
        image = api.add_pack("writes", "1.0.0", WRITES)
        resources = {"limits": {"ephemeral-storage": "1Mi"}}
        uid = await api.add_pod("greedy", image, container={"resources": resources})
        await api.add_pod("free", image)
        await until("failed", lambda: api.pods["greedy"]["status"]["phase"] == "Failed", 40)
        status = api.pods["greedy"]["status"]
        assert status["reason"] == "Evicted"
        assert status["message"] == "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi. "
        await until("its files are gone", lambda: not (data / "pods" / uid / "work").exists(), 30)
        assert not workload_of(uid)
        assert api.ready("free")
        assert await agent.end(signal.SIGTERM) == 0


@pytest.mark.slow
async def test_a_node_whose_disk_runs_out_says_so_and_lets_one_pod_go_after_the_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with agent_api() as api, nothing_left(data):
        agent = AgentProcess(api.config, data, "--on-stop", "stop", "--disk-pressure-free", "99.99")
        await agent.start()
        await agent.registered()
        image = api.add_pack("writes", "1.0.0", WRITES)
        await api.add_pod("first", image)
        await until("evicted", lambda: api.pods["first"]["status"].get("reason") == "Evicted", 40)
        assert "The node was low on resource: ephemeral-storage." in api.pods["first"]["status"]["message"]
        assert await agent.end(signal.SIGTERM) == 0
