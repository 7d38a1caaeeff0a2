"""The rows of role bindings. Roles show a name and a date, like definitions."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from .base import Cells, Object, age_of, name_of


def binding_cells(binding: Object, now: datetime) -> Cells:
    """Name, role, age; users, groups and service accounts."""
    role: Object = binding.get("roleRef") or {}
    subjects: Iterable[Object] = binding.get("subjects") or ()
    users, groups, accounts = (
        [_shown(subject) for subject in subjects if subject.get("kind") == kind]
        for kind in ("User", "Group", "ServiceAccount")
    )
    named = f"{role.get('kind')}/{role.get('name')}"
    return [name_of(binding), named, age_of(binding, now), ", ".join(users), ", ".join(groups), ", ".join(accounts)]


def _shown(subject: Object) -> str:
    name = str(subject.get("name", ""))
    return f"{subject.get('namespace') or ''}/{name}" if subject.get("kind") == "ServiceAccount" else name
