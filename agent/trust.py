"""Whether this node runs a pack: by the cluster's PackTrustPolicies, and by keys that the node itself was given.

The server has judged the pod when it was written; since then packs, policies and namespaces may have changed, and a pod may
have come in by a way that nobody thought of. So the last word is here, before a program starts. The policies are asked
from the API server each time; while it is away its last answer, kept on disk, holds. Without any answer nothing runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stark.client.api import Client
from stark.client.errors import ApiError, NotFound
from stark.crds.meta import to_wire
from stark.crds.namespaces import Namespace
from stark.crds.pack_trust import PackTrustPolicy
from stark.crds.packs import Pack
from stark.crds.signing import ENFORCE, KeyUnusable, distrusts, public_key, signers

from .packs import PackError

REASON = "SignatureValidationFailed"
"""The waiting reason of a container whose pack is not trusted; the kubelet's word for it."""
PEM_END = "-----END PUBLIC KEY-----"
KEYS_FILE_BYTES_MAX = 1 << 20
NAMESPACES_KEPT_MAX = 1_000
"""Namespaces whose labels are remembered, the latest ones: many times the pods of a node."""


class KeysUnusable(ValueError):
    """The file of trusted keys cannot be used; the message says why."""


def read_keys(path: Path) -> tuple[str, ...]:
    """The public keys in a file, one PEM after the other. Raises KeysUnusable."""
    try:
        if path.stat().st_size > KEYS_FILE_BYTES_MAX:
            raise KeysUnusable(f"{path} is over {KEYS_FILE_BYTES_MAX} bytes")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KeysUnusable(f"the trusted keys in {path} cannot be read: {error}") from error
    keys = tuple(part.strip() + f"\n{PEM_END}\n" for part in text.split(PEM_END) if part.strip())
    try:
        for key in keys:
            public_key(key)
    except KeyUnusable as error:
        raise KeysUnusable(f"{path}: {error}") from error
    if not keys:
        raise KeysUnusable(f"{path} holds no key: with it nothing could run")
    return keys


class Trust:
    """Asked before each run of a container."""

    def __init__(self, client: Client, directory: Path, own_keys: Sequence[str] = ()) -> None:
        self._client = client
        self._kept = directory / "trust.json"
        self._own_keys = tuple(own_keys)

    async def check(self, pack: Pack, namespace: str) -> None:
        """Raises PackError when the pack is not trusted in the namespace, or nobody can tell."""
        spec = pack.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        told = f"pack {pack.spec.name} version {pack.spec.version}"
        if self._own_keys and not signers(spec, self._own_keys):
            raise PackError(REASON, f"{told} is signed by none of the keys that this node trusts")
        known = await self._known(namespace)
        for one in distrusts(known["policies"], known["labels"], spec):
            if one.action == ENFORCE:
                raise PackError(REASON, f'{told} is not trusted by PackTrustPolicy "{one.policy}": {one.message}')

    async def _known(self, namespace: str) -> Mapping[str, Any]:
        """The policies and the namespace's labels, from the server or from the last time."""
        try:
            policies = await self._policies()
            labels = await self._labels(namespace) if policies else {}
        except ApiError as error:
            return self._remembered(namespace, error)
        self._remember(namespace, policies, labels)
        return {"policies": policies, "labels": labels}

    async def _policies(self) -> list[Any]:
        try:
            return [to_wire(one) for one in (await self._client.list_all(PackTrustPolicy)).items]
        except NotFound:
            return []  # a server of before there were any

    async def _labels(self, namespace: str) -> Mapping[str, str]:
        try:
            return (await self._client.get(Namespace, namespace)).metadata.labels
        except NotFound:
            return {}  # it went while its pods are ending; nothing new starts there

    def _remember(self, namespace: str, policies: list[Any], labels: Mapping[str, str]) -> None:
        before = self._read()
        known = before.get("namespaces", {}) if policies else {}
        others = [(name, known[name]) for name in known if name != namespace][1 - NAMESPACES_KEPT_MAX :]
        wanted = {"policies": policies, "namespaces": dict([*others, (namespace, dict(labels))]) if policies else {}}
        if before == wanted:
            return
        try:
            temporary = self._kept.with_suffix(".new")
            temporary.write_text(json.dumps(wanted))
            temporary.replace(self._kept)
        except OSError:
            self._kept.unlink(missing_ok=True)  # better none than a former one

    def _remembered(self, namespace: str, error: ApiError) -> Mapping[str, Any]:
        known = self._read()
        policies, labels = known.get("policies"), known.get("namespaces", {}).get(namespace)
        if policies is None or (policies and labels is None):
            raise PackError("ErrImagePull", f"nobody can tell which packs are trusted: {error.message}") from error
        return {"policies": policies, "labels": labels or {}}

    def _read(self) -> dict[str, Any]:
        try:
            body = json.loads(self._kept.read_bytes())
        except (OSError, ValueError):
            return {}
        return body if isinstance(body, dict) else {}
