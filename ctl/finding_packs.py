"""Whether a version of a pack is registered, and which ones are."""

from __future__ import annotations

from typing import Any

from stark.crds.images import PackRef, is_version, latest_version, pack_object_name, version_key

from .errors import CommandError, ServerError
from .options import Session
from .paging import every

PACKS = "/apis/stark.dev/v1/packs"
SUGGESTED = 5
"""Versions named in a complaint, the highest first."""


def versions_of(session: Session, name: str) -> list[dict[str, Any]]:
    """The Packs of a name, the highest version first. Raises CommandError when there is none."""
    found = [
        pack for pack in every(session, PACKS, fieldSelector=f"spec.name={name}") if is_version(pack["spec"]["version"])
    ]
    if not found:
        raise CommandError(f"no pack is called {name}: `starkctl pack list` shows them")
    return sorted(found, key=lambda pack: version_key(pack["spec"]["version"]), reverse=True)


def chosen_version(session: Session, name: str, version: str | None) -> dict[str, Any]:
    """The Pack of a version; without one that of the latest, as images without a version mean it. Raises CommandError."""
    if version is not None:
        return pack_object(session, PackRef(name, version))
    found = versions_of(session, name)
    fit = [pack for pack in found if not pack["spec"].get("deprecated")] or found
    latest = latest_version(pack["spec"]["version"] for pack in reversed(fit))
    return next(pack for pack in fit if pack["spec"]["version"] == latest)


def pack_object(session: Session, reference: PackRef) -> dict[str, Any]:
    """The Pack of a version. Raises CommandError with the versions that there are."""
    try:
        return session.api.get(f"{PACKS}/{pack_object_name(reference.name, reference.version or '')}")
    except ServerError as error:
        if error.reason != "NotFound":
            raise
    versions = [pack["spec"]["version"] for pack in versions_of(session, reference.name)]
    known = ", ".join(versions[:SUGGESTED]) + (", ..." if len(versions) > SUGGESTED else "")
    raise CommandError(f"VERSION_NOT_FOUND: pack {reference.name} has no version {reference.version}; it has {known}")
