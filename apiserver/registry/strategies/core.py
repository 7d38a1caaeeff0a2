"""Pods, nodes, namespaces, services and leases: what the core kinds do differently.

Defaults and checks of their fields are admission's; here is only what is about being stored and going away.
"""

from __future__ import annotations

from typing import ClassVar

from stark.crds.names import dns_label_1035_problems, dns_label_problems
from stark.crds.podfacts import GATED_MESSAGE, GATED_REASON
from stark.crds.qos import qos_class

from .base import Known, Object, Strategy

GRACE_DEFAULT_S = 30
"""What a pod gets to stop when neither it nor the client says otherwise."""
FINISHED = ("Succeeded", "Failed")

GATED = {"type": "PodScheduled", "status": "False", "reason": GATED_REASON, "message": GATED_MESSAGE}
"""What a pod is told whose gates hold it back."""


class PodStrategy(Strategy):
    """A pod on a node is given time to stop; its node's agent takes it away for good."""

    returns_deleted: ClassVar[bool] = True
    status_takes_metadata: ClassVar[bool] = True

    def prepare_create(self, obj: Object) -> None:
        """Nothing has happened yet."""
        obj["status"] = {"phase": "Pending"}
        if (obj.get("spec") or {}).get("schedulingGates"):
            obj["status"]["conditions"] = [dict(GATED)]

    def settle_identity(self, obj: Object) -> None:
        """Its quality of service, which counts what limit ranges and defaults have put in."""
        obj["status"]["qosClass"] = qos_class(obj.get("spec") or {})

    def prepare_status_update(self, new: Object, old: Known) -> None:
        """A report that says nothing of the quality of service does not take it away."""
        known = (old.get("status") or {}).get("qosClass")
        if known is not None:
            new["status"] = {"qosClass": known, **(new.get("status") or {})}

    def grace_s(self, obj: Known, wanted_s: int | None) -> int:
        """What the client wants, else what the pod says. None for a pod nobody runs: there is nothing to stop."""
        spec = obj.get("spec") or {}
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in FINISHED:
            return 0
        if wanted_s is not None:
            return wanted_s
        return int(spec.get("terminationGracePeriodSeconds", GRACE_DEFAULT_S))


class NodeStrategy(Strategy):
    """A node is created by its agent, which knows its status already."""

    keeps_status_on_create: ClassVar[bool] = True
    status_takes_metadata: ClassVar[bool] = True


class ConfigStrategy(Strategy):
    """ConfigMaps and Secrets: their generation is the version of their data."""

    counts_generation: ClassVar[bool] = True


class NamespaceStrategy(Strategy):
    """A namespace goes when those named in spec.finalizers are done with what is inside."""

    returns_deleted: ClassVar[bool] = True

    def name_problems(self, name: str) -> list[str]:
        """A namespace is part of host names."""
        return dns_label_problems(name)

    def prepare_update(self, new: Object, old: Known) -> None:
        """spec.finalizers is written through the finalize subresource only."""
        finalizers = (old.get("spec") or {}).get("finalizers")
        new["spec"] = {**(new.get("spec") or {})}
        new["spec"].pop("finalizers", None)
        if finalizers is not None:
            new["spec"]["finalizers"] = finalizers

    def begin_deletion(self, obj: Object) -> None:
        """Nothing new may be created inside from now on."""
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}

    def holds_on(self, obj: Known) -> bool:
        """Somebody still has to clean up."""
        return bool((obj.get("spec") or {}).get("finalizers"))


class ServiceStrategy(Strategy):
    """A service is answered with itself when it is deleted, as kubectl's older versions expect."""

    returns_deleted: ClassVar[bool] = True

    def prepare_create(self, obj: Object) -> None:
        """Nobody balances its load; clients look for the field all the same."""
        obj["status"] = {"loadBalancer": {}}

    def name_problems(self, name: str) -> list[str]:
        """A service's name is part of host names, and of names of variables."""
        return dns_label_1035_problems(name)


class LeaseStrategy(Strategy):
    """A lease may be created by renewing it."""

    tracks_fields: ClassVar[bool] = False
    create_on_update: ClassVar[bool] = True


class PackStrategy(Strategy):
    """A public pack is for everybody who may have packs."""

    public_field = ("spec.visibility", "public")
