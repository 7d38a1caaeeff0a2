"""The module contract's own bundle, and what it says when a runtime runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).parent / "bundles" / "conformance.js"
"""Universal: the same bytes for every runtime that runs JavaScript. Its head says which arguments it takes."""

PYTHON_BUNDLE = BUNDLE.with_suffix(".py")
"""Its twin for the Python runtime."""


def said(output: str) -> list[dict[str, Any]]:
    """The lines of JSON among what a run wrote."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def failures(output: str) -> list[dict[str, Any]]:
    """The checks that did not hold."""
    return [line for line in said(output) if line.get("ok") is False]


def checks(output: str) -> int:
    """How many checks held, by the last line's own count. Raises AssertionError when there is no such line."""
    last = said(output)[-1]
    assert "passed" in last, f"the bundle did not come to its end: {output[-1000:]}"
    return int(last["passed"])
