"""An agent with real supervisors and real Node.js and Python children, against a small API."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.crds.incarnations import INCARNATION
from stark.crds.signing import sign
from tests.support.agent_api import NODE, AgentApi, agent_api
from tests.support.agents import groups_of, running_agent, supervisor_of, until, workload_of
from tests.support.signed_packs import OPS, pem

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


ALLOCATES = b"""module.exports.default = async () => {
  const kept = [];
  for (;;) { kept.push(Buffer.alloc(4 << 20, 1)); await new Promise((r) => setTimeout(r, 1)); }
};"""


async def test_memory_over_the_limit_is_reported_as_such(api: AgentApi, tmp_path: Path) -> None:
    resources = {"limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "250m"}}
    async with running_agent(api.config, tmp_path / "data") as agent:
        if agent.cgroup_version == 0:
            pytest.skip("no control groups can be made here")
        await api.add_pod(
            "a", api.add_pack("hog", "1.0.0", ALLOCATES), restartPolicy="Never", container={"resources": resources}
        )
        await until("failed", lambda: api.pods["a"]["status"]["phase"] == "Failed")
        ended = api.state("a")["state"]["terminated"]
        assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


async def test_limits_are_written_and_groups_removed(api: AgentApi, tmp_path: Path) -> None:
    resources = {"limits": {"memory": "128Mi", "cpu": "500m"}, "requests": {"cpu": "250m"}}
    async with running_agent(api.config, tmp_path / "data") as agent:
        if agent.cgroup_version == 0:
            pytest.skip("no control groups can be made here")
        uid = await api.add_pod("a", api.add_pack("s", "1.0.0", SERVER), container={"resources": resources})
        await until("ready", lambda: api.ready("a"))
        (process,) = workload_of(uid)
        folders = groups_of(uid)
        members = {int(line) for f in folders for line in (f / "cgroup.procs").read_text().split()}
        assert members == {process.pid}
        written = {file.name: file.read_text().strip() for f in folders for file in f.iterdir() if _is_limit(file)}
        if agent.cgroup_version == 1:
            assert (written["cpu.cfs_quota_us"], written["cpu.shares"]) == ("50000", "256")
            assert (written["memory.limit_in_bytes"], written["pids.max"]) == (str(128 << 20), "1024")
        else:
            assert (written["cpu.max"], written["cpu.weight"]) == ("50000 100000", "10")
            assert (written["memory.max"], written["pids.max"]) == (str(128 << 20), "1024")
        await api.delete("a", 5)
        await until("gone", lambda: supervisor_of(uid) is None and "a" not in api.pods)
        await until("groups removed", lambda: not any(folder.exists() for folder in folders))


def _is_limit(file: Path) -> bool:
    v1 = {"cpu.cfs_quota_us", "cpu.shares", "memory.limit_in_bytes", "pids.max"}
    return file.name in v1 | {"cpu.max", "cpu.weight", "memory.max"}


async def test_probes_of_every_type_are_carried_out(api: AgentApi, tmp_path: Path) -> None:
    marker = "ok"
    source = f"""const http = require('http'); const fs = require('fs');
module.exports.default = async (context) => {{
  http.createServer((q, a) => {{ a.statusCode = q.url === '/good' ? 204 : 500; a.end(); }}).listen(process.env.PORT);
  setTimeout(() => fs.writeFileSync('{marker}', ''), 300);
  await new Promise((stop) => context.onShutdown(stop));
}};""".encode()
    image = api.add_pack("probed", "1.0.0", source)
    ports = [{"name": "http", "containerPort": 80}]
    probes: dict[str, dict[str, Any]] = {
        "exec": {"exec": {"command": ["/usr/bin/test", "-e", marker]}},
        "good": {"httpGet": {"path": "/good", "port": 80}},
        "bad": {"httpGet": {"path": "/bad", "port": "http"}},
        "tcp": {"tcpSocket": {"port": "http"}},
    }
    async with running_agent(api.config, tmp_path / "data"):
        for name, probe in probes.items():
            container = {"ports": ports, "readinessProbe": {**probe, "periodSeconds": 1}}
            await api.add_pod(name, image, container=container)
        await until("three ready", lambda: all(api.ready(name) for name in ("exec", "good", "tcp")))
        await until(
            "the failing one was told", lambda: any("statuscode: 500" in e.get("message", "") for e in api.events)
        )
        assert not api.ready("bad")
        assert api.state("bad")["state"].get("running")


async def test_a_failing_liveness_probe_restarts(api: AgentApi, tmp_path: Path) -> None:
    liveness = {"exec": {"command": ["/bin/false"]}, "periodSeconds": 1, "failureThreshold": 1}
    async with running_agent(api.config, tmp_path / "data"):
        await api.add_pod("a", api.add_pack("s", "1.0.0", SERVER), container={"livenessProbe": liveness})
        await until("restarted", lambda: api.state("a").get("restartCount", 0) >= 1)
        assert any(e["reason"] == "Unhealthy" for e in api.events)


async def test_what_cannot_start_says_why_and_starts_when_it_can(api: AgentApi, tmp_path: Path) -> None:
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}]
    image = api.add_pack("s", "1.0.0", SERVER)
    wrong = api.add_pack("wrong", "1.0.0", b"exports.default = () => {}")
    digest = api.others["apis/stark.dev/v1/packs/wrong.1.0.0"]["spec"]["bundles"][0]["sha256"]
    api.bundles[digest] = b"exports.default = () => 42"

    def waits(name: str, key: str = "reason") -> str:
        return str(api.state(name).get("state", {}).get("waiting", {}).get(key))

    # However long the rest takes: what could not start is tried again soon.
    async with running_agent(api.config, tmp_path / "data", backoff_max_s=1.0):
        await api.add_pod("config", image, container={"env": env})
        await api.add_pod("later", "pack.stark/later:1.0.0")
        await api.add_pod("forged", wrong)
        await until("no config map", lambda: waits("config") == "CreateContainerConfigError")
        await until("no pack", lambda: waits("later") == "PackNotFound")
        await until("wrong bytes", lambda: waits("forged") == "ErrImagePull" and digest in waits("forged", "message"))
        api.add_policy("release", keys=[{"name": "ops", "publicKey": pem(OPS)}], packs=["plain"])
        await api.add_pod("unsigned", api.add_pack("plain", "1.0.0", SERVER))
        await until("no signature", lambda: waits("unsigned") == "SignatureValidationFailed")
        assert not api.ready("unsigned")
        plain = api.others["apis/stark.dev/v1/packs/plain.1.0.0"]["spec"]
        plain["signatures"] = [sign(OPS, plain)]
        await until("signed", lambda: api.ready("unsigned"))
        api.others["api/v1/namespaces/default/configmaps/settings"] = {
            "metadata": {"name": "settings", "namespace": "default"},
            "data": {"a": "b"},
        }
        api.add_pack("later", "1.0.0", SERVER)
        await until("both run", lambda: api.ready("config") and api.ready("later"))


async def test_a_pack_that_throws_while_it_loads_backs_off_with_its_message(api: AgentApi, tmp_path: Path) -> None:
    async with running_agent(api.config, tmp_path / "data", backoff_initial_s=30.0):
        await api.add_pod("a", api.add_pack("bad", "1.0.0", b"throw new Error('not today')"))
        await until(
            "backing off",
            lambda: api.state("a").get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff",
        )
        last = api.state("a")["lastState"]["terminated"]
        assert (last["reason"], last["exitCode"], last["message"]) == ("PackLoadError", 65, "Error: not today")


async def test_an_agent_speaks_as_often_as_the_cluster_says(api: AgentApi, tmp_path: Path) -> None:
    config = {"apiVersion": "stark.dev/v1", "kind": "ClusterConfig", "metadata": {"name": "cluster"}}
    api.others["apis/stark.dev/v1/clusterconfigs/cluster"] = {**config, "spec": {"nodeHeartbeatIntervalSeconds": 1}}
    async with running_agent(api.config, tmp_path / "data"):
        lease = f"apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
        first = (await until("a lease", lambda: api.others.get(lease)))["spec"]["renewTime"]
        await until("renewed", lambda: api.others[lease]["spec"]["renewTime"] != first)


async def test_an_agent_restarts_as_soon_as_the_cluster_says(api: AgentApi, tmp_path: Path) -> None:
    config = {"apiVersion": "stark.dev/v1", "kind": "ClusterConfig", "metadata": {"name": "cluster"}}
    waits = {"initialContainerRestartPeriodSeconds": 1, "maxContainerRestartPeriodSeconds": 1}
    api.others["apis/stark.dev/v1/clusterconfigs/cluster"] = {**config, "spec": waits}
    async with running_agent(api.config, tmp_path / "data", backoff_initial_s=None):
        await api.add_pod("a", api.add_pack("bad", "1.0.0", b"throw new Error('not today')"))
        await until("three restarts", lambda: api.state("a").get("restartCount", 0) >= 3)


async def test_a_claim_whose_answer_was_lost_is_not_made_twice(api: AgentApi, tmp_path: Path) -> None:
    path = f"api/v1/nodes/{NODE}"
    api.others[path] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "uid": "u"}}
    api.mute.add(path)
    async with running_agent(api.config, tmp_path / "data"):
        assert not api.mute
        assert api.others[path]["metadata"]["annotations"][INCARNATION] == "1"


async def test_a_deleted_node_is_registered_again_and_a_heartbeat_is_sent(api: AgentApi, tmp_path: Path) -> None:
    settings = {"lease_period_s": 0.2, "status_period_s": 0.2, "labels": {"rack": "7"}, "cpu_milli": 1500}
    async with running_agent(api.config, tmp_path / "data", **settings):
        path, lease = f"api/v1/nodes/{NODE}", f"apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
        node = await until(
            "status", lambda: api.others[path] if api.others[path].get("status", {}).get("capacity") else None
        )
        assert node["status"]["capacity"]["cpu"] == "1500m"
        assert node["metadata"]["labels"]["rack"] == "7"
        assert node["metadata"]["labels"]["stark.dev/runtime-node"]
        assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["True"]
        first = await until("a lease", lambda: api.others.get(lease))
        await until("renewed", lambda: api.others[lease]["spec"]["renewTime"] != first["spec"]["renewTime"])
        del api.others[path]
        await until("registered again", lambda: path in api.others)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give pods users of their own")
async def test_pods_have_users_of_their_own_where_that_is_possible(api: AgentApi) -> None:
    python = b"""import os
async def default(context):
    open('mine', 'w').write('x')
    print(os.getuid())
"""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o711)
        data = Path(folder) / "data"
        async with running_agent(api.config, data) as agent:
            uid = await api.add_pod("a", api.add_pack("s", "1.0.0", SERVER))
            await api.add_pod("b", api.add_pack("p", "1.0.0", python, "python"), restartPolicy="Never")
            await until("one runs", lambda: api.ready("a"))
            await until("the other has ended", lambda: api.pods["b"]["status"]["phase"] in ("Succeeded", "Failed"))
            assert api.pods["b"]["status"]["phase"] == "Succeeded"
            isolation = json.loads(api.others[f"api/v1/nodes/{NODE}"]["metadata"]["annotations"]["stark.dev/isolation"])
            assert isolation["users"] == "per pod"
            users = {
                workload_of(uid)[0].uids().real,
                int(next(data.glob("logs/*_b_*/main/0.log")).read_text().split()[-1]),
            }
            assert len(users) == 2
            assert min(users) >= 1_500_000_000
            assert agent.port == 0, "without a certificate there is no endpoint"


async def test_a_pod_that_goes_while_it_is_prepared_leaves_nothing(api: AgentApi, tmp_path: Path) -> None:
    image = api.add_pack("s", "1.0.0", SERVER)
    async with running_agent(api.config, tmp_path / "data"):
        uids = []
        for number in range(8):
            uids.append(await api.add_pod(f"p{number}", image))
            await asyncio.sleep(0.005 * number)
            await api.remove(f"p{number}")
        await until("no folder is left", lambda: not os.listdir(tmp_path / "data/pods"))
        await until("no process is left", lambda: not any(workload_of(uid) or supervisor_of(uid) for uid in uids))
        await asyncio.sleep(0.3)
        assert os.listdir(tmp_path / "data/pods") == []
        assert not any(groups_of(uid) for uid in uids)
