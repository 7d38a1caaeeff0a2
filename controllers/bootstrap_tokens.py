"""Bootstrap tokens: those whose time is over go, and the others vouch for the cluster to their holders.

Reads and deletes the Secrets of tokens in kube-system. Keeps the ConfigMap `cluster-info` in kube-public, which anybody may
read: the API server's address and its authority, signed with each token that has the usage `signing`, so that a machine
which knows nothing but a token can tell the cluster from an impostor. Authority and address are those of this process' own
kubeconfig.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from stark.client.errors import AlreadyExists, NotFound
from stark.crds.bootstrap_tokens import (
    CLUSTER_INFO,
    CLUSTER_INFO_NAMESPACE,
    KUBECONFIG_KEY,
    NAMESPACE,
    SECRET_TYPE,
    SIGNATURE_PREFIX,
    SIGNING,
    BadToken,
    Token,
    read_secret,
    sign,
)
from stark.crds.config import ConfigMap, Secret
from stark.crds.meta import ObjectMeta, to_wire

from .kit import DONE, Context, Controller, Outcome, RequeueAfter, Source

log = logging.getLogger(__name__)

KEY = f"{CLUSTER_INFO_NAMESPACE}/{CLUSTER_INFO}"
"""The only key: whatever changed, all tokens are looked at together, since all are signed for in one object."""


def cluster_kubeconfig(server: str, authority: bytes) -> str:
    """What the holders of tokens are told: where the API server is and whom to trust, and no identity."""
    cluster = {"server": server, "certificate-authority-data": base64.b64encode(authority).decode()}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": cluster}],
        "contexts": None,
        "current-context": "",
        "preferences": {},
        "users": None,
    }
    return json.dumps(document, indent=2) + "\n"


def wanted_data(kubeconfig: str, tokens: Iterable[Token], now: datetime) -> dict[str, str]:
    """What `cluster-info` says."""
    signatures = {
        SIGNATURE_PREFIX + token.token_id: sign(kubeconfig, token.token_id, token.secret)
        for token in tokens
        if SIGNING in token.usages and not token.is_over(now)
    }
    return {KUBECONFIG_KEY: kubeconfig, **dict(sorted(signatures.items()))}


def read_all(secrets: Iterable[Secret]) -> Mapping[str, Token]:
    """The tokens by the names of their Secrets; those that say none are left to whoever wrote them."""
    found: dict[str, Token] = {}
    for secret in secrets:
        try:
            found[secret.metadata.name] = read_secret(to_wire(secret))
        except BadToken as error:
            log.warning("not a bootstrap token", extra={"secret": secret.metadata.name, "reason": str(error)})
    return found


class BootstrapTokens(Controller):
    """See the module."""

    name = "bootstrap-token"

    def __init__(self, context: Context) -> None:
        self._api, self._clock = context.api, context.clock
        config = context.api.config
        self._kubeconfig = cluster_kubeconfig(config.server, config.ca_data) if config.ca_data else ""
        self._secrets = context.informers.of(Secret, NAMESPACE, field_selector=f"type={SECRET_TYPE}")
        self._published = context.informers.of(
            ConfigMap, CLUSTER_INFO_NAMESPACE, field_selector=f"metadata.name={CLUSTER_INFO}"
        )

    def sources(self) -> Sequence[Source[Any]]:
        """Tokens, and what is published; the first look is at the namespace's start."""
        return (Source(self._secrets, lambda secret: (KEY,)), Source(self._published, lambda published: (KEY,)))

    async def lead(self, queue: Any) -> None:
        """There is something to publish although there is neither a token nor a ConfigMap yet."""
        queue.add(KEY)

    async def reconcile(self, key: str) -> Outcome:
        """Delete what is over, publish the rest, and come back when the next one is over."""
        now = self._clock()
        tokens = read_all(self._secrets.list())
        for name in [name for name, token in tokens.items() if token.is_over(now)]:
            await self._delete(name)
        if self._kubeconfig:
            await self._publish(wanted_data(self._kubeconfig, tokens.values(), now))
        ends = [
            token.expires_at for token in tokens.values() if token.expires_at is not None and not token.is_over(now)
        ]
        return RequeueAfter((min(ends) - now).total_seconds()) if ends else DONE

    async def _delete(self, name: str) -> None:
        try:
            await self._api.delete(Secret, name, NAMESPACE)
        except NotFound:
            pass

    async def _publish(self, data: dict[str, str]) -> None:
        found = self._published.get(KEY)
        try:
            if found is None:
                meta = ObjectMeta(name=CLUSTER_INFO, namespace=CLUSTER_INFO_NAMESPACE)
                await self._api.create(ConfigMap(metadata=meta, data=data))
            elif found.data != data:
                await self._api.update(found.model_copy(update={"data": data}))
        except (AlreadyExists, NotFound):
            pass  # the cache is behind: the change that it has not seen yet brings us here again


def build(context: Context) -> Controller:
    """For the catalog."""
    return BootstrapTokens(context)
