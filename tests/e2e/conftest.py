"""One Stark for each store, shared by the tests that leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.etcd import etcd
from tests.support.up import Up, stark_up


@pytest.fixture(scope="session")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stark_up(tmp_path_factory.mktemp("sqlite")) as up:
        yield up


@pytest.fixture(scope="session")
def on_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    directory: Path = tmp_path_factory.mktemp("etcd")
    with etcd(directory / "etcd") as server, stark_up(directory, f"etcd={server.url}") as up:
        yield up


@pytest.fixture(params=["sqlite", pytest.param("etcd", marks=pytest.mark.slow)])
def up(request: pytest.FixtureRequest) -> Up:
    chosen: Up = request.getfixturevalue(f"on_{request.param}")
    return chosen
