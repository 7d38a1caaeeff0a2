"""Keep the EndpointSlices of each Service at what its pods are.

Reads Services, Pods and EndpointSlices; writes only slices that carry our name. A Service without a selector is left to
whoever writes its slices; the slices of a Service that is gone go with their owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from stark.client.errors import Conflict, NotFound
from stark.crds.pods import Pod
from stark.crds.services import MANAGED_BY, MANAGER, SERVICE_NAME, EndpointSlice, Service
from stark.crds.tenancy import Owner, may_select

from ..kit import DONE, Context, Controller, Expectations, Outcome, RequeueAfter, Source
from .planning import plan

BY_SERVICE = "slices-of-service"


def service_key(endpoint_slice: EndpointSlice) -> Iterable[str]:
    """The key of the Service of a slice that we manage."""
    labels = endpoint_slice.metadata.labels
    if labels.get(MANAGED_BY) == MANAGER and labels.get(SERVICE_NAME):
        yield f"{endpoint_slice.metadata.namespace}/{labels[SERVICE_NAME]}"


def selects(service: Service, pod: Pod) -> bool:
    """Whether the pod answers for the Service: it has the labels, and is not out of the reach of the Service's owner."""
    selector = service.spec.selector
    if not selector or not selector.items() <= pod.metadata.labels.items():
        return False
    return may_select(Owner.of(service.metadata.annotations), Owner.of(pod.metadata.annotations))


class Endpoints(Controller):
    """See the module."""

    name = "endpoints"

    def __init__(self, context: Context) -> None:
        self._api = context.api
        self._services = context.informers.of(Service)
        self._pods = context.informers.of(Pod)
        self._slices = context.informers.of(EndpointSlice, indexers={BY_SERVICE: service_key})
        self._expectations = Expectations(self._slices)

    def sources(self) -> Sequence[Source[Any]]:
        """Services, the pods that they select, and their slices, which others may have spoiled."""
        return (Source(self._services), Source(self._pods, self._of_pod), Source(self._slices, service_key))

    def _of_pod(self, pod: Pod) -> Iterable[str]:
        return [each.key for each in self._services.list(pod.metadata.namespace) if selects(each, pod)]

    async def reconcile(self, key: str) -> Outcome:
        """Plan and write."""
        service = self._services.get(key)
        if service is None:
            self._expectations.forget(key)
            return DONE
        if not self._expectations.met(key):
            return RequeueAfter(self._expectations.remaining_s(key))
        if service.metadata.deletion_timestamp is not None or not service.spec.selector:
            return DONE
        pods = [pod for pod in self._pods.list(service.metadata.namespace) if selects(service, pod)]
        step = plan(service, pods, self._slices.by_index(BY_SERVICE, key))
        for each in step.create:
            self._expectations.wrote(key, await self._api.create(each))
        for each in step.update:
            self._expectations.wrote(key, await self._api.update(each))
        # Last: an endpoint that moves to another slice is better known twice than not at all.
        for each in step.delete:
            try:
                await self._api.delete(EndpointSlice, each.metadata.name, each.metadata.namespace, uid=each.uid)
            except (NotFound, Conflict):
                continue
            self._expectations.deleted(key, each)
        return DONE


def build(context: Context) -> Controller:
    """For the catalog."""
    return Endpoints(context)
