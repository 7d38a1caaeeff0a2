"""Every back end of the store, open and empty; `durable` only those that survive being reopened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stark.apiserver.store.protocol import (
    Store,
)
from tests.support.stores import (
    DURABLE,
    STORES,
    Opened,
    open_store,
)


@pytest.fixture(params=STORES)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def store(opened: Opened) -> Store:
    return opened.store


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    async with open_store(request.param, tmp_path) as opened:
        yield opened
