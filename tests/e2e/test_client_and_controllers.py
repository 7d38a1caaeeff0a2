"""The client and the controllers' program against the real API server: TLS, identity, a restart, leadership."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from stark.client.api import Client
from stark.client.config import ClientConfig, load_kubeconfig
from stark.client.errors import AlreadyExists, ApiError, Conflict, NotFound, Unauthorized, Unavailable
from stark.client.informer import Change, Informer
from stark.client.kinds import metadata_only
from stark.crds.config import ConfigMap
from stark.crds.coordination import Lease
from stark.crds.meta import ObjectMeta
from stark.crds.namespaces import Namespace
from tests.support.programs import apiserver, program


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default"), data=data)


async def test_the_client_writes_reads_its_writes_and_is_told_what_is_wrong(tmp_path: Path) -> None:
    async with apiserver(tmp_path / "data"), Client(load_kubeconfig(tmp_path / "data/admin.kubeconfig")) as api:
        whole = Informer(api, ConfigMap, "default")
        partial = Informer(api, metadata_only(ConfigMap.RESOURCE))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(whole.run()), group.create_task(partial.run())]
            made = await api.create(config_map("a", x="1"))
            assert await whole.wait_for(made.key, made.metadata.resource_version or "") == made
            await partial.caught_up(made.metadata.resource_version or "")
            seen = partial.get(made.key)
            assert seen is not None
            assert seen.metadata == made.metadata
            changed = await api.patch(ConfigMap, "a", {"data": {"y": "2"}}, "default")
            assert changed.data == {"x": "1", "y": "2"}
            with pytest.raises(Conflict):
                await api.update(made)
            with pytest.raises(Conflict):
                await api.delete(ConfigMap, "a", "default", uid="another")
            with pytest.raises(AlreadyExists):
                await api.create(config_map("a"))
            await api.delete(ConfigMap, "a", "default", uid=made.uid)
            with pytest.raises(NotFound):
                await api.get(ConfigMap, "a", "default")
            plurals = {resource.plural for resource in await api.discover()}
            assert {"pods", "deployments", "leases", "packs"} <= plurals
            for task in tasks:
                task.cancel()


async def test_only_the_right_server_and_a_known_caller_will_do(tmp_path: Path) -> None:
    async with apiserver(tmp_path / "data") as server:
        admin = load_kubeconfig(tmp_path / "data/admin.kubeconfig")

        async def ask(config: ClientConfig) -> str:
            async with Client(config) as api:
                return (await api.get(Namespace, "default")).metadata.name

        by_name = admin._replace(server=server.url.replace("127.0.0.1", "localhost"))
        assert await ask(admin) == await ask(by_name) == "default"
        assert await ask(by_name._replace(tls_server_name="127.0.0.1")) == "default"
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await ask(admin._replace(tls_server_name="somebody.else"))
        with pytest.raises(Unavailable, match=r"(?i)certificate"):
            await ask(admin._replace(ca_data=None))
        nobody = admin._replace(client_cert_data=None, client_key_data=None)
        with pytest.raises(ApiError):
            await ask(nobody)
        with pytest.raises(Unauthorized):
            await ask(nobody._replace(token="wrong"))


async def test_an_informer_goes_on_over_a_restart_of_the_server_with_no_gap_and_no_repeat(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    told: list[tuple[str, str | None]] = []

    def note(change: Change[ConfigMap]) -> None:
        told.append((change.key, change.new.data.get("x") if change.new is not None else None))

    async with apiserver(data_dir) as first:
        config = load_kubeconfig(data_dir / "admin.kubeconfig")
        api = await Client(config).__aenter__()
        informer = Informer(api, ConfigMap, "default")
        informer.subscribe(note)
        task = asyncio.create_task(informer.run())
        await api.create(config_map("kept", x="1"))
        last = await api.create(config_map("going", x="1"))
        await informer.caught_up(last.metadata.resource_version or "")
        listen = first.url.removeprefix("https://")
    async with apiserver(data_dir, listen):
        await api.delete(ConfigMap, "going", "default")
        last = await api.patch(ConfigMap, "kept", {"data": {"x": "2"}}, "default")
        await informer.caught_up(last.metadata.resource_version or "")
        task.cancel()
        await asyncio.wait({task})
        await api.__aexit__(None, None, None)
    ours = [entry for entry in told if entry[0] in ("default/kept", "default/going")]
    assert ours == [("default/kept", "1"), ("default/going", "1"), ("default/going", None), ("default/kept", "2")]


async def test_a_stopped_controller_gives_its_lease_back_and_the_next_process_leads_at_once(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    async with apiserver(data_dir), Client(load_kubeconfig(data_dir / "admin.kubeconfig")) as api:
        arguments = ("namespace", "--kubeconfig", data_dir / "controllers.kubeconfig")

        async def holder() -> str:
            async with asyncio.timeout(10):
                while True:
                    try:
                        lease = await api.get(Lease, "stark-namespace", "kube-system")
                    except NotFound:
                        lease = None
                    if lease is not None and lease.spec.holder_identity:
                        return lease.spec.holder_identity
                    await asyncio.sleep(0.05)

        async with program("stark.controllers", *arguments, log=tmp_path / "one.log") as one:
            first = await holder()
            async with aiohttp.ClientSession() as session, session.get(one.url + "/readyz") as response:
                assert response.status == 200
            assert await one.stop() == 0
        lease = await api.get(Lease, "stark-namespace", "kube-system")
        assert lease.spec.holder_identity == ""
        async with program("stark.controllers", *arguments, log=tmp_path / "two.log") as two:
            assert await holder() != first
            assert await two.stop() == 0
