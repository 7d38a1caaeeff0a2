"""Is this a structural schema? What a CustomResourceDefinition must satisfy before we compile it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import Cause


def check_structural(schema: Mapping[str, Any], path: str = "") -> list[Cause]:
    """Everything that keeps `schema` from being structural; `path` is where it stands in the CRD. Empty: it is fine."""
    raise NotImplementedError
