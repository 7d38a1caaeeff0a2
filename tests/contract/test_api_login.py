"""People with starkctl at a real server: from the first administrator to the end of a login, and two commands at once."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stark.apiserver.auth.identities import parse_identity
from stark.client.api import Client
from stark.client.config import load_kubeconfig
from stark.crds.namespaces import Namespace
from stark.ctl.finding import kept_login
from stark.ctl.home import Credentials, Home
from tests.support.ctl import Ctl
from tests.support.people import ADMIN, PASSWORD, people_at_a_server

COMMANDS_AT_ONCE = 6
OVER = "2020-01-01T00:00:00Z"


@pytest.fixture
async def ctl(tmp_path: Path) -> AsyncIterator[Ctl]:
    """Somebody who has set the server up and is logged in."""
    async with people_at_a_server(tmp_path / "data", store="memory") as people:
        ctl = Ctl(people.api, tmp_path / "home")
        where = ("--server", people.api.running.url, "--ca-file", str(ctl.ca_file))
        (await ctl.run("auth", "setup", "--email", ADMIN, *where, stdin=f"{PASSWORD}\n")).ok()
        yield ctl


def kept(ctl: Ctl) -> Credentials:
    found = Home(ctl.home).credentials()
    assert found is not None
    return found


async def test_from_the_first_administrator_to_the_end_of_a_login(ctl: Ctl, tmp_path: Path) -> None:
    where = ("--server", ctl.api.running.url, "--ca-file", str(ctl.ca_file))
    assert ADMIN in (await ctl.run("auth", "whoami")).ok()
    assert "stark:admin" in (await ctl.run("auth", "whoami", "--server-side")).ok()
    assert json.loads((await ctl.run("auth", "status", "-o", "json")).ok()) == {
        "server": ctl.api.running.url,
        "needsSetup": False,
        "registrationEnabled": False,
        "user": ADMIN,
    }
    assert "has users already" in (await ctl.run("auth", "setup", "-e", "x@example.com")).err

    weak = await ctl.run("auth", "add-user", "-e", "bob@example.com", "--role", "user", STARK_PASSWORD="weak")
    assert (weak.code, "VALIDATION_ERROR" in weak.err, "a digit" in weak.err) == (1, True, True)
    made = await ctl.run("auth", "add-user", "-e", "bob@example.com", "-r", "user", "-r", "viewer", stdin=PASSWORD)
    assert made.ok() == "user bob@example.com created (user, viewer)\n"
    assert (await ctl.run("auth", "add-user", "-e", "eve@example.com", "--role", "root", stdin=PASSWORD)).code == 2
    listed = (await ctl.run("auth", "list-users", "-o", "plain")).ok().splitlines()
    assert [line.split("\t")[1::2][0] for line in listed] == [ADMIN, "bob@example.com"]

    carol = Ctl(ctl.api, tmp_path / "carol")
    register = ("auth", "register", "-e", "carol@example.com", "--role", "user", *where)
    assert "FORBIDDEN" in (await carol.run(*register, stdin=PASSWORD)).err
    shown = (await ctl.run("server-config", "set", "--enable-registration", "-o", "json")).ok()
    assert json.loads(shown)["enablePublicRegistration"] is True
    (await carol.run(*register, stdin=PASSWORD)).ok()
    assert (await carol.run("auth", "can-i", "list", "users.stark.dev")).code == 1
    assert (await carol.run("auth", "can-i", "create", "packtrustpolicies")).code == 1
    assert (await carol.run("auth", "can-i", "list", "packtrustpolicies")).code == 0
    own = await carol.run("auth", "can-i", "create", "pods")
    assert (own.out, "that the user owns only" in own.err) == ("yes\n", True)
    assert (await carol.run("auth", "list-users")).code == 1
    assert (await ctl.run("auth", "can-i", "list", "nodes", "--as", "carol@example.com", "-q")).code == 1

    assert (await carol.run("auth", "sessions", "--user", ADMIN, "--end-all")).code == 1
    (await ctl.run("auth", "password", "--user", "Carol@example.com", STARK_PASSWORD="Correct3horse")).ok()
    assert "has ended" in (await carol.run("get", "pods")).err
    for _ in range(2):
        (await carol.run("auth", "login", "-e", "carol@example.com", STARK_PASSWORD="Correct3horse")).ok()
    here, other = (line.split("\t") for line in (await carol.run("auth", "sessions", "-o", "plain")).ok().splitlines())
    assert (here[1], other[1]) == ("yes", "")
    (await carol.run("auth", "sessions", "--end", other[0])).ok()
    assert (await carol.run("auth", "sessions", "-o", "name")).ok() == f"{here[0]}\n"

    (await carol.run("auth", "password", stdin="Correct3horse\nCorrect2horse\n")).ok()
    token = (await carol.run("auth", "token", "--raw")).ok().strip()
    (await carol.run("auth", "logout")).ok()
    assert not (carol.home / "credentials.json").exists()
    assert "starkctl auth login" in (await carol.run("version", "--token", token)).err
    assert "the server does not know you" in (await carol.run("auth", "list-users")).err
    assert (
        "the address or the password is wrong"
        in (await carol.run("auth", "login", "-e", "carol@example.com", STARK_PASSWORD=PASSWORD)).err
    )
    (await carol.run("auth", "login", "-e", "carol@example.com", STARK_PASSWORD="Correct2horse")).ok()


async def test_commands_at_once_renew_a_login_once_and_do_not_look_like_thieves(ctl: Ctl) -> None:
    home, before = Home(ctl.home), kept(ctl)
    for _ in range(3):
        home.save_credentials(kept(ctl)._replace(expires_at=OVER))
        logins = [kept_login(Home(ctl.home)) for _ in range(COMMANDS_AT_ONCE)]
        tokens = await asyncio.gather(*(asyncio.to_thread(one.token) for one in logins if one is not None))
        assert set(tokens) == {kept(ctl).access_token}
        assert len(tokens) == COMMANDS_AT_ONCE
        assert kept(ctl).refresh_token != before.refresh_token
    (await ctl.run("get", "namespaces")).ok()


async def test_a_token_that_the_server_refuses_is_renewed_and_a_login_that_has_ended_says_so(ctl: Ctl) -> None:
    home = Home(ctl.home)
    home.save_credentials(kept(ctl)._replace(access_token=kept(ctl).access_token[:-6] + "AAAAAA"))
    assert "namespace/default" in (await ctl.run("get", "namespaces", "-o", "name")).ok()
    home.save_credentials(kept(ctl)._replace(expires_at=OVER, refresh_token="nonsense"))
    ended = await ctl.run("get", "namespaces")
    assert (ended.code, f"the login of {ADMIN}" in ended.err, "run `starkctl auth login`" in ended.err) == (
        1,
        True,
        True,
    )


async def test_kubernetes_clients_use_the_login_by_the_kubeconfig_that_starkctl_prints(
    ctl: Ctl, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text((await ctl.run("auth", "kubeconfig", STARK_HOME=str(ctl.home))).ok())
    assert kept(ctl).access_token not in file.read_text()
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    Home(ctl.home).save_credentials(kept(ctl)._replace(expires_at=OVER))
    config = load_kubeconfig(file)
    assert config.exec_plugin is not None
    config = config._replace(exec_plugin=config.exec_plugin._replace(env=(*config.exec_plugin.env, ("PATH", path))))
    command = shutil.which("starkctl", path=path)
    assert command is not None
    config = config._replace(exec_plugin=config.exec_plugin and config.exec_plugin._replace(command=command))
    async with Client(config, user_agent="tests", field_manager="tests") as client:
        assert "default" in {one.metadata.name for one in (await client.list_all(Namespace)).items}
    elsewhere = json.dumps(
        {**json.loads(config.exec_plugin.cluster if config.exec_plugin else ""), "server": "https://h"}
    )
    told: dict[str, Any] = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    info = json.dumps({**told, "spec": {"interactive": False, "cluster": json.loads(elsewhere)}})
    refused = await ctl.run("auth", "token", KUBERNETES_EXEC_INFO=info)
    assert (refused.code, refused.out, "the token is wanted for https://h" in refused.err) == (1, "", True)
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    environment = {**os.environ, "PATH": path, "HOME": str(tmp_path)}
    asked = [kubectl, "--kubeconfig", str(file), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"]
    done = await asyncio.to_thread(subprocess.run, asked, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (ADMIN, 0), done.stderr


async def test_a_credential_program_may_hand_out_a_certificate(ctl: Ctl, tmp_path: Path) -> None:
    credential = ctl.api.running.authority.issue(parse_identity("admin"))
    status = {
        "clientCertificateData": credential.certificate_pem.decode(),
        "clientKeyData": credential.key_pem.decode(),
    }
    said = tmp_path / "said.json"
    version = "client.authentication.k8s.io/v1"
    said.write_text(json.dumps({"apiVersion": version, "kind": "ExecCredential", "status": status}))
    body = json.loads(ctl.kubeconfig().read_text())
    program = {"apiVersion": version, "interactiveMode": "Never", "command": "cat", "args": [str(said)]}
    body["users"][0]["user"] = {"exec": program}
    file = tmp_path / "exec.kubeconfig"
    file.write_text(json.dumps(body))
    whoami = await ctl.run("auth", "whoami", "-o", "json", "--kubeconfig", str(file))
    assert json.loads(whoami.ok())["username"] == "admin"
    async with Client(load_kubeconfig(file), user_agent="tests", field_manager="tests") as client:
        assert (await client.list_all(Namespace)).items
