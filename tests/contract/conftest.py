"""Every back end of the store, open and empty; `durable` only those that survive being reopened; the API over each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stark.apiserver.store.protocol import (
    Store,
)
from tests.support.apiserver import Api, api_server
from tests.support.object_storage import ObjectStorage, object_storage
from tests.support.stores import (
    DURABLE,
    ENCRYPTED,
    STORES,
    Opened,
    open_store,
)

# Over memory the suite is fast: what encryption could break, it breaks over any store.
WITH_ENCRYPTION = (
    ENCRYPTED + "memory",
    *(pytest.param(ENCRYPTED + kind, marks=pytest.mark.slow) for kind in DURABLE),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leases are timed by the store's own process: to wait for them again from over there is for the slow run."""
    for item in items:
        if item.path.name == "test_store_lease.py" and "[remote]" in item.name:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(params=[*STORES, *WITH_ENCRYPTION])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened.store


@pytest.fixture(params=[*DURABLE, *WITH_ENCRYPTION[1:]])
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


# What the stores have in common their own suite says; here the one that most servers have, and the others in the slow run.
API_STORES = ("sqlite", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("memory", "etcd")))


@pytest.fixture(params=API_STORES)
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    """The API over each store. A suite that needs something of its own around the server overrides this."""
    async with open_store(request.param, tmp_path) as opened, api_server(tmp_path, opened=opened.store) as server:
        yield server


@pytest.fixture(scope="session")
def running_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    with object_storage(tmp_path_factory.mktemp("swift")) as storage:
        yield storage


@pytest.fixture
def storage(running_storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch) -> ObjectStorage:
    """A real object storage, with the keys to it in the environment."""
    for name, value in running_storage.keys.items():
        monkeypatch.setenv(name, value)
    return running_storage
