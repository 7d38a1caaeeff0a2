"""Fill a Secret of type `kubernetes.io/service-account-token` with a token of the account that it names.

Such a token never expires: it holds as long as the Secret and the account do (`auth.service_accounts.tokens`). It is put
in here, where the key is; the controller `service-account-token` clears away what outlives its account.
"""

from __future__ import annotations

import base64
from typing import Final

from ..auth.service_accounts.claims import Claims, Named
from ..auth.service_accounts.keys import TokenKeys
from ..auth.service_accounts.tokens import SECRET_TYPE
from .attributes import Attributes, Lookup

ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
ACCOUNT_UID: Final = "kubernetes.io/service-account.uid"


class AccountSecrets:
    """The plugin. `authority` is PEM of whom the account's programs are to trust."""

    def __init__(self, keys: TokenKeys, authority: bytes) -> None:
        self._keys, self._authority = keys, authority

    async def __call__(self, attributes: Attributes, lookup: Lookup) -> None:
        """Write what is missing. A Secret whose account is gone, or another by now, is left as it is."""
        secret, old = attributes.object, attributes.old or {}
        if secret is None or attributes.subresource or secret.get("type") != SECRET_TYPE or old.get("immutable"):
            return
        metadata = secret["metadata"]
        annotations = metadata.get("annotations") or {}
        account_name, name = annotations.get(ACCOUNT_NAME), metadata.get("name")
        if attributes.operation == "DELETE" or not account_name:
            return
        account = await lookup.get("", "serviceaccounts", attributes.namespace, account_name)
        if account is None or annotations.get(ACCOUNT_UID, account["metadata"]["uid"]) != account["metadata"]["uid"]:
            return
        named = Named(account_name, account["metadata"]["uid"])
        # At the first look, so that it is never filled for somebody else's account of the same name that comes later.
        metadata["annotations"] = {**annotations, ACCOUNT_UID: named.uid}
        if not name:
            return  # a token names its Secret: the controller's look brings us here again when it has its name
        content = {"ca.crt": self._authority, "namespace": attributes.namespace.encode()}
        if not (secret.get("data") or {}).get("token"):
            claims = Claims(attributes.namespace, named, secret=Named(name))
            content["token"] = self._keys.sign(claims.to_wire("")).encode()
        encoded = {key: base64.b64encode(value).decode() for key, value in content.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}
