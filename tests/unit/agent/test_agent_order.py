"""Init containers, sidecars, hooks and last messages with a real agent and real processes, against a small API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent_api import AgentApi, agent_api
from tests.support.agents import running_agent, until

STEP = b"#!/bin/sh\necho $NAME begins\nsleep 0.1\necho $NAME ends\nexit ${CODE:-0}\n"
STAYS = b"""#!/bin/sh
trap 'echo $NAME asked; sleep 0.2; echo $NAME ends; exit 0' TERM
echo $NAME begins
while :; do sleep 0.05; done
"""
SAYS = b"#!/bin/sh\necho to the log\n[ -n \"$FILE\" ] && printf 'disk %s' full > $FILE\nexit 3\n"


@pytest.fixture
async def api() -> AsyncIterator[AgentApi]:
    async with agent_api() as api:
        yield api


def called(name: str, image: str, **more: Any) -> dict[str, Any]:
    """A container that knows its name."""
    env = [{"name": "NAME", "value": name}, *more.pop("env", [])]
    return {"name": name, "image": image, "env": env, **more}


def story(data_dir: Path) -> list[str]:
    """What all containers said, by the clock."""
    lines = [line for log in (data_dir / "logs").rglob("*.log") for line in log.read_text().splitlines()]
    return [line.split(" ", 3)[3] for line in sorted(lines)]


async def test_containers_start_in_order_and_stop_in_reverse_with_hooks_in_between(
    api: AgentApi, tmp_path: Path
) -> None:
    step = api.add_pack("step", "1.0.0", STEP, "binary")
    stays = api.add_pack("stays", "1.0.0", STAYS, "binary")
    # A hook shares the container's folder with it, so that what one writes the other can read.
    write = {"exec": {"command": ["sh", "-c", "echo $NAME > hooked"]}}
    wait = {"exec": {"command": ["sh", "-c", "until [ -f hooked ]; do sleep 0.05; done; rm hooked"]}}
    initial = [
        called("first", step),
        called(
            "side",
            stays,
            restartPolicy="Always",
            startupProbe={**wait, "periodSeconds": 1},
            lifecycle={"postStart": write},
        ),
        called("second", step),
    ]
    main = called("main", stays, lifecycle={"preStop": {"exec": {"command": ["sh", "-c", "sleep 0.3"]}}})
    data = tmp_path / "data"
    async with running_agent(api.config, data):
        await api.add_pod("a", stays, container=main, initContainers=initial)
        await until("ready", lambda: api.ready("a"))
        states = {c["name"]: c for c in api.pods["a"]["status"]["initContainerStatuses"]}
        assert [states[name]["ready"] for name in ("first", "side", "second")] == [True, True, True]
        await api.delete("a", 10)
        await until("gone", lambda: "a" not in api.pods)
    begins, ends = story(data)[:6], story(data)[6:]
    assert begins == ["first begins", "first ends", "side begins", "second begins", "second ends", "main begins"]
    assert ends == ["main asked", "main ends", "side asked", "side ends"]


async def test_a_pod_whose_init_container_fails_never_runs_and_names_it(api: AgentApi, tmp_path: Path) -> None:
    step = api.add_pack("step", "1.0.0", STEP, "binary")
    bad = called("bad", step, env=[{"name": "CODE", "value": "7"}])
    async with running_agent(api.config, tmp_path / "data"):
        await api.add_pod("a", step, initContainers=[bad], restartPolicy="Never")
        await until("failed", lambda: api.pods["a"]["status"].get("phase") == "Failed")
        status = api.pods["a"]["status"]
        assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
        assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


async def test_the_message_of_an_end_is_what_a_program_wrote_or_the_end_of_its_log_if_it_wants_that(
    api: AgentApi, tmp_path: Path
) -> None:
    says = api.add_pack("says", "1.0.0", SAYS, "binary")
    path = "/srv/last/words"
    main = called("wrote", says, terminationMessagePath=path, env=[{"name": "FILE", "value": path}])
    others = [called("logged", says, terminationMessagePolicy="FallbackToLogsOnError"), called("silent", says)]
    async with running_agent(api.config, tmp_path / "data"):
        await api.add_pod("a", says, containers=[main, *others], restartPolicy="Never")
        await until("failed", lambda: api.pods["a"]["status"].get("phase") == "Failed")
        ends = {c["name"]: c["state"]["terminated"] for c in api.pods["a"]["status"]["containerStatuses"]}
        found = {name: end.get("message") for name, end in ends.items()}
        assert found == {"wrote": "disk full", "logged": "to the log", "silent": None}
