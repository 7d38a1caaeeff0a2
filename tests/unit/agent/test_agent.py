"""An agent with real supervisors and real Node.js and Python children, against a small API."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.agent_api import NODE, AgentApi, agent_api
from tests.support.agents import running_agent, supervisor_of, until, workload_of

SERVER = b"""
const http = require('http');
module.exports.default = async (context) => {
  console.log('serving', context.packName, context.packVersion);
  const server = http.createServer((_, answer) => answer.end('hi')).listen(process.env.PORT, '127.0.0.1');
  await new Promise((stop) => context.onShutdown(() => { console.log('stopping'); server.close(stop); }));
};
"""


@pytest.fixture
async def api() -> AsyncIterator[AgentApi]:
    async with agent_api() as api:
        yield api


async def test_a_pod_runs_is_ready_reports_its_port_and_goes(api: AgentApi, tmp_path: Path) -> None:
    image = api.add_pack("hello", "1.0.0", SERVER)
    probe = {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1}
    ports = [{"name": "http", "containerPort": 8080}]
    async with running_agent(api.config, tmp_path / "data"):
        begun = time.monotonic()
        uid = await api.add_pod("a", image, container={"ports": ports, "readinessProbe": probe})
        await until("ready", lambda: api.ready("a"))
        took = time.monotonic() - begun
        assert took < 5, took
        pod = api.pods["a"]
        assert pod["status"]["phase"] == "Running"
        assert 20_000 <= json.loads(pod["metadata"]["annotations"]["stark.dev/ports"])["http"] < 30_000
        assert pod["status"]["conditions"][0]["type"] == "PodScheduled"
        assert api.state("a")["imageID"].startswith("hello@sha256:")
        (process,) = workload_of(uid)
        await api.delete("a", 10)
        await until("gone", lambda: "a" not in api.pods)
        assert not process.is_running()
        await until("released", lambda: supervisor_of(uid) is None)
        assert api.statuses[-1][1]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    logs = list((tmp_path / "data/logs").rglob("0.log"))
    text = logs[0].read_text()
    assert "stdout F serving hello 1.0.0" in text
    assert "stdout F stopping" in text
    assert {e["reason"] for e in api.events} >= {"Pulled", "Started", "Killing"}
    assert f"api/v1/nodes/{NODE}" in api.others
