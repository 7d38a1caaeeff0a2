"""Where a container finds the volumes: its mounts, for the supervisor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stark.crds.pods import Container, Pod
from stark.crds.volumes import Volume, VolumeMount

from .folders import make_sub_path
from .payload import VolumeError
from .writer import Owner

_VARIABLE = re.compile(r"\$\$|\$\(([^)]*)\)")


def container_mounts(
    pod: Pod, container: Container, env: Mapping[str, str], folder: Path, owner: Owner
) -> list[dict[str, Any]]:
    """The mounts of a container; `folder` has the pod's volumes. Raises VolumeError, OSError."""
    volumes = {volume.name: volume for volume in pod.spec.volumes}
    return [_mount(volumes[each.name], each, env, folder, owner) for each in container.volume_mounts]


def _mount(volume: Volume, told: VolumeMount, env: Mapping[str, str], folder: Path, owner: Owner) -> dict[str, Any]:
    source = Path(volume.host_path.path) if volume.host_path is not None else folder / volume.name
    is_theirs = volume.empty_dir is not None or volume.host_path is not None
    mount: dict[str, Any] = {
        "source": str(source),
        "target": told.mount_path if told.mount_path.startswith("/") else f"/{told.mount_path}",
        "read_only": bool(told.read_only) or not is_theirs,
    }
    if volume.host_path is not None:
        mount["devices"] = True
    sub_path = _expanded(told.sub_path_expr, env) if told.sub_path_expr else told.sub_path
    if sub_path:
        if is_theirs:
            make_sub_path(source, sub_path, owner if volume.empty_dir is not None else Owner())
        mount |= {"source": sub_path, "within": str(source)}
    return mount


def _expanded(text: str, env: Mapping[str, str]) -> str:
    def one(match: re.Match[str]) -> str:
        if match.group(0) == "$$":
            return "$"
        if match.group(1) not in env:
            raise VolumeError(f'missing value for "{match.group(1)}"')
        return env[match.group(1)]

    path = _VARIABLE.sub(one, text)
    if path.startswith("/") or ".." in path.split("/"):
        raise VolumeError(f"subPathExpr {text}: {path!r} must be a relative path without '..'")
    return path
