"""Whether a version of a pack is registered, and which ones are."""

from __future__ import annotations

from typing import Any

from stark.crds.images import PackRef, is_version, pack_object_name, version_key

from .errors import CommandError, ServerError
from .options import Session
from .paging import every

PACKS = "/apis/stark.dev/v1/packs"
SUGGESTED = 5
"""Versions named in a complaint, the highest first."""


def pack_object(session: Session, reference: PackRef) -> dict[str, Any]:
    """The Pack of a version. Raises CommandError with the versions that there are."""
    try:
        return session.api.get(f"{PACKS}/{pack_object_name(reference.name, reference.version or '')}")
    except ServerError as error:
        if error.reason != "NotFound":
            raise
    found = every(session, PACKS, fieldSelector=f"spec.name={reference.name}")
    versions = [pack["spec"]["version"] for pack in found if is_version(pack["spec"]["version"])]
    versions.sort(key=version_key, reverse=True)
    if not versions:
        raise CommandError(f"no pack is called {reference.name}: `starkctl pack list` shows them")
    known = ", ".join(versions[:SUGGESTED]) + (", ..." if len(versions) > SUGGESTED else "")
    raise CommandError(f"VERSION_NOT_FOUND: pack {reference.name} has no version {reference.version}; it has {known}")
