"""Give every namespace the account under which its programs act when they name no other.

Reads Namespaces and the ServiceAccounts called `default`; writes only missing ones. What an account says is its owner's
business: one that is there is left as it is. Admission counts on this promise: it lets a pod name `default` before
the account exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.errors import AlreadyExists, Forbidden
from stark.crds.config import ServiceAccount
from stark.crds.meta import ObjectMeta
from stark.crds.namespaces import Namespace

from .kit import DONE, Context, Controller, Outcome, Source, is_furnished, unless_terminating

ACCOUNT = "default"


def missing_account(namespace: Namespace | None, account: ServiceAccount | None) -> ServiceAccount | None:
    """The account to create; None when there is one, or should be none."""
    if namespace is None or account is not None or not is_furnished(namespace):
        return None
    return ServiceAccount(metadata=ObjectMeta(name=ACCOUNT, namespace=namespace.metadata.name))


class ServiceAccounts(Controller):
    """See the module."""

    name = "service-account"

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._namespaces = context.informers.of(Namespace)
        self._accounts = context.informers.of(ServiceAccount, field_selector=f"metadata.name={ACCOUNT}")

    def sources(self) -> Sequence[Source[Any]]:
        """Namespaces, and the accounts that somebody may delete."""
        return (Source(self._namespaces), Source(self._accounts, _namespace_of))

    async def reconcile(self, key: str) -> Outcome:
        """Create the account that is missing."""
        account = missing_account(self._namespaces.get(key), self._accounts.get(f"{key}/{ACCOUNT}"))
        if account is None:
            return DONE
        try:
            await self._api.create(account)
        except AlreadyExists:
            pass  # the cache is behind: it is there
        except Forbidden as error:
            unless_terminating(error)
        return DONE


def _namespace_of(account: ServiceAccount) -> Iterable[str]:
    return (account.metadata.namespace or "",)


def build(context: Context) -> Controller:
    """For the catalog."""
    return ServiceAccounts(context)
