"""One running Stark for all client libraries, with a pack that says something, and a namespace for each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.clients import SPEAKER_SOURCE
from tests.support.up import Up


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """Some libraries leave their connections to the garbage collector: it comes while the test still answers for them."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def cluster(on_sqlite: Up, tmp_path_factory: pytest.TempPathFactory) -> Up:
    bundle: Path = tmp_path_factory.mktemp("speaker") / "speaker.js"
    bundle.write_text(SPEAKER_SOURCE)
    on_sqlite.starkctl("pack", "register", str(bundle), "--name", "speaker", "--ver", "1.0.0", "--runtime", "node")
    return on_sqlite


@pytest.fixture
def kubeconfig(cluster: Up) -> str:
    """Its path."""
    return str(cluster.kubeconfig)


@pytest.fixture
def namespace(cluster: Up) -> Iterator[str]:
    name = f"clients-{uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
