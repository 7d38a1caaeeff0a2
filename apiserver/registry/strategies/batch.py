"""Jobs: the selector that only the server can make, since it selects by the job's own uid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stark.crds.batch import CONTROLLER_UID, JOB_NAME, OLD_CONTROLLER_UID, OLD_JOB_NAME

from .base import Known, Object, Strategy


class JobStrategy(Strategy):
    """A job's pods are told by its uid, so that two jobs never fight over one."""

    def prepare_create(self, obj: Object) -> None:
        """A job without numbers runs one pod once; one with parallelism alone works on a queue."""
        self._complete(obj)

    def prepare_update(self, new: Object, old: Known) -> None:
        """The same numbers: an update that does not mention them means the same as a creation."""
        self._complete(new)

    def settle_identity(self, obj: Object) -> None:
        """Selector and labels."""
        spec, meta = obj.get("spec") or {}, obj["metadata"]
        template = spec.get("template")
        if spec.get("manualSelector") or not isinstance(template, dict):
            return
        uid_labels = dict.fromkeys((CONTROLLER_UID, OLD_CONTROLLER_UID), meta["uid"])
        name_labels = dict.fromkeys((JOB_NAME, OLD_JOB_NAME), meta["name"])
        inner: dict[str, Any] = template.get("metadata") or {}
        labels: Mapping[str, str] = inner.get("labels") or {}
        template["metadata"] = {**inner, "labels": {**labels, **uid_labels, **name_labels}}
        spec["selector"] = {"matchLabels": {CONTROLLER_UID: meta["uid"]}}

    def _complete(self, obj: Object) -> None:
        spec = obj.get("spec") or {}
        if spec.get("parallelism") is None:
            if spec.get("completions") is None:
                spec["completions"] = 1
            spec["parallelism"] = 1
