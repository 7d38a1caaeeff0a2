"""What this machine and our rights allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stark.crds.isolation import CLASSES


@dataclass(frozen=True, slots=True)
class Means:
    """What the machine can do for pods."""

    base: tuple[str, ...] = ()
    """Namespaces that every isolated container lives in: none as root, whose pods have users of their own."""
    separate_users: bool = False
    landlock: bool = False
    """Landlock alone keeps the pods of class `process` apart: the kernel lets us make no namespaces."""
    hidden: tuple[str, ...] = ()
    """Folders and files that no isolated pod sees."""
    shown: tuple[Path, ...] = ()
    """What pods see all the same of what is hidden."""
    configuration: frozenset[str] = frozenset()
    """What there is of the files a minimal root has."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Why not, by class that cannot be given here."""
    views: bool = False
    """Whether a container can have a view of the files of its own: volumes need one."""

    @property
    def classes(self) -> frozenset[str]:
        """The classes that can be given here."""
        return frozenset(CLASSES) - self.refused.keys()

    @property
    def described(self) -> dict[str, str]:
        """For the Node's annotation: whose pods' processes are, and why a class cannot be given here."""
        return {"users": "per pod" if self.separate_users else "the agent's", **self.refused}
