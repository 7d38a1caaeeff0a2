"""Whoever was told that they are a user is one, whatever happens to the server in that moment."""

from __future__ import annotations

import asyncio
import signal
import ssl
from pathlib import Path

import aiohttp
import pytest

from tests.support.people import PASSWORD
from tests.support.programs import program

ADMIN = {"email": "ada@example.com", "password": PASSWORD}
ACKNOWLEDGED_MIN = 5
AT_ONCE = 6


@pytest.mark.slow
async def test_kill_9_loses_no_acknowledged_registration_and_halves_none(tmp_path: Path) -> None:
    place = ("--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0")
    acknowledged: list[str] = []
    async with program("stark.apiserver", *place, log=tmp_path / "log") as server:
        async with people(tmp_path, server.url) as session:
            async with session.post("/auth/setup", json=ADMIN) as answer:
                assert answer.status == 201
                token = (await answer.json())["data"]["accessToken"]
            enough = asyncio.Event()

            async def register(worker: int) -> None:
                for number in range(100):
                    body = {"email": f"u{worker}-{number}@example.com", "password": PASSWORD}
                    try:
                        head = {"Authorization": f"Bearer {token}"}
                        async with session.post("/auth/register", json=body, headers=head) as answer:
                            if answer.status != 201:
                                continue
                    except aiohttp.ClientError:
                        return
                    acknowledged.append(body["email"])
                    if len(acknowledged) >= ACKNOWLEDGED_MIN:
                        enough.set()

            async with asyncio.TaskGroup() as group:
                for worker in range(AT_ONCE):
                    group.create_task(register(worker))
                await enough.wait()
                server.process.send_signal(signal.SIGKILL)
    async with program("stark.apiserver", *place, log=tmp_path / "log") as server:
        async with people(tmp_path, server.url) as session:
            async with session.post("/auth/login", json=ADMIN) as answer:
                token = (await answer.json())["data"]["accessToken"]
            async with session.get("/auth/users", headers={"Authorization": f"Bearer {token}"}) as answer:
                there = {user["email"] for user in (await answer.json())["data"]["users"]}
            assert there >= set(acknowledged)
            for email in there:  # also those who never heard of it
                async with session.post("/auth/login", json={"email": email, "password": PASSWORD}) as answer:
                    assert answer.status == 200, email


def people(directory: Path, url: str) -> aiohttp.ClientSession:
    trust = ssl.create_default_context(cafile=directory / "data" / "pki" / "ca.crt")
    return aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(ssl=trust, limit=0))
