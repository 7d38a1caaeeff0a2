"""Which of the objects that a selector matches belong to an owner, and which should from now on, or no longer.

An object has at most one controlling owner. One without an owner that matches the selector is adopted, one of ours that
does not match any more is released; nobody touches what another owner controls, nor takes what another user has made.
The decision is pure; `adoption` and `release` are the patches that carry it out, both bound to the object's uid so that a
namesake is never meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from stark.crds.meta import KubeObject, OwnerReference, controller_of
from stark.crds.selectors import Selector
from stark.crds.tenancy import Owner, may_adopt

K = TypeVar("K", bound=KubeObject)


ORPHANS = "orphans-of-namespace"
"""The name of the `OrphanIndex` of an informer; informers are shared, and so are their indexes."""


@dataclass(frozen=True, slots=True)
class Claims(Generic[K]):
    """`owned` belong to the owner now and go on to; `adopt` and `release` need a patch first."""

    owned: tuple[K, ...]
    adopt: tuple[K, ...] = ()
    release: tuple[K, ...] = ()


def claim(owner: KubeObject, selector: Selector, candidates: Iterable[K]) -> Claims[K]:
    """Sort out the candidates of the owner's namespace. An owner on its way out neither adopts nor releases."""
    owned: list[K] = []
    adopt: list[K] = []
    release: list[K] = []
    leaving = owner.metadata.deletion_timestamp is not None
    for candidate in candidates:
        # Most have one owner, which controls them.
        owners = candidate.metadata.owner_references
        controller = owners[0] if len(owners) == 1 and owners[0].controller else controller_of(candidate)
        matches = selector.matches(candidate.metadata.labels)
        if controller is not None:
            if controller.uid != owner.uid:
                continue
            if matches or leaving:
                owned.append(candidate)
            else:
                release.append(candidate)
        elif matches and not leaving and candidate.metadata.deletion_timestamp is None and _is_ours(owner, candidate):
            adopt.append(candidate)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


def _is_ours(owner: KubeObject, orphan: KubeObject) -> bool:
    return may_adopt(Owner.of(owner.metadata.annotations), Owner.of(orphan.metadata.annotations))


def adoption(owner: KubeObject, orphan: KubeObject) -> dict[str, Any]:
    """The merge patch that makes `owner` the controller of `orphan`; a conflict when that changed meanwhile."""
    references = [*orphan.metadata.owner_references, owner.owner_reference()]
    return _owners_patch(orphan, references)


def release(owner: KubeObject, dependent: KubeObject) -> dict[str, Any]:
    """The merge patch that takes `owner` off the owners of `dependent`; a conflict when that changed meanwhile."""
    return _owners_patch(dependent, [ref for ref in dependent.metadata.owner_references if ref.uid != owner.uid])


def _owners_patch(obj: KubeObject, references: list[OwnerReference]) -> dict[str, Any]:
    # A merge patch replaces the whole list, so it must be written against exactly the version that was read.
    wire = [ref.model_dump(mode="json", by_alias=True, exclude_none=True) for ref in references]
    meta = {"uid": obj.uid, "resourceVersion": obj.metadata.resource_version, "ownerReferences": wire}
    return {"metadata": meta}
