"""A watch from a revision that nobody remembers ends with 410 Gone, and each library tells its user so, or lists again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import kr8s
import kubernetes
import kubernetes_asyncio
import lightkube
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes_asyncio.client.exceptions import ApiException as AsyncApiException
from lightkube.resources.core_v1 import ConfigMap

from stark.apiserver.store.memory import MemoryStore
from tests.support.apiserver import api_server, config_map

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

PATH = "/api/v1/namespaces/default/configmaps"


@pytest.fixture
async def kubeconfig(tmp_path: Path) -> AsyncIterator[str]:
    """Of a server that was started again: it remembers no change from before."""
    store = MemoryStore()
    async with api_server(tmp_path, opened=store) as api:
        for name in ("a", "b"):
            (await api.post(PATH, config_map(name))).ok(201)
    async with api_server(tmp_path, opened=store) as api:
        yield str(api.settings.data_dir / "admin.kubeconfig")


def with_kubernetes(kubeconfig: str) -> int:
    with kubernetes.config.new_client_from_config(kubeconfig) as api:
        core = kubernetes.client.CoreV1Api(api)
        stream = kubernetes.watch.Watch().stream(
            core.list_namespaced_config_map, "default", resource_version="1", timeout_seconds=2
        )
        with pytest.raises(ApiException) as caught:
            list(stream)
        return int(caught.value.status)


def with_lightkube(kubeconfig: str) -> int:
    with lightkube.Client(config=lightkube.KubeConfig.from_file(kubeconfig)) as client:
        with pytest.raises(lightkube.ApiError) as caught:
            next(client.watch(ConfigMap, resource_version="1", server_timeout=2))
        return int(caught.value.status.code)


@pytest.mark.parametrize("library", [with_kubernetes, with_lightkube])
async def test_the_user_is_told(kubeconfig: str, library: Callable[[str], int]) -> None:
    assert await asyncio.to_thread(library, kubeconfig) == 410


async def test_the_user_of_the_asynchronous_client_is_told(kubeconfig: str) -> None:
    async with await kubernetes_asyncio.config.new_client_from_config(kubeconfig) as api:
        core = kubernetes_asyncio.client.CoreV1Api(api)
        stream = kubernetes_asyncio.watch.Watch().stream(
            core.list_namespaced_config_map, "default", resource_version="1", timeout_seconds=2
        )
        with pytest.raises(AsyncApiException) as caught:
            async for _ in stream:
                pass
        assert caught.value.status == 410


async def test_a_library_that_lists_first_never_sees_it(kubeconfig: str) -> None:
    api: Any = await kr8s.asyncio.api(kubeconfig=kubeconfig)
    async for kind, item in api.watch("configmaps", namespace="default"):
        assert kind == "ADDED"
        if item.name == "b":
            break
