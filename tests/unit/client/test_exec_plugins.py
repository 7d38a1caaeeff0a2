"""Programs that hand out credentials: run when needed, held while good, asked again when refused, never trusted blindly."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from stark.client import errors
from stark.client.api import Client
from stark.client.config import ClientConfig, Impersonation
from stark.client.exec_plugins import ExecError, ExecPlugin, ExecSource, run_plugin
from stark.crds.config import ConfigMap
from tests.support.scripted_api import ScriptedApi, config_map, scripted_api

V1, BETA = "client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"


def answer(version: str = V1, **status: Any) -> str:
    return json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status})


def saying(text: str, *, code: int = 0) -> ExecPlugin:
    return ExecPlugin("/bin/sh", ("-c", f'cat <<"END"\n{text}\nEND\nexit {code}'), interactive_mode="Never")


@pytest.mark.parametrize(
    ("plugin", "complaint"),
    [
        pytest.param(saying(answer(token="t"), code=3), "failed with exit code 3", id="a failure"),
        pytest.param(saying("hello"), "no JSON", id="text"),
        pytest.param(saying("[]"), "something else than an ExecCredential", id="a list"),
        pytest.param(saying(answer(BETA, token="t")), "the kubeconfig says", id="another version"),
        pytest.param(saying(answer()), "neither a token nor a certificate", id="an empty status"),
        pytest.param(saying(answer(clientCertificateData="c")), "without its key", id="half a certificate"),
        pytest.param(saying(answer(token=7)), "status.token of an ExecCredential: expected text", id="a number"),
        pytest.param(saying(answer(token="t", expirationTimestamp="soon")), "expected RFC 3339", id="no time"),
        pytest.param(
            ExecPlugin("/nonexistent/tokens", install_hint="Install it."), "not installed\nInstall it", id="not there"
        ),
        pytest.param(ExecPlugin("/bin/sh", interactive_mode="Always"), "no terminal", id="a question to nobody"),
    ],
)
def test_a_program_that_gives_no_credential_is_named_with_the_reason(plugin: ExecPlugin, complaint: str) -> None:
    with pytest.raises(ExecError, match=complaint) as caught:
        run_plugin(plugin)
    assert plugin.command in str(caught.value) or "status.token" in str(caught.value)


def test_a_program_is_told_what_client_go_tells_it_and_runs_again_when_its_time_is_over(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    over = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    said = answer(token="t", expirationTimestamp=over)
    script = f'printf "%s\\n" "$KUBERNETES_EXEC_INFO $EXTRA" >> {runs}; echo \'{said}\''
    plugin = ExecPlugin("sh", ("-c", script), (("EXTRA", "x"),), V1, "Never", "", '{"server": "https://h"}')
    source = ExecSource(plugin)
    assert source.current().token == source.current().token == "t"
    told, extra = runs.read_text().splitlines()[1].rsplit(" ", 1)
    spec = {"interactive": False, "cluster": {"server": "https://h"}}
    assert (json.loads(told), extra) == ({"apiVersion": V1, "kind": "ExecCredential", "spec": spec}, "x")


def counting(runs: Path) -> ExecPlugin:
    """Hands out t1, t2, ..."""
    script = f"echo >> {runs}; n=$(wc -l < {runs}); printf '{answer(token='t%d')}' $n"
    return ExecPlugin("sh", ("-c", script), interactive_mode="Never")


async def test_a_refused_credential_is_replaced_once_and_many_requests_run_the_program_once(tmp_path: Path) -> None:
    seen: list[str] = []

    async def only_the_second(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        good = seen[-1] == "Bearer t2"
        return web.json_response(config_map("a", 7) if good else {"kind": "Status"}, status=200 if good else 401)

    async with scripted_api() as api:
        api.handler = only_the_second
        plugin = counting(tmp_path / "runs")
        async with Client(api.config._replace(exec_plugin=plugin), user_agent="tests", field_manager="me") as client:
            await asyncio.gather(*(client.get(ConfigMap, "a", "ns") for _ in range(5)))
            api.handler = refusing
            with pytest.raises(errors.Unauthorized):
                await client.get(ConfigMap, "a", "ns")
    assert set(seen) == {"Bearer t1", "Bearer t2"}
    assert (tmp_path / "runs").read_text().count("\n") == 3  # the third for what was refused at the end


async def refusing(request: web.Request) -> web.Response:
    return web.json_response({"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401}, status=401)


async def test_groups_to_act_for_are_header_fields_of_their_own() -> None:
    async with scripted_api() as api:
        acting = Impersonation("ada", ("g1", "g2"))
        async with Client(
            api.config._replace(token="t", impersonate=acting), user_agent="x", field_manager="x"
        ) as client:
            await _listed(api, client)
    fields = [(k, v) for k, v in api.requests[0].headers.items() if k.startswith(("Impersonate", "Authorization"))]
    assert fields == [
        ("Authorization", "Bearer t"),
        ("Impersonate-User", "ada"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
    ]


async def test_a_token_in_a_file_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t1\n")
    seen: list[str] = []

    async def newest(request: web.Request) -> web.Response:
        seen.append(request.headers["Authorization"])
        good = seen[-1] == f"Bearer {file.read_text().strip()}"
        return web.json_response(config_map("a", 7) if good else {"kind": "Status"}, status=200 if good else 401)

    async with scripted_api() as api:
        api.handler = newest
        async with Client(api.config._replace(token_file=file), user_agent="tests", field_manager="me") as client:
            await client.get(ConfigMap, "a", "ns")
            file.write_text("t2\n")
            await client.get(ConfigMap, "a", "ns")
        assert seen == ["Bearer t1", "Bearer t1", "Bearer t2"]
        file.unlink()
        async with Client(api.config._replace(token_file=file), user_agent="tests", field_manager="me") as client:
            with pytest.raises(errors.Unauthorized, match="cannot be read"):
                await client.get(ConfigMap, "a", "ns")


async def test_a_token_that_was_given_goes_before_the_program(tmp_path: Path) -> None:
    async with scripted_api() as api:
        config: ClientConfig = api.config._replace(token="given", exec_plugin=counting(tmp_path / "runs"))
        async with Client(config, user_agent="x", field_manager="x") as client:
            await _listed(api, client)
    assert api.requests[0].headers["Authorization"] == "Bearer given"
    assert not (tmp_path / "runs").exists()


async def _listed(api: ScriptedApi, client: Client) -> None:
    api.objects = [config_map("a", 1)]
    assert (await client.list_all(ConfigMap)).items[0].metadata.name == "a"
