"""Which taints a toleration covers (core/v1's rules), for whoever places pods and whoever takes them away again.

Asks only for the four or three fields that decide, so that a controller's own compact shapes are judged like the models.
"""

from __future__ import annotations

from typing import Protocol


class TolerationFields(Protocol):
    """What of a toleration decides; an empty field is as good as none."""

    @property
    def key(self) -> str | None: ...
    @property
    def operator(self) -> str | None: ...
    @property
    def value(self) -> str | None: ...
    @property
    def effect(self) -> str | None: ...


class TaintFields(Protocol):
    """What of a taint decides."""

    @property
    def key(self) -> str: ...
    @property
    def value(self) -> str | None: ...
    @property
    def effect(self) -> str: ...


def tolerates(toleration: TolerationFields, taint: TaintFields) -> bool:
    """Whether a pod with this toleration may ignore the taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or (bool(toleration.key) and (toleration.value or "") == (taint.value or ""))
