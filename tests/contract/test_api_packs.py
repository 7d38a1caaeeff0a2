"""A pack's life by starkctl: registered, described, deprecated, fetched, kept while it is in use, deleted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.apiserver import api_server, pod
from tests.support.ctl import Ctl

PODS = "/api/v1/namespaces/default/pods"
CUT_AFTER = 5 << 20


def container(image: str) -> dict[str, Any]:
    return {"containers": [{"name": "main", "image": image}]}


async def test_a_pack_is_registered_deprecated_and_deleted(tmp_path: Path) -> None:
    files = {}
    for architecture in ("amd64", "arm64"):
        files[architecture] = tmp_path / architecture
        files[architecture].write_text(architecture)
    both = [f"--bundle={architecture}={path}" for architecture, path in files.items()]
    async with api_server(tmp_path / "data") as api:
        ctl = Ctl(api, tmp_path / "home")
        register = ("pack", "register", "--name", "tool", "--runtime", "binary", *both)
        more = ("--env", "A=b=c", "--timeout", "5000", "--metadata", "requiresDOM=true", "--metadata", "tier=gold")
        assert "registered (10 bytes" in (await ctl.admin(*register, "--ver", "1.0.0", *more)).ok()
        assert "unchanged" in (await ctl.admin(*register, "--ver", "1.0.0", *more)).ok()
        assert "others" not in (await ctl.admin(*register, "--ver", "1.1.0")).ok()
        bad = await ctl.admin("pack", "register", str(files["amd64"]), *both, "-n", "x", "-V", "1.0.0", "-r", "binary")
        assert (bad.code, "give one BUNDLE, or several" in bad.err) == (2, True)

        told = (await ctl.admin("pack", "info", "tool", "-V", "1.0.0")).ok()
        facts = dict(line.split(": ", 1) for line in told.splitlines())
        assert facts["Metadata env"].strip() == '{"A": "b=c"}'
        assert facts["Metadata requiresDOM"].strip() == "true"
        assert told.count("Bundle:") == 2
        assert "pack.stark/tool:1.1.0\n" in (await ctl.admin("pack", "info", "tool")).ok()

        out = tmp_path / "fetched"
        assert "choose one with --arch" in (await ctl.admin("pack", "download", "tool:1.0.0", "--out", str(out))).err
        (await ctl.admin("pack", "download", "tool:1.0.0", "--arch", "arm64", "--out", str(out))).ok()
        assert out.read_text() == "arm64"

        (await ctl.admin("pack", "deprecate", "tool:1.1.0", "--reason", "loses data")).ok()
        assert "Deprecated" in (await ctl.admin("pack", "versions", "tool")).ok()
        assert "pack.stark/tool:1.0.0\n" in (await ctl.admin("pack", "info", "tool")).ok()
        made = (await api.post(PODS, pod("latest", **container("pack.stark/tool")))).ok(201)
        assert made["spec"]["containers"][0]["image"] == "pack.stark/tool:1.0.0"
        named = await api.post(PODS, pod("named", **container("pack.stark/tool:1.1.0")))
        named.ok(201)
        assert 'pack \\"tool\\" version 1.1.0 is deprecated: loses data' in named.headers["warning"]

        kept = await ctl.admin("pack", "rm", "tool", "-V", "1.1.0")
        assert (kept.code, "it is in use by pod default/named" in kept.err) == (1, True)
        (await ctl.admin("pack", "rm", "tool", "-V", "1.1.0", "--force")).ok()
        (await api.delete(f"{PODS}/latest", {"gracePeriodSeconds": 0})).ok()
        (await ctl.admin("pack", "delete", "tool")).ok()
        assert "no pack is called tool" in (await ctl.admin("pack", "info", "tool")).err


@contextlib.asynccontextmanager
async def breaking(port: int, cuts: int) -> AsyncIterator[int]:
    """A road to the port on which the first connections that bring much are cut off."""
    left = cuts

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)

        async def back() -> None:
            while data := await there_reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        task = asyncio.create_task(back())
        brought = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                brought += len(data)
                there_writer.write(data)
                await there_writer.drain()
                if brought > CUT_AFTER and left:
                    left -= 1
                    writer.transport.abort()
                    break
        there_writer.close()
        with contextlib.suppress(ConnectionError):
            await task

    server = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    assert left == 0


@pytest.mark.slow
async def test_an_upload_goes_on_after_its_connection_was_cut(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.js"
    bundle.write_bytes(bytes(range(256)) * (20 << 12))
    async with api_server(tmp_path / "data") as api, breaking(api.running.port, 2) as port:
        ctl = Ctl(api, tmp_path / "home")
        words = ("pack", "register", str(bundle), "--name", "big", "--ver", "1.0.0", "--runtime", "node")
        said = (await ctl.admin(*words, "--server", f"https://127.0.0.1:{port}")).ok()
        assert "registered (20971520 bytes" in said
        (await ctl.admin("pack", "verify", "big:1.0.0", "--download")).ok()
        assert not list((tmp_path / "data" / "blobs" / ".partial").iterdir())
