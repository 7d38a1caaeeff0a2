"""The controllers' program: its endpoint, its exit codes, and that every line of the catalog can be built."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.controllers.app import App, Settings, serving
from stark.controllers.catalog import CATALOG, builder_of, chosen
from stark.controllers.kit import Context, InformerFactory, Recorder


@pytest.mark.parametrize("name", sorted(CATALOG))
async def test_each_controller_of_the_catalog_is_built_under_its_own_name(name: str) -> None:
    async with Client(ClientConfig(server="http://127.0.0.1:1")) as api:
        controller = builder_of(name)(Context(api, InformerFactory(api), Recorder(api, name)))
        assert controller.name == name
        assert all(source.informer.kind.resource.plural for source in controller.sources())


def test_a_name_that_is_not_in_the_catalog_is_refused_with_those_that_are() -> None:
    with pytest.raises(KeyError, match="no controller named nonsense; there are: "):
        chosen(["nonsense"])
    assert chosen([]) == sorted(CATALOG)


async def test_the_endpoint_tells_alive_ready_and_metrics() -> None:
    async with Client(ClientConfig(server="http://127.0.0.1:1")) as api:
        app = App(Settings(names=sorted(CATALOG)[:1]), api)
        async with serving(app.endpoint(), "127.0.0.1:0") as url, aiohttp.ClientSession() as session:
            answers = {}
            for path in ("/healthz", "/livez", "/readyz", "/metrics"):
                async with session.get(url + path) as response:
                    answers[path] = (response.status, await response.text())
        assert answers["/healthz"] == answers["/livez"] == (200, "ok")
        assert answers["/readyz"][0] == 503
        assert "workqueue_depth" in answers["/metrics"][1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        pytest.param(["nonsense"], 2, "no controller named nonsense", id="an unknown controller is a mistake of usage"),
        pytest.param(["--workers", "0"], 2, "must be 1 or more", id="no workers is a mistake of usage"),
        pytest.param(
            ["--kubeconfig", "/absent"], 1, "/absent: no such kubeconfig", id="a missing kubeconfig is a failure"
        ),
    ],
)
def test_exit_codes_tell_usage_from_failure(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stark.controllers", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr


def test_all_controllers_can_share_one_process() -> None:
    """Informers are shared: two controllers that mean different indexes by one name cannot both be built."""
    api = Client(ClientConfig(server="http://127.0.0.1:1"))
    assert len(App(Settings(), api).runners) == len(CATALOG)
