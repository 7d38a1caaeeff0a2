"""Every function an expression may call: CEL's own, and Kubernetes' libraries on top of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from . import authorization, formats, lists, networks, quantities, regex, strings
from .registry import Implementation, Overload, dispatch
from .standard import BUILTIN, REDECLARED

EXTENSIONS: tuple[Overload, ...] = tuple(
    overload
    for library in (strings, lists, regex, networks, quantities, formats, authorization)
    for overload in library.OVERLOADS
)
"""What we declare to the compiler."""

FUNCTIONS: Mapping[str, Implementation] = {**dispatch(EXTENSIONS), **BUILTIN}
"""By name, what evaluates a call."""


def declared() -> dict[str, list[Overload]]:
    """All that is declared, by function: the compiler wants each function once."""
    by_name: dict[str, list[Overload]] = defaultdict(list)
    for overload in (*EXTENSIONS, *REDECLARED):
        by_name[overload.function].append(overload)
    return by_name


__all__ = ["EXTENSIONS", "FUNCTIONS", "REDECLARED", "Implementation", "Overload", "declared"]
