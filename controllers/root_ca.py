"""Publish in every namespace the authority that signs the API server's certificate, for programs that call it.

Reads Namespaces and the ConfigMaps called `kube-root-ca.crt`; writes those. The certificate is the one by which this
process itself trusts the server, from its kubeconfig: what convinced us convinces the programs too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stark.client.errors import AlreadyExists, Forbidden, NotFound
from stark.crds.annotations import DESCRIPTION
from stark.crds.config import ConfigMap
from stark.crds.meta import ObjectMeta
from stark.crds.namespaces import Namespace

from .kit import DONE, Context, Controller, Outcome, Source, is_furnished, unless_terminating

log = logging.getLogger(__name__)

NAME, KEY = "kube-root-ca.crt", "ca.crt"
TOLD = (
    "The certificate authority of this cluster's API server, for programs that reach it inside the cluster. "
    "It is kept by a controller: what is changed here is changed back."
)


@dataclass(frozen=True, slots=True)
class Step:
    """What to do with one ConfigMap. An immutable one cannot be put right: it is deleted, and made anew when it is gone."""

    act: Literal["create", "update", "delete"]
    config_map: ConfigMap


def plan(namespace: Namespace | None, found: ConfigMap | None, authority: str) -> Step | None:
    """The step that makes the namespace's ConfigMap say `authority` (PEM) and nothing else; None when it does."""
    if namespace is None or not is_furnished(namespace):
        return None
    data = {KEY: authority}
    if found is None:
        meta = ObjectMeta(name=NAME, namespace=namespace.metadata.name, annotations={DESCRIPTION: TOLD})
        return Step("create", ConfigMap(metadata=meta, data=data))
    if found.metadata.deletion_timestamp is not None or found.data == data:
        return None
    if found.immutable:
        return Step("delete", found)
    annotations = {DESCRIPTION: TOLD, **found.metadata.annotations}
    meta = found.metadata.model_copy(update={"annotations": annotations})
    return Step("update", found.model_copy(update={"metadata": meta, "data": data}))


class RootAuthority(Controller):
    """See the module."""

    name = "root-ca"

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._authority = (context.api.config.ca_data or b"").decode()
        self._namespaces = context.informers.of(Namespace)
        self._published = context.informers.of(ConfigMap, field_selector=f"metadata.name={NAME}")

    def sources(self) -> Sequence[Source[Any]]:
        """Namespaces, and the ConfigMaps that somebody may edit. Nothing, when the system's authorities are trusted."""
        if not self._authority:
            log.warning("the kubeconfig names no certificate authority: none is published in namespaces")
            return ()
        return (Source(self._namespaces), Source(self._published, _namespace_of))

    async def reconcile(self, key: str) -> Outcome:
        """Create it, or put it right."""
        step = plan(self._namespaces.get(key), self._published.get(f"{key}/{NAME}"), self._authority)
        if step is None:
            return DONE
        try:
            await self._carry_out(step)
        except (AlreadyExists, NotFound):
            pass  # the cache is behind: the change that it has not seen yet brings us here again
        except Forbidden as error:
            unless_terminating(error)
        return DONE

    async def _carry_out(self, step: Step) -> None:
        match step.act:
            case "create":
                await self._api.create(step.config_map)
            case "update":
                await self._api.update(step.config_map)
            case "delete":
                meta = step.config_map.metadata
                await self._api.delete(ConfigMap, meta.name, meta.namespace, uid=meta.uid)


def _namespace_of(config_map: ConfigMap) -> Iterable[str]:
    return (config_map.metadata.namespace or "",)


def build(context: Context) -> Controller:
    """For the catalog."""
    return RootAuthority(context)
