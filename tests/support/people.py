"""People at a real server: how they set up, log in and ask, with passwords that cost next to nothing to hash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp

from stark.apiserver.settings import PasswordSettings, RateSettings, Settings
from tests.support.apiserver import Answer, Api, api_server

CHEAP = PasswordSettings(memory_kib=64, passes=1)
PASSWORD = "Correct1horse"
ADMIN = "ada@example.com"


@dataclass
class People:
    """The client side of `/auth`, without any certificate."""

    api: Api
    session: aiohttp.ClientSession

    async def ask(self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str) -> Answer:
        """One request, with a bearer token if there is one."""
        sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **headers}
        return await self.api.ask(method, path, body, headers=sent, session=self.session)

    async def post(self, path: str, body: Any, *, token: str = "") -> Answer:
        """POST."""
        return await self.ask("POST", path, body, token=token)

    async def get(self, path: str, *, token: str = "") -> Answer:
        """GET."""
        return await self.ask("GET", path, token=token)

    async def setup(self) -> dict[str, Any]:
        """The first administrator, logged in."""
        return data(await self.post("/auth/setup", {"email": ADMIN, "password": PASSWORD}), 201)

    async def login(self, email: str = ADMIN, password: str = PASSWORD) -> dict[str, Any]:
        """Tokens."""
        return data(await self.post("/auth/login", {"email": email, "password": password}))

    async def add(self, email: str, *roles: str) -> dict[str, Any]:
        """Somebody with these roles, made by the master, and logged in."""
        body = {"email": email, "password": PASSWORD, "roles": list(roles)}
        (await self.api.post("/auth/users", body)).ok(201)
        return await self.login(email)

    async def watch(self, path: str, token: str) -> aiohttp.ClientResponse:
        """A watch that has begun; read it to its end."""
        return await self.session.get(
            f"{self.api.running.url}{path}?watch=1", headers={"Authorization": f"Bearer {token}"}
        )


def data(answer: Answer, status: int = 200) -> dict[str, Any]:
    """What a good answer of the facade carries."""
    body = answer.ok(status)
    assert body["success"] is True, body
    found: dict[str, Any] = body["data"]
    return found


def refusal(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The error of a refusal of the facade."""
    body = answer.ok(status)
    assert (body["success"], body["error"]["code"]) == (False, code), body
    found: dict[str, Any] = body["error"]
    return found


@asynccontextmanager
async def people_at_a_server(
    directory: Path, *, store: str = "sqlite", rates: RateSettings | None = None
) -> AsyncIterator[People]:
    """A server, and somebody in front of it who is nobody yet."""
    settings = replace(Settings(directory), passwords=CHEAP, rates=rates or RateSettings())
    async with api_server(directory, store=store, settings=settings) as api:
        yield People(api, api.as_nobody())
