"""From definitions in CustomResourceDefinition form, ours or users', to the resources that are served."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .resources import Resource


def resources_of(crd: Mapping[str, Any], *, custom: bool = True) -> list[Resource]:
    """One Resource per served version of the definition."""
    raise NotImplementedError


def builtin_resources() -> list[Resource]:
    """The kinds that come with us, from `stark.crds.loader.load_builtin()`."""
    raise NotImplementedError
