"""A pod's token, authority and namespace as files: asked for, renewed and kept in time, and found by who needs them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.agent.accounts import RENEW_AFTER_S, RENEW_SPREAD_S, AccountFiles, NoToken, is_wanted, renew_after_s
from stark.agent.records import PodRecords
from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.crds.meta import decode
from stark.crds.pods import Pod
from tests.support.agent_api import AgentApi, agent_api


@pytest.fixture
async def api() -> AsyncIterator[AgentApi]:
    async with agent_api() as server:
        yield server


@pytest.fixture
async def files(api: AgentApi, tmp_path: Path) -> AsyncIterator[AccountFiles]:
    records = PodRecords(tmp_path)
    config = api.config._replace(ca_data=b"authority")
    async with Client(config) as client:
        yield AccountFiles(client, config, records)
    records.close()


def pod(**spec: Any) -> Pod:
    meta = {"name": "web", "namespace": "team", "uid": "u-1"}
    whole = {"containers": [{"name": "main"}], "serviceAccountName": "default", **spec}
    return decode(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": whole}).encode(), Pod)


def age(files: AccountFiles, seconds: float) -> float:
    """Now, when the token is that old."""
    return (files.folder("u-1") / "token").stat().st_mtime + seconds


async def started(files: AccountFiles, one: Pod) -> None:
    token = await files.obtain(one)
    assert token is not None
    files.place(one, token, None)


async def test_a_pod_gets_its_files_before_it_starts(api: AgentApi, files: AccountFiles) -> None:
    await started(files, pod())
    folder = files.folder("u-1")
    assert {file.name for file in folder.iterdir()} == {"token", "ca.crt", "namespace", "kubeconfig"}
    assert [(folder / name).read_text() for name in ("token", "ca.crt", "namespace")] == [
        "token-1",
        "authority",
        "team",
    ]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    (asked,) = api.token_requests
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u-1"}
    assert asked["spec"] == {"expirationSeconds": 3607, "boundObjectRef": reference}
    config = json.loads((folder / "kubeconfig").read_text())
    assert config["clusters"][0]["cluster"] == {
        "server": api.config.server,
        "certificate-authority": f"{folder}/ca.crt",
    }
    assert config["users"][0]["user"] == {"tokenFile": f"{folder}/token", "token": "token-1"}
    assert config["contexts"][0]["context"]["namespace"] == "team"


async def test_a_young_token_is_kept_and_an_old_one_renewed(api: AgentApi, files: AccountFiles) -> None:
    one = pod()
    await started(files, one)
    assert await files.obtain(one) is None
    await files.renew([one], age(files, renew_after_s("u-1") - 1))
    assert len(api.token_requests) == 1
    await files.renew([one], age(files, renew_after_s("u-1") + 1))
    assert (files.folder("u-1") / "token").read_text() == "token-2"
    # A clock that was set back leaves a token from the future: nobody knows how old it is.
    await files.renew([one], age(files, -3_600))
    assert (files.folder("u-1") / "token").read_text() == "token-3"


async def test_an_old_token_stays_while_nobody_gives_another(api: AgentApi, files: AccountFiles) -> None:
    one = pod()
    await started(files, one)
    now = age(files, 2 * 3_600)
    api.accounts.clear()
    await files.renew([one], now)
    assert await files.obtain(one, now) is None
    await api.stop()
    await files.renew([one], now)
    assert await files.obtain(one, now) is None
    assert (files.folder("u-1") / "token").read_text() == "token-1"


async def test_a_pod_without_a_token_waits_for_its_account(api: AgentApi, files: AccountFiles) -> None:
    with pytest.raises(NoToken, match='no token for service account team/robot: serviceaccounts "robot" not found'):
        await files.obtain(pod(serviceAccountName="robot"))
    await files.renew([pod()], 0.0)
    assert not api.token_requests


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [({}, True), ({"automountServiceAccountToken": False}, False), ({"serviceAccountName": None}, False)],
)
async def test_a_pod_that_wants_none_gets_none(
    api: AgentApi, files: AccountFiles, spec: dict[str, Any], wanted: bool
) -> None:
    assert is_wanted(pod(**spec)) is wanted
    assert (await files.obtain(pod(**spec)) is not None) is wanted
    assert len(api.token_requests) == wanted


def test_pods_that_started_together_do_not_renew_together() -> None:
    ages = {renew_after_s(f"uid-{number}") for number in range(100)}
    assert len(ages) > 50
    assert RENEW_AFTER_S - RENEW_SPREAD_S <= min(ages) <= max(ages) <= RENEW_AFTER_S


@pytest.mark.parametrize(
    ("server", "host", "port"),
    [
        ("https://10.0.0.1:6443", "10.0.0.1", "6443"),
        ("https://api.example", "api.example", "443"),
        ("https://[fd00::1]:6443", "fd00::1", "6443"),
    ],
)
def test_the_environment_says_where_the_api_server_is(
    files_at: AccountFiles, server: str, host: str, port: str
) -> None:
    told = files_at.environment()
    assert told == {
        "KUBERNETES_SERVICE_HOST": host,
        "KUBERNETES_SERVICE_PORT": port,
        "KUBERNETES_SERVICE_PORT_HTTPS": port,
    }


@pytest.fixture
def files_at(server: str, tmp_path: Path) -> Any:
    records = PodRecords(tmp_path)
    yield AccountFiles(Client(ClientConfig(server)), ClientConfig(server), records)
    records.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files to another user takes root")
async def test_a_pod_with_a_user_of_its_own_reads_its_files_and_cannot_change_them(files: AccountFiles) -> None:
    files.place(pod(), "secret", 1_500_000_001)
    folder = files.folder("u-1")
    for path, mode in ((folder, 0o750), (folder / "token", 0o440), (folder / "kubeconfig", 0o440)):
        told = path.stat()
        assert (told.st_mode & 0o777, told.st_uid, told.st_gid) == (mode, 0, 1_500_000_001)
