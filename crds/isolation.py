"""Classes of isolation: what a pod may ask for, and what nodes say they can give. Free of pydantic."""

from __future__ import annotations

from collections.abc import Mapping

from .annotations import ISOLATION

PROCESS = "process"
"""A user, limits and a view of files of its own: other pods and the agent are out of its reach."""
STRICT = "strict"
"""Beside that no network, no processes but its own, a root with nothing but programs, and no unusual system calls."""
TRUSTED = "trusted"
"""The agent's own user, and whatever that may do."""
CLASSES = (PROCESS, STRICT, TRUSTED)


def isolation_wanted(annotations: Mapping[str, str]) -> str | None:
    """The class a pod asks for; None when it leaves that to the node."""
    return annotations.get(ISOLATION) or None
