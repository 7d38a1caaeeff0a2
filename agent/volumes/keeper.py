"""Keep the volumes of the node's pods: made before a container starts, current while it runs, gone with the pod.

They lie in `pods/<uid>/volumes/<name>`, a folder that nobody but the agent can enter: what a container sees of them is
mounted for it. What has been filled once stays when the API server is away or an object is deleted, as in Kubernetes.
Nothing is remembered that is not on the disk, so the next agent goes on with it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from stark.client.errors import ApiError
from stark.crds.isolation import TRUSTED
from stark.crds.podcontainers import every_container
from stark.crds.pods import Container, Pod
from stark.crds.volumes import Volume, named_sources

from ..accounts import ENDED, AccountFiles
from ..configs import ConfigRound, Configs, ConfigSource
from ..environment import ConfigError, Surroundings
from ..records import PodNote, PodRecords
from .folders import check_host_path, hold_in_memory, make_empty_dir, release_memory
from .payload import Found, VolumeError, payload_of, tokens_of
from .writer import Owner, is_written, read_file, write

log = logging.getLogger(__name__)

FAILED_MOUNT = "FailedMount"
FOLDER = "volumes"
FOLDER_MODE = 0o700
MEMORY = ".shm"  # no volume's name
MEMORY_BYTES = 64 << 20  # as container runtimes have it
TOKEN_AGE_MAX_S = 24 * 3600.0
"""A token is renewed when it is as old as this, however long it counts. The kubelet's figure, as the next."""
TOKEN_AGE_SHARE = 0.8
TOKEN_SPREAD_S = 10.0


class FailedMount(Exception):
    """A volume of the pod cannot be made; the message is the kubelet's."""

    def __init__(self, volume: str, why: object) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')


class VolumeKeeper:
    """The volumes of all pods of the node."""

    def __init__(
        self,
        records: PodRecords,
        configs: ConfigSource,
        accounts: AccountFiles,
        node_ip: str,
        allocatable: Mapping[str, str],
    ) -> None:
        self._records, self._configs, self._accounts = records, configs, accounts
        self._around = Surroundings(node_ip, allocatable)
        self._writing = threading.Lock()  # containers of a pod may be prepared at the same time

    def folder(self, uid: str) -> Path:
        """Where a pod's volumes are."""
        return self._records.folder(uid) / FOLDER

    async def read(self, pod: Pod, now: float, configs: Configs | None = None) -> Found:
        """What the volumes are filled from. Raises FailedMount when nobody can tell and the volume is new."""
        configs = configs or self._configs
        maps: dict[str, Any] = {}
        secrets: dict[str, Any] = {}
        tokens: dict[tuple[str, str], str] = {}
        namespace = pod.metadata.namespace or ""
        for volume in pod.spec.volumes:
            try:
                for kind, name, _ in named_sources([volume]):
                    if kind == "configmap":
                        maps[name] = await configs.config_map(namespace, name)
                    else:
                        secrets[name] = await configs.secret(namespace, name)
                for token in tokens_of(volume):
                    key = volume.name, token.path
                    tokens[key] = await self._token(pod, volume, token.path, token.audience, now)
            except (ConfigError, ApiError) as error:
                if not is_written(self.folder(pod.uid) / volume.name):
                    raise FailedMount(volume.name, getattr(error, "message", error)) from error
        return Found(maps, secrets, tokens)

    async def _token(self, pod: Pod, volume: Volume, path: str, audience: str | None, now: float) -> str:
        present = read_file(self.folder(pod.uid) / volume.name, path)
        if present is not None and not is_due(present, now):
            return present.decode()
        seconds = next(one.expiration_seconds for one in tokens_of(volume) if one.path == path)
        return await self._accounts.request(pod, audience, seconds)

    def make(self, pod: Pod, found: Found, owner: Owner) -> None:
        """Make every volume of the pod as it must be. Raises FailedMount."""
        if not pod.spec.volumes:
            return
        folder = self.folder(pod.uid)
        for volume in pod.spec.volumes:
            try:
                with self._writing:
                    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                    self._make(volume, pod, found, folder / volume.name, owner)
            except (VolumeError, ConfigError, OSError) as error:
                raise FailedMount(volume.name, error) from error

    def _make(self, volume: Volume, pod: Pod, found: Found, folder: Path, owner: Owner) -> None:
        if volume.host_path is not None:
            check_host_path(volume.host_path)
        elif volume.empty_dir is not None:
            make_empty_dir(folder, volume.empty_dir, owner)
        else:
            self._fill(volume, pod, found, folder, owner)

    def _fill(self, volume: Volume, pod: Pod, found: Found, folder: Path, owner: Owner) -> bool:
        written = is_written(folder)
        missing = [key for key in ((volume.name, one.path) for one in tokens_of(volume)) if key not in found.tokens]
        unread = [name for kind, name, _ in named_sources([volume])
                  if name not in (found.config_maps if kind == "configmap" else found.secrets)]  # fmt: skip
        if written and (missing or unread):
            return False
        try:
            payload = payload_of(volume, pod, found, self._around)
        except VolumeError:
            if written:
                return False
            raise
        assert payload is not None, volume.name
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0 and holds_secrets(volume):
            hold_in_memory(folder)
        owner.give(folder)
        return write(folder, payload, owner)

    async def refresh(self, pods: Iterable[Pod], now: float) -> None:
        """One round: every volume that has been filled is brought up to date. What fails is tried again in the next."""
        pods = list(pods)
        self._configs.keep_only(pods)
        configs = ConfigRound(self._configs)
        for pod in pods:
            if pod.status.phase in ENDED or not any(map(_follows, pod.spec.volumes)):
                continue
            if not self.folder(pod.uid).is_dir():
                continue  # not started yet
            try:
                await self._refresh(pod, now, configs)
            except (FailedMount, OSError) as error:
                log.warning("volume not updated", extra={"podId": pod.uid, "error": str(error)})
            except Exception:  # one pod that nobody thought of must not take the agent from the node's others
                log.exception("volume not updated", extra={"podId": pod.uid})

    async def _refresh(self, pod: Pod, now: float, configs: Configs) -> None:
        found = await self.read(pod, now, configs)
        for volume in filter(_follows, pod.spec.volumes):
            if await asyncio.to_thread(self._update, volume, pod, found):
                log.info("volume updated", extra={"podId": pod.uid, "volume": volume.name})

    def _update(self, volume: Volume, pod: Pod, found: Found) -> bool:
        folder = self.folder(pod.uid) / volume.name
        with self._writing:
            return is_written(folder) and self._fill(
                volume, pod, found, folder, owner_of(pod, self._records.note(pod.uid))
            )

    def common_memory(self, pod: Pod, container: Container, note: PodNote) -> list[dict[str, Any]]:
        """What containers of a pod share at /dev/shm, as in Kubernetes: one alone has its own. Raises OSError."""
        if note.user is None or note.isolation == TRUSTED or len(list(every_container(pod.spec))) == 1:
            return []
        if any(each.mount_path.rstrip("/") == "/dev/shm" for each in container.volume_mounts):
            return []  # a volume of its own
        folder = self.folder(pod.uid) / MEMORY
        with self._writing:
            self.folder(pod.uid).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            folder.mkdir(exist_ok=True)
            hold_in_memory(folder, MEMORY_BYTES)
            folder.chmod(0o1777)
        return [{"source": str(folder), "target": "/dev/shm", "read_only": False}]

    def clear(self, uid: str) -> None:
        """Give the memory back that a pod's volumes take, before its folder is removed."""
        release_memory(self.folder(uid))


def holds_secrets(volume: Volume) -> bool:
    """Whether its files must not lie on a disk."""
    return any(kind == "secret" for kind, _, _ in named_sources([volume])) or bool(tokens_of(volume))


def _follows(volume: Volume) -> bool:
    return volume.empty_dir is None and volume.host_path is None


def owner_of(pod: Pod, note: PodNote) -> Owner:
    """Whose the files of a pod's volumes are: the pod's own user's, and in class `trusted` fsGroup's, as upstream."""
    group = pod.spec.security_context.fs_group if pod.spec.security_context is not None else None
    if note.isolation == TRUSTED:
        return Owner(None, group, shared=group is not None)
    return Owner(note.user, note.user, shared=group is not None)


def is_due(token: bytes, now: float) -> bool:
    """Whether a token must be renewed, by what it says of itself."""
    try:
        part = token.split(b".")[1]
        claims: Mapping[str, Any] = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
        begun, ends = float(claims["iat"]), float(claims["exp"])
    except (ValueError, KeyError, IndexError, TypeError):
        return True
    age_s = now - begun
    return not 0 <= age_s < min(TOKEN_AGE_SHARE * (ends - begun), TOKEN_AGE_MAX_S) - TOKEN_SPREAD_S
