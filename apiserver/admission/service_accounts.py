"""A new pod must name an account that exists.

`default` is not looked for. A controller keeps it in every active namespace, but a moment after the namespace itself:
who creates a namespace and a pod in it at once would fail now and then, and waiting for the controller would hold
requests whenever it does not run. Nothing of a pod is taken from the account, so its promise is as good as itself.
"""

from __future__ import annotations

from .attributes import Attributes, Lookup
from .complaints import refused
from .defaults import DEFAULT_SERVICE_ACCOUNT
from .podspecs import writes_pod


async def pod_service_account(attributes: Attributes, lookup: Lookup) -> None:
    """Raise Forbidden for a new pod whose account is missing. Runs after the name has been defaulted."""
    if attributes.operation != "CREATE" or not writes_pod(attributes) or attributes.object is None:
        return
    name = attributes.object["spec"].get("serviceAccountName") or DEFAULT_SERVICE_ACCOUNT
    if name == DEFAULT_SERVICE_ACCOUNT:
        return
    namespace = attributes.namespace
    if await lookup.get("", "serviceaccounts", namespace, name) is None:
        message = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise refused(attributes, message)
