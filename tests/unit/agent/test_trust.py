"""The agent's last word about a pack: the cluster's policies, remembered while the server is away, and its own keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.agent.packs import PackError
from stark.agent.trust import KeysUnusable, Trust, read_keys
from stark.client.api import Client
from stark.crds.meta import decode
from stark.crds.packs import Pack
from tests.support.agent_api import AgentApi, agent_api
from tests.support.signed_packs import CI, OPS, STRANGER, pack, pem, policy


@pytest.fixture
async def api() -> AsyncIterator[AgentApi]:
    async with agent_api() as api:
        yield api


@pytest.fixture
async def client(api: AgentApi, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr("stark.client.transport.RETRIES_MAX", 0)
    async with Client(api.config, user_agent="tests", field_manager="tests") as client:
        yield client


def signed(*by: Any) -> Pack:
    return decode({"metadata": {"name": "hello.1.0.0"}, "spec": pack(*by)}, Pack)


def namespace(api: AgentApi, name: str, **labels: str) -> None:
    api.others[f"api/v1/namespaces/{name}"] = {"metadata": {"name": name, "labels": labels}}


async def test_policies_are_asked_each_time_and_the_last_answer_holds_while_nobody_answers(
    api: AgentApi, client: Client, tmp_path: Path
) -> None:
    trust = Trust(client, tmp_path)
    namespace(api, "prod", env="prod")
    namespace(api, "test")
    await trust.check(signed(), "prod")
    api.add_policy("release", **policy(OPS, namespaceSelector={"matchLabels": {"env": "prod"}})["spec"])
    await trust.check(signed(OPS), "prod")
    await trust.check(signed(), "test")
    with pytest.raises(PackError, match='not trusted by PackTrustPolicy "release"') as caught:
        await trust.check(signed(CI), "prod")
    assert caught.value.reason == "SignatureValidationFailed"
    await api.stop()
    for again in (trust, Trust(client, tmp_path)):
        await again.check(signed(OPS), "prod")
        with pytest.raises(PackError, match="not trusted"):
            await again.check(signed(), "prod")
        with pytest.raises(PackError, match="nobody can tell"):
            await again.check(signed(), "elsewhere")
    with pytest.raises(PackError, match="nobody can tell"):
        await Trust(client, tmp_path / "new").check(signed(OPS), "prod")
    await api.start()
    api.others.pop("apis/stark.dev/v1/packtrustpolicies")
    await trust.check(signed(), "prod")


async def test_a_policy_that_warns_stops_nothing(api: AgentApi, client: Client, tmp_path: Path) -> None:
    api.add_policy("release", **policy(OPS, action="Warn")["spec"])
    await Trust(client, tmp_path).check(signed(), "prod")


async def test_keys_of_the_node_hold_whatever_the_cluster_says(api: AgentApi, client: Client, tmp_path: Path) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(f"# who releases\n{pem(OPS)}\n{pem(CI)}")
    trust = Trust(client, tmp_path, read_keys(file))
    await trust.check(signed(CI), "prod")
    for spoiled in (signed(), signed(STRANGER)):
        with pytest.raises(PackError, match="signed by none of the keys that this node trusts"):
            await trust.check(spoiled, "prod")


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_keys_is_refused_at_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys.pem"
    file.write_text(text)
    with pytest.raises(KeysUnusable, match=str(file)):
        read_keys(file)
    with pytest.raises(KeysUnusable, match="cannot be read"):
        read_keys(tmp_path / "absent")
