"""Colours on a terminal, where they are wanted: by no-color.org's rule and `--no-color`, and never in a file or a pipe."""

from __future__ import annotations

import os
import sys

GREEN, YELLOW, RED = 32, 33, 31


def wanted(*, refused: bool) -> bool:
    """Whether standard output is to have colours; `refused`: `--no-color` was said."""
    if refused or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stdout.isatty()


def painted(text: str, color: int) -> str:
    """The text in that colour (ECMA-48 SGR)."""
    return f"\x1b[{color}m{text}\x1b[0m"
