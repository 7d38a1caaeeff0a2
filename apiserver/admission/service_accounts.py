"""What a new pod has of its account: it exists, it speaks on tokens and pull secrets, and it says which Secrets are allowed.

An account `default` that is missing is let pass. A controller keeps it in every active namespace, but a moment after the
namespace itself: who creates a namespace and a pod in it at once would fail now and then, and waiting for the controller
would hold requests whenever it does not run. The pod's node waits for the account instead, when it asks for the token.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .attributes import Attributes, Lookup
from .complaints import refused
from .defaults import DEFAULT_SERVICE_ACCOUNT
from .podspecs import CONTAINER_LISTS, writes_pod

ENFORCE_SECRETS = "kubernetes.io/enforce-mountable-secrets"
"""Annotation of an account: `true` lets its pods use only the Secrets that it lists."""

Mapped = Mapping[str, Any]


async def pod_service_account(attributes: Attributes, lookup: Lookup) -> None:
    """Complete a new pod from its account. Runs after the name has been defaulted. Raises Forbidden."""
    if attributes.operation != "CREATE" or not writes_pod(attributes) or attributes.object is None:
        return
    spec: dict[str, Any] = attributes.object["spec"]
    name, namespace = spec.get("serviceAccountName") or DEFAULT_SERVICE_ACCOUNT, attributes.namespace
    account = await lookup.get("", "serviceaccounts", namespace, name)
    if account is None:
        if name == DEFAULT_SERVICE_ACCOUNT:
            return
        message = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise refused(attributes, message)
    # Whoever runs the pod sees the pod alone. A token is the default, so only its absence must be said.
    if spec.get("automountServiceAccountToken") is None and account.get("automountServiceAccountToken") is False:
        spec["automountServiceAccountToken"] = False
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(reference) for reference in account["imagePullSecrets"]]
    if (account["metadata"].get("annotations") or {}).get(ENFORCE_SECRETS) == "true":
        _check_secrets(attributes, spec, account, name)


def _check_secrets(attributes: Attributes, spec: Mapped, account: Mapped, name: str) -> None:
    listed = {reference.get("name") for reference in account.get("secrets") or ()}
    for where, secret in (*_volumes(spec), *_environment(spec)):
        if secret not in listed:
            message = f"{where} is not allowed because service account {name} does not reference that secret"
            raise refused(attributes, message)
    pulled = {reference.get("name") for reference in account.get("imagePullSecrets") or ()}
    for number, reference in enumerate(spec.get("imagePullSecrets") or ()):
        secret = reference.get("name")
        if secret not in pulled:
            message = (
                f'imagePullSecrets[{number}].name="{secret}" is not allowed because service account {name} does not '
                "reference that imagePullSecret"
            )
            raise refused(attributes, message)


def _volumes(spec: Mapped) -> Iterator[tuple[str, str]]:
    """Every Secret in a volume. Kubernetes looks at whole volumes only; by another source it is the same Secret."""
    for volume in spec.get("volumes") or ():
        named = [(volume.get("secret") or {}).get("secretName")]
        named += [
            (source.get("secret") or {}).get("name") for source in (volume.get("projected") or {}).get("sources") or ()
        ]
        for secret in filter(None, named):
            yield f'volume with secret.secretName="{secret}"', secret


def _environment(spec: Mapped) -> Iterator[tuple[str, str]]:
    """Every Secret in a container's environment, with the words for where it is."""
    for key in CONTAINER_LISTS:
        for container in spec.get(key) or ():
            kind = "init container" if key == "initContainers" else "container"
            for variable in container.get("env") or ():
                reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
                if reference:
                    secret = reference.get("name", "")
                    where = f"{kind} {container['name']} with envVar {variable['name']} referencing secret.secretName"
                    yield f'{where}="{secret}"', secret
            for source in container.get("envFrom") or ():
                if source.get("secretRef"):
                    secret = source["secretRef"].get("name", "")
                    yield f'{kind} {container["name"]} with envFrom referencing secret.secretName="{secret}"', secret
