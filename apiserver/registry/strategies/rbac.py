"""Roles and bindings: their names may be anything that can stand in a path, as `system:discovery`."""

from __future__ import annotations

from stark.crds.names import path_segment_problems

from .base import Strategy


class RoleStrategy(Strategy):
    """All four kinds."""

    def name_problems(self, name: str) -> list[str]:
        """Neither `/` nor `%`, and not the names of folders."""
        return path_segment_problems(name)
