"""starkctl token and starkctl certificate at a real server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.apiserver import api_server
from tests.support.certificates import CSRS, csr, request_pem, settled
from tests.support.ctl import Ctl


@pytest.fixture
async def ctl(tmp_path: Path) -> AsyncIterator[Ctl]:
    async with api_server(tmp_path / "server") as api:
        yield Ctl(api, tmp_path / "home")


async def test_a_token_is_made_listed_and_deleted_and_comes_with_the_command_to_join(ctl: Ctl) -> None:
    assert "No tokens" in (await ctl.admin("token", "list")).err
    out = (await ctl.admin("token", "create", "--ttl", "2h", "--description", "rack 7")).ok()
    token, command = out.splitlines()
    assert re.fullmatch(r"[a-z0-9]{6}\.[a-z0-9]{16}", token)
    pattern = (
        rf"stark-agent --server {ctl.api.running.url} --token {token} --ca-hash sha256:[0-9a-f]{{64}} --data-dir .*"
    )
    assert re.fullmatch(pattern, command)
    listed = (await ctl.admin("token", "list", "--no-headers")).ok().split()
    assert listed[0] == token[:6]
    assert token[7:] not in " ".join(listed)
    assert re.fullmatch(r"(119m|2h)", listed[1])
    assert "deleted" in (await ctl.admin("token", "delete", token)).ok()
    assert (await ctl.admin("token", "delete", token[:6])).code == 1
    generated = (await ctl.admin("token", "generate")).ok().strip()
    once = (await ctl.admin("token", "create", generated, "--ttl", "0", "--print-join-command")).ok()
    assert once.count("\n") == 1
    assert "<forever>" in (await ctl.admin("token", "list")).ok()
    for wrong in (["x"], ["--ttl", "soon"], ["--usages", "x"], ["--groups", "system:masters"]):
        assert (await ctl.admin("token", "create", *wrong)).code == 2, wrong


async def test_requests_are_approved_denied_and_what_was_issued_is_revoked(ctl: Ctl) -> None:
    for name in ("a", "b"):
        (await ctl.api.post(CSRS, csr(name, request_pem(name)))).ok(201)
    assert (await ctl.admin("certificate", "approve", "a")).ok().endswith("/a approved\n")
    assert (await ctl.admin("certificate", "deny", "b")).ok().endswith("/b denied\n")
    assert (await settled(ctl.api, "a"))["status"]["certificate"]
    assert "denied already" in (await ctl.admin("certificate", "approve", "b")).err
    assert "created" in (await ctl.admin("certificate", "revoke", "--user", "a", "--reason", "KeyCompromise")).ok()
    assert "user a" in (await ctl.admin("get", "certificaterevocations")).ok()
    assert (await ctl.admin("certificate", "revoke")).code == 2
