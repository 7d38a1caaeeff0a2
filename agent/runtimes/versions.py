"""Ask a program for its version."""

from __future__ import annotations

import asyncio
import os

from .base import VERSION_TIMEOUT_S, label_value


async def version_of(*argv: str) -> str | None:
    """The last word of the first line of output, as a label value; None when the program does not answer."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    except OSError:
        return None
    try:
        output, _ = await asyncio.wait_for(process.communicate(), VERSION_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    words = output.decode(errors="replace").split()
    return label_value(words[-1].lstrip("v")) if process.returncode == 0 and words else None
