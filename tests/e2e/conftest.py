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


@pytest.fixture(scope="session")
def on_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with stark_up(tmp_path_factory.mktemp("workers"), "sqlite", "--workers", "2") as up:
        yield up


WITH_WORKERS = ("test_main_job.py",)
"""What is also run against a server in several processes: the main road. STARK_TEST_WORKERS=2 runs everything so."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the workers out elsewhere: their own suite says what is different about them."""
    left_out = [item for item in items if "[workers" in item.name and item.path.name not in WITH_WORKERS]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(params=["sqlite", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("etcd", "workers"))])
def up(request: pytest.FixtureRequest) -> Up:
    chosen: Up = request.getfixturevalue(f"on_{request.param}")
    return chosen
