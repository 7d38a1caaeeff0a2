"""What the files of a volume say: decided from what was read for it, without touching the disk.

Messages are the kubelet's, since people search for them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from stark.crds.config import ConfigMap, Secret
from stark.crds.pods import Pod
from stark.crds.volumes import (
    FILE_MODE,
    DownwardAPIVolumeFile,
    KeyToPath,
    ServiceAccountTokenProjection,
    Volume,
)

from ..environment import Surroundings, field_value, resource_value


class VolumeError(Exception):
    """The volume cannot be filled as it is described; the message says why."""


@dataclass(frozen=True, slots=True)
class File:
    """One file of a volume."""

    data: bytes
    mode: int


Payload = dict[str, File]
"""The files of a volume by path within it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was read for the volumes of a pod, by name; None for what is not there."""

    config_maps: Mapping[str, ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, Secret | None] = field(default_factory=dict)
    tokens: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """By volume and path."""


def payload_of(volume: Volume, pod: Pod, found: Found, around: Surroundings) -> Payload | None:
    """The files; None for a volume that is none of files that we write. Raises VolumeError."""
    if volume.config_map is not None:
        config = volume.config_map
        return _of_config_map(found, config.name, config.items, config.optional, _mode(config.default_mode))
    if volume.secret is not None:
        secret = volume.secret
        return _of_secret(found, secret.secret_name or "", secret.items, secret.optional, _mode(secret.default_mode))
    if volume.downward_api is not None:
        return _of_pod(pod, volume.downward_api.items, _mode(volume.downward_api.default_mode), around)
    if volume.projected is not None:
        return _projected(volume, pod, found, around)
    return None


def _projected(volume: Volume, pod: Pod, found: Found, around: Surroundings) -> Payload:
    assert volume.projected is not None, volume.name
    mode = _mode(volume.projected.default_mode)
    whole: Payload = {}
    for source in volume.projected.sources:
        if source.config_map is not None:
            one = source.config_map
            whole |= _of_config_map(found, one.name, one.items, one.optional, mode)
        elif source.secret is not None:
            key = source.secret
            whole |= _of_secret(found, key.name, key.items, key.optional, mode)
        elif source.downward_api is not None:
            whole |= _of_pod(pod, source.downward_api.items, mode, around)
        elif source.service_account_token is not None:
            path = source.service_account_token.path
            whole[_local(path)] = File(found.tokens[volume.name, path].encode(), mode)
    return whole


def tokens_of(volume: Volume) -> list[ServiceAccountTokenProjection]:
    """The tokens that a volume has."""
    sources = volume.projected.sources if volume.projected is not None else ()
    return [source.service_account_token for source in sources if source.service_account_token is not None]


def _of_config_map(found: Found, name: str, items: Sequence[KeyToPath], optional: bool | None, mode: int) -> Payload:
    config_map = found.config_maps.get(name)
    if config_map is None:
        if optional:
            return {}
        raise VolumeError(f'configmap "{name}" not found')
    whole = {key: value.encode() for key, value in config_map.data.items()}
    whole |= {key: base64.b64decode(value) for key, value in config_map.binary_data.items()}
    return _chosen(whole, items, mode, bool(optional), "configmap references non-existent config key")


def _of_secret(found: Found, name: str, items: Sequence[KeyToPath], optional: bool | None, mode: int) -> Payload:
    secret = found.secrets.get(name)
    if secret is None:
        if optional:
            return {}
        raise VolumeError(f'secret "{name}" not found')
    whole = {key: base64.b64decode(value) for key, value in secret.data.items()}
    return _chosen(whole, items, mode, bool(optional), "references non-existent secret key")


def _chosen(
    whole: Mapping[str, bytes], items: Sequence[KeyToPath], mode: int, optional: bool, complaint: str
) -> Payload:
    if not items:
        return {_local(key): File(data, mode) for key, data in whole.items()}
    chosen: Payload = {}
    for item in items:
        if item.key in whole:
            chosen[_local(item.path)] = File(whole[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(f"{complaint}: {item.key}")
    return chosen


def _of_pod(pod: Pod, items: Iterable[DownwardAPIVolumeFile], mode: int, around: Surroundings) -> Payload:
    files: Payload = {}
    for item in items:
        if item.field_ref is not None:
            text = _field(pod, item.field_ref.field_path, around)
        elif item.resource_field_ref is not None:
            text = resource_value(pod, item.resource_field_ref, "", around.allocatable)
        else:
            raise VolumeError(f"{item.path}: one of fieldRef and resourceFieldRef is required")
        files[_local(item.path)] = File(text.encode(), mode if item.mode is None else item.mode)
    return files


def _field(pod: Pod, path: str, around: Surroundings) -> str:
    if path in ("metadata.labels", "metadata.annotations"):
        mapping = pod.metadata.labels if path == "metadata.labels" else pod.metadata.annotations
        return "\n".join(f"{key}={json.dumps(mapping[key], ensure_ascii=False)}" for key in sorted(mapping))
    return field_value(pod, path, around.node_ip)


def _mode(mode: int | None) -> int:
    return FILE_MODE if mode is None else mode


def _local(path: str) -> str:
    """A path that stays within the volume, whoever let it pass."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or not parts or parts[0].startswith("..") or ".." in parts:
        raise VolumeError(f"path {path!r} does not lie within the volume")
    return "/".join(parts)
