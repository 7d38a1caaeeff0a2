"""Setting up, logging in and what follows, over a real server on SQLite."""

from __future__ import annotations

from pathlib import Path

from tests.support.apiserver import api_server


async def test_a_new_server_says_that_it_needs_an_administrator_to_whoever_asks(tmp_path: Path) -> None:
    async with api_server(tmp_path) as api:
        nobody = api.as_nobody()
        answer = await api.get("/auth/setup/status", session=nobody, headers={"X-Correlation-ID": "mine"})
        assert answer.ok() == {"success": True, "data": {"needsSetup": True, "registrationEnabled": False}}
        assert answer.headers["X-Correlation-ID"] == "mine"
        assert (await api.get("/auth/nothing", session=nobody)).ok(404)["error"]["code"] == "NOT_FOUND"
        assert (await api.post("/auth/setup/status", {}, session=nobody)).ok(405)["success"] is False
        unknown = {"Authorization": "Bearer unknown"}
        assert (await api.get("/auth/users", session=nobody, headers=unknown)).ok(401)["error"][
            "code"
        ] == "UNAUTHORIZED"
