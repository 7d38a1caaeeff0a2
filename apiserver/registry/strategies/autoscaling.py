"""Autoscalers: stored as autoscaling/v2, and served as autoscaling/v1 as well."""

from __future__ import annotations

from typing import ClassVar

from stark.crds.autoscaler_forms import CONDITIONS, CURRENT_METRICS, full, plain

from .base import Known, Object, Strategy
from .views import View

OBSERVED = (CURRENT_METRICS, CONDITIONS)
"""Annotations of autoscaling/v1 that are status, and as such nobody's who writes the object."""


class PlainAutoscalerStrategy(Strategy):
    """The same objects in the words of autoscaling/v1."""

    view: ClassVar[View] = View(
        "autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", served=plain, stored=full, paths={}
    )

    def prepare_create(self, obj: Object) -> None:
        """Nothing has been observed yet."""
        _observe(obj, {})

    def prepare_update(self, new: Object, old: Known) -> None:
        """What was observed stays."""
        _observe(new, old["metadata"].get("annotations") or {})

    def prepare_status_update(self, new: Object, old: Known) -> None:
        """The same: a status is written in the words of autoscaling/v2."""
        _observe(new, old["metadata"].get("annotations") or {})


def _observe(obj: Object, known: Known) -> None:
    annotations = {
        name: value for name, value in (obj["metadata"].get("annotations") or {}).items() if name not in OBSERVED
    }
    annotations |= {name: known[name] for name in OBSERVED if name in known}
    if annotations or "annotations" in obj["metadata"]:
        obj["metadata"]["annotations"] = annotations
