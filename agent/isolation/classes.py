"""Which class of isolation a pod gets."""

from __future__ import annotations

from collections.abc import Mapping

from stark.crds.isolation import PROCESS, TRUSTED

ISOLATED = PROCESS
"""What a pod gets that asks for nothing, where the node can give it."""


class Unoffered(Exception):
    """The pod asks for more than this node can give; the message says what."""


def chosen(wanted: str | None, refused: Mapping[str, str]) -> str:
    """The class for a pod that asks for `wanted`; None asks for nothing. Raises Unoffered.

    `refused` has why by class, for those this node does not offer.
    """
    if wanted is None:
        return TRUSTED if ISOLATED in refused else ISOLATED
    if wanted in refused:
        raise Unoffered(f"this node does not offer isolation class {wanted}: {refused[wanted]}")
    return wanted
