"""A real Chromium, driven by Playwright: it trusts the server's certificate for the length of a test, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import BrowserContext, async_playwright

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def chromium(profile: Path) -> AsyncIterator[BrowserContext]:
    """A browser whose profile is kept in `profile`: opened again there it is the same one."""
    path = shutil.which("chromium")
    assert path is not None, "no chromium here: run tests/needs.sh"
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            str(profile), executable_path=path, args=list(FLAGS), headless=True, ignore_https_errors=True
        )
        try:
            yield context
        finally:
            await context.close()
