"""Clear away the tokens that lie in Secrets and whose account is gone, and have those filled that are still empty.

Reads Secrets of type `kubernetes.io/service-account-token` and ServiceAccounts; deletes such Secrets, and touches those
without a token, which the API server fills when they are written: it alone has the key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from stark.client.errors import Conflict, NotFound
from stark.crds.config import Secret, ServiceAccount

from .kit import DONE, Context, Controller, Outcome, Source

SECRET_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"
BY_ACCOUNT = "service account"


def verdict(secret: Secret, account: ServiceAccount | None) -> Literal["delete", "fill", "leave"]:
    """What is to become of a Secret, given the account of the name that it says."""
    if secret.type != SECRET_TYPE or secret.metadata.deletion_timestamp is not None:
        return "leave"
    uid = secret.metadata.annotations.get(ACCOUNT_UID)
    if account is None or (uid and uid != account.metadata.uid):
        return "delete"
    return "leave" if secret.data.get("token") and uid else "fill"


class ServiceAccountTokens(Controller):
    """See the module."""

    name = "service-account-token"

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._secrets = context.informers.of(Secret, field_selector=f"type={SECRET_TYPE}")
        self._secrets.add_index(BY_ACCOUNT, _account_of)
        self._accounts = context.informers.of(ServiceAccount)

    def sources(self) -> Sequence[Source[Any]]:
        """The Secrets, and the accounts they belong to."""
        return (Source(self._secrets), Source(self._accounts, self._secrets_of))

    async def reconcile(self, key: str) -> Outcome:
        """Delete it, or have it filled."""
        secret = self._secrets.get(key)
        if secret is None:
            return DONE
        namespace, name = secret.metadata.namespace or "", secret.metadata.name
        (account_key,) = _account_of(secret)
        if verdict(secret, self._accounts.get(account_key)) == "leave":
            return DONE
        # Once more with the account as it is: the cache may not have seen one that was made a moment ago.
        match verdict(secret, await self._account(account_key)):
            case "delete":
                await self._delete(secret)
            case "fill":
                try:
                    await self._api.patch(Secret, name, {"metadata": {"uid": secret.uid}}, namespace)
                except (NotFound, Conflict):
                    pass  # it went meanwhile
        return DONE

    async def _account(self, key: str) -> ServiceAccount | None:
        namespace, _, name = key.partition("/")
        try:
            return await self._api.get(ServiceAccount, name, namespace) if name else None
        except NotFound:
            return None

    async def _delete(self, secret: Secret) -> None:
        meta = secret.metadata
        try:
            await self._api.delete(
                Secret, meta.name, meta.namespace, uid=secret.uid, resource_version=meta.resource_version
            )
        except (NotFound, Conflict):
            pass  # it went, or changed: the change brings us here again

    def _secrets_of(self, account: ServiceAccount) -> Iterable[str]:
        return self._secrets.index_keys(BY_ACCOUNT, account.key)


def _account_of(secret: Secret) -> Sequence[str]:
    return (f"{secret.metadata.namespace}/{secret.metadata.annotations.get(ACCOUNT_NAME, '')}",)


def build(context: Context) -> Controller:
    """For the catalog."""
    return ServiceAccountTokens(context)
