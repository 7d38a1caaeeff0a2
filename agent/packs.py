"""Which pack an image means and which of its bundles this machine takes.

The API server is asked each time, because a pack may have been deleted and registered anew; while it is away the last
answer, kept on disk, is as good: a pack's content cannot change.
"""

from __future__ import annotations

import json
from pathlib import Path

from stark.client.api import Client
from stark.client.errors import ApiError, NotFound
from stark.crds.images import ImageError, PackRef, pack_object_name, parse_image
from stark.crds.meta import Undecodable, decode, to_wire
from stark.crds.packs import Pack, PackBundle


class PackError(Exception):
    """The container must wait; `reason` is its waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def pack_named_by(image: str) -> PackRef:
    """The pack an image names. Raises PackError for any other image."""
    try:
        ref = parse_image(image)
    except ImageError as error:
        raise PackError("InvalidImageName", str(error)) from error
    if ref is None:
        raise PackError("ErrImagePull", f"{image} is a container image, and this node runs packs only")
    if ref.version is None:
        raise PackError("ErrImagePull", f"{image} names no version: it was not pinned when the pod was admitted")
    return ref


def bundle_for(pack: Pack, architecture: str) -> PackBundle:
    """The bundle for this machine: its own architecture before `any`. Raises PackError."""
    by_architecture = {bundle.architecture: bundle for bundle in pack.spec.bundles}
    for wanted in (architecture, "any"):
        bundle = next((b for name, b in by_architecture.items() if name == wanted), None)
        if bundle is not None:
            return bundle
    offered = ", ".join(sorted(by_architecture))
    raise PackError("ErrImagePull", f"{pack.metadata.name} has no bundle for {architecture}, only for {offered}")


class PackSource:
    """Reads packs, and remembers them for when the API server is away."""

    def __init__(self, client: Client, directory: Path) -> None:
        self._client = client
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)

    async def get(self, ref: PackRef) -> Pack:
        """The pack. Raises PackError when there is none, or nobody can tell."""
        assert ref.version is not None, ref
        name = pack_object_name(ref.name, ref.version)
        kept = self._directory / f"{name}.json"
        try:
            pack = await self._client.get(Pack, name)
        except NotFound:
            kept.unlink(missing_ok=True)
            raise PackError("PackNotFound", f"pack {ref.name} version {ref.version} is not registered") from None
        except ApiError as error:
            return self._remembered(kept, error)
        if pack.spec.name != ref.name or pack.spec.version != ref.version:
            raise PackError("PackNotFound", f"pack {ref.name} version {ref.version} is not registered")
        self._remember(kept, pack)
        return pack

    def _remember(self, kept: Path, pack: Pack) -> None:
        text = json.dumps(to_wire(pack))
        try:
            if not kept.exists() or kept.read_text() != text:
                kept.write_text(text)
        except OSError:
            kept.unlink(missing_ok=True)  # better none than half of one

    def _remembered(self, kept: Path, error: ApiError) -> Pack:
        try:
            return decode(kept.read_bytes(), Pack)
        except (OSError, Undecodable):
            raise PackError("ErrImagePull", f"the API server cannot be asked: {error.message}") from error
