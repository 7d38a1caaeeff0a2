"""`starkctl doctor` at a real server: what it says of one without controllers and machines, and when nobody answers."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.apiserver import api_server
from tests.support.ctl import Ctl


async def test_a_server_alone_is_well_and_what_is_missing_beside_it_is_told(tmp_path: Path) -> None:
    async with api_server(tmp_path / "server") as api:
        ctl = Ctl(api, tmp_path / "home")
        told = await ctl.admin("doctor", "--data-dir", str(tmp_path))
        assert told.code == 1
        assert "BAD  controllers: never ran" in told.out
        assert "BAD  nodes: there is none" in told.out
        for good in (
            "server: is ready",
            "clock: the server's clock",
            "you: are admin",
            "you: the certificate",
            "audit: is",
        ):
            assert f"ok   {good}" in told.out, good
        findings = json.loads((await ctl.admin("doctor", "-q", "-o", "json")).out)["findings"]
        assert {each["subject"] for each in findings} == {"controllers", "nodes"}
        stranger = await ctl.run("doctor", "--server", api.running.url, "--ca-file", str(ctl.ca_file), "--token", "no")
        assert (stranger.code, "BAD  you:" in stranger.out) == (1, True)
    away = await ctl.admin("doctor")
    assert (away.code, "BAD  server: nothing answers" in away.out) == (1, True)
