"""What a namespace's labels ask for: a level, at a version, for each of three modes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ...errors import Cause
from ..complaints import bad_value

PREFIX: Final = "pod-security.kubernetes.io/"
ENFORCE, AUDIT, WARN = "enforce", "audit", "warn"
MODES: Final = (ENFORCE, AUDIT, WARN)
Level = Literal["privileged", "baseline", "restricted"]
LEVELS: Final[tuple[Level, ...]] = ("privileged", "baseline", "restricted")
LATEST: Final = "latest"
NEWEST: Final = 1_000_000
"""Later than every minor version."""

_VERSION = re.compile(r"v1\.(0|[1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Policy:
    """A level as it was in a version."""

    level: Level = "privileged"
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    @property
    def minor(self) -> int:
        """The minor version of Kubernetes whose rules are meant."""
        found = _VERSION.fullmatch(self.version)
        return int(found.group(1)) if found else NEWEST


def policy_of(labels: Mapping[str, Any], mode: str) -> Policy:
    """What is asked for in a mode. What cannot be read asks for the strictest, as in Kubernetes."""
    level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version", LATEST)
    if not _is_version(version):
        version = LATEST
    if level is None:
        return Policy(version=version)
    return Policy(next((one for one in LEVELS if one == level), "restricted"), version)


def label_causes(labels: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[Cause]:
    """Complaints about labels of a namespace that are new and mean nothing."""
    for mode in MODES:
        key = PREFIX + mode
        value = labels.get(key)
        if value is not None and value != before.get(key) and value not in LEVELS:
            yield bad_value(f"metadata.labels[{key}]", value, f"must be one of {', '.join(LEVELS)}")
        key += "-version"
        value = labels.get(key)
        if value is not None and value != before.get(key) and not _is_version(value):
            yield bad_value(f"metadata.labels[{key}]", value, 'must be "latest" or "v1.x"')


def _is_version(text: Any) -> bool:
    return text == LATEST or (isinstance(text, str) and _VERSION.fullmatch(text) is not None)
