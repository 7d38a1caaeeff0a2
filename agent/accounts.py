"""What a pod's programs prove their identity with: its token, the authority to trust, and their namespace, as files.

They lie in `pods/<uid>/serviceaccount`, readable by the pod alone, and are replaced whole. A token is asked for before the
pod's first process starts, and again in good time before it ends; while the API server is away the old one stays. The
file's own time is the only record of when that was, so a new agent goes on where the former one stopped.

Clients look for the files at `MOUNTED_AT`. There they are where a container can have a view of the files of its own
(`supervisor/mounts.py`); elsewhere the pod is pointed to a kubeconfig that says the same.
"""

from __future__ import annotations

import json
import logging
import os
import ssl
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from stark.client.api import Client
from stark.client.config import ClientConfig
from stark.client.errors import ApiError
from stark.crds.pods import Pod

from .records import PodRecords

log = logging.getLogger(__name__)

FOLDER = "serviceaccount"
MOUNTED_AT = "/var/run/secrets/kubernetes.io/serviceaccount"
EXPIRATION_S = 3_607
"""What is asked for, as the kubelet does: the API server knows by this number that a token is a pod's own."""
RENEW_AFTER_S = 0.8 * EXPIRATION_S
RENEW_SPREAD_S = 300
"""Pods that started together renew within this time of one another, the earlier ones before RENEW_AFTER_S."""
ENDED = ("Succeeded", "Failed")
REFUSALS = (400, 403, 404, 409, 422)
"""Answers about one pod: the pod or its account is gone, or is another."""
REQUEST_TIMEOUT_S = 15.0
NAMESPACE, AUTHORITY, TOKEN, KUBECONFIG = "namespace", "ca.crt", "token", "kubeconfig"


class NoToken(Exception):
    """The pod has no token and gets none now; the message says why."""


class AccountFiles:
    """The files of all pods of the node."""

    def __init__(self, client: Client, config: ClientConfig, records: PodRecords) -> None:
        self._client, self._config, self._records = client, config, records

    def folder(self, uid: str) -> Path:
        """Where a pod's files are."""
        return self._records.folder(uid) / FOLDER

    async def obtain(self, pod: Pod, now: float | None = None) -> str | None:
        """A token to `place`; None when the pod wants none, or has one that is young enough. Raises NoToken."""
        if not is_wanted(pod):
            return None
        age_s = self._age_s(pod.uid, time.time() if now is None else now)
        if age_s is not None and age_s < renew_after_s(pod.uid):
            return None
        try:
            return await self.request(pod, None, EXPIRATION_S)
        except ApiError as error:
            if age_s is not None:
                log.warning("token not renewed, the old one stays", extra=_told(pod, error))
                return None
            account = f"{pod.metadata.namespace}/{pod.spec.service_account_name}"
            raise NoToken(f"no token for service account {account}: {error.message}") from error

    def place(self, pod: Pod, token: str, user: int | None) -> None:
        """Write everything, for `user` to read (None: our own). Raises OSError."""
        folder = self.folder(pod.uid)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if user is not None:
            os.chown(folder, 0, user)
            folder.chmod(0o750)
        namespace = pod.metadata.namespace or ""
        content = {
            NAMESPACE: namespace.encode(),
            AUTHORITY: authority_of(self._config),
            KUBECONFIG: kubeconfig(self._config, folder, namespace, token),
            TOKEN: token.encode(),  # the last: its time says that all of it is there
        }
        for name, data in content.items():
            _replace(folder / name, data, user)

    def environment(self) -> dict[str, str]:
        """Where the API server is, as every pod is told it in Kubernetes."""
        url = urlsplit(self._config.server)
        port = str(url.port or (443 if url.scheme == "https" else 80))
        host = url.hostname or ""
        return {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "KUBERNETES_SERVICE_PORT_HTTPS": port,
        }

    async def renew(self, pods: Iterable[Pod], now: float) -> None:
        """One round: a new token for every pod that runs on an old one. What fails is tried again in the next round."""
        for pod in pods:
            age_s = self._age_s(pod.uid, now)
            # One without has not started yet, or is to have none.
            if age_s is None or age_s < renew_after_s(pod.uid) or pod.status.phase in ENDED or not is_wanted(pod):
                continue
            try:
                self.place(pod, await self.request(pod, None, EXPIRATION_S), self._records.note(pod.uid).user)
            except ApiError as error:
                log.warning("token not renewed, the old one stays", extra=_told(pod, error))
                if error.status_code not in REFUSALS:
                    return  # nobody answers: the others would wait in vain as well
            except OSError as error:
                log.error("token cannot be written", extra={"podId": pod.uid, "error": str(error)})

    def _age_s(self, uid: str, now: float) -> float | None:
        """Age of the token that is there. One from the future, after a step of the clock, is as old as can be."""
        try:
            written_at = (self.folder(uid) / TOKEN).stat().st_mtime
        except OSError:
            return None
        return now - written_at if written_at <= now else RENEW_AFTER_S + RENEW_SPREAD_S

    async def request(self, pod: Pod, audience: str | None, expiration_s: int | None) -> str:
        """A new token of the pod's account, by default for the API server. Raises ApiError."""
        meta = pod.metadata
        path = f"/api/v1/namespaces/{meta.namespace}/serviceaccounts/{pod.spec.service_account_name}/token"
        reference = {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                **({"audiences": [audience]} if audience else {}),
                "expirationSeconds": expiration_s,
                "boundObjectRef": reference,
            },
        }
        headers = {"Content-Type": "application/json"}
        async with self._client.raw(
            "POST", path, body=orjson.dumps(body), headers=headers, timeout_s=REQUEST_TIMEOUT_S
        ) as response:
            answer = b"".join([chunk async for chunk in response.chunks()])
        return str(orjson.loads(answer)["status"]["token"])


def is_wanted(pod: Pod) -> bool:
    """Whether the pod's programs get a token."""
    return pod.spec.automount_service_account_token is not False and bool(pod.spec.service_account_name)


def renew_after_s(uid: str) -> float:
    """At what age a pod's token is renewed: the same at every look, another for every pod."""
    return RENEW_AFTER_S - zlib.crc32(uid.encode()) % RENEW_SPREAD_S


def authority_of(config: ClientConfig) -> bytes:
    """PEM of whom to trust: the agent's own, or the system's where the agent trusts that. Raises OSError."""
    if config.ca_data is not None:
        return config.ca_data
    system = ssl.get_default_verify_paths().cafile
    return Path(system).read_bytes() if system else b""


def kubeconfig(config: ClientConfig, folder: Path, namespace: str, token: str) -> bytes:
    """The same as a kubeconfig. The token is there twice: not every client reads `tokenFile`, and who does prefers it."""
    named: dict[str, Mapping[str, Any]] = {
        "cluster": {"server": config.server, "certificate-authority": str(folder / AUTHORITY)},
        "user": {"tokenFile": str(folder / TOKEN), "token": token},
        "context": {"cluster": "stark", "user": "pod", "namespace": namespace},
    }
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "stark", "cluster": named["cluster"]}],
        "users": [{"name": "pod", "user": named["user"]}],
        "contexts": [{"name": "pod", "context": named["context"]}],
        "current-context": "pod",
    }
    return json.dumps(whole, indent=1).encode()


def _replace(path: Path, data: bytes, user: int | None) -> None:
    """Replace a file whole: readers see the old or the new one."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if user is not None:
                os.fchown(file.fileno(), 0, user)
                os.fchmod(file.fileno(), 0o440)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _told(pod: Pod, error: ApiError) -> dict[str, str]:
    return {"podId": pod.uid, "error": error.message}
